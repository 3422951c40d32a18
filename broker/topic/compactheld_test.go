package topic

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// leaveEach has the channel be done with all of some messages but each n-th.
func (g *group) leaveEach(n, last Position) {
	g.t.Helper()
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, journal.Range{First: 1, Last: last}))
	for first := Position(1); first <= last; first += n {
		some := journal.Range{First: first, Last: first + n - 2}
		g.must(journal.KindFinished, runsRecord(func(r *journal.Runs) { r.Begin(1, 2) }, some))
	}
}

// compact has all be written anew that is worth it.
func (g *group) compact() (done bool) {
	g.t.Helper()
	done, err := g.s.Compact(g.t.Context(), unpaced)
	if err != nil {
		g.t.Fatal(err)
	}
	return done
}

// shown returns the positions of the messages that a standby shows.
func shown(t testing.TB, r *Registry, s *Standby) (list []Position) {
	t.Helper()
	for _, m := range browsed(t, r.CopyOf(s, 1).Browse, Look{Limit: 1000}) {
		list = append(list, m.Pos)
	}
	return list
}

// TestAFewMessagesHoldNoWholeFiles: each block has a message that is needed. They are written together; where they were goes once a checkpoint says so,
// and a start finds them, whenever it comes.
func TestAFewMessagesHoldNoWholeFiles(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	g, d := spilled(t, 200)
	full := d.mem.Used()
	g.leaveEach(5, 200)
	d.checkpoint(t, g.s)
	want := shown(t, r, g.s)
	starts := func(when string) {
		t.Helper()
		cut := &onDisk{mem: d.mem.CrashClone(rand.New(rand.NewPCG(1, 1))), named: d.named}
		cut.faulty = vfs.NewFaulty(cut.mem)
		s := cut.open(t)
		if got := shown(t, r, s); !slices.Equal(got, want) || len(got) != 40 {
			t.Errorf("%s a start finds %v, want %v", when, got, want)
		}
		cut.checkpoint(t, s)
		if again := cut.open(t); !slices.Equal(shown(t, r, again), want) {
			t.Errorf("%s, and after another checkpoint, a start finds %v", when, shown(t, r, again))
		}
	}
	if done := g.compact(); !done || !g.s.Moved() || d.mem.Used() < full {
		t.Fatalf("written anew: %v; %d bytes of %d are there before a checkpoint says so", done, d.mem.Used(), full)
	}
	starts("before a checkpoint")
	d.checkpoint(t, g.s)
	if used := d.mem.Used(); used > full/3 || g.s.Moved() {
		t.Errorf("%d bytes of %d are there, and a fifth of the messages is needed", used, full)
	}
	starts("after a checkpoint")
	if got := shown(t, r, g.s); !slices.Equal(got, want) {
		t.Errorf("there are %v", got)
	}
	if g.compact() {
		t.Error("what was written anew is written anew once more")
	}
}

// TestALeaderGoesOnWithWhatWasWrittenAnew, and holds nothing of where it was; what it delivers is all that is needed, be it that it reads while that happens.
func TestALeaderGoesOnWithWhatWasWrittenAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		g, d := spilled(t, 200)
		g.leaveEach(5, 200)
		l, _ := lead(t, r, g.s)
		full := d.mem.Used()
		sub := mustSubscribe(t, r.Lookup("orders"), "c", 3, SubscribeOptions{})
		n := drain(sub)
		if !g.compact() {
			t.Fatal("nothing was written anew")
		}
		d.checkpoint(t, g.s)
		if used := d.mem.Used(); used > full/3 {
			t.Errorf("%d bytes of %d are there, and a fifth of the messages is needed", used, full)
		}
		sub.SetReady(100)
		if n += drain(sub); n != 40 {
			t.Errorf("%d messages come, want 40", n)
		}
		l.Drop()
	})
}

// TestWhatAnEphemeralChannelNeedsIsNotWrittenAnew: no replica knows of that, and where it was stays while there is such a channel.
func TestWhatAnEphemeralChannelNeedsIsNotWrittenAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newOnDisk(t)
		s := d.open(t)
		r := start(t, durableConfig())
		l, _ := lead(t, r, s)
		orders := createLed(t, l, 1, "orders")
		kept := mustSubscribe(t, orders, "c", 0, SubscribeOptions{})
		late := mustSubscribe(t, orders, "e#ephemeral", 0, SubscribeOptions{})
		for range 40 {
			publish(t, orders, 5)
			if err := s.Spill(); err != nil {
				t.Fatal(err)
			}
		}
		kept.SetReady(1000)
		var some Delivery
		for n := 0; kept.Take(&some) > 0; {
			var answers []Answer
			for _, m := range messages(&some) {
				if n++; n%5 > 0 {
					answers = append(answers, Answer{ID: m.id, Verb: Finish})
				}
			}
			kept.Apply(answers, nil)
		}
		synctest.Wait()
		s.Tidy(false)
		if done, err := s.Compact(t.Context(), unpaced); !done || err != nil {
			t.Fatal(done, err)
		}
		d.checkpoint(t, s)
		late.SetReady(1000)
		if n := drain(late); n != 200 {
			t.Errorf("the ephemeral channel gets %d messages, want 200", n)
		}
		l.Drop()
	})
}

// TestWhatIsSentWholeIsThereAlsoWhenASyncHasFailed: what was written anew, and is being sent, was in doubt.
func TestWhatIsSentWholeIsThereAlsoWhenASyncHasFailed(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	g, d := spilled(t, 200)
	g.leaveEach(5, 200)
	want := shown(t, r, g.s)
	w, err := g.s.Whole()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !g.compact() {
		t.Fatal("nothing was written anew")
	}
	d.faulty.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 2, Err: syscall.ENOSPC})
	for range 3 {
		d.checkpoint(t, g.s)
	}
	if d.named == nil {
		t.Error("no checkpoint was written while it is sent")
	}
	in, err := NewIntake(d.segments())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(in.Write); err != nil {
		t.Fatal(err)
	}
	if s, err := in.Standby(); err != nil || !slices.Equal(shown(t, r, s), want) {
		t.Errorf("it is sent, and there are %v: %v", shown(t, r, s), err)
	}
}

// TestWritingAnewOnADiskThatFails: nothing is lost, and it is tried again.
func TestWritingAnewOnADiskThatFails(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpCreate, vfs.OpRead, vfs.OpSync} {
		g, d := spilled(t, 200)
		full := d.mem.Used()
		g.leaveEach(5, 200)
		d.checkpoint(t, g.s)
		want := shown(t, r, g.s)
		d.faulty.SetRules(vfs.Rule{Ops: op, Skip: 3, Times: 2, Err: syscall.ENOSPC})
		for range 3 {
			if _, err := g.s.Compact(t.Context(), unpaced); err != nil {
				d.failed(t, err)
			}
			d.checkpoint(t, g.s)
		}
		d.faulty.SetRules()
		g.compact()
		d.checkpoint(t, g.s)
		d.checkpoint(t, g.s)
		if used := d.mem.Used(); used > full/3 || !slices.Equal(shown(t, r, g.s), want) {
			t.Errorf("%v: %d bytes of %d are there, with %v", op, used, full, shown(t, r, g.s))
		}
	}
}

// TestWritingAnewEndsWithItsContext, as when the broker stops.
func TestWritingAnewEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g, d := spilled(t, 200)
	g.leaveEach(5, 200)
	d.checkpoint(t, g.s)
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	done, err := g.s.Compact(ctx, func(int) error {
		if reads++; reads == 20 {
			cancel()
		}
		return ctx.Err()
	})
	if !done || err != nil || reads != 20 {
		t.Errorf("%d blocks were read, written anew: %v, %v", reads, done, err)
	}
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	if g.compact() {
		t.Error("it goes on after its end")
	}
}

// TestWhoReadsWhileMessagesAreWrittenAnew finds them, in one place or the other: they are not taken for damaged.
func TestWhoReadsWhileMessagesAreWrittenAnew(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	g, d := spilled(t, 400)
	told := make(chan error, 100)
	g.s.Keep(tightRoom, nil, func(err error) {
		select {
		case told <- err:
		default:
		}
	})
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, journal.Range{First: 1, Last: 400}))
	l, _ := lead(t, r, g.s)
	orders := r.Lookup("orders")
	var readers sync.WaitGroup
	var over atomic.Bool
	for range 3 {
		readers.Go(func() {
			for !over.Load() {
				n := 0
				for _, m := range browsed(t, orders.Browse, Look{Limit: 1000}) {
					if m.Pos%40 == 0 {
						n++
					}
				}
				if n != 10 {
					t.Errorf("%d messages are read that are never finished, want 10", n)
					return
				}
			}
		})
	}
	for left := 1; left < 40; left++ { // of each 40 messages one more is finished
		for first := Position(1); first < 400; first += 40 {
			g.must(journal.KindFinished, runsRecord(func(r *journal.Runs) { r.Begin(1, 2) }, journal.Range{First: first + Position(left) - 1, Last: first + Position(left) - 1}))
		}
		g.s.Tidy(false)
		g.compact()
		d.checkpoint(t, g.s)
	}
	over.Store(true)
	readers.Wait()
	select {
	case err := <-told:
		t.Error("it is told:", err)
	default:
	}
	l.Drop()
}
