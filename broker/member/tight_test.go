package member

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"brokerd/diskqueue/wal"
)

// A group takes no publishes while there is no room on the node that leads it, or on most of its replicas, and takes them again by itself.
func TestAGroupIsShortOfRoomWithMostOfItsReplicas(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		n, others := nodes[0], nodes[1:]
		short := func(is bool) func() bool { return func() bool { return errors.Is(n.m.Short(group), ErrTight) == is } }
		if n.m.MayBeShort(group) {
			t.Error("nobody is short")
		}
		others[0].m.Tight(true)
		time.Sleep(10 * n.m.o.Pace)
		if err := n.m.Short(group); err != nil {
			t.Errorf("one of three: %v", err)
		}
		for _, asked := range nodes {
			for _, shown := range asked.m.View(t.Context()).Nodes {
				if shown.Short != (shown.Folder == others[0].m.o.Folder) {
					t.Errorf("%s shows of %s that it is short: %v", asked.m.o.Folder, shown.Folder, shown.Short)
				}
			}
			if !asked.m.MayBeShort(group) {
				t.Errorf("%s does not know that a replica is short", asked.m.o.Folder)
			}
		}
		others[1].m.Tight(true)
		eventually(t, "two of three are short", short(true))
		time.Sleep(2 * tightPaces * n.m.o.Pace)
		if err := n.m.Short(group); err == nil {
			t.Error("it is forgotten while it holds")
		}
		others[0].m.Tight(false)
		eventually(t, "one of three is", short(false))
		n.m.Tight(true)
		if err := n.m.Short(group); !errors.Is(err, ErrTight) {
			t.Errorf("who leads: %v", err)
		}
		n.m.Tight(false)
		others[0].m.Tight(true)
		eventually(t, "two of three are short", short(true))
		others[0].kill()
		eventually(t, "who is gone is not believed for ever", short(false))
		if err := n.m.Short(99); err != nil {
			t.Errorf("a group that is not here: %v", err)
		}
	})
}

// logFrom returns from where on a node's log belongs to a group, as its manifest says.
func (n *node) logFrom(group uint32) wal.Offset {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	return n.m.saved.Groups[group].From
}

// While the disk is short of room the log is let go of although little was written since the last checkpoint: with publishes refused nothing more comes. What
// a replica lacks that is away is kept until that is too much, and no longer than until it has it.
func TestShortOfRoomTheLogIsLetGoOf(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t, func(n *node) { n.behind = 1 << 30 })
		write(t, nodes, group, "first")
		sameNotes(t, nodes, group, "first")
		for _, n := range nodes {
			n.checkpoint()
			n.checkpoint()
			s := n.shard(group)
			s.mu.Lock()
			s.held = 2 * leastHeldBack // so that no checkpoint is written for what was applied
			s.mu.Unlock()
		}
		away := nodes[2]
		away.kill()
		rest := nodes[:2]
		for i := range int(tightHeldBack>>20) + 1 {
			write(t, rest, group, fmt.Sprint(i, strings.Repeat("x", 1<<20)))
		}
		write(t, rest, group, "second")
		sameNotes(t, rest, group, "second")
		n := leading(t, rest, group)
		settle := func() (rounds int) { // what storage does while checkpoints are owed
			for ; n.m.Owes(); rounds++ {
				if rounds == 10 {
					t.Fatal("checkpoints are owed for good")
				}
				n.checkpoint()
			}
			return rounds
		}
		n.checkpoint()
		before := n.logFrom(group)
		n.checkpoint()
		if rounds := settle(); rounds > 0 || n.logFrom(group) != before {
			t.Errorf("with room %d checkpoints were owed, and the log begins at %v instead of %v", rounds, n.logFrom(group), before)
		}
		s := n.shard(group)
		s.mu.Lock()
		s.held = 1 // and not more than it gives
		s.mu.Unlock()
		n.m.Tight(true)
		if rounds := settle(); rounds == 0 || n.logFrom(group) != before {
			t.Errorf("without room %d were owed, and the log begins at %v instead of %v, which a replica lacks", rounds, n.logFrom(group), before)
		}
		away.start()
		sameNotes(t, nodes, group, "second")
		eventually(t, "that it has it all is known", n.m.Owes)
		if settle(); !before.Before(n.logFrom(group)) {
			t.Errorf("all have all, and the log begins at %v still", n.logFrom(group))
		}
	})
}

// Disk full on one, of the replicas of a group: while the leader has no room for long, one leads that has.
func TestALeaderWithoutRoomGivesTheLeadAway(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		first := leading(t, nodes, group)
		rest := without(nodes, first)
		rest[0].m.Tight(true)
		first.m.Tight(true)
		time.Sleep(2 * giveEvery)
		if leading(t, nodes, group) != first {
			t.Error("the lead was given away, and no publish is taken where two of three have no room")
		}
		rest[0].m.Tight(false)
		first.m.Tight(false)
		time.Sleep(10 * first.m.o.Pace) // it is heard of
		first.m.Tight(true)
		time.Sleep(tightFor - 2*first.m.o.Pace)
		if leading(t, nodes, group) != first {
			t.Error("the lead was given away at once")
		}
		var next *node
		eventually(t, "one that has room leads", func() bool { next = leading(t, nodes, group); return next != first })
		eventually(t, "it takes publishes", func() bool { return next.m.Short(group) == nil })
		write(t, nodes, group, "b")
		sameNotes(t, nodes, group, "a", "b")
		time.Sleep(2 * giveEvery)
		if leading(t, nodes, group) != next {
			t.Error("the lead has moved on")
		}
		for _, n := range nodes {
			n.m.Tight(true)
		}
		time.Sleep(2 * giveEvery)
		if leading(t, nodes, group) != next {
			t.Error("the lead has moved, and nobody has room")
		}
	})
}

// A replica that cannot take what it is sent whole says so: it is sent it again later and later, and soon once there is room.
func TestWhatIsNotTakenIsSentAgainLater(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		late, _ := leave(t, nodes, 3, texts(t, group, ""))
		var full atomic.Bool
		var refused atomic.Int32
		full.Store(true)
		late.takes = func(int, int) error {
			if !full.Load() {
				return nil
			}
			refused.Add(1)
			return syscall.ENOSPC
		}
		late.start()
		pace := late.m.o.Pace
		eventually(t, "it is sent all", func() bool { return refused.Load() > 0 })
		time.Sleep(mostRest * pace)
		if n := refused.Load(); n < 3 || n > 8 {
			t.Errorf("it was sent all %d times, and took it never", n)
		}
		full.Store(false)
		late.m.Tight(true)
		time.Sleep(5 * pace)
		late.m.Tight(false)
		before := time.Now()
		sameNotes(t, nodes, group, "a", "0", "1", "2")
		if took := time.Since(before); took > 50*pace {
			t.Errorf("with room again it took %v", took)
		}
	})
}
