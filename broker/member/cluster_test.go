package member

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"brokerd/broker/cluster"
)

// The rows are those of the list of faults of comparable systems that this package's tests were made of.

// Three nodes found one cluster, keep one map, and go on without one of them, which comes back as what it was.
func TestThreeNodesFoundAClusterAndOutliveOne(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		do(t, func(ctx context.Context) error { return nodes[1].m.Do(ctx, rules(3)) })
		sameMap(t, nodes)
		l := leader(t, nodes)
		replica := l.entry(l).Replica
		l.kill()
		rest := without(nodes, l)
		leader(t, rest)
		do(t, func(ctx context.Context) error { return rest[0].m.Do(ctx, rules(5)) })
		do(t, func(ctx context.Context) error { return rest[1].m.Do(ctx, rules(1)) })
		l.start()
		eventually(t, "all are members again", func() bool { return well(nodes) })
		if got := sameMap(t, nodes); !strings.Contains(got, `"replicas":1`) {
			t.Errorf("the map is %s", got)
		}
		if now := l.entry(l).Replica; now != replica {
			t.Errorf("it came back as replica %d, and was %d", now, replica)
		}
		for _, n := range nodes { // in good order, all at once
			n.stop()
		}
		startAll(nodes)
		eventually(t, "all are members after a stop of all", func() bool { return well(nodes) })
		sameMap(t, nodes)
	})
}

// A node with an emptied folder is another node: it founds nothing, votes on nothing, and waits; an operator has it
// take the place of what it was, under an id that nobody had.
func TestAnEmptiedNodeIsAnotherOneAndTakesItsPlaceByCommand(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		id, gone := nodes[0].view().ID, nodes[2]
		was := gone.entry(gone)
		gone.kill()
		gone.shelf = newShelf()
		gone.start()
		eventually(t, "it waits as a candidate", func() bool {
			return gone.view().State == string(candidate) && nodes[0].entry(gone).State == "candidate"
		})
		if v := nodes[0].view(); v.ID != id || gone.view().ID != "" {
			t.Errorf("cluster %q was %q, and the empty node says %q", v.ID, id, gone.view().ID)
		}
		do(t, func(ctx context.Context) error { return nodes[0].m.Replace(ctx, was.Folder, gone.folder()) })
		eventually(t, "it votes, and the other is gone", func() bool {
			return gone.view().State == string(member) && nodes[0].entry(gone).Votes && len(gone.view().Nodes) == 3 && well(nodes)
		})
		if now := gone.entry(gone); now.Replica <= was.Replica || *now.Number == *was.Number {
			t.Errorf("it is replica %d with number %d, and was %d with %d", now.Replica, *now.Number, was.Replica, *was.Number)
		}
		sameMap(t, nodes)
	})
}

// Who is let in follows until it has caught up; one that cannot be reached changes no majority. Voters and learners are
// the same after a restart.
func TestWhoIsLetInFollowsFirst(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		fourth := letIn(t, nodes)
		for i := range 3 {
			do(t, func(ctx context.Context) error { return nodes[i].m.Do(ctx, rules(1+2*i)) })
		}
		fourth.start()
		all := append(nodes, fourth)
		eventually(t, "it is a member", func() bool { return well(all) })
		roles := func() string {
			text := ""
			for _, n := range all {
				text += fmt.Sprint(n.name, " votes ", leader(t, all).entry(n).Votes, "; ")
			}
			return text
		}
		eventually(t, "three vote and one follows", func() bool { return strings.Count(roles(), "true") == 3 && strings.Contains(roles(), "n4 votes false") })
		before := roles()
		for _, n := range all {
			n.stop()
		}
		startAll(all)
		eventually(t, "all are members after a stop of all", func() bool { return well(all) })
		if after := roles(); after != before {
			t.Errorf("%s, and before %s", after, before)
		}
	})
}

// Who was removed is told so and how to come back, comes to nothing by itself, and serves on; started again on what it had it waits as a
// candidate.
func TestWhoWasRemovedIsToldSo(t *testing.T) {
	virtually(t, func(t *testing.T) {
		all, fourth := runFour(t)
		leaves := all[2]
		for _, n := range all { // one of them leads; the others have its answer
			if err := n.m.Do(t.Context(), cluster.Command{Op: cluster.OpRemove, Folder: "nobody"}); !errors.Is(err, cluster.ErrNoNode) || !errors.Is(err, cluster.ErrRefused) {
				t.Errorf("nobody is removed: %v", err)
			}
		}
		if err := all[0].m.Remove(t.Context(), leaves.folder()); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("removed with all its replicas: %v", err)
		}
		leaves.stop()
		leader(t, without(all, leaves))
		do(t, func(ctx context.Context) error { return all[0].m.Drain(ctx, leaves.folder(), true) })
		eventually(t, "it has no replicas", func() bool { return all[0].entry(leaves).Replicas == 0 })
		do(t, func(ctx context.Context) error { return all[0].m.Remove(ctx, leaves.folder()) })
		rest := without(all, leaves)
		eventually(t, "the others are three that vote", func() bool { return well(rest) && all[0].entry(fourth).Votes || all[1].entry(fourth).Votes })
		leaves.start()
		eventually(t, "it knows that it was removed", func() bool { return leaves.view().State == string(removed) })
		if why := leaves.view().Why; !strings.Contains(why, "brokerctl cluster add") {
			t.Errorf("how to come back is not said: %s", why)
		}
		leaves.kill()
		leaves.start()
		eventually(t, "it asks to be let in, and says who does that", func() bool {
			v := leaves.view()
			return all[0].entry(leaves).State == "candidate" && v.State == string(candidate) && strings.Contains(v.Why, "brokerctl cluster add")
		})
	})
}

// Who has the node removed that leads is told what became of it, though that node may never answer.
func TestWhoRemovesTheLeaderIsToldSo(t *testing.T) {
	virtually(t, func(t *testing.T) {
		all, _ := runFour(t)
		first := leader(t, all)
		rest := without(all, first)
		do(t, func(ctx context.Context) error { return rest[0].m.Drain(ctx, first.folder(), true) })
		eventually(t, "it has no replicas", func() bool { return rest[0].entry(first).Replicas == 0 })
		do(t, func(ctx context.Context) error { return rest[0].m.Transfer(ctx, first.folder()) })
		eventually(t, "it leads again", func() bool { return leader(t, all) == first })
		if err := rest[0].m.Remove(t.Context(), first.folder()); err != nil {
			t.Errorf("the leader is removed: %v", err)
		}
		eventually(t, "the others are three", func() bool { return well(rest) && rest[0].entry(first).State == "" })
	})
}

// A map that cannot be read is taken from others; the node comes back under another id, and nothing is deleted.
func TestAMapThatCannotBeReadIsTakenFromOthers(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		hurt := nodes[1]
		was := hurt.entry(hurt).Replica
		hurt.kill()
		for n := range hurt.shelf.files {
			hurt.shelf.files[n] = []byte("{}")
		}
		hurt.start()
		eventually(t, "it is back under another id", func() bool { return hurt.view().State == string(member) && hurt.entry(hurt).Replica > was })
		eventually(t, "it votes again", func() bool { return leader(t, nodes).entry(hurt).Votes && well(nodes) })
		sameMap(t, nodes)
	})
}

// An old copy of a folder gives up its votes and comes back as another replica; a copy that runs beside its original is refused.
func TestAnOldCopyComesBackAsAnotherReplica(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		n := nodes[2]
		was := n.entry(n).Replica
		old := n.shelf.copy()
		n.kill()
		n.start() // a later start, which the others see
		eventually(t, "all are members", func() bool { return well(nodes) })

		twin := another(t, nodes, "twin")
		twin.shelf = old.copy()
		twin.start()
		eventually(t, "the copy beside it is refused", func() bool { return twin.lines.has("another process with the same folder") })
		twin.stop()
		if !well(nodes) || n.entry(n).Replica != was {
			t.Error("the original has suffered from its copy")
		}

		n.kill()
		n.shelf = old
		n.start()
		eventually(t, "the copy in its place has another id", func() bool { return n.view().State == string(member) && n.entry(n).Replica > was })
		eventually(t, "all are members", func() bool { return well(nodes) })
		sameMap(t, nodes)
	})
}

// changes has nodes change their map.
func changes(t *testing.T) func(rest []*node, i int) {
	return func(rest []*node, i int) {
		leader(t, rest)
		do(t, func(ctx context.Context) error { return rest[0].m.Do(ctx, rules(1+2*(i%3))) })
	}
}

// A member that lacks what is kept nowhere any more is sent the map, also when it dies while it takes it.
func TestWhoIsBehindAllLogsIsSentTheMap(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		late, _ := leave(t, nodes, 6, changes(t))
		late.start()
		eventually(t, "the map is sent", func() bool { return late.lines.has("sent whole") })
		late.kill()
		late.start()
		eventually(t, "all are members", func() bool { return well(nodes) })
		sameMap(t, nodes)
		do(t, func(ctx context.Context) error { return late.m.Do(ctx, rules(3)) })
		sameMap(t, nodes)
	})
}

// checkpoint does what the node's storage does now and then.
func (n *node) checkpoint() {
	n.t.Helper()
	change, counts, err := n.m.Checkpoint()
	fatal(n.t, err)
	if change != nil {
		fatal(n.t, n.shelf.Keep(change))
	}
	if counts != nil {
		counts()
	}
}

// Without a majority a change ends as not done or unknown, in time, and alters nothing; nobody waits for good.
func TestWithoutAMajorityAChangeEndsAndAltersNothing(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		before := sameMap(t, nodes)
		l := leader(t, nodes)
		for _, n := range without(nodes, l) {
			n.kill()
		}
		began := time.Now()
		for range 2 { // at first it still leads
			err := l.m.Do(t.Context(), rules(5))
			if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrNotDone) {
				t.Errorf("alone: %v", err)
			}
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if now := sameMap(t, []*node{l}); now != before {
			t.Errorf("the map has changed to %s", now)
		}
		if err := l.m.Remove(t.Context(), nodes[0].folder()); err == nil {
			t.Error("a member was removed by a minority")
		}
	})
}

// An idle cluster writes nothing.
func TestAnIdleClusterWritesNothing(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		count := func() (text string, term uint64) {
			for _, n := range nodes {
				v := n.view()
				n.shelf.mu.Lock()
				text += fmt.Sprintf("%s: %d records, %d manifests, map as of %d; ", n.name, n.log.Stats().Records, n.shelf.kept, v.Index)
				n.shelf.mu.Unlock()
				term = max(term, v.Term)
			}
			return text, term
		}
		time.Sleep(5 * time.Second) // what founding it has left to write is written
		before, term := count()
		time.Sleep(time.Minute)
		if after, now := count(); after != before || now != term || !well(nodes) {
			t.Errorf("in term %d %s, and a minute before, in term %d, %s", now, after, term, before)
		}
	})
}

// Nodes of another name, another list, or another secret found nothing with each other, and each says why.
func TestNodesThatDoNotAgreeFoundNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*node)
		says   string
	}{
		"another name":   {func(n *node) { n.cluster = "test" }, "is to found cluster"},
		"another list":   {func(n *node) { n.peers = append(n.peers[:2:2], "127.0.0.1:9") }, "another list of peers"},
		"another secret": {func(n *node) { n.secret = []byte("another secret") }, "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newNodes(t, 3)
				c.change(nodes[2])
				startAll(nodes)
				eventually(t, "it is said why", func() bool { return nodes[0].lines.has(c.says) })
				for _, n := range nodes {
					if v := n.view(); v.State != string(asking) || v.ID != "" {
						t.Errorf("%s is %s of %q", n.name, v.State, v.ID)
					}
				}
			})
		})
	}
}

// Two clusters that meet, since one has the other's addresses, stay two.
func TestTwoClustersThatMeetStayTwo(t *testing.T) {
	virtually(t, func(t *testing.T) {
		one := run(t, 3)
		two := newNodesOn(t, one[0].network, 3)
		for _, n := range two {
			n.cluster = "test"
		}
		startAll(two)
		eventually(t, "the second is founded", func() bool { return well(two) })
		lost := another(t, one, "lost") // it is to join one, and knows the addresses of two
		lost.peers = two[0].peers
		lost.start()
		eventually(t, "it is told", func() bool { return strings.Contains(lost.view().Why, `is in cluster "test"`) })
		one[0].m.links.Dial(two[0].address)
		eventually(t, "the link is refused", func() bool { return one[0].lines.has("is of cluster") || two[0].lines.has("is of cluster") })
		if a, b := one[0].view(), two[0].view(); a.ID == b.ID || !well(one) || !well(two) || len(a.Nodes)+len(b.Nodes) != 6 {
			t.Errorf("%+v, %+v", a, b)
		}
		one[0].stop()
		one[0].cluster = "test"
		if err := one[0].prepare(); !errors.Is(err, ErrName) {
			t.Errorf("started under another name: %v", err)
		}
		_ = one[0].log.Close()
		one[0].m = nil
	})
}
