package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/broker/simnet"
	"brokerd/diskqueue/journal"
)

// notes is a shard whose records are texts.
type notes struct {
	mu    sync.Mutex
	list  []string
	point replica.Point
	group *replica.Group
	term  uint64
	bytes int64
	held  int64
	moved bool // something was written anew, and is in no checkpoint
	ended bool
}

func (n *node) newShard(group uint32, content []byte, at replica.Point, _ func(error)) (Shard, error) {
	s := &notes{point: at}
	if content != nil {
		if err := json.Unmarshal(content, &s.list); err != nil {
			return nil, err
		}
	}
	n.groups.Lock()
	n.shards[group] = s
	n.groups.Unlock()
	return s, nil
}

func (s *notes) Start(g *replica.Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = g
}

func (s *notes) Tend(*cluster.State) {}
func (s *notes) Stopped(error)       {}
func (s *notes) Behind() bool        { return false }

func (s *notes) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *notes) Lead(term, _ uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = term
}

func (s *notes) Lost(uint64) { s.Lead(0, 0) }

func (s *notes) Committed(c *replica.Committed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Data != nil {
		_ = journal.EachRecord(c.Data, func(_ uint64, _ journal.Kind, payload []byte) error {
			s.list = append(s.list, string(payload))
			return nil
		})
	}
	s.point, s.bytes = c.At, s.bytes+int64(len(c.Data))
}

func (s *notes) Content() ([]byte, replica.Point, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(s.list)
	s.moved = false
	return b, s.point, func() {}, err
}

func (s *notes) Send(put func(replica.Point, []byte) error) error {
	b, at, _, err := s.Content()
	if err == nil {
		err = put(at, b[:len(b)/2])
	}
	if err == nil {
		err = put(at, b[len(b)/2:])
	}
	return err
}

func (s *notes) Compact(context.Context, func(int) error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = true
	return true, nil
}

func (s *notes) Frees() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0, s.moved
}

func (s *notes) Full() bool     { return false }
func (s *notes) Discard() error { return nil }

// notesComing is what another node's notes are, on their way.
type notesComing struct {
	n      *node
	group  uint32
	number int // of all that were begun
	parts  int
	b      []byte
}

func (n *node) receive(group uint32) (Receiver, error) {
	n.groups.Lock()
	defer n.groups.Unlock()
	n.receives++
	return &notesComing{n: n, group: group, number: n.receives}, nil
}

func (c *notesComing) Write(part []byte) error {
	c.b = append(c.b, part...)
	c.parts++
	c.n.groups.Lock()
	takes := c.n.takes
	c.n.groups.Unlock()
	if takes == nil {
		return nil
	}
	return takes(c.number, c.parts)
}

func (c *notesComing) Shard(at replica.Point, stop func(error)) (Shard, error) {
	return c.n.newShard(c.group, c.b, at, stop)
}

func (c *notesComing) Close() error { return nil }

func (s *notes) Point() replica.Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.point
}

func (s *notes) Bytes() (held, applied int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.bytes
}

func (s *notes) Waiting() (map[string]string, bool) { return nil, true }

// shard returns a node's shard of a group that runs, nil when there is none.
func (n *node) shard(group uint32) *notes {
	n.groups.Lock()
	s := n.shards[group]
	n.groups.Unlock()
	if s == nil || n.m == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.group == nil {
		return nil
	}
	return s
}

// write has who leads a group append texts, each until it is committed; what is not known is written again, so that it may be there twice.
func write(t *testing.T, nodes []*node, group uint32, texts ...string) {
	t.Helper()
	for _, text := range texts {
		eventually(t, text+" is committed", func() bool {
			for _, n := range nodes {
				s := n.shard(group)
				if s == nil {
					continue
				}
				s.mu.Lock()
				g, term := s.group, s.term
				s.mu.Unlock()
				if term == 0 {
					continue
				}
				number, err := g.Append(term, journal.KindMap, []byte(text))
				if err == nil && g.Await(t.Context(), term, number) == nil {
					return true
				}
			}
			return false
		})
	}
}

// sameNotes waits until all have what the first has, and returns it.
func sameNotes(t *testing.T, nodes []*node, group uint32, has ...string) (list []string) {
	t.Helper()
	of := func(n *node) []string {
		s := n.shard(group)
		if s == nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.list)
	}
	eventually(t, "all have the same", func() bool {
		list = of(nodes[0])
		for _, text := range has {
			if !slices.Contains(list, text) {
				return false
			}
		}
		return !slices.ContainsFunc(nodes, func(n *node) bool { return n.shard(group) == nil || !slices.Equal(of(n), list) })
	})
	return list
}

// texts has nodes write texts, each of which is its number and more, and all have them.
func texts(t *testing.T, group uint32, more string) func(rest []*node, i int) {
	return func(rest []*node, i int) {
		text := fmt.Sprint(i, more)
		write(t, rest, group, text)
		sameNotes(t, rest, group, text)
	}
}

// begin founds a cluster and makes a topic, and returns its group.
func begin(t *testing.T, change ...func(*node)) (nodes []*node, group uint32) {
	t.Helper()
	nodes = run(t, 3, change...)
	do(t, func(ctx context.Context) error { return nodes[1].m.CreateTopic(ctx, "orders", false) })
	eventually(t, "the topic is in the map", func() bool {
		topic, ok, err := nodes[1].m.Topic("orders")
		group = uint32(topic.Group)
		return ok && err == nil
	})
	return nodes, group
}

// A group begins on its three nodes with its first topic, outlives the loss of one, which comes back as what it was, and a stop of all. Groups
// without topics do not run.
func TestAGroupBeginsWithItsFirstTopic(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a", "b")
		sameNotes(t, nodes, group, "a", "b")
		for _, n := range nodes {
			if len(n.m.held()) != 1 {
				t.Errorf("%s runs %d groups", n.name, len(n.m.held()))
			}
		}
		for _, gone := range nodes[1:] {
			gone.kill()
			rest := without(nodes, gone)
			write(t, rest, group, "without "+gone.name)
			rest[0].checkpoint()
			gone.start()
			sameNotes(t, nodes, group, "without "+gone.name)
		}
		eventually(t, "all are well", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool { return n.m.Well(t.Context()) != nil })
		})
		for _, n := range nodes {
			n.stop()
		}
		startAll(nodes)
		got := sameNotes(t, nodes, group, "a", "b")
		write(t, nodes, group, "c")
		sameNotes(t, nodes, group, append(got, "c")...)
	})
}

// A replica that lacks entries which are kept nowhere any more is sent all that there is, whatever dies on the way, and never leads before.
func TestAReplicaThatLacksEntriesIsSentAllThatThereIs(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		large := strings.Repeat("x", pieceSize/2)
		late, rest := leave(t, nodes, 3, texts(t, group, large))
		for works := 2; works < 5; works++ { // its disk fails on the way
			late.startAndFail(works, "sent whole, as older")
		}
		late.start()
		sameNotes(t, nodes, group, "a", fmt.Sprint(2, large))
		rest[0].kill()
		write(t, []*node{late, rest[1]}, group, "b")
		sameNotes(t, []*node{late, rest[1]}, group, "b")
	})
}

// leading returns the node that leads a group.
func leading(t *testing.T, nodes []*node, group uint32) (l *node) {
	t.Helper()
	eventually(t, "one leads the group", func() bool {
		i := slices.IndexFunc(nodes, func(n *node) bool {
			s := n.shard(group)
			if s == nil {
				return false
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.term != 0
		})
		if i >= 0 {
			l = nodes[i]
		}
		return l != nil
	})
	return l
}

// A leader dies while it sends all that there is to a replica that was away, so that nothing can be committed before the next one has done so: that one is not held
// back for the sake of publishers, which wait for just that.
func TestAReplicaThatIsNeededIsSentAllThatThereIsAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t, func(n *node) { n.rate = pieceSize / 8 }) // 8 s between the first piece and the others
		late, rest := leave(t, nodes, 4, texts(t, group, strings.Repeat("x", pieceSize/2)))
		leader := leading(t, rest, group)
		late.start()
		eventually(t, "it is being sent all that there is", func() bool {
			late.m.mu.Lock()
			defer late.m.mu.Unlock()
			h := late.m.holdings[group]
			return h != nil && h.coming != nil
		})
		leader.kill()
		began := time.Now()
		two := without(nodes, leader)
		write(t, two, group, "b")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("nothing was committed for %v", took)
		}
		sameNotes(t, two, group, "b")
	})
}

// lateOne returns a cluster one node of which was away, and lacks what is kept nowhere any more: some pieces of texts.
func lateOne(t *testing.T, change ...func(*node)) (nodes []*node, late *node, group uint32) {
	nodes, group = begin(t, change...)
	write(t, nodes, group, "a")
	sameNotes(t, nodes, group, "a")
	late, _ = leave(t, nodes, 3, texts(t, group, strings.Repeat("x", 2*pieceSize)))
	return nodes, late, group
}

// What is sent whole goes on where it was when links end on the way, one after the other, and is not begun anew.
func TestWhatIsSentWholeGoesOnOverTheNextLink(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, late, group := lateOne(t, func(n *node) { n.rate = -1 })
		here := simnet.HostOf(late.address)
		breaks, broke := 0, time.Now()
		late.takes = func(_, part int) error {
			if gap := time.Since(broke); breaks > 0 && gap >= askAgain {
				t.Errorf("part %d has come %v after the one before it", part, gap)
			}
			breaks, broke = breaks+1, time.Now()
			late.network.Reset(func(a, b string) bool { return a == here || b == here })
			return nil
		}
		late.start()
		sameNotes(t, nodes, group, "a")
		late.groups.Lock()
		defer late.groups.Unlock()
		if late.receives != 1 || breaks < 6 {
			t.Errorf("it was begun %d times, and links were broken %d times", late.receives, breaks)
		}
	})
}

// The lead is given away in the middle of a transfer: the replica gets what it lacks all the same.
func TestTheLeadMovesInTheMiddleOfATransfer(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, late, group := lateOne(t)
		l := leading(t, without(nodes, late), group)
		var yields sync.WaitGroup
		late.takes = func(number, part int) error {
			if number == 1 && part == 2 {
				yields.Go(func() {
					g := l.shard(group).group
					eventually(t, "another replica leads", func() bool { // there are moments at which none can, and who is told to may not be elected
						_ = g.Yield(t.Context())
						st, err := g.Status(t.Context())
						return err != nil || st.Reign == 0
					})
				})
			}
			return nil
		}
		late.start()
		sameNotes(t, nodes, group, "a")
		yields.Wait()
		write(t, nodes, group, "b")
		sameNotes(t, nodes, group, "b")
	})
}

// A replica that cannot take what is sent whole says so, and is not sent the rest; it is tried again.
func TestWhoCannotTakeWhatIsSentWholeSaysSo(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, late, group := lateOne(t)
		late.takes = func(number, part int) error {
			switch {
			case number > 1:
				return nil
			case part == 2:
				return syscall.ENOSPC
			case part > 2:
				t.Errorf("part %d comes behind the one that was not taken", part)
			}
			return nil
		}
		late.start()
		sameNotes(t, nodes, group, "a")
		if !late.lines.has("cannot be taken") || !slices.ContainsFunc(without(nodes, late), func(n *node) bool { return n.lines.has("could not take") }) {
			t.Error("nobody says so")
		}
	})
}

// A replica that could not take what is sent whole, for so long that it was tried seldom, is sent it soon when it is started again.
func TestWhoIsStartedAgainIsSentAllThatThereIsSoon(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, late, group := lateOne(t)
		full := func(int, int) error { return syscall.ENOSPC }
		late.takes = full
		late.start()
		tries := func() int {
			late.groups.Lock()
			defer late.groups.Unlock()
			return late.receives
		}
		const many = 6 // behind them it rests for 320 paces, or as long as it may
		for tries() < many {
			time.Sleep(late.m.o.Pace)
		}
		time.Sleep(5 * late.m.o.Pace)
		late.kill()
		late.groups.Lock()
		late.takes = nil
		late.groups.Unlock()
		late.start()
		began := time.Now()
		sameNotes(t, nodes, group, "a")
		if took := time.Since(began); took > 60*late.m.o.Pace {
			t.Errorf("it was sent after %v, %d paces", took, took/late.m.o.Pace)
		}
	})
}

// A leader dies while a replica that was away lacks entries that it keeps for it: the next leader keeps them as well.
func TestAllReplicasKeepEntriesForOneThatLacksThem(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t, func(n *node) { n.behind = 1 << 30 })
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		late, rest := leave(t, nodes, 3, func(rest []*node, i int) {
			texts(t, group, "")(rest, i)
			time.Sleep(time.Second) // the leader tells what it is
		})
		leading(t, rest, group).kill()
		late.start()
		two := slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n.m == nil })
		write(t, two, group, "b")
		sameNotes(t, two, group, "a", "0", "1", "2", "b")
		for _, n := range two {
			if n.lines.has("what a group of topics holds was sent whole") {
				t.Errorf("%s: it was sent all that there is", n.name)
			}
		}
		nodes[slices.IndexFunc(nodes, func(n *node) bool { return n.m == nil })].start()
		sameNotes(t, nodes, group, "a", "0", "1", "2", "b")
		eventually(t, "nothing is kept for anybody", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool {
				n.checkpoint()
				n.checkpoint()
				s := n.shard(group)
				if s == nil {
					return true
				}
				st, err := s.group.Status(t.Context())
				return err != nil || st.Base != st.Last
			})
		})
	})
}

// A replica whose checkpoint cannot be read stays out of its group, and says why; the others go on. So does one whose folder was an old copy.
func TestAReplicaThatMayHaveForgottenStaysOut(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		bad := nodes[2]
		bad.kill()
		number := uint64(0)
		for _, g := range bad.shelf.man.Groups {
			if g.Number == group {
				number = g.File.Number
			}
		}
		delete(bad.shelf.files, number)
		bad.start()
		why := func() (why string) {
			for _, g := range bad.view().Groups {
				if g.Number == int(group) {
					why = g.Why
				}
			}
			return why
		}
		eventually(t, "it says that it stays out", func() bool { return strings.Contains(why(), replica.ErrForgetful.Error()) })
		write(t, nodes, group, "b")
		sameNotes(t, nodes[:2], group, "a", "b")
		if s := bad.shard(group); s != nil {
			t.Error("it runs all the same")
		}
		if err := bad.m.Well(t.Context()); err == nil {
			t.Error("it says that it is well")
		}
		eventually(t, "it is ready: it never catches up", func() bool { return bad.m.Ready() == nil })
		bad.kill()
		bad.start()
		eventually(t, "it still does after a start", func() bool { return strings.Contains(why(), replica.ErrForgetful.Error()) })
	})
}

// Replicas of groups with topics stay where they are: what would move them is refused, and nothing waits for it.
func TestReplicasOfTopicsStayWhereTheyAre(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		fourth := stranger(t, nodes)
		var err error
		eventually(t, "it is answered", func() bool {
			err = nodes[0].m.Replace(t.Context(), nodes[2].folder(), "n4")
			return !errors.Is(err, ErrNotDone)
		})
		if !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "cannot move yet") {
			t.Errorf("replaced: %v", err)
		}
		do(t, func(ctx context.Context) error { return nodes[0].m.Add(ctx, "n4") })
		all := append(slices.Clone(nodes), fourth)
		eventually(t, "it is a member", func() bool { return well(all) })
		do(t, func(ctx context.Context) error { return nodes[0].m.Drain(ctx, "n3", true) })
		eventually(t, "what has no topics moves away", func() bool { return nodes[0].entry(nodes[2]).Replicas == 1 })
		write(t, nodes, group, "b")
		sameNotes(t, nodes, group, "a", "b")
		if _, ok, err := fourth.m.Topic("orders"); !ok || err != nil {
			t.Errorf("who has no replica of its group does not know the topic: %v", err)
		}
	})
}

// A node that stops hands its groups over first: another one leads at once, not after an election timeout.
func TestWhoStopsHandsItsGroupsOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		leads := func(n *node) bool {
			s := n.shard(group)
			if s == nil {
				return false
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.term != 0
		}
		leader := nodes[slices.IndexFunc(nodes, leads)]
		s := leader.shard(group)
		leader.stop()
		s.mu.Lock()
		term := s.term
		s.mu.Unlock()
		if term != 0 {
			t.Error("it still led when it stopped")
		}
		rest := without(nodes, leader)
		write(t, rest, group, "b")
		sameNotes(t, rest, group, "a", "b")
	})
}

// A node that stops before any replica has answered it, as it was elected just now, waits for the first answers and hands its groups over then: no election
// timeout passes without a leader.
func TestWhoStopsRightAfterItsElectionHandsItsGroupsOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		nodes[0].network.SetDelay([2]time.Duration{20 * time.Millisecond, 20 * time.Millisecond})
		first := leading(t, nodes, group)
		var resigned sync.WaitGroup
		defer resigned.Wait()
		resigned.Go(first.m.Resign)
		var next *node
		for until := time.Now().Add(time.Second); next == nil; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("nobody was elected")
			}
			for _, n := range without(nodes, first) {
				n.m.mu.Lock()
				g := n.m.holdings[group].group
				n.m.mu.Unlock()
				if st, err := g.Status(t.Context()); err == nil && st.Match != nil {
					next = n
				}
			}
		}
		next.stop()
		stopped := time.Now()
		leading(t, without(nodes, next), group)
		if took := time.Since(stopped); took > 250*time.Millisecond {
			t.Errorf("nobody led for %v, of an election timeout of 500 ms", took)
		}
	})
}

// A member that has started does not take a topic for one of its own that the map has had since its checkpoint, however long nobody leads; what is
// in no map is its own once somebody does. (The simulator of brokers found publishes acknowledged by a topic that was made like that.)
func TestAStartDoesNotTakeAReplicatedTopicForItsOwn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, _ := begin(t) // no checkpoint has the topic
		for _, n := range nodes {
			n.kill()
		}
		alone := nodes[0]
		alone.start()
		for range 50 {
			for _, name := range []string{"orders", "other"} {
				if _, ok, err := alone.m.Topic(name); !ok && err == nil {
					t.Fatalf("nobody leads, and topic %s is said to be in no map", name)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		startAll(nodes[1:])
		for _, n := range nodes {
			eventually(t, "the topic is known", func() bool {
				_, ok, err := n.m.Topic("orders")
				if !ok && err == nil {
					t.Fatal("the topic is said to be in no map")
				}
				return ok
			})
			eventually(t, "another one is known to be in no map", func() bool { _, ok, err := n.m.Topic("other"); return !ok && err == nil })
		}
	})
}
