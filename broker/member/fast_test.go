package member

import (
	"context"
	"slices"
	"testing"
)

const isDead = "the process of a broker that leads is dead"

// TestALeaderWhoseProcessDiesIsMissedAtOnce: its host says that nobody listens at its address any more. Unless that is turned off; then only its
// silence counts.
func TestALeaderWhoseProcessDiesIsMissedAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		for _, fast := range []bool{true, false} {
			nodes := newNodes(t, 3)
			for _, n := range nodes {
				n.fast = fast
			}
			startAll(nodes)
			eventually(t, "all are members", func() bool { return well(nodes) })
			l := leader(t, nodes)
			l.kill()
			rest := without(nodes, l)
			eventually(t, "another one leads", func() bool { return leader(t, rest) != l })
			do(t, func(ctx context.Context) error { return rest[0].m.Do(ctx, rules(5)) })
			if said := slices.ContainsFunc(rest, func(n *node) bool { return n.lines.has(isDead) }); said != fast {
				t.Errorf("fast is %v, and that it is dead was said: %v", fast, said)
			}
			for _, n := range rest {
				n.stop()
			}
		}
	})
}

// TestAProcessIsAliveButItsPortRefuses: the wrong evidence costs an election, and nothing else: all go on, with one map.
func TestAProcessIsAliveButItsPortRefuses(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		for range 3 {
			l := leader(t, nodes)
			before := nodes[0].view().Term
			rest := without(nodes, l)
			eventually(t, "an election was held", func() bool { // unless the leader, which lives, is heard of first
				if nodes[0].view().Term > before {
					return true
				}
				for _, n := range rest {
					fatal(t, n.m.group.ForgetLeader(t.Context()))
				}
				fatal(t, rest[0].m.group.Campaign(t.Context()))
				return false
			})
			eventually(t, "all are members still", func() bool { return well(nodes) })
			for i, n := range nodes {
				do(t, func(ctx context.Context) error { return n.m.Do(ctx, rules(1+2*i)) })
			}
			sameMap(t, nodes)
		}
	})
}

// TestReplicasStandForElectionOneBehindTheOther: those that are left of each group have turns of their own, whoever died, and no node is the first of
// all groups.
func TestReplicasStandForElectionOneBehindTheOther(t *testing.T) {
	replicas := map[uint64]string{7: "c", 8: "a", 9: "e", 10: "d", 11: "b"}
	for _, dead := range []string{"a", "c", "e"} {
		first := map[string]bool{}
		for group := range uint32(4) {
			seen := map[int]bool{}
			for _, self := range replicas {
				if self == dead {
					continue
				}
				n := turn(self, dead, group, replicas)
				if n < 0 || n > 3 || seen[n] {
					t.Errorf("%s is dead: %s has turn %d of group %d", dead, self, n, group)
				}
				seen[n] = true
				if n == 0 {
					first[self] = true
				}
			}
		}
		if len(first) != 4 {
			t.Errorf("%s is dead: %v are the first of some group", dead, first)
		}
	}
}
