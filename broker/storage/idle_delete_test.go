package storage

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
)

// TestIdleDeleteOverKills: thirty stops and kills, each with more time between than idle_delete says, delete no topic and no channel that has a
// message, a schedule, something in flight or put off, and no topic that keeps a message; what has none of that goes, and does not come back.
func TestIdleDeleteOverKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		idle := map[string]json.RawMessage{"idle_delete": json.RawMessage(`"20s"`)}
		n.levels[0] = topic.Disk
		const waits, scheduled, flies, own, kept, nothing = "t0.waits", "t0.scheduled", "t0.flies", "t0.own", "t0.kept", "t0.nothing" // all as t0 is
		names := []string{waits, scheduled, flies, own, kept, nothing}
		for _, name := range names {
			to, err := n.r.Topic(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := to.SetOptions(idle); err != nil {
				t.Fatal(err)
			}
			if name != own {
				c, err := to.Channel("c")
				if err != nil {
					t.Fatal(err)
				}
				if err := c.SetOptions(idle); err != nil {
					t.Fatal(err)
				}
			}
			if name == nothing {
				continue
			}
			if name == kept {
				if err := to.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"1h"`)}); err != nil {
					t.Fatal(err)
				}
			}
			var b topic.Batch
			b.Add([]byte("m"))
			delay := time.Duration(0)
			if name == scheduled {
				delay = 24 * time.Hour
			}
			if err := to.PublishAs(&b, delay, topic.Fsync); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 30 {
			s, err := n.r.Lookup(flies).Subscribe("c", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			s.SetReady(1)
			if s.Take(new(topic.Delivery)) != 1 {
				t.Fatalf("round %d: nothing to take", round)
			}
			time.Sleep(time.Minute)
			for _, name := range names {
				to := n.r.Lookup(name)
				if (to == nil) != (name == nothing) || to != nil && name != own && to.LookupChannel("c") == nil {
					t.Fatalf("round %d: topic %s: %v", round, name, to)
				}
			}
			if round%3 == 0 {
				if err := errors.Join(s.Close(), n.stop()); err != nil {
					t.Fatal(err)
				}
				n.start()
			} else {
				n.kill()
			}
		}
		for name, held := range map[string]int{waits: 1, scheduled: 1, flies: 1, own: 0} {
			for _, c := range n.r.Lookup(name).Channels() {
				if s := c.Stats(); s.Held != held || !s.Balanced {
					t.Errorf("%s: %+v", name, s)
				}
			}
		}
		if s := n.r.Lookup(own).Stats(); s.Depth != 1 {
			t.Errorf("own: %+v", s)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}
