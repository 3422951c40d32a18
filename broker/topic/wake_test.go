package topic

import (
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol"
)

// A consumer whose share of a publish was sampled away must still be woken by the next one.
func TestSampledConsumerIsWokenAgain(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{SampleRate: 1})
	drain(s)
	got := 0
	for range 1000 { // 1 % of them; that none arrives has the odds of 1 to 23000
		publish(t, topic, 1)
		if !woken(s) {
			t.Fatalf("a publish woke nobody, after %d deliveries", got)
		}
		got += drain(s)
		if got == 10 {
			return
		}
	}
	if got == 0 {
		t.Error("of 1000 messages none was delivered")
	}
}

// A message on disk that one consumer was woken for, but can no longer take, is another's.
func TestMessageOnDiskGoesToWhoCanTakeIt(t *testing.T) {
	cfg := config()
	cfg.MemQueueSize, cfg.Queues = 0, folder(t.TempDir())
	topic := mustTopic(t, start(t, cfg), "t")
	consumers := []*Subscription{
		mustSubscribe(t, topic, "c", 1, SubscribeOptions{}),
		mustSubscribe(t, topic, "c", 1, SubscribeOptions{}),
	}
	for _, s := range consumers {
		drain(s)
	}
	publish(t, topic, 1)
	first, other := consumers[0], consumers[1]
	if !woken(first) {
		first, other = other, first
		if !woken(first) {
			t.Fatal("the publish woke nobody")
		}
	}
	first.SetReady(0)
	if n := drain(first); n != 0 {
		t.Fatalf("took %d without credit", n)
	}
	if !woken(other) {
		t.Fatal("the other consumer waits with credit and was not woken")
	}
	if n := drain(other); n != 1 {
		t.Errorf("took %d, want 1", n)
	}
}

// Looking again at a disk that has nothing to read yet must not put off the deadlines of what is in flight.
func TestRecheckKeepsEarlierDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		topic := mustTopic(t, start(t, cfg), "t")
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{MsgTimeout: 10 * time.Millisecond})
		publish(t, topic, 1)
		if n := drain(s); n != 1 {
			t.Fatalf("took %d", n)
		}
		s.channel.enter()
		s.channel.machine.Asks.Recheck = true
		s.channel.exit()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if n := s.channel.Stats().TimeoutCount; n != 1 {
			t.Errorf("%d timeouts at the deadline, want 1", n)
		}
	})
}

// A consumer that leaves while it reads from disk must not stay among those that wait: it would be woken in place of others.
func TestConsumerThatLeftIsNotWoken(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	gone := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	stays := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	drain(stays)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	gone.rest() // the end of a Take that was under way
	publish(t, topic, 1)
	if !woken(stays) {
		t.Error("the publish did not wake the consumer that is there")
	}
}

// A consumer that is fast does not get what others were woken for.
func TestWokenConsumersGetTheirs(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	first := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	second := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	drain(first)
	drain(second)
	publish(t, topic, 2)
	if n := drain(first); n != 1 {
		t.Errorf("the first took %d of 2 messages for which both were woken", n)
	}
	if n := drain(second); n != 1 {
		t.Errorf("the second took %d of 2 messages for which both were woken", n)
	}
	publish(t, topic, 2)
	second.SetReady(1) // what it was woken for, and may not take, is the other's
	for _, s := range []*Subscription{second, first, second} {
		drain(s)
	}
	if n := first.Stats().InFlight; n != 3 {
		t.Errorf("the first has %d of 4 messages, of which the second could take 1", n)
	}
}

// A consumer that wants thousands in its hands is not woken for a single one when there are more.
func TestLargeCreditIsWokenForSeveral(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	var consumers []*Subscription
	for range 5 {
		consumers = append(consumers, mustSubscribe(t, topic, "c", 10*credits, SubscribeOptions{}))
	}
	for _, s := range consumers {
		drain(s)
	}
	publish(t, topic, 20)
	took, busy := 0, 0
	for _, s := range consumers {
		if woken(s) {
			busy++
			took += drain(s)
		}
	}
	if took != 20 || busy != 2 {
		t.Errorf("%d consumers took %d of 20 messages, want 2", busy, took)
	}
}

// TestLaterWakes: a publish puts those that it has work for where its caller asks, each once and no more than fit, and wakes the
// others itself.
func TestLaterWakes(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	var all []*Subscription
	for range maxWakes + 2 {
		all = append(all, mustSubscribe(t, topic, "c", 1, SubscribeOptions{}))
	}
	var later Wakes
	b := Batch{Later: &later}
	for range len(all) {
		b.Add([]byte("m"))
	}
	if err := topic.Publish(&b); err != nil {
		t.Fatal(err)
	}
	if b.Later != nil {
		t.Error("the batch still knows where to put consumers")
	}
	served := map[Consumer]bool{}
	later.Each(func(c Consumer) { served[c] = true })
	if len(served) != maxWakes || later.Any() {
		t.Errorf("%d consumers were left to the caller, some stay: %v", len(served), later.Any())
	}
	for i, s := range all {
		if woken(s) == served[s.Owner()] {
			t.Errorf("consumer %d was left to the caller: %v, and woken the other way round", i, served[s.Owner()])
		}
		if drain(s) != 1 {
			t.Errorf("there was nothing for consumer %d", i)
		}
	}
}

// TestAnswersWakeTheirConsumerLater: credit that comes back goes the same way.
func TestAnswersWakeTheirConsumerLater(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	s := mustSubscribe(t, topic, "c", 1, SubscribeOptions{})
	publish(t, topic, 2)
	var d Delivery
	if s.Take(&d) != 1 || s.Take(&d) != 0 {
		t.Fatal("a credit of one is not one message")
	}
	woken(s)
	var later Wakes
	s.Apply([]Answer{{ID: first(d.Runs[0].Frames).MustID(), Verb: Finish}}, &later)
	served := 0
	later.Each(func(c Consumer) {
		if c == s.Owner() {
			served++
		}
	})
	if served != 1 || woken(s) || drain(s) != 1 {
		t.Errorf("the consumer was left to the caller %d times", served)
	}
}

// answerAll takes all that the consumer may have and finishes each after the time that it needs for one.
func answerAll(t *testing.T, s *Subscription, each time.Duration) (n int) {
	t.Helper()
	var d Delivery
	for s.Take(&d) > 0 {
		var answers []Answer
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := protocol.FirstMessage(frames)
				frames = frames[len(f):]
				answers = append(answers, Answer{ID: f.MustID(), Verb: Finish})
			}
		}
		time.Sleep(time.Duration(len(answers)) * each)
		s.Apply(answers, nil)
		n += len(answers)
		d.Clear()
	}
	return n
}

// Consumers that are fast get the messages of a small publish together, as few as can answer them within the horizon; slow ones share
// them, as many as there are.
func TestPartsFollowTheSpeedOfConsumers(t *testing.T) {
	for _, c := range []struct {
		each time.Duration
		want int // consumers that a publish of 40 wakes
	}{{5 * time.Microsecond, 1}, {horizon / 20, 2}, {horizon / 4, 8}, {2 * horizon, 8}} {
		synctest.Test(t, func(t *testing.T) {
			topic := mustTopic(t, start(t, config()), "t")
			var consumers []*Subscription
			for range 8 {
				consumers = append(consumers, mustSubscribe(t, topic, "c", 1000, SubscribeOptions{}))
			}
			total := 0
			for range 20 { // they show how fast they are
				publish(t, topic, 80)
				for _, s := range consumers {
					woken(s)
					total += answerAll(t, s, c.each)
				}
			}
			publish(t, topic, 40)
			busy := 0
			for _, s := range consumers {
				if woken(s) {
					busy++
					total += answerAll(t, s, c.each)
				}
			}
			if total != 20*80+40 || busy != c.want {
				t.Errorf("consumers that need %v for a message answered %d of %d, and a publish of 40 woke %d of them, want %d", c.each,
					total, 20*80+40, busy, c.want)
			}
		})
	}
}

// What is published while a consumer is on its way goes with it, as far as its part goes, and not to one more.
func TestConsumerOnItsWayTakesMore(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	first := mustSubscribe(t, topic, "c", 10*credits, SubscribeOptions{})
	second := mustSubscribe(t, topic, "c", 10*credits, SubscribeOptions{})
	drain(first)
	drain(second)
	publish(t, topic, 4)
	publish(t, topic, 4)
	if !woken(first) || woken(second) {
		t.Error("two publishes of 4 wake other than one consumer with a part of 10")
	}
	publish(t, topic, 4)
	if !woken(second) {
		t.Error("what is more than the first one's part wakes nobody")
	}
	if n := drain(first) + drain(second); n != 12 {
		t.Errorf("they took %d of 12 messages", n)
	}
}
