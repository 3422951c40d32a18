package relay

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/topic"
)

// Cluster is what a relay needs of the cluster that this node is in.
type Cluster interface {
	// Lead returns who leads a topic as far as this node knows. It waits for nothing.
	Lead(topic string) Lead
	// Link returns the number of the link to a node, 0 when there is none: what was sent while it was another one may be lost.
	Link(folder string) uint64
	// Send gives a frame to a node and waits for nothing. SendPaced does so once little enough waits to be sent there, Pace returns then; both end
	// with the link, and with done.
	Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error
	SendPaced(done <-chan struct{}, folder string, kind peer.Kind, stream uint32, payload ...[]byte) error
	Pace(done <-chan struct{}, folder string) error
}

// Lead is who leads a topic as far as a node knows.
type Lead struct {
	Known  bool     // the topic is replicated, and is not being deleted
	Here   bool     // this node leads it
	Folder string   // of the node that does; empty: nobody is known to
	Member bool     // this node has a replica, and would know
	Others []string // folders of the other nodes that have one
}

// Options says what a relay is.
type Options struct {
	Topics   *topic.Registry
	Cluster  Cluster
	Node     string // this node, as others show it
	Locality func(region, zone string) topic.Locality
	Wait     time.Duration // how long a first subscription may look for a leader; 5 s
	Patience time.Duration // how long a consumer may be without one later; 10 s
	Log      *slog.Logger  // nil: nothing is logged
}

// Relay is the consumers of this node whose topics others lead, and those elsewhere of topics that this node leads. New makes it, Start starts
// it and Close ends it, each once. It is told what other nodes say by Received.
type Relay struct {
	o     Options
	ctx   context.Context // ends with Refuse
	stop  context.CancelFunc
	end   chan struct{} // closed by Close
	kick  chan struct{}
	loops sync.WaitGroup
	rests atomic.Bool // see SetDelivery

	mu      sync.Mutex // guards what follows
	streams map[uint32]*Consumer
	last    uint32 // stream that was given last
	watched map[*Consumer]bool
	guests  map[guestKey]*guest
	unheard map[guestKey]uint64 // streams that clients have left, of which that could not be sent yet; by which link they were there
	closed  bool
}

// guestKey names a stream at who leads.
type guestKey struct {
	folder string
	stream uint32
}

// ErrNoLeader is a subscription that has found nobody who leads the topic.
var ErrNoLeader = errors.New("no broker is found that leads the topic")

// ErrStopping is a subscription that was given up as the broker stops.
var ErrStopping = errors.New("the broker is stopping")

// New returns a relay that does nothing yet.
func New(o Options) *Relay {
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Relay{o: o, end: make(chan struct{}), kick: make(chan struct{}, 1), last: rand.Uint32(), streams: map[uint32]*Consumer{},
		watched: map[*Consumer]bool{}, guests: map[guestKey]*guest{}, unheard: map[guestKey]uint64{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Start starts its goroutine.
func (r *Relay) Start() { r.loops.Go(r.run) }

// Refuse has consumers of this node get no more messages from elsewhere, gives up subscriptions that wait for a leader, and takes no more. What
// clients have they can answer.
func (r *Relay) Refuse() {
	r.stop()
	r.tell()
}

// SetDelivery has consumers of this node get messages from elsewhere, which they do at first, or no more. What clients have they can answer.
func (r *Relay) SetDelivery(on bool) {
	r.rests.Store(!on)
	r.tell()
}

// tell tells who leads what credit the consumers of this node give.
func (r *Relay) tell() {
	for _, c := range r.away() {
		c.mu.Lock()
		c.tellLocked()
		c.mu.Unlock()
	}
}

// InFlight returns how many messages consumers of this node have from elsewhere that they can still answer.
func (r *Relay) InFlight() (n int) {
	for _, c := range r.away() {
		c.mu.Lock()
		now := c.now()
		for _, until := range c.out {
			if until > now { // else it was given out again, as far as is known here
				n++
			}
		}
		c.mu.Unlock()
	}
	return n
}

// Guests returns how many consumers of other nodes are served here.
func (r *Relay) Guests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.guests)
}

// Away returns how many consumers of this node are elsewhere, or look for who leads.
func (r *Relay) Away() (n int) {
	r.mu.Lock()
	watched := slices.Collect(maps.Keys(r.watched))
	r.mu.Unlock()
	for _, c := range watched {
		c.mu.Lock()
		if c.at != here && c.at != over {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// away returns the consumers that are elsewhere, or about to be.
func (r *Relay) away() []*Consumer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.streams))
}

// Close ends what serves consumers elsewhere, and waits for it. Consumers of this node were closed before.
func (r *Relay) Close() {
	r.stop()
	r.mu.Lock()
	r.closed = true
	guests := r.guests
	r.guests = map[guestKey]*guest{}
	r.mu.Unlock()
	for _, g := range guests {
		g.leave()
	}
	close(r.end)
	r.loops.Wait()
}

// Received takes what another node says. It waits for nothing.
func (r *Relay) Received(folder string, kind peer.Kind, stream uint32, payload []byte) {
	var err error
	switch {
	case kind == kindSubscribe:
		err = r.welcome(folder, stream, payload)
	case kind < kindSubscribe || kind > kindGone: // of a newer version
	case kind <= kindTaken:
		r.mu.Lock()
		g := r.guests[guestKey{folder, stream}]
		r.mu.Unlock()
		if g != nil {
			err = g.hear(kind, payload)
		}
	default:
		r.mu.Lock()
		c := r.streams[stream]
		r.mu.Unlock()
		switch {
		case c != nil:
			err = c.hear(folder, kind, stream, payload)
		case kind == kindSubscribed || kind == kindMessages: // that nobody is there any more was not heard
			_ = r.o.Cluster.Send(folder, kindLeave, stream) // it is said again with the next ones
		}
	}
	if err != nil {
		r.o.Log.Error("what another broker says of a relayed consumer is not understood", "folder", folder, "kind", kind, "error", err)
	}
}

// enroll gives a consumer's try to subscribe a number.
func (r *Relay) enroll(c *Consumer) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.last++; r.streams[r.last] != nil; r.last++ {
	}
	r.streams[r.last] = c
	return r.last
}

func (r *Relay) dismiss(stream uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, stream)
}

// say tells a node that a client has left its stream there, now or once there is room on the link; without that link it knows.
func (r *Relay) say(folder string, stream uint32, link uint64) {
	if !errors.Is(r.o.Cluster.Send(folder, kindLeave, stream), peer.ErrFull) {
		return
	}
	r.mu.Lock()
	r.unheard[guestKey{folder, stream}] = link
	r.mu.Unlock()
	r.wake()
}

// sayAgain tells what could not be sent before, and reports whether something is left of that.
func (r *Relay) sayAgain(link func(string) uint64) (left bool) {
	r.mu.Lock()
	unheard := maps.Clone(r.unheard)
	r.mu.Unlock()
	for at, by := range unheard {
		if link(at.folder) == by && errors.Is(r.o.Cluster.Send(at.folder, kindLeave, at.stream), peer.ErrFull) {
			left = true
			continue
		}
		r.mu.Lock()
		delete(r.unheard, at)
		r.mu.Unlock()
	}
	return left
}

// watch has a consumer looked after.
func (r *Relay) watch(c *Consumer) {
	r.mu.Lock()
	r.watched[c] = true
	r.mu.Unlock()
	r.wake()
}

func (r *Relay) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Paces of the loop, while there is something to look after.
const (
	seekPace  = 20 * time.Millisecond // somebody looks for a leader
	watchPace = 25 * time.Millisecond

	many = 1000 // consumers and guests, for each of which the loop is slower by as much
)

// run looks after consumers and guests until Close.
func (r *Relay) run() {
	for {
		var due <-chan time.Time
		if pace := r.look(); pace > 0 {
			due = time.After(pace)
		}
		select {
		case <-r.end:
			return
		case <-r.kick:
		case <-due:
		}
	}
}

// look looks after all once, and returns when it is to do so again, 0 for not before something changes.
func (r *Relay) look() (pace time.Duration) {
	r.mu.Lock()
	consumers := make([]*Consumer, 0, len(r.watched))
	for c := range r.watched {
		consumers = append(consumers, c)
	}
	guests := make([]*guest, 0, len(r.guests))
	for _, g := range r.guests {
		guests = append(guests, g)
	}
	r.mu.Unlock()
	links := map[string]uint64{}
	link := func(folder string) uint64 {
		at, known := links[folder]
		if !known {
			at = r.o.Cluster.Link(folder)
			links[folder] = at
		}
		return at
	}
	if r.sayAgain(link) {
		pace = watchPace
	}
	for _, g := range guests {
		if link(g.folder) != g.link {
			g.leave()
			continue
		}
		pace = watchPace
	}
	leads := map[string]Lead{}
	now := time.Now()
	for _, c := range consumers {
		lead, known := leads[c.topic]
		if !known {
			lead = r.o.Cluster.Lead(c.topic)
			leads[c.topic] = lead
		}
		switch again := c.look(now, &lead, link); {
		case again == 0:
			r.forget(c)
		case pace == 0 || again < pace:
			pace = again
		}
	}
	return pace * time.Duration(1+(len(consumers)+len(guests))/many)
}

// forget ends looking after a consumer, unless it is to be looked after by now.
func (r *Relay) forget(c *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quietLocked() {
		r.mu.Lock()
		delete(r.watched, c)
		r.mu.Unlock()
	}
}
