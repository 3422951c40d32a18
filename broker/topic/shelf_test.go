package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// finish has the channel be done with the first messages.
func (g *group) finish(last Position) {
	g.t.Helper()
	some := journal.Range{First: 1, Last: last}
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, some))
	g.must(journal.KindFinished, runsRecord(func(r *journal.Runs) { r.Begin(1, 2) }, some))
}

// TestATopicThatWasDrainedLeavesNothingWhenItIsDeleted, be it that the broker was started again in between.
func TestATopicThatWasDrainedLeavesNothingWhenItIsDeleted(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		g, d := spilled(t, 20)
		g.finish(20)
		g.s.Tidy(false)
		d.checkpoint(t, g.s)
		if restarts {
			if err := g.s.Close(); err != nil {
				t.Fatal(err)
			}
			g.s = d.open(t)
		}
		g.change(journal.Change{Op: journal.OpDeleteTopic, Topic: 1})
		d.checkpoint(t, g.s)
		d.checkpoint(t, g.s)
		if topics, err := d.segments().Topics(1); len(topics) > 0 || err != nil || len(g.s.stores) > 0 {
			t.Errorf("restarts %v: of the topic there are %v, and %d stores: %v", restarts, topics, len(g.s.stores), err)
		}
	}
}

// TestWhatIsSentWholeIsThereUntilItIsSent, also of a topic that is deleted meanwhile: or a transfer would never end where topics come and go.
func TestWhatIsSentWholeIsThereUntilItIsSent(t *testing.T) {
	t.Parallel()
	g, d := spilled(t, 20)
	d.checkpoint(t, g.s)
	w, err := g.s.Whole()
	if err != nil {
		t.Fatal(err)
	}
	g.change(journal.Change{Op: journal.OpDeleteTopic, Topic: 1})
	d.checkpoint(t, g.s)
	sent := 0
	err = w.Send(func(b []byte) error {
		sent += len(b)
		return nil
	})
	if w.Close(); err != nil || sent < 20*500 {
		t.Errorf("%d bytes were sent: %v", sent, err)
	}
	d.checkpoint(t, g.s)
	if used := d.mem.Used(); used > 0 {
		t.Errorf("%d bytes are left", used)
	}
}

// TestATopicThatIsLedAndDeletedLeavesNothing: what its nodes held on disk goes with it.
func TestATopicThatIsLedAndDeletedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := spilled(t, 20)
		r := start(t, durableConfig())
		l, _ := lead(t, r, g.s)
		if err := l.Delete(1); err != nil {
			t.Fatal(err)
		}
		d.checkpoint(t, g.s)
		if used := d.mem.Used(); used > 0 {
			t.Errorf("%d bytes are left", used)
		}
		l.Drop()
	})
}

// TestALeaderKeepsNothingThatItsStandbyHasOnDisk, of the newest messages neither: or very many topics would each keep some in memory.
func TestALeaderKeepsNothingThatItsStandbyHasOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOnDisk(t)
		s := d.open(t)
		s.Keep(1, nil, nil)
		r := start(t, durableConfig())
		l, _ := lead(t, r, s)
		orders := createLed(t, l, 1, "orders")
		sub := mustSubscribe(t, orders, "c", 0, SubscribeOptions{})
		for range 3 {
			publish(t, orders, 5)
			if err := s.Spill(); err != nil {
				t.Fatal(err)
			}
			if n := orders.d.memory.Load(); n != 0 {
				t.Errorf("%d bytes are in memory", n)
			}
		}
		publish(t, orders, 1)
		sub.SetReady(100)
		if n := drain(sub); n != 16 {
			t.Errorf("%d messages come, want 16", n)
		}
		l.Drop()
	})
}

// TestMessagesFarApart: between two messages that somebody needs there were more than a block can count.
func TestMessagesFarApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOnDisk(t)
		g := &group{t: t, s: d.open(t)}
		g.change(journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "orders"})
		g.change(journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"})
		next := Position(1)
		for i := range 6 {
			g.must(journal.KindPublish, publishRecord(1, next, fmt.Sprint("body", i, strings.Repeat(".", 300))))
			next += 3<<31 + 1
			g.change(journal.Change{Op: journal.OpSkip, Topic: 1, Next: next})
		}
		if err := g.s.Spill(); err != nil {
			t.Fatal(err)
		}
		d.checkpoint(t, g.s)
		s := d.open(t)
		if held, _ := s.OnDisk(); held == 0 {
			t.Error("nothing is on disk")
		}
		r := start(t, durableConfig())
		l, _ := lead(t, r, s)
		if n := drain(mustSubscribe(t, r.Lookup("orders"), "c", 100, SubscribeOptions{})); n != 6 {
			t.Errorf("%d messages come, want 6", n)
		}
		l.Drop()
	})
}

// TestAnOldGenerationIsInNobodysWay: one that cannot be removed at a start goes later.
func TestAnOldGenerationIsInNobodysWay(t *testing.T) {
	t.Parallel()
	g, d := spilled(t, 10)
	d.checkpoint(t, g.s)
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.mem.MkdirAll("g/7/1"); err != nil {
		t.Fatal(err)
	}
	d.faulty.SetRules(vfs.Rule{Ops: vfs.OpRemove, Err: syscall.EIO})
	s, err := OpenStandby(d.named, d.segments())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Named(snap.Number()); !errors.Is(err, syscall.EIO) {
		t.Errorf("it is not told: %v", err)
	}
	d.faulty.SetRules()
	if err := s.Named(snap.Number()); err != nil {
		t.Error(err)
	}
	if _, err := d.mem.List("g/7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

// TestNobodyWaitsForASync: while what was written before is synced, more is written; and what is named was synced.
func TestNobodyWaitsForASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := spilled(t, 10)
		d.faulty.Observe(func(op vfs.Op, name string) {
			if op == vfs.OpSync && strings.HasSuffix(name, ".seg") {
				time.Sleep(time.Minute)
			}
		})
		held := make(chan func(), 1)
		go func() {
			release, err := g.s.Hold()
			if err != nil {
				t.Error(err)
			}
			held <- release
		}()
		synctest.Wait()
		if !g.s.io.TryLock() {
			t.Error("nothing can be written while a file is synced")
		} else {
			g.s.io.Unlock()
		}
		(<-held)()
	})
}
