package storage

import (
	"encoding/json"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// TestAFailedWriteOfTheCount: when the record of a delivery cannot be written, and the node is killed before that is made up for, the message
// is delivered once more than its channel allows, never more often; when the disk is well again before the kill, not even that.
func TestAFailedWriteOfTheCount(t *testing.T) {
	const most = 3
	for _, heals := range []bool{false, true} {
		for fails := 1; fails <= most; fails++ { // the delivery whose record fails
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, uint64(fails))
				w := counted{n}
				w.limit(most)
				deliveries := 0
				for deliveries < fails-1 {
					deliveries += w.failOnce()
				}
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpOpenWrite, Err: syscall.EIO})
				deliveries += w.take(false)
				time.Sleep(time.Second)
				if heals {
					n.disk.SetRules()
					time.Sleep(5 * time.Second)
				}
				n.kill()
				w.limit(most)
				for range 2 * most {
					deliveries += w.failOnce()
				}
				want := most
				if !heals {
					want++
				}
				if dead := n.r.Lookup("x0"); deliveries != want || dead == nil || dead.Stats().Depth != 1 {
					t.Errorf("delivery %d is not written, the disk heals %v: %d deliveries, want %d; dead letters: %+v", fails, heals, deliveries, want, dead)
				}
				if err := n.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// counted is a topic with one message that always fails.
type counted struct{ *node }

// limit sets after how many deliveries the message is a dead letter, and publishes it when the topic is new.
func (w counted) limit(most int) {
	t, err := w.r.Topic("t0")
	if err != nil {
		w.t.Fatal(err)
	}
	fresh := t.LookupChannel("c") == nil
	c, err := t.Channel("c")
	if err != nil {
		w.t.Fatal(err)
	}
	text, _ := json.Marshal(most)
	null := json.RawMessage(`""`)
	if err := c.SetOptions(map[string]json.RawMessage{"max_attempts": text, "dead_letter": json.RawMessage(`"x0"`), "backoff": null,
		"backoff_requeue": json.RawMessage("false")}); err != nil {
		w.t.Fatal(err)
	}
	if fresh {
		var b topic.Batch
		b.Add([]byte("m"))
		if err := t.PublishAs(&b, 0, topic.Fsync); err != nil {
			w.t.Fatal(err)
		}
	}
}

// failOnce takes the message, if it is there, gives it back, and has the log written.
func (w counted) failOnce() (n int) {
	n = w.take(true)
	time.Sleep(time.Second)
	synctest.Wait()
	return n
}

func (w counted) take(answer bool) (n int) {
	s, err := w.r.Lookup("t0").Subscribe("c", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	s.SetReady(1)
	var d topic.Delivery
	s.Take(&d)
	each(&d, func(f protocol.MessageFrame) {
		n++
		if answer {
			s.Apply([]topic.Answer{{ID: f.MustID(), Verb: topic.Requeue}}, nil)
		}
	})
	if answer {
		if err := s.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	return n
}
