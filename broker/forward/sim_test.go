package forward

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

var seeds = flag.Int("seeds", 3, "runs of the simulator")

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is some nodes in virtual time with one group, whose log is common to them: what is not committed when the lead changes is kept or lost by
// chance, as a majority would have it.
type world struct {
	t     *testing.T
	nodes map[string]*node
	stop  chan struct{}
	loops sync.WaitGroup

	short atomic.Bool // disks are nearly full

	changing sync.Mutex // one change of the lead at a time

	mu        sync.Mutex // guards what follows
	rng       *rand.Rand
	topics    map[string]Topic
	reign     *reign // nil: nobody leads
	leader    string
	committed [][]byte // entries of one record each
	serials   map[[2]string]uint64
	apart     map[[2]string]bool
	full      bool // links are full now and then
	slow      bool // it takes a moment until who has lost the lead serves its topics no more
	barred    bool // not all topics can be served
	frames    map[peer.Kind]int
	lose      func(from, to string, kind peer.Kind, payload []byte) bool // nil: nothing is lost
}

// node is one of them.
type node struct {
	w       *world
	name    string
	replica bool
	r       *topic.Registry
	standby *topic.Standby
	f       *Forwarder
	led     *topic.Led
	out     map[string]chan parcel
}

type parcel struct {
	from    string
	serial  uint64
	kind    peer.Kind
	stream  uint32
	payload []byte
}

// noLog is a node's log that nothing stands in.
type noLog struct{}

func (noLog) Append(journal.Kind, []byte, []byte) journal.Offset { return journal.Offset{} }
func (noLog) Commit(journal.Offset, bool) error                  { return nil }
func (noLog) End() journal.Offset                                { return journal.Offset{} }
func (noLog) Err() error                                         { return nil }
func (noLog) Gap() error                                         { return nil }

// run runs a test with three replicas, a, b and c, and d, which has none. Topic orders is led by a.
func run(t *testing.T, seed uint64, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, nodes: map[string]*node{}, stop: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 0)), serials: map[[2]string]uint64{},
			topics: map[string]Topic{"orders": {Group: 1, Number: 1}}, apart: map[[2]string]bool{}, frames: map[peer.Kind]int{}}
		names := []string{"a", "b", "c", "d"}
		for _, name := range names {
			n := &node{w: w, name: name, replica: name != "d", standby: topic.NewStandby(), out: map[string]chan parcel{}}
			n.r = topic.NewRegistry(topic.Config{MemQueueSize: 100, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour, Journal: noLog{}})
			n.r.Start()
			n.f = New(Options{Cluster: n, Topics: n.r})
			w.nodes[name] = n
		}
		for _, n := range w.nodes {
			for _, to := range names {
				if to != n.name {
					line, end := make(chan parcel, 1000), w.nodes[to]
					n.out[to] = line
					w.loops.Go(func() { w.carry(line, end) })
				}
			}
		}
		w.lead("a", 0)
		if err := w.nodes["a"].led.Create(1, "orders"); err != nil {
			t.Fatal(err)
		}
		w.nodes["a"].led.Serve()
		test(w)
		w.lead("", 0)
		close(w.stop)
		w.loops.Wait()
		for _, n := range w.nodes {
			n.f.Close()
			if err := n.r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// carry carries frames to a node, in order, unless their link ends on the way.
func (w *world) carry(from chan parcel, to *node) {
	for {
		select {
		case p := <-from:
			time.Sleep(w.chance(time.Millisecond))
			w.mu.Lock()
			arrives := w.serialLocked(p.from, to.name) == p.serial && (w.lose == nil || !w.lose(p.from, to.name, p.kind, p.payload))
			w.mu.Unlock()
			if arrives {
				to.f.Received(p.from, p.kind, p.stream, p.payload)
			}
		case <-w.stop:
			return
		}
	}
}

func (w *world) chance(most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.Int64N(int64(most)))
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

func (w *world) serialLocked(a, b string) uint64 {
	if w.apart[pair(a, b)] {
		return 0
	}
	return w.serials[pair(a, b)] + 1
}

// cut ends a link, which is there again at once unless they are apart.
func (w *world) cut(a, b string, apart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serials[pair(a, b)]++
	w.apart[pair(a, b)] = apart
}

// heal has all be together.
func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.apart)
}

func (n *node) Self() string { return n.name }

func (n *node) Find(name string) (Topic, bool, error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	t, ok := n.w.topics[name]
	if t.Known = ok && n.replica; t.Known {
		t.Policy = n.standby.Policy(t.Number)
	}
	return t, ok, nil
}

func (n *node) Leader(uint32) string {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if !n.replica {
		return ""
	}
	return n.w.leader
}

func (n *node) MayBeShort(uint32) bool { return n.w.short.Load() }

func (n *node) Replicas(uint32) []string { return []string{"a", "b", "c"} }

func (n *node) Link(folder string) uint64 {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.serialLocked(n.name, folder)
}

func (n *node) Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	w := n.w
	w.mu.Lock()
	serial := w.serialLocked(n.name, folder)
	full := w.full && w.rng.IntN(10) == 0
	w.frames[kind]++
	w.mu.Unlock()
	switch {
	case serial == 0:
		return peer.ErrNoLink
	case full:
		return peer.ErrFull
	}
	select {
	case n.out[folder] <- parcel{n.name, serial, kind, stream, slices.Concat(payload...)}:
		return nil
	default:
		return peer.ErrFull
	}
}

// reign is a group's log while one node leads it.
type reign struct {
	w       *world
	over    bool
	refuses bool          // there is no room
	moody   bool          // now and then there is none
	hold    bool          // nothing is committed
	pending [][]byte      // entries
	done    uint64        // number of the last record that is committed
	own     uint64        // the same of what the leader's own disk has
	stuck   bool          // that has nothing more
	moved   chan struct{} // closed when something changes
}

func (r *reign) Append(kind journal.Kind, head, body []byte) journal.Offset {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.over {
		return journal.Offset{}
	}
	number := uint64(len(w.committed) + len(r.pending) + 1)
	r.pending = append(r.pending, journal.AppendRecord(journal.AppendFirst(nil, number), kind, head, body))
	after, own := time.Duration(w.rng.Int64N(int64(3*time.Millisecond))), time.Duration(w.rng.Int64N(int64(3*time.Millisecond)))
	w.loops.Go(func() {
		time.Sleep(own)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !r.over && !r.stuck && number > r.own {
			r.own = number
			r.movedLocked()
		}
	})
	w.loops.Go(func() {
		time.Sleep(after)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !r.over && !r.hold {
			r.commitLocked(int(number) - len(w.committed))
		}
	})
	return journal.Offset{Offset: int64(number)}
}

// commitLocked commits the first n of what is pending.
func (r *reign) commitLocked(n int) {
	w := r.w
	for ; n > 0; n-- {
		w.committed = append(w.committed, r.pending[0])
		for _, node := range w.nodes {
			if err := node.standby.Apply(r.pending[0]); err != nil {
				w.t.Error(err)
			}
		}
		r.pending = r.pending[1:]
	}
	r.done = uint64(len(w.committed))
	r.movedLocked()
}

func (r *reign) movedLocked() {
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *reign) Commit(at journal.Offset, _ bool) error {
	return r.await(at, func() uint64 { return r.done })
}

func (r *reign) CommitOwn(at journal.Offset) error {
	return r.await(at, func() uint64 { return max(r.done, r.own) })
}

func (r *reign) await(at journal.Offset, have func() uint64) error {
	for {
		r.w.mu.Lock()
		done, over, moved := have() >= uint64(at.Offset), r.over, r.moved
		r.w.mu.Unlock()
		switch {
		case over || at == (journal.Offset{}):
			return topic.ErrNotLeader // also of what is committed: nobody knows
		case done:
			return nil
		}
		<-moved
	}
}

func (r *reign) Safe(at journal.Offset) bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return !r.over && at != (journal.Offset{}) && r.done >= uint64(at.Offset)
}

func (r *reign) End() journal.Offset { return journal.Offset{} }
func (r *reign) Err() error          { return nil }
func (r *reign) Gap() error          { return nil }

func (r *reign) Leased() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return !r.over
}

func (r *reign) Confirm(context.Context) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.over {
		return topic.ErrUnconfirmed
	}
	return nil
}

var errFull = errors.New("there is no room")

func (r *reign) Room() error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	switch {
	case r.over:
		return topic.ErrNotLeader
	case r.refuses, r.moody && r.w.rng.IntN(2) == 0:
		return errFull
	}
	return nil
}

// lead has another node lead; keep of what is not committed is.
func (w *world) lead(name string, keep int) {
	w.changing.Lock()
	defer w.changing.Unlock()
	w.mu.Lock()
	old := w.nodes[w.leader]
	if r := w.reign; r != nil {
		r.commitLocked(min(keep, len(r.pending)))
		r.over = true
		r.movedLocked()
		for _, n := range w.nodes {
			n.standby.EndReign()
		}
	}
	w.reign, w.leader = nil, ""
	w.mu.Unlock()
	if old != nil {
		if w.slow {
			time.Sleep(w.chance(40 * time.Millisecond))
		}
		old.f.Leading(1, nil)
		old.led.Drop()
		old.led = nil
	}
	n := w.nodes[name]
	if n == nil {
		return
	}
	r := &reign{w: w, moved: make(chan struct{})}
	w.mu.Lock()
	w.reign, w.leader = r, name
	w.mu.Unlock()
	led, err := n.r.Lead(n.standby, r)
	if err != nil {
		w.t.Fatal(err)
	}
	if failed := led.Serve(); len(failed) > 0 && !w.barred {
		w.t.Fatal(failed)
	}
	n.led = led
	n.f.Leading(1, led)
}

// restore has a node's standby read again from what a checkpoint of it has.
func (w *world) restore(name string) {
	w.changing.Lock() // nobody makes live topics of it meanwhile
	defer w.changing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[name]
	if w.leader == name { // its live topics have it
		return
	}
	snap, err := n.standby.Snapshot()
	if err != nil {
		return // it is in the middle of something
	}
	if n.standby, err = topic.OpenStandby(snap.Append(nil), nil); err != nil {
		w.t.Fatal(err)
	}
}

// bodies returns the messages that were taken, in order.
func (w *world) bodies() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, entry := range w.committed {
		err := journal.EachRecord(entry, func(_ uint64, kind journal.Kind, payload []byte) error {
			if kind != journal.KindPublish {
				return nil
			}
			_, frames, err := journal.ParsePublish(payload)
			for len(frames) > 0 {
				m := protocol.FirstMessage(frames)
				list = append(list, string(m.Body()))
				frames = frames[len(m):]
			}
			return err
		})
		if err != nil {
			w.t.Error(err)
		}
	}
	return list
}

// publish publishes texts by a node.
func (n *node) publish(texts ...string) error { return n.publishAs(policy.AcksUnsaid, texts...) }

func (n *node) publishAs(acks topic.Acks, texts ...string) error {
	return n.publishTo("orders", acks, texts...)
}

func (n *node) publishTo(name string, acks topic.Acks, texts ...string) error {
	b := topic.Batch{Acks: acks}
	for _, text := range texts {
		b.Add([]byte(text))
	}
	return n.f.Publish(name, &b, 0)
}

// ledger is what publishers were told.
type ledger struct {
	mu     sync.Mutex
	acked  map[string]bool
	early  map[string]bool // of acked: they did not ask to wait for the commit
	lost   int             // of these, as nodes say
	failed map[string]error
}

// check compares what was taken with what publishers were told: what was answered is there once, anything else once at most, and what one
// publisher has sent is in its order.
func (l *ledger) check(t *testing.T, bodies []string) {
	t.Helper()
	seen, last := map[string]int{}, map[string]int{}
	for _, body := range bodies {
		seen[body]++
		var who string
		var number int
		if _, err := fmt.Sscanf(body, "%s %d", &who, &number); err != nil {
			t.Fatal(err)
		}
		if seen[body] > 1 {
			t.Errorf("%q was taken %d times", body, seen[body])
		}
		if number <= last[who] {
			t.Errorf("%q comes behind %d", body, last[who])
		}
		last[who] = number
	}
	missing := 0
	for _, body := range slices.Sorted(maps.Keys(l.acked)) {
		switch {
		case seen[body] > 0:
		case l.early[body]:
			missing++
		default:
			t.Errorf("%q was acknowledged, and is nowhere", body)
		}
	}
	if missing != l.lost {
		t.Errorf("%d are nowhere that were answered early, and %d are said to be lost", missing, l.lost)
	}
}

// TestEachPublishIsTakenOnce: on every node publishers go on while the lead changes, links end, are full, and are away for a while, leaders
// refuse, and standbys are read again from checkpoints.
func TestEachPublishIsTakenOnce(t *testing.T) {
	var acked, early, failed, changes int
	for seed := range uint64(*seeds) {
		run(t, seed, func(w *world) {
			l := &ledger{acked: map[string]bool{}, early: map[string]bool{}, failed: map[string]error{}}
			w.full, w.slow = true, true
			for _, n := range w.nodes { // and room for a few that are answered early
				n.f.early.bytes.Store(mostEarly - 500)
			}
			quit := make(chan struct{})
			var publishers sync.WaitGroup
			for _, name := range []string{"a", "b", "c", "d"} {
				for i := range 2 {
					publishers.Go(func() { w.nodes[name].work(fmt.Sprint(name, i), l, quit) })
				}
			}
			for range 60 {
				time.Sleep(w.chance(200 * time.Millisecond))
				changes += w.trouble()
			}
			w.heal()
			w.mu.Lock()
			w.full, w.reign.refuses, w.reign.moody = false, false, false
			w.mu.Unlock()
			close(quit)
			publishers.Wait()
			if err := w.nodes["d"].publish("last 1"); err != nil {
				t.Errorf("when all is well: %v", err)
			}
			for name, n := range w.nodes {
				if left := n.f.Settle(context.Background()); left > 0 {
					t.Errorf("%s has %d left that were answered early", name, left)
				}
				c := n.f.Counts()
				l.lost += int(c.EarlyRefused + c.EarlyGivenUp)
				early += int(c.Early)
			}
			l.check(t, w.bodies())
			acked, failed = acked+len(l.acked), failed+len(l.failed)
		})
	}
	t.Logf("%d taken, %d of them answered early, %d refused or unknown, in %d reigns", acked, early, failed, changes)
	if acked < 100**seeds || early < 20**seeds || changes < 5**seeds {
		t.Error("too little has happened")
	}
}

// work publishes one batch after the other.
func (n *node) work(who string, l *ledger, quit chan struct{}) {
	for i := 1; ; i += 2 {
		select {
		case <-quit:
			return
		default:
		}
		texts := []string{fmt.Sprint(who, " ", i), fmt.Sprint(who, " ", i+1)}
		acks := []topic.Acks{policy.AcksUnsaid, policy.AcksNone, policy.AcksOne, policy.AcksAll}[n.w.chance(4)]
		err := n.publishAs(acks, texts...)
		l.mu.Lock()
		for _, text := range texts {
			if err == nil {
				l.acked[text] = true
				l.early[text] = acks == policy.AcksNone || acks == policy.AcksOne
			} else {
				l.failed[text] = err
			}
		}
		l.mu.Unlock()
		time.Sleep(n.w.chance(100 * time.Millisecond))
	}
}

// trouble has something go wrong, and returns how many reigns have ended.
func (w *world) trouble() int {
	names := []string{"a", "b", "c", "d"}
	w.mu.Lock()
	kind, keep := w.rng.IntN(10), w.rng.IntN(5)
	one, other := names[w.rng.IntN(3)], names[w.rng.IntN(4)]
	for other == one {
		other = names[w.rng.IntN(4)]
	}
	w.mu.Unlock()
	switch kind {
	case 0, 1:
		w.lead("", keep)
		time.Sleep(w.chance(500 * time.Millisecond))
		w.lead(one, 0)
		return 1
	case 2:
		w.lead(one, keep) // at once, perhaps to who led before
		return 1
	case 3, 4:
		w.cut(one, other, false)
	case 5:
		w.cut(one, other, true)
		time.Sleep(w.chance(time.Second))
		w.heal()
	case 6:
		w.restore(one)
	case 7:
		w.mu.Lock()
		w.reign.refuses = !w.reign.refuses
		w.mu.Unlock()
	case 8:
		w.mu.Lock()
		w.reign.moody = !w.reign.moody
		w.mu.Unlock()
	case 9: // replicas are slow
		w.mu.Lock()
		w.reign.hold, w.reign.moody = true, true
		w.mu.Unlock()
		time.Sleep(w.chance(300 * time.Millisecond))
		w.lead(one, keep)
		return 1
	}
	return 0
}
