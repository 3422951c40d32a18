package topic

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// failAll takes what there is and gives it back, until nothing more comes, and waits until that is done.
func failAll(t *testing.T, s *Subscription) int {
	t.Helper()
	n := failNow(s)
	synctest.Wait()
	return n
}

func failNow(s *Subscription) (n int) {
	var d Delivery
	for s.Take(&d) > 0 {
		var answers []Answer
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				answers = append(answers, Answer{ID: f.MustID(), Verb: Requeue})
			}
		}
		d.Clear()
		s.Apply(answers, nil)
		n += len(answers)
	}
	return n
}

func setOptions(t *testing.T, c *Channel, text string) {
	t.Helper()
	if err := c.SetOptions(decodeOptions([]byte(text))); err != nil {
		t.Fatal(err)
	}
}

// TestThousandRounds: a message that fails again after each of a thousand redrives is still there, once, and what is known of it has not grown.
func TestThousandRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_attempts":1}`)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{Name: strings.Repeat("a long name ", 100)})
		publish(t, topic, 1)
		const rounds = 1000
		began := time.Now()
		for i := range rounds {
			if n := failAll(t, s); n != 1 {
				t.Fatalf("round %d: %d came", i, n)
			}
			if i == rounds-1 {
				break
			}
			time.Sleep(time.Second)
			if _, err := topic.Redrive("c", RedriveOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		looked, err := r.Lookup("t.c.dlq").Browse(t.Context(), Look{From: 1, Limit: 10, Body: -1})
		list := looked.Messages
		if err != nil || !looked.End || len(list) != 1 {
			t.Fatalf("%d messages are there, %v", len(list), err)
		}
		said := map[string]string{}
		for _, p := range list[0].Properties {
			said[p.Name] = p.Value
		}
		if size := len(journal.AppendProperties(nil, list[0].Properties)); size >= journal.MaxProperties {
			t.Errorf("its properties have %d bytes", size)
		}
		at := func(name string) time.Time {
			when, err := time.Parse(time.RFC3339Nano, said[name])
			if err != nil {
				t.Error(err)
			}
			return when
		}
		if said[letterRounds] != fmt.Sprint(rounds) || !at(letterTime).Equal(began) || !at(firstTime+"moved").Equal(began) ||
			!at(letterMoved).Equal(began.Add((rounds-1)*time.Second)) {
			t.Errorf("%v", said)
		}
	})
}

// TestLoweredLimitIsOneSweep: what waits to be delivered again, is deferred, or is on its way from disk, and was delivered more often than a
// lowered limit allows, is moved at once, without a consumer. Nothing else is, and the sum holds.
func TestLoweredLimitIsOneSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		cfg.MemQueueSize = 20
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_attempts":10}`)
		const count = 600
		publish(t, topic, count)
		s := mustSubscribe(t, topic, "c", count, SubscribeOptions{})
		var d Delivery
		for taken := 0; taken < count/2; {
			n := s.Take(&d)
			if n == 0 {
				t.Fatal("nothing comes")
			}
			taken += n
			var answers []Answer
			for _, run := range d.Runs {
				for frames := run.Frames; len(frames) > 0; {
					f := first(frames)
					frames = frames[len(f):]
					answers = append(answers, Answer{ID: f.MustID(), Verb: Requeue, Delay: time.Duration(len(answers)%2) * time.Hour})
				}
			}
			d.Clear()
			s.SetReady(0)
			s.Apply(answers, nil)
			s.SetReady(count)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		before := c.Stats()
		delivered := 0
		c.mu.Lock()
		note := func(_ Position, attempts uint16) {
			if attempts > 0 {
				delivered++
			}
		}
		for _, list := range c.machine.EachOut(note) {
			for s := range list.All() {
				note(s.Pos, s.Attempts)
			}
		}
		c.mu.Unlock()
		setOptions(t, c, `{"max_attempts":1}`)
		synctest.Wait()
		after := c.Stats()
		dead := r.Lookup("t.c.dlq").Stats().Depth
		if delivered < count/2 || int(dead) != delivered || after.Held != before.Held-delivered || !after.Balanced || after.Buried != 0 || after.Deferred != 0 {
			t.Errorf("%d of %d were delivered, %d are dead letters, %d of %d left: %+v", delivered, count, dead, after.Held, before.Held, after)
		}
	})
}

// TestBurialBesidePublishes: dead letters are read from the node that publishers append to, which is seen by the race detector only, and each
// arrives.
func TestBurialBesidePublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		setOptions(t, mustChannel(t, topic, "c"), `{"max_attempts":1}`)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		const n = 300
		published := make(chan struct{})
		go func() {
			defer close(published)
			for range n {
				var b Batch
				b.Add([]byte("m"))
				if err := topic.Publish(&b); err != nil {
					t.Error(err)
				}
			}
		}()
		for died := 0; died < n; {
			died += failNow(s)
		}
		<-published
		synctest.Wait()
		if dead := r.Lookup("t.c.dlq").Stats().MessageCount; dead != n {
			t.Errorf("%d of %d arrived", dead, n)
		}
	})
}

// TestAMoveToATopicThatGoesSaysSo: nothing else is exiting when only the topic is deleted; when the broker stops, that is said.
func TestAMoveToATopicThatGoesSaysSo(t *testing.T) {
	gone := &Topic{name: "orders.dead"}
	gone.exiting.Store(true)
	if err := gone.leaving(); err != ErrExiting {
		t.Errorf("the broker stops: %v", err)
	}
	gone.deleted.Store(true)
	if err := gone.leaving(); !errors.Is(err, ErrExiting) || err.Error() != "topic orders.dead is being deleted or moved to another level" {
		t.Errorf("it is deleted: %v", err)
	}
}
