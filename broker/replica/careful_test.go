package replica

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// Nobody speaks for another one: a message says whose it is, and that is held to who has sent it.
func TestAMessageInTheNameOfAnotherReplicaIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		follower, liar := c.nodes[l.id%3], c.nodes[(l.id+1)%3]
		before, err := follower.group.Status(t.Context())
		fatal(t, err)
		fatal(t, follower.group.Step(t.Context(), liar.id, Control, encode(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(l.id), To: new(follower.id),
			Term: new(before.Term + 7), Commit: new(before.Last)})))
		time.Sleep(100 * time.Millisecond)
		if after, err := follower.group.Status(t.Context()); err != nil || after.Term != before.Term {
			t.Errorf("term %d, before %d: %v", after.Term, before.Term, err)
		}
	})
}

// unreadable is a log whose disk does not give back what is asked for.
type unreadable struct {
	Log
	fails atomic.Bool
	asked atomic.Int64
}

func (u *unreadable) ReadAt(at wal.Offset, guess int, dst []byte) (byte, []byte, error) {
	if u.fails.Load() {
		u.asked.Add(1)
		return 0, dst, syscall.EIO
	}
	return u.Log.ReadAt(at, guess, dst)
}

// A replica whose disk does not give back an entry goes on when it does. Meanwhile it does not lead.
func TestAnEntryThatIsNotReadNowMayBeReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs []*unreadable
		c := newCluster(t, 3, 0, func(o *Options) {
			u := &unreadable{Log: o.Log}
			logs = append(logs, u)
			o.Log, o.Memory, o.Budget = u, 1, NewBudget(1) // all that is safe is read from the log
		})
		defer c.close()
		old := c.leader()
		follower := c.nodes[old.id%3]
		c.mu.Lock()
		c.cut[follower.id] = true
		c.mu.Unlock()
		for i := range 5 {
			fatal(t, old.publish(fmt.Sprint(i)))
		}
		u := logs[old.id-1]
		u.fails.Store(true)
		c.mu.Lock()
		c.cut[follower.id] = false // who leads must read what this one lacks
		c.mu.Unlock()
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if u.asked.Load() > 0 && old.leads() == 0 {
				break
			}
		}
		if u.asked.Load() == 0 || old.leads() != 0 {
			t.Fatalf("it was read %d times, and leads in term %d", u.asked.Load(), old.leads())
		}
		fatal(t, c.leader().publish("goes on"))
		u.fails.Store(false)
		time.Sleep(5 * time.Second)
		s, err := old.group.Status(t.Context())
		if err != nil || s.Err != nil {
			t.Fatalf("%v, %v", s.Err, err)
		}
		fatal(t, c.leader().publish("all"))
		time.Sleep(time.Second)
		for _, r := range c.nodes {
			if got := r.told(); len(got) != 7 {
				t.Errorf("replica %d was told of %q", r.id, got)
			}
		}
	})
}

// Of many who wait each is told of its own record, and nobody is woken for that of another; who gives up is forgotten.
func TestWhoAwaitsARecordIsToldOfThatOne(t *testing.T) {
	g := &Group{m: &machine{}, leads: true, reign: 3}
	results := make([]chan error, 100)
	for i := range results {
		results[i] = make(chan error, 1)
		go func() { results[i] <- g.Await(t.Context(), 3, uint64(i+1)) }()
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- g.Await(ctx, 3, 1000) }()
	for waits := 0; waits < 101; {
		runtime.Gosched()
		g.mu.Lock()
		waits = len(g.awaited)
		g.mu.Unlock()
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	g.change(func() { g.committed = 60 })
	g.change(func() { g.leads = false })
	for i, r := range results {
		if err := <-r; (err == nil) != (i < 60) || err != nil && !errors.Is(err, ErrNotLeader) {
			t.Errorf("record %d: %v", i+1, err)
		}
	}
	if err := g.Await(t.Context(), 3, 60); err != nil {
		t.Errorf("what was committed before the lead was lost: %v", err)
	}
	if len(g.awaited) > 0 {
		t.Errorf("%d are not forgotten", len(g.awaited))
	}
}

// A lead that is handed to a replica that is not there any more comes back when the engine gives that up, after one election timeout: until then
// nothing can be appended.
func TestALeadThatIsHandedToNobodyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		to := c.nodes[l.id%3]
		c.setCut(true, to.id)
		fatal(t, l.group.HandOver(t.Context(), to.id))
		began, timeout := time.Now(), time.Duration(l.group.o.ElectionTicks)*l.group.o.Clock.tick
		for {
			_, err := l.group.Append(l.leads(), journal.KindPublish, []byte("x"))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBusy) || time.Since(began) > timeout+2*l.group.o.Clock.tick {
				t.Fatalf("after %v of virtual time: %v", time.Since(began), err)
			}
			time.Sleep(l.group.o.Clock.tick / 2)
		}
		fatal(t, l.publish("y"))
	})
}

// Who has the turn may have it for long, as when the owner waits for something. The group's goroutine does not look again and again meanwhile whether
// what has gathered is due.
func TestWhatIsDueWaitsForTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 0, nil)
		defer c.close()
		g := c.leader().group
		g.turn.has.Lock()
		n, err := g.Append(c.nodes[0].leads(), journal.KindPublish, []byte("x"))
		fatal(t, err)
		time.Sleep(10 * g.o.Gather)
		g.turn.mu.Lock()
		posted := len(g.turn.posted)
		g.turn.mu.Unlock()
		g.turn.has.Unlock()
		if posted > 20 {
			t.Errorf("%d things wait for the turn", posted)
		}
		g.work(false)
		fatal(t, g.Await(t.Context(), c.nodes[0].leads(), n))
		if _, err := g.Append(c.nodes[0].leads(), journal.KindPublish, []byte("nobody waits for it")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * g.o.Gather)
		synctest.Wait()
		if got := c.nodes[0].told(); len(got) != 2 {
			t.Errorf("committed: %q", got)
		}
	})
}

// While the election timeout is being changed on one broker after the other a leader that still has, or already has, a long one believes no longer that
// nobody else was elected than those do who may elect another one.
func TestALeaseIsNoLongerThanOthersKeepTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := newCluster(t, 3, 0, func(o *Options) {
			if n++; n == 1 {
				o.ElectionTicks = 200
			}
		})
		defer c.close()
		long := c.nodes[0]
		if l := c.leader(); l != long {
			fatal(t, l.group.HandOver(t.Context(), long.id))
		}
		for range 200 {
			if time.Sleep(50 * time.Millisecond); long.leads() != 0 && long.group.Leased() {
				break
			}
		}
		fatal(t, long.publish("x"))
		c.setCut(true, long.id)
		for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(time.Millisecond) {
			for _, r := range c.nodes[1:] {
				if r.leads() != 0 && long.group.Leased() {
					t.Fatalf("after %v another one leads, and the old leader may deliver", time.Since(began))
				}
			}
		}
		if c.nodes[1].leads()+c.nodes[2].leads() == 0 {
			t.Error("nobody leads in its place")
		}
	})
}
