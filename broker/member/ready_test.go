package member

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStanding: a replica has caught up once it got, soon enough, where its leader was, and is behind when it does not.
func TestStanding(t *testing.T) {
	t.Parallel()
	now := time.Now()
	after := func(d time.Duration) time.Time { return now.Add(d) }
	var s standing
	late := func(since bool, at time.Time, want string) {
		t.Helper()
		switch err := s.late(since, at); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, not %q", err, want)
		}
	}
	late(true, now, "has not caught up")
	late(false, now, "")
	s.tell(100, now)
	s.tell(200, after(time.Second)) // the first is still to be reached
	s.reach(99, after(time.Second))
	late(true, after(time.Second), "has not caught up")
	s.reach(100, after(mostBehind)) // too late to have caught up
	late(true, after(mostBehind), "has not caught up")
	late(false, after(mostBehind), "")
	s.tell(300, after(mostBehind))
	late(false, after(2*mostBehind-1), "")
	late(false, after(2*mostBehind), "10s ago is not here yet")
	s.reach(300, after(2*mostBehind-1))
	late(true, after(3*mostBehind), "") // nobody has said anything since: nobody leads
	s = standing{}
	s.tell(7, now)
	s.lead()
	late(true, after(3*mostBehind), "")
}

// TestANodeIsReadyOnceItHasCaughtUp with the map and its groups, after each start. That a majority is away, later, changes nothing.
func TestANodeIsReadyOnceItHasCaughtUp(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		ready := func(n *node) bool { return n.m.Ready() == nil }
		eventually(t, "all are ready", func() bool { return !slices.ContainsFunc(nodes, func(n *node) bool { return !ready(n) }) })
		write(t, nodes, group, "a")
		late := nodes[2]
		late.kill()
		rest := without(nodes, late)
		write(t, rest, group, "b", "c")
		late.start()
		eventually(t, "it is ready again", func() bool {
			if !ready(late) {
				return false
			}
			s := late.shard(group)
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Contains(s.list, "c") {
				t.Errorf("it is ready with %q", s.list)
			}
			return true
		})
		for _, n := range rest {
			n.kill()
		}
		eventually(t, "nobody is known to lead", func() bool { v := late.view(); return v.Leader == "" && v.Groups[group-1].Leader == "" })
		if err := late.m.Ready(); err != nil {
			t.Errorf("it had caught up, and the others are gone: %v", err)
		}
		late.kill()
		late.start() // alone
		eventually(t, "it is a member", func() bool { return late.view().State == string(member) })
		if err := late.m.Ready(); err == nil || !strings.Contains(err.Error(), "has not caught up since this start") {
			t.Errorf("alone after a start: %v", err)
		}
		startAll(rest)
		eventually(t, "all are ready again", func() bool { return !slices.ContainsFunc(nodes, func(n *node) bool { return !ready(n) }) })
	})
}

// TestWhoWaitsToBeLetInIsNotReady, but who finds no cluster is: others are started as members once it is.
func TestWhoWaitsToBeLetInIsNotReady(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		nodes[0].start()
		eventually(t, "a node without a cluster is ready", func() bool { return nodes[0].m.Ready() == nil })
		startAll(nodes[1:])
		eventually(t, "all are members", func() bool { return well(nodes) })
		fourth := another(t, nodes, "n4")
		fourth.start()
		eventually(t, "it waits as a candidate, and is not ready", func() bool {
			err := fourth.m.Ready()
			return nodes[0].entry(fourth).State == "candidate" && err != nil && strings.Contains(err.Error(), "brokerctl cluster add")
		})
		do(t, func(ctx context.Context) error { return nodes[0].m.Add(ctx, "n4") })
		eventually(t, "it is ready once it is a member", func() bool { return fourth.m.Ready() == nil })
		if fourth.view().State != string(member) {
			t.Error("it is ready before it is a member")
		}
	})
}
