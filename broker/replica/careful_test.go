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
