package member

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
)

// TestACommandThatNobodyUnderstandsIsNotProposed: in the log it would stop every replica of the map for good. A node of a newer version may ask for one,
// also by way of another node.
func TestACommandThatNobodyUnderstandsIsNotProposed(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		for _, n := range nodes { // the one that leads, and two that send it on
			for _, op := range []cluster.Op{"", "of tomorrow"} {
				if err := n.m.Do(t.Context(), cluster.Command{Op: op}); !errors.Is(err, ErrNotDone) {
					t.Errorf("%s does %q: %v", n.name, op, err)
				}
			}
		}
		do(t, func(ctx context.Context) error { return nodes[0].m.Do(ctx, rules(3)) })
		eventually(t, "all are members still", func() bool { return well(nodes) })
		sameMap(t, nodes)
	})
}

// TestAMapIsTakenFromWhoLeads: a whole map that another member sends, or one that cannot be, changes nothing.
func TestAMapIsTakenFromWhoLeads(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		l := leader(t, nodes)
		rest := without(nodes, l)
		before := sameMap(t, nodes)
		send := func(from *node, change func(*whole)) {
			rest[0].m.mu.Lock()
			w := &whole{Point: rest[0].m.point, Map: rest[0].m.state.Clone()}
			rest[0].m.mu.Unlock()
			w.Point.Index += 1_000_000
			change(w)
			rest[0].m.received(from.folder(), peer.Bulk, frameMap, 0, w.encode(), true)
		}
		send(rest[1], func(*whole) {})
		eventually(t, "it is not taken of another one", func() bool { return rest[0].lines.has("as it is not of the node that leads") })
		send(l, func(w *whole) { w.Map.Meta[0].ID = w.Map.LastID + 7 })
		eventually(t, "it is not taken when it cannot be", func() bool { return rest[0].lines.has("that was sent whole cannot be read") })
		eventually(t, "all are members still", func() bool { return well(nodes) })
		if after := sameMap(t, nodes); after != before {
			t.Errorf("the map was %s, and is %s", before, after)
		}
	})
}

// TestAStartOnAFullDiskIsLater: a node whose disk takes nothing is nothing in its cluster, says why, and its broker runs; when the disk takes something
// again it is what it was.
func TestAStartOnAFullDiskIsLater(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		n := nodes[2]
		was := n.entry(n).Replica
		n.kill()
		n.shelf.left = 0
		n.start()
		if v := n.view(); v.State != string(stopped) || !strings.Contains(v.Why, "cannot be written down") {
			t.Errorf("it is %s: %s", v.State, v.Why)
		}
		time.Sleep(200 * time.Millisecond) // some tries
		n.shelf.mu.Lock()
		n.shelf.left = -1
		n.shelf.mu.Unlock()
		eventually(t, "all are members", func() bool { return well(nodes) })
		if now := n.entry(n).Replica; now != was {
			t.Errorf("it came back as replica %d, and was %d", now, was)
		}
		n.kill()
		n.shelf.left = 0
		n.start()
		n.stop() // while it tries
	})
}
