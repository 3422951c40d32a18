package member

import (
	"errors"
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
		others[0].m.Tight(true)
		time.Sleep(10 * n.m.o.Pace)
		if err := n.m.Short(group); err != nil {
			t.Errorf("one of three: %v", err)
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
