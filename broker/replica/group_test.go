package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// cluster is three groups that run, each over a log of its own, in a bubble of virtual time.
type cluster struct {
	t     *testing.T
	nodes []*running
	mu    sync.Mutex
	cut   map[uint64]bool // replicas that hear nobody and are heard by nobody
	way   atomic.Int64    // how long each message takes
	seen  func(message []byte, leaves When)
}

// received is a message of another replica, and from whom it comes.
type received struct {
	from    uint64
	message []byte
	at      time.Time // when it is there
}

// running is one of them, and its owner.
type running struct {
	c     *cluster
	id    uint64
	disk  *vfs.Faulty
	log   *wal.Log
	group *Group
	inbox [2]chan received
	pumps sync.WaitGroup
	ended chan struct{}
	slow  atomic.Int64                  // for how long it waits for each entry
	halt  atomic.Pointer[chan struct{}] // what comes waits for it; nil: for nothing

	mu      sync.Mutex
	records []string
	term    uint64
	stopped error
	lost    int
}

func (r *running) Lead(term, _ uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = term
}

func (r *running) Lost(uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = 0
	r.lost++
}

func (r *running) Behind() bool { return r.slow.Load() != 0 }

func (r *running) Stopped(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = err
}

func (r *running) Committed(c *Committed) {
	time.Sleep(time.Duration(r.slow.Load()))
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Count == 0 {
		return
	}
	err := journal.EachRecord(c.Data, func(n uint64, _ journal.Kind, payload []byte) error {
		r.records = append(r.records, string(payload))
		if n != uint64(len(r.records)) {
			return fmt.Errorf("record %d is told as number %d", n, len(r.records))
		}
		return nil
	})
	if err != nil {
		r.c.t.Error(err)
	}
}

func (r *running) Send(to uint64, lane Lane, message []byte, leaves When) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.c.seen != nil {
		r.c.seen(message, leaves)
	}
	if r.c.cut[r.id] || r.c.cut[to] || to > uint64(len(r.c.nodes)) {
		return
	}
	select {
	case r.c.nodes[to-1].inbox[lane] <- received{r.id, message, time.Now().Add(time.Duration(r.c.way.Load()))}:
	default: // the network is full
	}
}

func (r *running) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func (r *running) leads() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

// newCluster starts the voters and as many more that are not members yet.
func newCluster(t *testing.T, voters, more int, change func(*Options)) *cluster {
	c := &cluster{t: t, cut: map[uint64]bool{}}
	at := Point{Index: 1, Term: 1}
	for i := range voters {
		at.Members.Voters = append(at.Members.Voters, uint64(i+1))
	}
	for i := range voters + more {
		r := &running{c: c, id: uint64(i + 1), disk: vfs.NewFaulty(vfs.NewMem()), ended: make(chan struct{})}
		r.inbox = [2]chan received{make(chan received, 1000), make(chan received, 1000)}
		log, report, err := wal.Open(wal.Options{FS: r.disk, Dir: "/log", FileSize: 256 << 10}, func(wal.Entry) error { return nil })
		fatal(t, err)
		log.Start()
		start, err := Begin(log, simGroup, r.id, 1, at)
		fatal(t, err)
		o := Options{Log: log, Level: wal.Synced}
		if change != nil {
			change(&o)
		}
		r.log = log
		r.group, err = New(o, (&Recovery{}).History(start, o.Level, &report), r, r)
		fatal(t, err)
		c.nodes = append(c.nodes, r)
	}
	for _, r := range c.nodes {
		r.group.Start()
		for lane := range r.inbox {
			r.pumps.Go(func() {
				for {
					select {
					case b := <-r.inbox[lane]:
						if halt := r.halt.Load(); halt != nil {
							<-*halt
						}
						time.Sleep(time.Until(b.at))
						step := r.group.Step
						if Lane(lane) == Bulk && len(r.inbox[lane]) == 0 {
							step = r.group.StepLast
						}
						_ = step(context.Background(), b.from, Lane(lane), b.message)
					case <-r.ended:
						return
					}
				}
			})
		}
	}
	return c
}

func (r *running) close() {
	close(r.ended)
	r.group.Close()
	r.pumps.Wait()
	_ = r.log.Close() // after a failure it says so
}

func (c *cluster) close() {
	for _, r := range c.nodes {
		select {
		case <-r.ended:
		default:
			r.close()
		}
	}
}

// leader waits for a leader that is not cut off, and says that it may deliver.
func (c *cluster) leader() *running {
	c.t.Helper()
	for range 200 {
		time.Sleep(50 * time.Millisecond)
		for _, r := range c.nodes {
			c.mu.Lock()
			off := c.cut[r.id]
			c.mu.Unlock()
			if !off && r.leads() != 0 && r.group.Leased() {
				return r
			}
		}
	}
	c.t.Fatal("nobody leads after 10 s")
	return nil
}

func (c *cluster) setCut(cut bool, ids ...uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.cut[id] = cut
	}
}

// publish appends a record and waits until it is committed.
func (r *running) publish(text string) error {
	term := r.leads()
	n, err := r.group.Append(term, journal.KindPublish, []byte(text))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.group.Await(ctx, term, n)
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGroupCommitsOnAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint("record ", i))
			fatal(t, l.publish(want[i]))
		}
		term := l.leads()
		var last uint64
		for i := range 1000 { // many at once are few entries
			text := fmt.Sprint("more ", i)
			want = append(want, text)
			n, err := l.group.Append(term, journal.KindPublish, []byte(text[:4]), []byte(text[4:]))
			fatal(t, err)
			last = n
		}
		fatal(t, l.group.Await(t.Context(), term, last))
		time.Sleep(time.Second)
		for _, r := range c.nodes {
			if got := r.told(); !slices.Equal(got, want) {
				t.Errorf("replica %d was told of %d records, want %d", r.id, len(got), len(want))
			}
		}
		s, err := l.group.Status(t.Context())
		fatal(t, err)
		if s.Reign != term || s.Lead != l.id || s.Applied.Record != 1100 || s.Last > 400 || s.Match[1] != s.Last || len(s.Match) != 3 || s.Err != nil {
			t.Errorf("status %+v", s)
		}
		if _, err := l.group.Append(term-1, journal.KindPublish); !errors.Is(err, ErrNotLeader) {
			t.Errorf("append of an earlier reign: %v", err)
		}
		if _, err := l.group.Append(term, journal.KindVote); !errors.Is(err, journal.ErrRecord) {
			t.Errorf("append of a vote: %v", err)
		}
	})
}

// A leader that dies is followed by one that has all; a wait at one that is cut off ends with ErrNotLeader, and its
// lease is over before another one leads.
func TestGroupGoesOnWithoutItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		old := c.leader()
		fatal(t, old.publish("first"))
		c.setCut(true, old.id)
		term := old.leads()
		n, err := old.group.Append(term, journal.KindPublish, []byte("lost"))
		fatal(t, err)
		result := make(chan error, 1)
		go func() { result <- old.group.Await(context.Background(), term, n) }()
		for old.group.Leased() {
			time.Sleep(10 * time.Millisecond)
			for _, r := range c.nodes {
				if r != old && r.leads() != 0 {
					t.Fatal("another one leads while the old one has the lease")
				}
			}
		}
		l := c.leader()
		if err := <-result; !errors.Is(err, ErrNotLeader) {
			t.Errorf("who waits at a leader that is cut off: %v", err)
		}
		fatal(t, l.publish("second"))
		c.setCut(false, old.id)
		time.Sleep(2 * time.Second)
		for _, r := range c.nodes {
			if got := r.told(); !slices.Equal(got, []string{"first", "second"}) {
				t.Errorf("replica %d was told of %q", r.id, got)
			}
		}
	})
}

func TestGroupWithoutMajorityTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, func(o *Options) { o.Uncommitted = 1000 })
		defer c.close()
		l := c.leader()
		for _, r := range c.nodes {
			if r != l {
				c.setCut(true, r.id)
			}
		}
		term := l.leads()
		for range 11 {
			_, err := l.group.Append(term, journal.KindPublish, make([]byte, 100))
			fatal(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := l.group.Room(ctx); !errors.Is(err, ErrReplicasBehind) {
			t.Errorf("room: %v", err)
		}
		time.Sleep(3 * time.Second)
		if l.leads() != 0 || l.group.Leased() {
			t.Error("it still leads without a majority")
		}
		c.setCut(false, 1, 2, 3)
		l = c.leader()
		fatal(t, l.group.Room(t.Context()))
		fatal(t, l.publish("after"))
	})
}

// The lead moves by itself when the leader's disk fails, and the replica goes on when its log does.
func TestGroupSurvivesAFailedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		old := c.leader()
		fatal(t, old.publish("first"))
		old.disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Path: "*.wal", Times: 1, Err: syscall.EIO})
		if err := old.publish("second"); err != nil && !errors.Is(err, ErrNotLeader) { // the others have it perhaps, who knows
			t.Errorf("publish with a failing disk: %v", err)
		}
		began := time.Now()
		for old.leads() != 0 {
			time.Sleep(time.Millisecond)
		}
		l := c.leader()
		if l == old {
			t.Error("a leader whose log has failed leads")
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("the lead was handed over after %v, which is what an election takes", took)
		}
		fatal(t, l.publish("third"))
		fatal(t, old.log.Recover())
		time.Sleep(4 * time.Second)
		if got, want := old.told(), l.told(); !slices.Equal(got, want) || len(want) < 2 {
			t.Errorf("it was told of %q, the leader of %q", got, want)
		}
	})
}

func TestGroupHandsTheLeadOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		old := c.leader()
		term := old.leads()
		n, err := old.group.Append(term, journal.KindPublish, []byte("before")) // comes along
		fatal(t, err)
		to := c.nodes[old.id%3]
		fatal(t, old.group.HandOver(t.Context(), to.id))
		if old.group.Leased() {
			t.Error("it delivers while it hands the lead over")
		}
		if _, err := old.group.Append(term, journal.KindPublish); !errors.Is(err, ErrBusy) && !errors.Is(err, ErrNotLeader) {
			t.Errorf("append meanwhile: %v", err)
		}
		if err := old.group.Await(t.Context(), term, n); err != nil && !errors.Is(err, ErrNotLeader) {
			t.Error(err)
		}
		if l := c.leader(); l != to {
			t.Errorf("replica %d leads, not %d", l.id, to.id)
		}
		fatal(t, to.publish("after"))
		if got := to.told(); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("records %q", got)
		}
		if err := old.group.HandOver(t.Context(), to.id); !errors.Is(err, ErrNotLeader) {
			t.Errorf("a follower hands the lead over: %v", err)
		}
	})
}

// A new replica is a learner until it has caught up. What is not allowed is refused, with the reason, and changes
// nothing.
func TestGroupReplacesAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		for i := range 50 {
			fatal(t, l.publish(fmt.Sprint(i)))
		}
		old := c.nodes[l.id%3]
		for what, change := range map[string]func() error{
			"itself":                func() error { return l.group.Replace(t.Context(), l.id, 4) },
			"one that is not":       func() error { return l.group.Replace(t.Context(), 9, 4) },
			"by an id that is used": func() error { return l.group.Replace(t.Context(), old.id, 3) },
			"a voter promoted":      func() error { return l.group.Promote(t.Context(), old.id) },
		} {
			if err := change(); !errors.Is(err, ErrMembers) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := old.group.Replace(t.Context(), l.id, 4); !errors.Is(err, ErrNotLeader) {
			t.Errorf("at a follower: %v", err)
		}
		fatal(t, l.group.Replace(t.Context(), old.id, 4))
		old.close()
		for {
			err := l.group.Promote(t.Context(), 4)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBehind) && !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		s, err := l.group.Status(t.Context())
		fatal(t, err)
		if v := s.Applied.Members.Voters; len(v) != 3 || !slices.Contains(v, 4) || slices.Contains(v, old.id) {
			t.Errorf("voters %v", v)
		}
		fatal(t, l.publish("with the new one"))
		time.Sleep(time.Second)
		if got := c.nodes[3].told(); len(got) != 51 {
			t.Errorf("the new one was told of %d records", len(got))
		}
	})
}

func TestClosedGroupSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 0, nil)
		l := c.leader()
		term := l.leads()
		fatal(t, l.publish("alone"))
		c.close()
		if err := l.group.Await(t.Context(), term, 99); !errors.Is(err, ErrClosed) {
			t.Errorf("await: %v", err)
		}
		if err := l.group.Step(t.Context(), 1, Control, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("step: %v", err)
		}
		if _, err := l.group.Status(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("status: %v", err)
		}
	})
}

func TestOptionsThatCannotBe(t *testing.T) {
	log, _, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "/log", FileSize: 256 << 10}, func(wal.Entry) error { return nil })
	fatal(t, err)
	defer log.Close()
	for name, o := range map[string]Options{
		"no log":           {},
		"too few ticks":    {Log: log, ElectionTicks: leastTicks - 1},
		"a lease too long": {Log: log, Lease: time.Second},
		"little in flight": {Log: log, InflightBytes: 10},
	} {
		if err := o.normalize(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A forced Compact lets go of what was told and of nothing beyond that: what is not committed yet is nowhere else.
func TestAForcedCompactGoesNoFurtherThanWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("told"))
		for _, r := range c.nodes {
			c.setCut(r != l, r.id)
		}
		_, err := l.group.Append(l.leads(), journal.KindPublish, []byte("not told"))
		fatal(t, err)
		time.Sleep(100 * time.Millisecond)
		st, err := l.group.Status(t.Context())
		fatal(t, err)
		if st.Last <= st.Applied.Index {
			t.Fatalf("the log ends at %d, and %d was told", st.Last, st.Applied.Index)
		}
		base := func(to Point) uint64 {
			t.Helper()
			fatal(t, l.group.Compact(t.Context(), to, true))
			st, err := l.group.Status(t.Context())
			fatal(t, err)
			return st.Base
		}
		if now := base(Point{Index: st.Last, Term: st.Term}); now != st.Base {
			t.Errorf("compacted up to an entry that is not told the log begins behind %d, and began behind %d", now, st.Base)
		}
		if now := base(st.Applied); now != st.Applied.Index {
			t.Errorf("compacted up to entry %d the log begins behind %d", st.Applied.Index, now)
		}
	})
}
