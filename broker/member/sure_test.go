package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/broker/simnet"
)

// What is said of a name that is not replicated is of the map of now, also when the node that leads has answered before it has come to this node,
// whose disk is slow.
func TestWhatIsNotReplicatedIsSaidOfTheMapOfNow(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		l := leader(t, nodes)
		slow := without(nodes, l)[0]
		eventually(t, "it knows of names that are not replicated", func() bool {
			_, ok, err := slow.m.Sure("orders")
			return !ok && err == nil
		})
		slow.sick.hang.Lock()
		do(t, func(ctx context.Context) error { return l.m.CreateTopic(ctx, "orders", false) })
		if _, ok, err := slow.m.Sure("orders"); !ok && err == nil {
			t.Error("a topic that is replicated is said not to be")
		}
		slow.sick.hang.Unlock()
		eventually(t, "it knows the topic", func() bool {
			_, ok, err := slow.m.Sure("orders")
			return ok && err == nil
		})
	})
}

// What is said of a name waits for no leader that has fallen silent once another one is known.
func TestASilentLeaderDoesNotHoldUpWhatIsSaidOfANewName(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		for _, n := range nodes {
			n.wait = 5 * time.Second
		}
		startAll(nodes)
		eventually(t, "all are members", func() bool { return well(nodes) })
		l := leader(t, nodes)
		time.Sleep(2 * current)
		silent := simnet.HostOf(l.address)
		for _, n := range without(nodes, l) {
			for _, way := range [][2]string{{silent, simnet.HostOf(n.address)}, {simnet.HostOf(n.address), silent}} {
				l.network.Cut(true, way[0], way[1])
				defer l.network.Cut(false, way[0], way[1])
			}
		}
		began := time.Now()
		if _, ok, err := without(nodes, l)[0].m.Sure("orders"); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A start with a shorter election timeout keeps to what the one before it has promised, for as long as that may count.
func TestAStartKeepsToWhatTheOneBeforeItHasPromised(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		n := nodes[0]
		n.elect = 3 * time.Second
		startAll(nodes)
		eventually(t, "all are members", func() bool { return well(nodes) })
		n.elect = 0
		for range 2 { // also when it is started again before that is over
			n.kill()
			n.start()
			if vowed := n.m.now().Vowed; vowed != 3*time.Second {
				t.Errorf("it keeps to %v", vowed)
			}
			time.Sleep(time.Second)
		}
		eventually(t, "nobody relies on it any more", func() bool { return n.m.now().Vowed == 500*time.Millisecond })
		eventually(t, "all are members", func() bool { return well(nodes) })
	})
}

// Who has had a topic made by a node finds it there.
func TestWhoHasATopicMadeFindsIt(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		for _, n := range nodes {
			n.wait = time.Minute
		}
		startAll(nodes)
		eventually(t, "all are members", func() bool { return well(nodes) })
		for i := range 30 {
			n, name := nodes[i%3], fmt.Sprint("orders-", i)
			do(t, func(ctx context.Context) error { return n.m.CreateTopic(ctx, name, false) })
			if _, ok, err := n.m.Topic(name); !ok || err != nil {
				t.Errorf("%s: %v, %v", name, ok, err)
			}
		}
	})
}

// Many changes that are asked for at once are all made: who leads serves some of them at a time, and the others are asked for again.
func TestManyChangesAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		by := without(nodes, leader(t, nodes))[0]
		l := leader(t, nodes)
		l.sick.hang.Lock()
		var all sync.WaitGroup
		for i := range 3 * cap(by.m.asked) {
			all.Go(func() {
				if err := by.m.Do(t.Context(), rules(1+2*(i%2))); err != nil && !errors.Is(err, ErrUnknown) {
					t.Error(err)
				}
			})
		}
		eventually(t, "there are as many as may be", func() bool { return len(l.m.asked) == cap(l.m.asked) })
		l.sick.hang.Unlock()
		all.Wait()
	})
}

// Two processes on copies of one folder that come at the same moment are not both let in: whoever is judged last is found.
func TestOfTwoCopiesOfAFolderOneIsLetIn(t *testing.T) {
	t.Parallel()
	nodes := run(t, 3)
	life := nodes[1].m.now().Life
	results := make(chan error, 2)
	nodes[0].shelf.mu.Lock() // both have to wait before they are written down
	for nonce := range uint64(2) {
		next := life.Next(nonce + 1)
		go func() {
			results <- nodes[0].m.judge(peer.Hello{Folder: nodes[1].folder(), Starts: next.Starts, Nonce: next.Nonce, Past: next.Past})
		}()
	}
	time.Sleep(50 * time.Millisecond) // if one of them is later than that it is found the usual way
	nodes[0].shelf.mu.Unlock()
	a, b := <-results, <-results
	var refusal *peer.Refusal
	if (a == nil) == (b == nil) || !errors.As(errors.Join(a, b), &refusal) || !refusal.Old {
		t.Errorf("one is told %v, and the other %v", a, b)
	}
}

// Members that all have other addresses than the map says find each other by the list that they are started with, and the map has the new ones.
func TestMembersThatAllHaveMoved(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		do(t, func(ctx context.Context) error { return nodes[0].m.CreateTopic(ctx, "orders", false) })
		var peers []string
		for _, n := range nodes {
			n.stop()
			n.address = newNode(t, n.network, n.name).address
			peers = append(peers, n.address)
		}
		for _, n := range nodes {
			n.peers = peers
		}
		startAll(nodes)
		eventually(t, "they are one cluster again", func() bool { return well(nodes) })
		eventually(t, "the map has their addresses", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool { return nodes[0].entry(n).Address != n.address })
		})
	})
}

// Two members that have changed places, whose addresses the map has the other way round, find each other too.
func TestMembersThatHaveChangedPlaces(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		a, b := nodes[0], nodes[1]
		a.stop()
		b.stop()
		a.address, b.address = b.address, a.address
		a.start()
		b.start()
		eventually(t, "they are one cluster again", func() bool { return well(nodes) })
	})
}

// What is counted of a replica does not fall when that is ended, and begins again.
func TestWhatIsCountedDoesNotFall(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		of := func(n *node) (elections uint64, commits time.Duration) {
			f := n.m.Figures(t.Context())
			for _, g := range f.Groups {
				elections += g.Elections
			}
			return elections, f.Commits.Sum
		}
		for _, n := range nodes {
			elections, commits := of(n)
			n.m.held()[0].close()
			if now, sum := of(n); elections == 0 || now < elections || sum < commits {
				t.Errorf("%s: %d elections and %v of commits, before %d and %v", n.name, now, sum, elections, commits)
			}
		}
	})
}

// A hello has room for all starts that a node remembers.
func TestAHelloHasRoomForAllStarts(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		startAll(nodes[1:])
		n := nodes[0]
		fatal(t, n.prepare())
		var life replica.Life
		for i := range uint64(replica.MaxPast + 2) {
			life = life.Next(^i)
		}
		n.m.saved.Life = life
		l, err := n.listen()
		fatal(t, err)
		fatal(t, n.m.Start(l))
		eventually(t, "all are members", func() bool { return well(nodes) })
	})
}

// A member is told which names replicated topics have before it finds them in its map, and that one has none any more: also one that was away, or is removed.
func TestNamesOfReplicatedTopics(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 4)
		named := func(n *node, name string) bool { _, is := n.names.Load(name); return is }
		all := func(name string, is bool) func() bool {
			return func() bool { return !slices.ContainsFunc(nodes, func(n *node) bool { return named(n, name) != is }) }
		}
		ctx := t.Context()
		fatal(t, nodes[0].m.CreateTopic(ctx, "orders", false))
		if !named(nodes[0], "orders") {
			t.Error("who has made it was not told")
		}
		eventually(t, "all are told", all("orders", true))
		nodes[3].stop()
		fatal(t, nodes[0].m.CreateTopic(ctx, "more", false))
		fatal(t, nodes[0].m.DeleteTopic(ctx, "orders"))
		if named(nodes[0], "orders") {
			t.Error("one that is being deleted has the name")
		}
		nodes[3].start()
		eventually(t, "all are told of what has come", all("more", true))
		eventually(t, "all are told of what has gone", all("orders", false))
	})
}

// A clock that differs is told of once, at each member that can know, until it does not any more: half of the time that a message takes there and back is no
// difference.
func TestClocksThatDiffer(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newNodes(t, 3)
		nodes[0].skew, nodes[1].skew, nodes[2].skew = time.Hour, 200*time.Millisecond, 0
		startAll(nodes)
		eventually(t, "all are members", func() bool { return well(nodes) })
		time.Sleep(time.Minute)
		const differs, again = "the clock of another member of the cluster differs", "does not differ any more"
		for i, want := range []int{2, 1, 1} {
			if n := strings.Count(nodes[i].lines.String(), differs); n != want {
				t.Errorf("%s has told of it %d times, and %d members are apart", nodes[i].name, n, want)
			}
			v := nodes[i].m.View(t.Context())
			apart := 0
			for _, n := range v.Nodes {
				if n.ClockApart {
					apart++
				}
			}
			if d := nodes[i].m.Figures(t.Context()).ClockApart; apart != want || d < 59*time.Minute || d > 61*time.Minute {
				t.Errorf("%s shows %d, and %v", nodes[i].name, apart, d)
			}
		}
		nodes[0].stop()
		nodes[0].skew = 0
		nodes[0].start()
		eventually(t, "it is told that it is over", func() bool {
			return nodes[1].lines.has(again) && nodes[2].lines.has(again) && nodes[1].m.Figures(t.Context()).ClockApart < time.Second
		})
	})
}
