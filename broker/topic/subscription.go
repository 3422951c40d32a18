package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Consumer is who subscribes: a connection.
type Consumer interface {
	// Wake tells that Take, which had found nothing, may find something now. It must not wait, nor call the channel.
	Wake()
	// Close ends the connection. It must not wait for the connection's goroutines, nor call the channel.
	Close()
}

// Locality is how near a consumer is.
type Locality uint8

// The localities, nearest first.
const (
	ZoneLocal Locality = iota
	RegionLocal
	Elsewhere
)

// SubscribeOptions are what a consumer asked for.
type SubscribeOptions struct {
	Owner      Consumer
	MsgTimeout time.Duration // in flight before a message comes back
	SampleRate int           // percent of the messages that are delivered; 0 is all of them. The others are discarded
	Locality   Locality
}

// Subscription is one consumer of a channel. Take belongs to who sends for the consumer, one
// goroutine at a time; Apply and SetReady to its reader.
type Subscription struct {
	channel  *Channel
	owner    Consumer
	sample   int
	locality Locality

	// Guarded by Channel.mu.
	lane       int
	ready      int
	inflight   int
	parked     bool  // nobody sends: it is to be woken
	woken      bool  // it was, and has not taken yet
	meant      int   // messages that it was woken for
	since      int64 // when it began with what it answers next
	came       int64 // when it was woken or came for messages last, where the topology counts
	turn       int64 // nanoseconds that it needs for a message, lately; 0: not known yet
	closed     bool
	prev, next *Subscription // in Channel.waiting
	listed     bool          // in Channel.waiting
	n          SubscriptionStats
}

// SubscriptionStats are a consumer's counters.
type SubscriptionStats struct {
	Ready     int
	InFlight  int
	Delivered uint64
	Finished  uint64
	Requeued  uint64
}

// LimitError is the refusal of one consumer too many.
type LimitError struct {
	Topic, Channel string
	Limit          int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("consumers for %s:%s exceeds limit of %d", e.Topic, e.Channel, e.Limit)
}

func (c *Channel) subscribe(o SubscribeOptions) (*Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exiting {
		return nil, errGone
	}
	if limit := c.topic.registry.limits.Load().MaxConsumers; limit > 0 && len(c.subs) >= limit {
		return nil, &LimitError{c.topic.name, c.name, limit}
	}
	s := &Subscription{channel: c, owner: o.Owner, sample: o.SampleRate, locality: o.Locality, parked: true}
	s.lane = c.inflight.AcquireLane(int64(o.MsgTimeout))
	c.subs = append(c.subs, s)
	return s, nil
}

// Channel returns the channel that is consumed.
func (s *Subscription) Channel() *Channel { return s.channel }

// Owner returns the consumer.
func (s *Subscription) Owner() Consumer { return s.owner }

// Stats returns the counters.
func (s *Subscription) Stats() SubscriptionStats {
	s.channel.mu.Lock()
	defer s.channel.mu.Unlock()
	n := s.n
	n.Ready, n.InFlight = s.ready, s.inflight
	return n
}

// SetReady sets the credit: how many messages may be in flight at once, 0 or more.
func (s *Subscription) SetReady(n int) {
	c := s.channel
	c.mu.Lock()
	s.ready = n
	c.settleLocked(s, nil)
	c.nudgeLocked()
	c.mu.Unlock()
}

// Close ends the subscription: what is in flight goes back to the channel at once. An ephemeral channel goes with its last
// consumer. A second call does nothing.
func (s *Subscription) Close() error {
	c := s.channel
	if !s.leave() {
		return nil
	}
	return c.topic.dropChannel(c)
}

// leave takes the consumer out and reports whether the channel, an ephemeral one, is to go with it.
func (s *Subscription) leave() (last bool) {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	c.comeLocked(s)
	if i := slices.Index(c.subs, s); i >= 0 {
		c.subs = slices.Delete(c.subs, i, i+1)
	}
	returned := 0
	c.inflight.RemoveOwner(s, func(it inflight.Item[*Subscription]) {
		c.returnLocked(it.Frame, it.Pos, it.Attempts)
		returned++
	})
	s.inflight = 0
	c.inflight.ReleaseLane(s.lane)
	c.n.disconnected += uint64(returned)
	c.wakeLocked(returned, nil)
	c.nudgeLocked()
	last = c.ephemeral && len(c.subs) == 0 && !c.exiting
	c.exiting = c.exiting || last
	return last
}

// Limits of one Take, so that a consumer's first messages leave while the next are taken, and others get their share.
const (
	takeMessages = 256
	takeBytes    = 128 << 10
)

// Run is bytes to send: whole message frames, which stay valid and must not be changed.
type Run struct {
	Frames   []byte
	Attempts uint16 // when above 0 there is one frame, and its delivery count must read so
}

// Delivery is what Take fills. Its memory is reused.
type Delivery struct {
	Runs []Run
	N    int // messages
}

// Clear forgets the frames, so that they can go.
func (d *Delivery) Clear() {
	clear(d.Runs)
	d.Runs, d.N = d.Runs[:0], 0
}

// add appends a frame, to the last run when it follows that in memory.
func (d *Delivery) add(f protocol.MessageFrame) {
	d.N++
	if k := len(d.Runs) - 1; k >= 0 && d.Runs[k].Attempts == 0 {
		last := d.Runs[k].Frames
		if n := len(last); cap(last) > n && &last[:n+1][n] == &f[0] {
			d.Runs[k].Frames = last[:n+len(f)]
			return
		}
	}
	d.Runs = append(d.Runs, Run{Frames: f})
}

// Take moves messages that wait into flight with this consumer, as many as it has credit for and is its fair share, and
// adds them to d. When it reports 0 there is nothing to do now, and the consumer is woken when there may be.
func (s *Subscription) Take(d *Delivery) int {
	for filled := false; ; filled = true {
		n, fill := s.take(d, true, filled)
		if !fill {
			return n
		}
		if !s.channel.fill() {
			s.rest()
			return 0
		}
	}
}

// TakeReady is Take of what is in memory. When more is true it took nothing, and a Take must follow, which reads from disk.
func (s *Subscription) TakeReady(d *Delivery) (n int, more bool) { return s.take(d, false, false) }

// recheckDelay is how soon a channel is looked at again whose queue on disk has messages that could not be read just now.
const recheckDelay = 100 * time.Millisecond

// rest parks a consumer that was chosen to read from disk and found nothing.
func (s *Subscription) rest() {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	s.parked = true
	if c.deliverableLocked() {
		c.settleLocked(s, nil)
		return
	}
	if s.ready > s.inflight && !s.closed {
		c.waiting.push(s)
	}
	if c.fillableLocked() {
		c.recheckLocked()
	}
}

// recheckLocked has the sweeper come by soon; it wakes a consumer when there is something on disk.
func (c *Channel) recheckLocked() {
	if at := c.topic.registry.now() + int64(recheckDelay); at < c.armed && !c.exiting {
		c.armed = at
		c.topic.registry.sweep.arm(c, at)
	}
}

// take is one try. When fill is true the caller has been chosen to read from disk, if it may, or should ask again when it
// may: there is nothing in memory, or only what is delivered again, and the caller has not just read.
func (s *Subscription) take(d *Delivery, mayFill, filled bool) (n int, fill bool) {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	c.comeLocked(s)
	credit := s.ready - s.inflight
	if credit <= 0 || s.closed || c.exiting || c.held() {
		s.parked = true
		c.nudgeLocked() // what it was woken for is another's now
		return 0, false
	}
	if c.nearerReadyLocked(s) {
		s.parked = true
		c.waiting.push(s)
		if c.waiting.best(true).locality < s.locality {
			c.nudgeLocked() // what this one was woken for
		}
		return 0, false
	}
	ready := c.deliverableLocked()
	if (!ready || !filled && c.fillFirstLocked()) && !c.filling && c.fillableLocked() {
		if !mayFill {
			return 0, true
		}
		c.filling = true
		c.nudgeLocked() // what this one was woken for
		return 0, true
	}
	free := c.visibleLocked() - c.meant
	if !ready || free <= 0 { // what there is, others were woken for
		s.parked = true
		c.waiting.push(s)
		return 0, false
	}
	n = c.deliverLocked(s, d, min(credit, free, max(c.shareLocked(), s.handful()), takeMessages))
	if n == 0 { // all that waited in memory was sampled away
		s.parked = true
		c.settleLocked(s, nil)
	}
	return n, false
}

// shareLocked is a consumer's part of what waits, when those that are parked with credit, or woken and on their way, get as
// much.
func (c *Channel) shareLocked() int {
	others := c.waiting.n + c.woken
	return (c.visibleLocked() + others) / (others + 1)
}

func (c *Channel) deliverLocked(s *Subscription, d *Delivery, limit int) (n int) {
	now := c.topic.registry.now()
	c.active = true
	log, durable := c.logged(), c.topic.d != nil
	if log {
		c.runs.BeginDelivered(c.topic.d.id, c.id, c.told)
		c.drops.BeginDiscarded(c.topic.d.id, c.id, journal.Sampled)
	}
	watch := stopwatch{to: &c.delaysLocked().delivered, now: c.topic.registry.stampOf(now)}
	var p pins
	for bytes := 0; n < limit && bytes < takeBytes && c.deliverableLocked(); {
		m, again := c.nextLocked()
		if s.sample > 0 && rand.IntN(100) >= s.sample {
			c.n.Discarded[journal.Sampled]++
			if log {
				c.drops.Add(m.pos)
			}
			if again && durable {
				p.add(&c.topic.d.table, m.pos, -1)
			}
			continue
		}
		if log {
			c.runs.Add(m.pos)
		}
		if !again && durable {
			p.add(&c.topic.d.table, m.pos, 1)
		}
		c.flyLocked(s, &m, now)
		if again {
			d.Runs = append(d.Runs, Run{Frames: m.frame, Attempts: m.attempts})
			d.N++
		} else {
			d.add(m.frame)
		}
		if m.attempts == 1 {
			watch.saw(m.frame.Timestamp())
		}
		n++
		bytes += len(m.frame)
	}
	if watch.note(); watch.at > 0 {
		c.newest = watch.at
	}
	p.flush()
	if log {
		c.logRunsLocked(journal.KindDelivered, &c.runs)
		c.logRunsLocked(journal.KindDiscarded, &c.drops)
	}
	if s.inflight == 0 {
		s.since = now
	}
	s.inflight += n
	s.n.Delivered += uint64(n)
	c.countLocalityLocked(s, n)
	c.armLocked()
	if c.want > 0 && c.mem.Len()+c.want <= c.bound {
		c.want = 0
		c.room <- struct{}{}
	}
	c.nudgeLocked()
	return n
}

// nextLocked takes out the next message, with the number of this delivery. again says that it was delivered or deferred before, and
// that its frame does not have that number. What comes back goes when its turn has come, or there is nothing fresh.
func (c *Channel) nextLocked() (m retry, again bool) {
	from := &c.retries
	if c.loaded.len() > 0 && (from.len() == 0 || c.loaded.at(0).turn < from.at(0).turn) {
		from = &c.loaded
	}
	if from.len() > 0 && (from.at(0).turn <= c.taken || !c.freshLocked()) {
		m = from.pop()
		m.attempts = max(m.attempts+1, 1) // it wraps, and 0 would say that it never was delivered
		return m, true
	}
	c.taken++
	m.frame, m.pos = c.mem.Next()
	m.attempts = m.frame.Attempts()
	return m, false
}

// turnLocked returns when a message goes that comes back now: behind what waits, at most as many as the channel has in memory. Without
// memory it goes behind all that waits, as in nsqd's queue on disk.
func (c *Channel) turnLocked() uint64 {
	wait := c.mem.Len() + c.spilled
	if bound := c.topic.registry.cfg.MemQueueSize; bound > 0 {
		wait = min(wait, bound)
	}
	c.turn = max(c.turn, c.taken+uint64(wait))
	return c.turn
}

// returnLocked has a message wait to be delivered again.
func (c *Channel) returnLocked(f protocol.MessageFrame, pos Position, attempts uint16) {
	c.retries.push(retry{frame: f, pos: pos, turn: c.turnLocked(), attempts: attempts})
}

// returnShelvedLocked has a message that was deferred wait to be delivered, unless its publish has failed.
func (c *Channel) returnShelvedLocked(m inflight.Shelved) {
	switch {
	case len(c.void) > 0 && c.isVoidLocked(m.Pos):
		c.dropVoidLocked(m.Pos)
	case m.Pos > c.shownLocked():
		c.early.Push(m)
	default:
		m.At = int64(c.turnLocked())
		c.absent.Push(m)
	}
}

// flyLocked puts a message in flight. An id that is in flight already is one that NSQ wrote twice
// after an unclean stop, or of two that had the same node id: the second copy gets a new id, as FIN could not tell them apart.
func (c *Channel) flyLocked(s *Subscription, m *retry, now int64) {
	if c.inflight.Add(m.frame.MustID(), m.pos, m.frame, m.attempts, s, s.lane, now) {
		return
	}
	m.frame = slices.Clone(m.frame)
	for {
		id := c.topic.registry.ids.one()
		m.frame.SetID(id)
		if c.inflight.Add(id, m.pos, m.frame, m.attempts, s, s.lane, now) {
			return
		}
	}
}

func (c *Channel) countLocalityLocked(s *Subscription, n int) {
	switch {
	case !c.topic.registry.cfg.TopologyAware || s.locality == Elsewhere:
		c.n.elsewhere += uint64(n)
	case s.locality == ZoneLocal:
		c.n.zoneLocal += uint64(n)
	default:
		c.n.regionLocal += uint64(n)
	}
}

// stalledAfter is how long a consumer may take to send what it was given before it counts as having no credit.
const stalledAfter = 100 * time.Millisecond

// stalledLocked reports whether who sends for the consumer has not come back for more for long: its socket is full, and it may stay so
// until its write deadline.
func (s *Subscription) stalledLocked(now int64) bool {
	return !s.parked && now-s.came > int64(stalledAfter)
}

// nearerReadyLocked reports whether a nearer consumer should get the next message: it has credit, and the topology counts. One that does
// not come for it is looked at again soon.
func (c *Channel) nearerReadyLocked(s *Subscription) bool {
	if !c.topic.registry.cfg.TopologyAware {
		return false
	}
	now := c.topic.registry.now()
	s.came = now
	if !slices.ContainsFunc(c.subs, func(o *Subscription) bool {
		return o.locality < s.locality && o.ready > o.inflight && !o.stalledLocked(now)
	}) {
		return false
	}
	c.recheckLocked()
	return true
}

// forsakeStalledLocked gives to others what was set aside for consumers that do not come for it.
func (c *Channel) forsakeStalledLocked(now int64) {
	if !c.topic.registry.cfg.TopologyAware {
		return
	}
	for _, s := range c.subs {
		if s.meant > 0 && s.stalledLocked(now) {
			c.meant -= s.meant
			s.meant = 0
		}
	}
}

// HasCredit reports whether the consumer could get a message now, if there were one.
func (s *Subscription) HasCredit() bool {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.ready > s.inflight && !c.held()
}
