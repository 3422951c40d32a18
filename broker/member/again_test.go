package member

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/wal"
)

// fails has the next operations of a node's store fail but for the first few, and returns what mends it.
func (n *node) fails(after int) (mend func()) {
	set := func(left int) {
		n.shelf.mu.Lock()
		n.shelf.left, n.shelf.fails = left, false
		n.shelf.mu.Unlock()
	}
	set(after)
	return func() { set(-1) }
}

func (n *node) failed() bool {
	n.shelf.mu.Lock()
	defer n.shelf.mu.Unlock()
	return n.shelf.fails
}

// A replica that cannot begin, since the disk takes nothing just now, says so, and begins once it does: the broker need not be started again.
func TestAReplicaThatCannotBeginBeginsLater(t *testing.T) {
	t.Parallel()
	for works := range 2 { // the checkpoint, the manifest
		t.Run(fmt.Sprint(works), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := run(t, 3)
				n := nodes[2]
				mend := n.fails(works)
				do(t, func(ctx context.Context) error { return nodes[0].m.CreateTopic(ctx, "orders", false) })
				eventually(t, "it cannot begin", n.failed)
				eventually(t, "it says so", func() bool { return n.m.Well(t.Context()) != nil && n.lines.has("does not run here") })
				mend()
				topic, ok, err := n.m.Topic("orders")
				if !ok || err != nil {
					t.Fatal(err)
				}
				write(t, nodes, uint32(topic.Group), "a")
				sameNotes(t, nodes, uint32(topic.Group), "a")
				n.kill()
				n.start()
				write(t, nodes, uint32(topic.Group), "b")
				sameNotes(t, nodes, uint32(topic.Group), "a", "b")
			})
		})
	}
}

// A replica that is sent all that there is while its disk takes nothing goes on as it was, or as what was sent, once it does.
func TestAReplicaThatIsSentAllThatThereIsOutlivesItsDisk(t *testing.T) {
	t.Parallel()
	for works := range 2 { // the checkpoint, the manifest
		t.Run(fmt.Sprint(works), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes, group := begin(t)
				write(t, nodes, group, "a")
				sameNotes(t, nodes, group, "a")
				late, rest := leave(t, nodes, 3, texts(t, group, ""))
				late.start()
				mend := late.fails(works)
				eventually(t, "the disk fails", late.failed)
				mend()
				sameNotes(t, nodes, group, "a", "0", "1", "2")
				rest[0].kill()
				two := []*node{late, rest[1]}
				write(t, two, group, "b")
				sameNotes(t, two, group, "b")
				late.kill()
				late.start()
				sameNotes(t, two, group, "a", "0", "1", "2", "b")
			})
		})
	}
}

// illness is what keeps a log from being written.
type illness struct {
	on   atomic.Bool
	felt atomic.Int32 // writes that have failed
	hang gate         // while it is locked they wait
}

// gate is a lock for which virtual time goes on while somebody waits.
type gate chan struct{}

func (g gate) Lock()   { g <- struct{}{} }
func (g gate) Unlock() { <-g }

// pass waits until it is unlocked.
func (g gate) pass() {
	g <- struct{}{}
	<-g
}

// sickLog is a node's log that cannot be written while it is ill.
type sickLog struct {
	*wal.Log
	ill *illness
}

func (l *sickLog) Commit(at wal.Offset, level wal.Level) error {
	l.ill.hang.pass()
	if l.ill.on.Load() {
		l.ill.felt.Add(1)
		return syscall.EIO
	}
	return l.Log.Commit(at, level)
}

// A replica of the map whose log cannot be written for a while goes on once it can, leader or not: the broker need not be started again.
func TestTheMapOutlivesALogThatCannotBeWritten(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		for i, n := range nodes {
			n.sick.on.Store(true)
			others := without(nodes, n)
			eventually(t, "the others change the map", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return others[0].m.Do(ctx, rules(1+2*(i%2))) == nil
			})
			eventually(t, "it was to write it down", func() bool { return n.sick.felt.Load() > 0 })
			n.sick.on.Store(false)
			eventually(t, "all are members", func() bool { return well(nodes) })
			for _, by := range nodes {
				do(t, func(ctx context.Context) error { return by.m.Do(ctx, rules(3)) })
			}
			sameMap(t, nodes)
		}
	})
}

// A member that is sent the map while its disk takes nothing goes on as it was, or with what was sent, once it does.
func TestAMemberThatIsSentTheMapOutlivesItsDisk(t *testing.T) {
	t.Parallel()
	for works := range 2 { // the file of the map, the manifest
		t.Run(fmt.Sprint(works), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := run(t, 3)
				late, _ := leave(t, nodes, 6, changes(t))
				late.start()
				mend := late.fails(works)
				eventually(t, "the disk fails", late.failed)
				mend()
				eventually(t, "all are members", func() bool { return well(nodes) })
				do(t, func(ctx context.Context) error { return late.m.Do(ctx, rules(3)) })
				sameMap(t, nodes)
				late.kill()
				late.start()
				sameMap(t, nodes)
			})
		})
	}
}

// A disk that does not give a checkpoint back has not forgotten it: the replica waits, and says so, and is what it was when it does.
func TestACheckpointThatIsNotReadNowMayBeReadLater(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		n := nodes[2]
		n.kill()
		n.shelf.unread = fmt.Errorf("read it: %w", syscall.EIO)
		n.start()
		eventually(t, "it says why it does not run", func() bool {
			err := n.m.Well(t.Context())
			return err != nil && strings.Contains(err.Error(), syscall.EIO.Error())
		})
		n.shelf.mu.Lock()
		n.shelf.unread = nil
		n.shelf.mu.Unlock()
		write(t, nodes, group, "b")
		sameNotes(t, nodes, group, "a", "b")
	})
}

// A group in which nothing happens holds back nothing of the node's log, whatever it has.
func TestAnIdleGroupHoldsBackNothingOfTheLog(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a", "b")
		sameNotes(t, nodes, group, "a", "b")
		n := nodes[0]
		n.checkpoint()
		s := n.shard(group)
		s.mu.Lock()
		s.held = 10 * leastWorth
		s.mu.Unlock()
		end := n.log.End()
		n.checkpoint()
		n.shelf.mu.Lock()
		defer n.shelf.mu.Unlock()
		for _, g := range n.shelf.man.Groups {
			if g.From.Before(end) {
				t.Errorf("group %d needs the log from %v on, which ended at %v", g.Number, g.From, end)
			}
		}
	})
}

// What an idle group has written anew is in a checkpoint of its own: where it was goes with that.
func TestAnIdleGroupThatHasWrittenSomethingAnewIsWrittenDown(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a", "b")
		sameNotes(t, nodes, group, "a", "b")
		n := nodes[0]
		n.checkpoint()
		if n.m.Owes() {
			t.Error("a checkpoint is owed")
		}
		if done, err := n.m.Compact(t.Context(), func(int) error { return nil }); !done || err != nil || !n.m.Owes() {
			t.Errorf("written anew: %v, %v; a checkpoint is owed: %v", done, err, n.m.Owes())
		}
		n.checkpoint()
		if n.m.Owes() {
			t.Error("a checkpoint is owed still")
		}
	})
}

// grown is a log of which more was written.
type grown struct {
	NodeLog
	more uint64
}

func (g grown) Stats() wal.Stats {
	s := g.NodeLog.Stats()
	s.Bytes += g.more
	return s
}

// One that holds much and has little to do is written down once others have written much.
func TestWhatACheckpointIsWorth(t *testing.T) {
	log, _, err := wal.Open(wal.Options{FS: newShelf().disk, Dir: "/log", FileSize: logFileSize}, func(wal.Entry) error { return nil })
	fatal(t, err)
	defer log.Close()
	for _, c := range []struct {
		held, applied int64
		more          uint64
		worth         bool
	}{
		{0, 1, 0, true},
		{10 << 20, 1 << 20, 0, false},
		{10 << 20, 6 << 20, 0, true},
		{10 << 20, 0, leastHeldBack - 1, false},
		{10 << 20, 0, leastHeldBack, true},
		{200 << 20, 0, leastHeldBack, false},
		{200 << 20, 0, 100 << 20, true},
	} {
		m := &Member{o: Options{Journal: grown{log, c.more + 7}}}
		h := &holding{m: m, counted: 3, stood: 7}
		if worth := m.worthIt(h, &notes{held: c.held, bytes: c.applied + 3}); worth != c.worth {
			t.Errorf("%+v: worth %v", c, worth)
		}
	}
}

// What a checkpoint has prepared does not count once the replica begins elsewhere: it would have a start go on with what the log of that has not.
func TestACheckpointOfWhatBeganElsewhereSinceCountsNothing(t *testing.T) {
	at := func(generation, index uint64) *replica.Start {
		return &replica.Start{Group: 1, Replica: 1, Generation: generation, Applied: replica.Point{Index: index}}
	}
	forgetful := at(2, 20)
	forgetful.Forgetful = "it has forgotten something"
	for what, c := range map[string]struct {
		now, prepared *replica.Start
		counts        bool
	}{
		"as it was":               {at(2, 10), at(2, 20), true},
		"of another generation":   {at(3, 15), at(2, 20), false},
		"older":                   {at(2, 30), at(2, 20), false},
		"that is forgetful since": {forgetful, at(2, 20), false},
		"that is no more":         {nil, at(2, 20), false},
		"that lets go":            {forgetful, forgetful, true},
	} {
		m := &Member{files: map[uint32]manifest.GroupCheckpoint{}}
		m.saved.Groups = map[uint32]*replica.Start{1: c.now}
		if c.now == nil {
			m.saved.Groups = nil
		}
		done := false
		m.enterGroups(map[uint32]kept{1: {start: c.prepared, file: manifest.GroupCheckpoint{Number: 9}, done: func() { done = true }}})
		if done != c.counts || (m.files[1].Number == 9) != c.counts {
			t.Errorf("%s: counts %v, file %d", what, done, m.files[1].Number)
		}
	}
}

// large is a log that needs much of the disk.
type large struct{ NodeLog }

func (l large) Stats() wal.Stats { return wal.Stats{FileBytes: mostForgotten} }

// A replica that may have forgotten something does not hold back the node's log for good.
func TestAForgetfulReplicaLetsALargeLogGo(t *testing.T) {
	log, _, err := wal.Open(wal.Options{FS: newShelf().disk, Dir: "/log", FileSize: logFileSize}, func(wal.Entry) error { return nil })
	fatal(t, err)
	defer log.Close()
	start := replica.Start{Group: 1, Replica: 1, Generation: 1, Forgetful: "it has forgotten something"}
	for _, journal := range []NodeLog{log, large{log}} {
		m := &Member{o: Options{Journal: journal, Log: discard}}
		k := m.letGo(&holding{m: m, number: 1}, start, manifest.GroupCheckpoint{})
		switch {
		case journal == log && k != nil:
			t.Error("a small log is let go")
		case journal != log && (k == nil || k.start.From != log.End() || k.start.Forgetful == ""):
			t.Errorf("of a large one is kept %+v", k)
		}
	}
}

// Names that are shown to people have nothing in them that a terminal would take for a command.
func TestNamesOfNodesArePlain(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		for what, q := range map[string]joining{
			"an escape":      {Wants: "prod"},
			"a line feed":    {Wants: "prod"},
			"no UTF-8":       {Wants: "prod"},
			"a way to write": {Wants: "prod"},
		} {
			q.Folder = "stranger"
			q.Name, q.Address, q.Zone = "n", "127.0.0.1:1", "z"
			switch what {
			case "an escape":
				q.Name = "\x1b[2J"
			case "a line feed":
				q.Zone = "a\nb"
			case "no UTF-8":
				q.Name = "\xff"
			default:
				q.Address = "127.0.0.1:1\u202e"
			}
			if a := nodes[0].m.letIn(peer.Hello{Folder: "stranger"}, &q); !strings.Contains(a.Error, errPlain.Error()) {
				t.Errorf("%s: %+v", what, a)
			}
		}
		o := nodes[0].m.o
		o.Node = "\x00"
		if _, err := New(o); !errors.Is(err, errPlain) {
			t.Errorf("a node with such a name: %v", err)
		}
	})
}

// A member that knows nobody who leads says what it is linked with; who knows the number of a node is told it.
func TestAMemberWithoutALeaderSaysWhy(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		for _, n := range nodes[1:] {
			n.kill()
		}
		eventually(t, "it says that nobody is linked", func() bool {
			v := nodes[0].view()
			return v.Leader == "" && strings.Contains(v.Why, "no link to any of the other 2 members")
		})
		if err := nodes[0].m.Well(t.Context()); err == nil || !strings.Contains(err.Error(), "no link to any") {
			t.Errorf("is it well? %v", err)
		}
		for _, n := range nodes {
			if n.m == nil {
				n.start()
			}
		}
		eventually(t, "all are members", func() bool { return well(nodes) })
		seen := map[int64]bool{}
		for _, n := range nodes {
			if told := n.number.Load(); told != int64(*n.entry(n).Number) {
				t.Errorf("%s was told that it is number %d", n.name, told)
			} else {
				seen[told] = true
			}
		}
		if len(seen) != 3 {
			t.Errorf("numbers are %v", seen)
		}
	})
}
