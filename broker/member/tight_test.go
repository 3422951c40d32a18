package member

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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
