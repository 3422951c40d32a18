package storage

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// TestExpiredMessagesLeaveTheDisk: with nobody consuming and nothing published what is over by the option, or by its own time to live, leaves
// its channel on time and the disk within minutes; what was published for later and is not due stays. A kill brings nothing of it back.
func TestExpiredMessagesLeaveTheDisk(t *testing.T) {
	for _, own := range []time.Duration{0, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, 1)
			const count, size = 2000, 1000
			to := fill(t, n, 10, size, 0)
			if own == 0 {
				if err := to.SetOptions(map[string]json.RawMessage{"ttl": json.RawMessage(`"30s"`)}); err != nil {
					t.Fatal(err)
				}
			}
			publish := func(count int, delay time.Duration) {
				for range count / 10 {
					b := topic.Batch{TTL: own}
					for range 10 {
						b.Add(make([]byte, size))
					}
					if err := to.PublishDeferred(&b, delay); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
			}
			finishCount(t, to, 10)
			publish(count, 0)
			publish(10, time.Hour)
			time.Sleep(25 * time.Second)
			c := to.Channels()[0]
			if s, bytes := c.Stats(), n.segmentBytes(); s.Depth != count || bytes < count*size/2 {
				t.Fatalf("before their time %d wait, %d bytes are in segments", s.Depth, bytes)
			}
			time.Sleep(10 * time.Second)
			if s := c.Stats(); s.Depth != 0 || s.Deferred != 10 || s.Counts.Discarded[journal.Expired] != count {
				t.Errorf("own time %v: %d wait and %d are deferred, %d have expired", own, s.Depth, s.Deferred, s.Counts.Discarded[journal.Expired])
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if bytes, log := n.segmentBytes(), n.k.wal.Stats().FileBytes; bytes > 100*size || log > int64(4*n.k.o.CheckpointBytes) {
				t.Errorf("own time %v: %d bytes are left in segments, %d in the log", own, bytes, log)
			}
			n.kill()
			c = n.r.Lookup("t0").Channels()[0]
			if s := c.Stats(); s.Depth != 0 || s.Deferred != 10 || s.Counts.Discarded[journal.Expired] != count || !s.Balanced {
				t.Errorf("own time %v, after a kill: %d wait and %d are deferred, %d have expired", own, s.Depth, s.Deferred,
					s.Counts.Discarded[journal.Expired])
			}
			if err := n.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
