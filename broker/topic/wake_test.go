package topic

import (
	"testing"
	"testing/synctest"
	"time"
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
		s.channel.mu.Lock()
		s.channel.recheckLocked()
		s.channel.mu.Unlock()
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
