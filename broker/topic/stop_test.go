package topic

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestNothingIsDeliveredWhileDeliveryIsStopped, on channels and to consumers that come later too; what was out counts until it
// is answered or comes back, and all goes on afterwards.
func TestNothingIsDeliveredWhileDeliveryIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, config())
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		s := mustSubscribe(t, topic, "c", 3, SubscribeOptions{MsgTimeout: time.Second})
		idle := mustSubscribe(t, topic, "c", 0, SubscribeOptions{})
		publish(t, topic, 10)
		var d Delivery
		if n := s.Take(&d); n != 3 || r.InFlight() != 3 {
			t.Fatalf("took %d, %d in flight", n, r.InFlight())
		}
		woken(s)
		r.SetDelivery(false)
		if !woken(s) || woken(idle) {
			t.Error("who may have something that waits for company was not woken, or somebody else was")
		}
		s.Apply([]Answer{{ID: first(d.Runs[0].Frames).MustID()}}, nil)
		late := mustSubscribe(t, mustTopic(t, r, "new"), "c", 5, SubscribeOptions{})
		publish(t, mustTopic(t, r, "new"), 1)
		if n := drain(s) + drain(late); n != 0 || s.HasCredit() || r.InFlight() != 2 {
			t.Errorf("took %d, credit %v, %d in flight", n, s.HasCredit(), r.InFlight())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := drain(s); n != 0 || r.InFlight() != 0 {
			t.Errorf("after the timeout: took %d, %d in flight", n, r.InFlight())
		}
		r.SetDelivery(true)
		if !woken(s) || !woken(late) {
			t.Error("nobody was woken when delivery went on")
		}
		s.SetReady(20)
		if n, m := drain(s), drain(late); n != 9 || m != 1 {
			t.Errorf("then %d and %d came", n, m)
		}
	})
}

// TestVolatile: what a process that ends now would lose, before the final save and after it.
func TestVolatile(t *testing.T) {
	cfg := config()
	cfg.Queues, cfg.MemQueueSize = folder(t.TempDir()), 10
	r := NewRegistry(cfg)
	r.Start()
	for name, n := range map[string]int{"a": 8, "b": 15, "none": 0, "e#ephemeral": 5} {
		topic := mustTopic(t, r, name)
		mustChannel(t, topic, "c")
		mustChannel(t, topic, "e#ephemeral")
		if n > 0 {
			publish(t, topic, n)
		}
	}
	var d Delivery
	if n := mustSubscribe(t, r.Lookup("a"), "c", 3, SubscribeOptions{}).Take(&d); n != 3 {
		t.Fatal(n)
	}
	if n, topics := r.Volatile(); n != 8 || fmt.Sprint(topics) != "[a]" { // the 15 of b did not fit and went to disk in one piece
		t.Errorf("%d messages of %v", n, topics)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n, topics := r.Volatile(); n != 0 || len(topics) != 0 {
		t.Errorf("after the save: %d messages of %v", n, topics)
	}
}
