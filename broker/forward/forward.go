package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// Cluster is what this node knows of the others, and how it speaks with them. None of its methods waits.
type Cluster interface {
	// Self returns the folder of this node.
	Self() string
	// Find returns which topic has a name; ok false: none that is replicated. It fails while that is not known.
	Find(name string) (t Topic, ok bool, err error)
	// Leader returns the folder of who leads a group, as far as this node knows; empty: it does not.
	Leader(group uint32) string
	// Replicas returns the folders of those that have a replica of a group.
	Replicas(group uint32) []string
	// MayBeShort reports whether who leads a group may take no publishes just now, as disks are nearly full.
	MayBeShort(group uint32) bool
	// Link returns the number of the link to a node that Send uses, 0 for none: what was sent over another one may be lost.
	Link(folder string) uint64
	// Send gives a frame to a node. It fails with peer.ErrFull when that is to be tried again.
	Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error
}

// Topic is a replicated topic.
type Topic struct {
	Group    uint32
	Number   uint32 // in the group
	Deleting bool
	Known    bool           // this node has a replica, so that it knows what holds for the topic
	Policy   *policy.Policy // that; nil: all defaults
}

// Options says what a Forwarder works with. Cluster and Topics are needed.
type Options struct {
	Cluster Cluster
	Topics  *topic.Registry
	Wait    time.Duration // what a publish waits for a leader, and for its answer; 5 s
	Log     *slog.Logger  // nil: nothing is logged
}

// Forwarder takes publishes to replicated topics, whoever leads them. Its methods are safe for concurrent use.
type Forwarder struct {
	o      Options
	origin uint64 // this start of the node
	ctx    context.Context
	stop   context.CancelFunc
	acts   acts
	counts counts
	early  early
	serves atomic.Pointer[func([]byte) ([]byte, bool)] // carries out acts of other nodes

	wg sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	groups   map[uint32]*group
	incoming map[sender]*incoming
}

var (
	// ErrNobodyLeads is a publish that was taken nowhere, as no broker was found in time that leads the topic.
	ErrNobodyLeads = fmt.Errorf("%w, and no broker was found in time that does: nothing was published", topic.ErrElsewhere)
	// ErrBarred is one that was taken nowhere, as this node leads the topic and has one of its own in the way, which holds messages.
	ErrBarred error = &reworded{"the topic is replicated, and this broker leads it and cannot serve it: nothing was done; " + topic.ErrInTheWay.Error(),
		[]error{ErrNobodyLeads, topic.ErrInTheWay}}
	// ErrUnpassed is one that was taken nowhere, as this node has a topic of its own with channels that may not be made in the replicated one yet.
	ErrUnpassed error = &reworded{"the topic is replicated, and this broker has one of that name that is not: nothing was published, as its channels could not be made in the replicated one yet",
		[]error{ErrNobodyLeads}}
	// ErrShort is a publish that was taken nowhere in time, while brokers have no room for more: it may have waited behind others that have been answered.
	ErrShort error = &reworded{"brokers of the cluster have no room for more, and what was published before waits for it: nothing was published",
		[]error{ErrNobodyLeads}}
	// ErrUnanswered is a publish whose outcome was not known in time.
	ErrUnanswered = fmt.Errorf("%w, nor was it within --cluster-wait", topic.ErrNotLeader)
	// ErrUnansweredShort is ErrUnanswered while brokers have no room for more: what it was sent behind may wait for that.
	ErrUnansweredShort error = &reworded{"brokers of the cluster have no room for more, and what was published before waits for it: it is not known whether this was done, nor was it within --cluster-wait",
		[]error{ErrUnanswered}}
)

// reworded is other errors to who asks, and reads otherwise.
type reworded struct {
	text string
	is   []error
}

func (e *reworded) Error() string   { return e.text }
func (e *reworded) Unwrap() []error { return e.is }

// New returns a forwarder. Close ends it.
func New(o Options) *Forwarder {
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{o: o, origin: rand.Uint64() | 1, groups: map[uint32]*group{}, incoming: map[sender]*incoming{}}
	f.acts.waiting = map[uint32]chan acted{}
	f.acts.places = make(chan struct{}, mostActs)
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Close ends it. Links and groups were closed before, so that nothing waits for them any more. What is left that was answered early is lost; see
// Settle.
func (f *Forwarder) Close() {
	f.mu.Lock()
	f.closed = true
	groups := slices.Collect(maps.Values(f.groups))
	f.mu.Unlock()
	f.stop()
	f.wg.Wait()
	for _, g := range groups {
		g.abandon()
	}
}

// spawn runs something on a goroutine that Close waits for. Once it is closed it does nothing, and reports false.
func (f *Forwarder) spawn(do func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.wg.Go(do)
	return true
}

// group returns the publishes of a group.
func (f *Forwarder) group(number uint32) *group {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[number]
	if g == nil {
		g = &group{f: f, number: number, kick: make(chan struct{}, 1)}
		f.groups[number] = g
	}
	return g
}

// Leading is told when this node serves the topics of a group, and with nil when it does not any more.
func (f *Forwarder) Leading(number uint32, led *topic.Led) {
	g := f.group(number)
	g.mu.Lock()
	g.led = led
	g.mu.Unlock()
	g.wake()
}

// known returns the publishes of a group, nil when there were never any, and this node has led it never.
func (f *Forwarder) known(number uint32) *group {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.groups[number]
}

// leading returns the topics of a group that this node serves, nil when it does not.
func (f *Forwarder) leading(number uint32) *topic.Led {
	g := f.known(number)
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.led
}

// Received takes a frame of another node.
func (f *Forwarder) Received(folder string, kind peer.Kind, stream uint32, payload []byte) {
	switch kind {
	case framePublish:
		f.arrived(folder, stream, payload)
	case frameAnswers:
		f.answered(folder, stream, payload)
	case frameAct:
		f.asked(folder, stream, payload)
	case frameActed:
		f.acts.answered(stream, payload)
	}
}

// retryEvery is the pace at which something is tried again that nobody tells of.
const retryEvery = 10 * time.Millisecond

// Publish publishes a batch to a replicated topic, deferred when delay is above 0, at whoever leads it, and resets the batch. The messages are
// taken once, however often the lead changes. It returns when they are committed, or sooner, as Batch.Acks or the topic's option says; one that asks
// for a receipt waits for the commit. It fails with topic.ErrAcks, topic.ErrNotReplicated when there is no such topic, and the batch is as it was; with
// ErrNobodyLeads or ErrUnanswered, ErrShort or ErrUnansweredShort, after Options.Wait; or as who leads refuses it. The batch may be empty then.
func (f *Forwarder) Publish(name string, b *topic.Batch, delay time.Duration) error {
	if b.Len() == 0 {
		return nil
	}
	switch {
	case b.TTL > 0:
		return topic.ErrLedTTL
	case b.Keyed():
		return topic.ErrLedKeys
	case b.Size() > topic.MostReplicated: // it would hold up all behind it
		return fmt.Errorf("%w: a publish of %d bytes, %d are allowed", topic.ErrReplicated, b.Size(), topic.MostReplicated)
	}
	if err := f.o.Topics.TakesPublishes(); err != nil {
		return err
	}
	began := time.Now()
	p := &publish{b: b, name: name, delay: delay, due: b.Due, later: b.Later, receipt: b.Receipts, began: began, deadline: began.Add(f.o.Wait)}
	defer p.leave()
	for tries := 0; ; tries++ {
		t, ok, err := f.o.Cluster.Find(name)
		switch {
		case err == nil && !ok && p.frames != nil:
			return p.late() // it was deleted meanwhile
		case err == nil && !ok:
			b.From = journal.Origin{}
			return topic.ErrNotReplicated
		case err == nil && t.Deleting:
			return fmt.Errorf("%w: it is being deleted", topic.ErrElsewhere)
		case err == nil:
			if p.g == nil {
				if p.asked, p.acks, err = acksOf(b, &t); err != nil {
					return err
				}
			}
			p.enter(f.group(t.Group), t.Number)
			if err = f.try(name, p); err == nil || !errors.Is(err, errRetry) {
				return err
			}
			if err == errNow {
				continue
			}
		}
		if time.Now().After(p.deadline) {
			if p.g == nil {
				return fmt.Errorf("nothing was published: %w", err)
			}
			return p.late()
		}
		if err := f.pause(min(retryEvery<<min(tries, 10), mostPause, max(retryEvery, time.Until(p.deadline)))); err != nil {
			return err
		}
	}
}

// mostPause is the longest pause between two tries of a publish.
const mostPause = 320 * time.Millisecond

// pause waits a moment.
func (f *Forwarder) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-f.ctx.Done():
		return topic.ErrExiting
	}
}

var (
	// errRetry is a publish that was not taken, as far as is known, and is to be tried again.
	errRetry = errors.New("it is to be tried again")
	// errNow is the same at once: it had to wait for others before it.
	errNow = fmt.Errorf("%w now", errRetry)
)

// try has a publish carried out here, when this node leads, or by who does.
func (f *Forwarder) try(name string, p *publish) error {
	t := f.o.Topics.Lookup(name)
	p.barred = nil
	if t != nil && !t.Replicated() { // it gives way, and takes nothing; here it is in the way until it has, elsewhere until its channels are made there
		switch {
		case f.leading(p.g.number) != nil:
			p.barred = ErrBarred
		case len(t.Unpassed()) > 0:
			p.barred = ErrUnpassed
		}
		if p.barred != nil || !t.Yields() {
			return errRetry
		}
		t = nil
	}
	switch {
	case p.acks == policy.AcksNone && p.frames == nil && !f.o.Cluster.MayBeShort(p.g.number) && f.early.hold(p, p.b.Size()):
		return p.g.keep(p)
	case t == nil:
		p.waits = false
		err := p.g.carry(p)
		f.counts.carried(err)
		return err
	case p.g.behind(p):
		return p.g.carry(p)
	}
	err := p.here(t)
	if errors.Is(err, topic.ErrNotLeader) || errors.Is(err, topic.ErrTwice) {
		p.unknown = true
		return errRetry
	}
	if errors.Is(err, topic.ErrExiting) {
		return errRetry
	}
	return err
}

// publish is one that is under way.
type publish struct {
	b        *topic.Batch
	name     string     // of the topic
	asked    topic.Acks // when it is to be answered, as it was said
	acks     topic.Acks // the same, as this node knows it
	delay    time.Duration
	due      int64
	later    *topic.Wakes
	receipt  bool
	began    time.Time
	deadline time.Time
	unknown  bool  // it may have been taken somewhere
	barred   error // why a topic of this node's own keeps it from being taken anywhere; nil: none does

	g      *group // it has a number of
	number uint64
	topic  uint32 // the same

	// Once it is to go to another node.
	frames []byte
	count  int
	done   chan outcome

	over   bool // nobody waits for it any more; guarded by group.mu, as what follows
	queued bool
	waits  bool // for others before it, as this node leads

	early   bool      // it is answered, before it is committed
	inOrder bool      // see topic.Batch
	held    int       // bytes that count as answered early
	until   time.Time // with early: when it is given up
	begun   *begun    // on this node, see group.begin
}

// outcome is what has become of a publish that went to another node.
type outcome struct {
	err     error
	early   bool // it is answered, and goes on without who waited for it
	receipt topic.Receipt
}

// enter gives it a number of a group, if it has none.
func (p *publish) enter(g *group, number uint32) {
	p.topic = number
	if p.g == g {
		return
	}
	p.leave()
	p.g, p.over = g, false
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	p.number = g.last
	g.open = append(g.open, p)
}

// leave says that nobody waits for it any more.
func (p *publish) leave() {
	if p.g == nil {
		return
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if !p.early {
		p.g.dropLocked(p)
	}
}

// late returns the error of a publish whose time is over.
func (p *publish) late() error {
	short := p.g != nil && p.g.f.o.Cluster.MayBeShort(p.g.number) // those before it wait for room, say
	switch {
	case p.unknown && short:
		return ErrUnansweredShort
	case p.unknown:
		return ErrUnanswered
	case p.barred != nil:
		return p.barred
	case short:
		return ErrShort
	}
	return ErrNobodyLeads
}

// rest returns how much longer its messages are to be deferred.
func (p *publish) rest(now time.Time) time.Duration { return max(0, p.delay-now.Sub(p.began)) }

// here publishes it on this node, which leads.
func (p *publish) here(t *topic.Topic) error {
	if p.frames != nil { // it was to go to another node
		b, err := topic.BatchOf(p.frames, p.count)
		if err != nil {
			return err
		}
		*p.b, p.frames = b, nil
	}
	delay := p.delay
	if delay > 0 {
		delay = p.rest(time.Now())
	}
	p.b.Due, p.b.Later, p.b.From = p.due, p.later, p.g.origin(p.number)
	if p.acks == policy.AcksOne {
		return p.g.begin(p, t, delay)
	}
	return t.PublishDeferred(p.b, delay)
}
