package member

import (
	"context"
	"errors"
	"testing"

	"brokerd/broker/cluster"
)

// TestACommandThatNobodyUnderstandsIsNotProposed: in the log it would stop every replica of the map for good. A node of a newer version may ask for one,
// also by way of another node.
func TestACommandThatNobodyUnderstandsIsNotProposed(t *testing.T) {
	t.Parallel()
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
}
