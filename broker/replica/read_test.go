package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// confirm asks whether a replica leads, and gives up after a while.
func (r *running) confirm(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return r.group.Confirm(ctx, r.leads())
}

// TestALeaderMakesSureThatItLeads: at once, without waiting for the next heartbeat, and without writing anything; who follows cannot.
func TestALeaderMakesSureThatItLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("first"))
		before, err := l.group.Status(t.Context())
		fatal(t, err)
		began := time.Now()
		for range 100 {
			fatal(t, l.confirm(time.Minute))
		}
		if took := time.Since(began); took > 50*time.Millisecond { // of virtual time, in which the network takes none
			t.Errorf("100 times took %v", took)
		}
		if after, err := l.group.Status(t.Context()); err != nil || after.Last != before.Last {
			t.Errorf("entry %d is the last, and %d was, %v", after.Last, before.Last, err)
		}
		for _, r := range c.nodes {
			if r == l {
				continue
			}
			if err := r.confirm(time.Minute); !errors.Is(err, ErrNotLeader) {
				t.Errorf("replica %d, which follows: %v", r.id, err)
			}
		}
		if err := l.group.Confirm(t.Context(), l.leads()-1); !errors.Is(err, ErrNotLeader) {
			t.Errorf("of an earlier term: %v", err)
		}
		l.close()
		if err := l.confirm(time.Minute); !errors.Is(err, ErrClosed) {
			t.Errorf("of a group that is closed: %v", err)
		}
	})
}

// TestALeaderThatIsCutOffIsNotSure: as long as it believes that it leads it is left without an answer, also when its lease holds beside another leader,
// as after ForgetLeader; it is told once it has found that it does not lead.
func TestALeaderThatIsCutOffIsNotSure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		old := c.leader()
		fatal(t, old.publish("first"))
		c.setCut(true, old.id)
		synctest.Wait() // nothing of it is on its way any more
		for _, r := range c.nodes {
			if r != old {
				fatal(t, r.group.ForgetLeader(t.Context()))
			}
		}
		var l *running
		for _, r := range c.nodes {
			if r != old && l == nil {
				l = r
			}
		}
		fatal(t, l.group.Campaign(t.Context()))
		for range 100 {
			if time.Sleep(2 * time.Millisecond); l.leads() != 0 {
				break
			}
		}
		fatal(t, l.publish("second"))
		if !old.group.Leased() {
			t.Fatal("the old leader has no lease any more: nothing is tested")
		}
		if err := old.confirm(20 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the old leader, which has the lease: %v", err)
		}
		fatal(t, l.confirm(time.Minute))
		if err := old.confirm(time.Minute); !errors.Is(err, ErrNotLeader) {
			t.Errorf("the old leader, in the end: %v", err)
		}
		c.setCut(false, old.id)
		fatal(t, c.leader().confirm(time.Minute))
	})
}
