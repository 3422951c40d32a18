package topic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// oneReplica is the log of a group whose records are committed, and applied to its standby, in their order, as soon as they may be.
type oneReplica struct {
	standby *Standby

	mu      sync.Mutex
	next    uint64
	waiting [][]byte // entries of one record each
	hold    bool     // nothing is committed
	over    bool
	pause   bool // nothing may be delivered
	moved   chan struct{}
	applied func(entry []byte) // nil: nobody asks
	t       testing.TB
}

func newOneReplica(t testing.TB, s *Standby) *oneReplica {
	return &oneReplica{standby: s, next: s.Record() + 1, moved: make(chan struct{}), t: t}
}

func (o *oneReplica) Append(kind journal.Kind, head, body []byte) journal.Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return Nowhere
	}
	o.waiting = append(o.waiting, journal.AppendRecord(journal.AppendFirst(nil, o.next), kind, head, body))
	o.next++
	o.commitLocked()
	return journal.Offset{Offset: int64(o.next - 1)}
}

func (o *oneReplica) commitLocked() {
	for ; !o.hold && len(o.waiting) > 0; o.waiting = o.waiting[1:] {
		if err := o.standby.Apply(o.waiting[0]); err != nil {
			o.t.Error(err)
		}
		if o.applied != nil {
			o.applied(o.waiting[0])
		}
	}
	close(o.moved)
	o.moved = make(chan struct{})
}

// set changes it.
func (o *oneReplica) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
	o.commitLocked()
}

// lose ends the reign; some of the records that are not committed are all the same.
func (o *oneReplica) lose(committed int) {
	o.set(func() {
		o.over = true
		o.waiting = o.waiting[:min(committed, len(o.waiting))]
		o.hold = false
	})
	o.standby.EndReign()
}

func (o *oneReplica) Commit(at journal.Offset, _ bool) error {
	for {
		o.mu.Lock()
		over, moved := o.over, o.moved
		o.mu.Unlock()
		switch {
		case at != Nowhere && o.standby.Record() >= uint64(at.Offset):
			return nil
		case over:
			return ErrNotLeader
		}
		<-moved
	}
}

func (o *oneReplica) End() journal.Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	return journal.Offset{Offset: int64(o.next)}
}

func (o *oneReplica) Leased() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.pause && !o.over
}

func (o *oneReplica) Safe(at journal.Offset) bool {
	return at != (journal.Offset{}) && o.standby.Record() >= uint64(at.Offset)
}

func (o *oneReplica) CommitOwn(at journal.Offset) error { return o.Commit(at, true) }

func (o *oneReplica) Confirm(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return ErrUnconfirmed
	}
	return nil
}

func (o *oneReplica) Err() error  { return nil }
func (o *oneReplica) Gap() error  { return nil }
func (o *oneReplica) Room() error { return nil }

// lead makes live topics of a standby.
func lead(t testing.TB, r *Registry, s *Standby) (*Led, *oneReplica) {
	t.Helper()
	o := newOneReplica(t, s)
	l, err := r.Lead(s, o)
	if err != nil {
		t.Fatal(err)
	}
	if failed := l.Serve(); len(failed) > 0 {
		t.Fatal(failed)
	}
	return l, o
}

func createLed(t testing.TB, l *Led, number uint32, name string) *Topic {
	t.Helper()
	if err := l.Create(number, name); err != nil {
		t.Fatal(err)
	}
	if failed := l.Serve(); len(failed) > 0 {
		t.Fatal(failed)
	}
	return l.registry.Lookup(name)
}

func durableConfig() Config {
	cfg := config()
	makeDurable(&cfg)
	return cfg
}

// TestPublishOfAReplicatedTopicIsShownOnceCommitted: not before, and never when the lead is lost first; then who publishes is told that nobody
// knows, and consumers are closed.
func TestPublishOfAReplicatedTopicIsShownOnceCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		l, o := lead(t, r, NewStandby())
		topic := createLed(t, l, 1, "orders")
		owner := newStub()
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{Owner: owner})
		publish(t, topic, 1)
		if n := drain(s); n != 1 {
			t.Fatalf("%d messages, want 1", n)
		}
		o.set(func() { o.hold = true })
		result := make(chan error, 1)
		send := func() {
			var b Batch
			b.Add([]byte("m"))
			result <- topic.Publish(&b)
		}
		go send()
		synctest.Wait()
		if n := drain(s); n != 0 {
			t.Fatal("a message was delivered before it was committed")
		}
		o.set(func() { o.hold = false })
		if err := <-result; err != nil || drain(s) != 1 {
			t.Fatalf("committed: %v", err)
		}
		o.set(func() { o.hold = true })
		go send()
		synctest.Wait()
		o.lose(0)
		if err := <-result; !errors.Is(err, ErrNotLeader) {
			t.Fatalf("the lead was lost: %v", err)
		}
		l.Drop()
		if n := drain(s); n != 0 {
			t.Error("a message was delivered after the lead was lost")
		}
		select {
		case <-owner.closed:
		default:
			t.Error("the consumer was not closed")
		}
		if r.Lookup("orders") != nil {
			t.Error("the topic is still there")
		}
		if r.Health() != nil {
			t.Errorf("the broker is unwell: %v", r.Health())
		}
	})
}

// TestNothingIsDeliveredWithoutTheLease: fresh messages and those that come again wait, and go on when it is there again.
func TestNothingIsDeliveredWithoutTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		l, o := lead(t, r, NewStandby())
		topic := createLed(t, l, 1, "orders")
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		publish(t, topic, 2)
		var d Delivery
		if s.Take(&d) == 0 {
			t.Fatal("nothing to take")
		}
		o.set(func() { o.pause = true })
		id := first(d.Runs[0].Frames).MustID()
		s.Apply([]Answer{{Verb: Requeue, ID: id}}, nil)
		publish(t, topic, 3)
		if n := drain(s); n != 0 {
			t.Fatalf("%d messages were delivered without the lease", n)
		}
		woken(s)
		o.set(func() { o.pause = false })
		l.Resume()
		synctest.Wait()
		if !woken(s) || drain(s) != 4 {
			t.Error("the consumer does not go on with the lease")
		}
	})
}

// TestATopicInTheWay: one of the broker alone is replaced when it holds nothing, and stays, with all that it has, when it holds something.
func TestATopicInTheWay(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	mustTopic(t, r, "empty")
	full := mustTopic(t, r, "full")
	publish(t, full, 1)
	l, _ := lead(t, r, NewStandby())
	for i, name := range []string{"empty", "full"} {
		if err := l.Create(uint32(i+1), name); err != nil {
			t.Fatal(err)
		}
	}
	if failed := l.Serve(); len(failed) != 1 || !errors.Is(failed["full"], ErrInTheWay) {
		t.Fatalf("served: %v", failed)
	}
	if now := r.Lookup("empty"); now == nil || !now.Replicated() {
		t.Error("the topic that held nothing is still there")
	}
	if r.Lookup("full") != full || full.Stats().Depth != 1 {
		t.Error("the topic that holds something is gone")
	}
	if err := full.Empty(); err != nil {
		t.Fatal(err)
	}
	if failed := l.Serve(); len(failed) > 0 || !r.Lookup("full").Replicated() {
		t.Errorf("once it is empty: %v", failed)
	}
	names := r.LedNames()
	if !slices.Equal(names, []string{"empty", "full"}) {
		t.Errorf("replicated are %v", names)
	}
	if m := r.Metadata(); len(m.Topics) > 0 {
		t.Errorf("the list of topics has %v", m.Topics)
	}
}

// TestWhatAReplicatedTopicRefuses: what followers could not do the same is refused, and says so.
func TestWhatAReplicatedTopicRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	l, _ := lead(t, r, NewStandby())
	topic := createLed(t, l, 1, "orders")
	mustChannel(t, topic, "c")
	_, redrive := topic.Redrive("c", RedriveOptions{})
	for what, err := range map[string]error{
		"a ttl": topic.TakesTTL(), "a redrive": redrive, "to be deleted alone": r.DeleteTopic("orders"),
	} {
		if !errors.Is(err, ErrReplicated) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := l.Delete(1); err != nil || r.Lookup("orders") != nil {
		t.Errorf("deleted: %v", err)
	}
	if names := l.reign.(*oneReplica).standby.Topics(); len(names) > 0 {
		t.Errorf("the standby has %v", names)
	}
}

// TestElsewhereIsNotMade: a topic that another broker leads is not made here.
func TestElsewhereIsNotMade(t *testing.T) {
	t.Parallel()
	cfg := durableConfig()
	cfg.Elsewhere = func(name string) error {
		if name == "orders" {
			return ErrElsewhere
		}
		return nil
	}
	r := start(t, cfg)
	if _, err := r.Topic("orders"); !errors.Is(err, ErrElsewhere) || r.Lookup("orders") != nil {
		t.Errorf("made all the same: %v", err)
	}
	mustTopic(t, r, "other")
}

// holdsOf returns what channels have, for people: what waits, and what is out with its attempts.
func holdsOf(t testing.TB, states map[string]*journal.Channel) string {
	t.Helper()
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(states)) {
		c := states[name]
		fmt.Fprintf(&b, "%s: waits %v, out", name, journal.Merge(slices.Clone(c.Waiting)))
		c.Out.Each(func(pos Position, o journal.Out) { fmt.Fprintf(&b, " %d*%d", pos, o.Attempts) })
		if name == "" { // what left the topic's own backlog for good is not counted any more once the rest has moved
			gone := c.Counts.Gone()
			fmt.Fprintln(&b, " accepted and not gone", c.Counts.Accepted-gone)
			continue
		}
		fmt.Fprintln(&b, " paused", c.Paused, "counts", c.Counts.Accepted, c.Counts.Finished, c.Counts.Discarded)
	}
	return b.String()
}

// liveHolds returns what a topic's channels have now.
func liveHolds(t testing.TB, topic *Topic) string {
	t.Helper()
	states := map[string]*journal.Channel{}
	for _, c := range topic.all() {
		if c.ephemeral {
			continue
		}
		s := c.snapshot()
		out := map[Position]uint16{}
		s.EachOut(func(pos Position, o journal.Out) { out[pos] = o.Attempts })
		state := s.State()
		for _, pos := range slices.Sorted(maps.Keys(out)) {
			state.Out.Set(pos, journal.Out{Attempts: out[pos]})
		}
		states[c.name] = state
	}
	return holdsOf(t, states)
}

// standbyHolds returns what a standby says of a topic.
func standbyHolds(t testing.TB, s *Standby, number uint32) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	states := map[string]*journal.Channel{}
	for _, c := range s.state.Topics[number].Channels {
		states[c.Name] = c
	}
	return holdsOf(t, states)
}

// Whatever is done with a topic, its standby has the same; so has one that is read from a checkpoint; and so have
// the topics that the next leader makes of it, from which every acknowledged message is finished in the end, on every channel, and nothing
// else. What the last leader had appended and not committed is not there.
func TestStandbyIsWhatTheLeaderIs(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { (&ledModel{t: t, rand: rand.New(rand.NewPCG(seed, 1))}).run() })
		})
	}
}

// ledModel does things with a topic that leaders follow each other for.
type ledModel struct {
	t       *testing.T
	rand    *rand.Rand
	r       *Registry
	standby *Standby
	l       *Led
	o       *oneReplica
	topic   *Topic
	subs    []*Subscription
	held    map[*Subscription][]heldMessage
	acked   map[string]bool // bodies
	done    map[string]bool // bodies that were finished on some channel; false: it may not have been committed
	next    int
	lossy   bool    // what is done now may not be committed
	rough   bool    // messages are dropped as well, so that nothing is known of which are there in the end
	disk    *onDisk // where nearly all messages are; nil: all are in memory
	options string  // of the topic, in JSON
}

type heldMessage struct {
	id   protocol.MessageID
	body string
}

// messages returns what was taken, and forgets it.
func messages(d *Delivery) (list []heldMessage) {
	for _, run := range d.Runs {
		for rest := run.Frames; len(rest) > 0; {
			f := protocol.FirstMessage(rest)
			list = append(list, heldMessage{f.MustID(), string(f.Body())})
			rest = rest[len(f):]
		}
	}
	d.Clear()
	return list
}

func (m *ledModel) run() {
	m.r = start(m.t, durableConfig())
	m.standby, m.acked, m.done = NewStandby(), map[string]bool{}, map[string]bool{}
	if m.disk != nil {
		m.standby = m.disk.open(m.t)
	}
	m.lead()
	m.topic = createLed(m.t, m.l, 7, "orders")
	if m.options != "" {
		if err := m.topic.SetOptions(parsed(m.t, m.options)); err != nil {
			m.t.Fatal(err)
		}
	}
	for range 6 {
		m.held = map[*Subscription][]heldMessage{}
		for range 40 {
			m.act()
		}
		m.same("the standby")
		m.handOver()
	}
	m.finishAll()
}

// lead begins a reign.
func (m *ledModel) lead() {
	m.t.Helper()
	m.l, m.o = lead(m.t, m.r, m.standby)
	if m.disk != nil {
		m.o.applied = func(entry []byte) { m.disk.log = append(m.disk.log, entry) }
	}
}

// act does one thing.
func (m *ledModel) act() {
	if m.disk != nil && m.rand.IntN(4) == 0 {
		m.toDisk()
		return
	}
	if m.rough && m.rand.IntN(3) == 0 {
		m.drop()
		return
	}
	switch k := m.rand.IntN(20); {
	case k < 7:
		delay := time.Duration(0)
		if m.rand.IntN(4) == 0 {
			delay = time.Duration(1+m.rand.IntN(5)) * time.Second
		}
		m.publish(delay)
	case k < 9:
		if len(m.subs) < 4 {
			m.subs = append(m.subs, mustSubscribe(m.t, m.topic, []string{"a", "b"}[m.rand.IntN(2)], 1+m.rand.IntN(20), SubscribeOptions{MsgTimeout: 3 * time.Second}))
		}
	case k < 13:
		m.take()
	case k < 17:
		m.answer()
	case k == 17:
		time.Sleep(time.Duration(m.rand.IntN(4000)) * time.Millisecond)
		synctest.Wait()
	case k == 18:
		if len(m.subs) > 0 {
			i := m.rand.IntN(len(m.subs))
			_ = m.subs[i].Close()
			delete(m.held, m.subs[i])
			m.subs = slices.Delete(m.subs, i, i+1)
		}
	default:
		m.topic.SetPaused(m.rand.IntN(3) == 0)
	}
}

func (m *ledModel) publish(delay time.Duration) {
	var b Batch
	var bodies []string
	for range 1 + m.rand.IntN(5) {
		m.next++
		bodies = append(bodies, fmt.Sprint("m", m.next))
		b.Add([]byte(bodies[len(bodies)-1]))
	}
	if err := m.topic.PublishDeferred(&b, delay); err != nil {
		m.t.Fatal(err)
	}
	for _, body := range bodies {
		m.acked[body] = true
	}
}

func (m *ledModel) take() {
	if len(m.subs) == 0 {
		return
	}
	s := m.subs[m.rand.IntN(len(m.subs))]
	var d Delivery
	s.Take(&d)
	m.held[s] = append(m.held[s], messages(&d)...)
}

func (m *ledModel) answer() {
	for _, s := range m.subs {
		var answers []Answer
		some := m.held[s]
		for len(answers) < len(some) && m.rand.IntN(4) > 0 {
			answers = append(answers, Answer{ID: some[len(answers)].id, Verb: []Verb{Finish, Finish, Requeue, Touch}[m.rand.IntN(4)], Delay: time.Duration(m.rand.IntN(3)) * time.Second})
		}
		m.answered(s, some, answers)
		m.held[s] = some[len(answers):]
	}
}

// answered has a consumer answer messages, and notes which are finished for good: what is not committed when the lead is lost is not.
func (m *ledModel) answered(s *Subscription, some []heldMessage, answers []Answer) {
	s.Apply(answers, nil)
	for i := range answers {
		if answers[i].Verb == Finish && answers[i].Err == nil {
			m.done[some[i].body] = m.done[some[i].body] || !m.lossy // else it may come again, or not
		}
	}
}

// same compares what the live topic has with its standby, and with one that was written down and read.
func (m *ledModel) same(what string) {
	m.t.Helper()
	live := liveHolds(m.t, m.topic)
	if got := standbyHolds(m.t, m.standby, 7); got != live {
		m.t.Fatalf("%s has\n%s\nand the leader\n%s", what, got, live)
	}
	read := m.read()
	if got := standbyHolds(m.t, read, 7); got != live || read.Record() != m.standby.Record() {
		m.t.Fatalf("%s that was written down has\n%s\nand the leader\n%s", what, got, live)
	}
	m.sameCopy(read)
	if m.disk == nil && m.rand.IntN(2) == 0 {
		m.standby, m.o.standby = read, read
	}
}

// read returns the standby as it is when it was written down, or sent to another node.
func (m *ledModel) read() *Standby {
	m.t.Helper()
	if m.disk != nil {
		m.disk.faulty.SetRules()
		return wholeOf(m.t, m.standby, newOnDisk(m.t).segments())
	}
	snap, err := m.standby.Snapshot()
	if err != nil {
		m.t.Fatal(err)
	}
	read, err := OpenStandby(snap.Append(nil), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return read
}

// handOver ends a reign in the middle of publishes and of what consumers do, some of which is committed, and begins the next one.
func (m *ledModel) handOver() {
	m.lossy = true
	m.o.set(func() { m.o.hold = true })
	results := make(chan error, 3)
	for i := range 3 {
		go func() {
			var b Batch
			b.Add(fmt.Appendf(nil, "unsure %d.%d", m.next, i))
			results <- m.topic.Publish(&b)
		}()
	}
	synctest.Wait()
	for range 3 {
		m.take()
		m.answer()
	}
	m.o.lose(m.rand.IntN(8))
	m.l.Drop()
	for range 3 {
		<-results // it is known or not
	}
	m.subs, m.lossy = nil, false
	if m.disk != nil {
		m.disk.log = append(m.disk.log, nil)
		m.restart()
	}
	m.lead()
	if m.topic = m.r.Lookup("orders"); m.topic == nil {
		m.t.Fatal("the next leader does not have the topic")
	}
	m.sameAfter()
}

// sameAfter compares the standby with the topics that were made of it: what was out waits to come again.
func (m *ledModel) sameAfter() {
	m.t.Helper()
	if got, live := standbyHolds(m.t, m.standby, 7), liveHolds(m.t, m.topic); got != live {
		m.t.Fatalf("the next leader has\n%s\nand its standby\n%s", live, got)
	}
}

// finishAll finishes all that there is, and holds that to what was acknowledged.
func (m *ledModel) finishAll() {
	m.topic.SetPaused(false)
	for _, channel := range []string{"a", "b"} {
		if err := mustChannel(m.t, m.topic, channel).SetPaused(false); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, c := range m.topic.Channels() {
		s := mustSubscribe(m.t, m.topic, c.name, 1000, SubscribeOptions{})
		rounds := 10
		if m.disk != nil {
			m.disk.faulty.SetRules()
			rounds = 100 // each reads a node or two
		}
		for range rounds {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			var d Delivery
			for s.Take(&d) > 0 {
				some := messages(&d)
				var answers []Answer
				for _, h := range some {
					answers = append(answers, Answer{ID: h.id, Verb: Finish})
				}
				m.answered(s, some, answers)
			}
		}
	}
	for body := range m.acked {
		if _, known := m.done[body]; !known && !m.rough {
			m.t.Errorf("%s was acknowledged and is nowhere", body)
		}
	}
	m.same("the standby, at the end")
	for _, c := range m.topic.Channels() {
		st := c.Stats()
		left, accepted := st.Held, st.Counts.Accepted
		if left > 0 || accepted == 0 && !m.rough {
			m.t.Errorf("channel %s has %d of %d left", c.name, left, accepted)
		}
	}
	m.l.Drop()
	thin(m.standby)
	if n := m.standby.Bytes(); n != 0 {
		m.t.Errorf("the standby holds %d bytes that nobody needs", n)
	}
	if m.disk != nil {
		m.disk.checkpoint(m.t, m.standby)
		if left := m.disk.files(m.t); len(left) > 0 {
			m.t.Errorf("%v are on the disk, and nobody needs them", left)
		}
	}
}

// thin has a standby drop what nobody needs.
func thin(s *Standby) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thinTopicsLocked(true)
}
