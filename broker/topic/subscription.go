package topic

import (
	"fmt"
	"time"
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
	Name       string        // of the consumer, for people; dead letters say who had them last
	MsgTimeout time.Duration // in flight before a message comes back
	Standard   bool          // that is what the node says, as the consumer asks for none: the channel's option counts before it
	SampleRate int           // percent of the messages that are delivered; 0 is all of them. The others are discarded
	Locality   Locality
}

// Subscription is one consumer of a channel. Take belongs to who sends for the consumer, one
// goroutine at a time; Apply and SetReady to its reader.
type Subscription struct {
	channel  *Channel
	owner    Consumer
	name     string
	number   uint64 // that no other has had since the start
	sample   int
	locality Locality

	// Guarded by Channel.mu.
	standard   time.Duration // what the node says, of a consumer that asks for no time in flight; 0: it does
	lane       int
	ready      int
	inflight   int
	parked     bool  // nobody sends: it is to be woken
	woken      bool  // it was, and has not taken yet
	reserved   int   // messages that it was woken for
	since      int64 // when it began with what it answers next
	came       int64 // when it was woken or came for messages last, where the topology counts
	turn       int64 // nanoseconds that it needs for a message, lately; 0: not known yet
	closed     bool
	named      uint64        // where the log has said its name, one more than Registry.cuts was; 0: nowhere
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
	c.enter()
	defer c.exit()
	if c.exiting {
		return nil, errGone
	}
	if limit := c.at.limits.MaxConsumers; limit > 0 && len(c.subs) >= limit {
		return nil, &LimitError{c.topic.name, c.name, limit}
	}
	s := &Subscription{channel: c, owner: o.Owner, name: o.Name, sample: o.SampleRate, locality: o.Locality, parked: true,
		number: c.topic.registry.consumers.Add(1)}
	c.topic.uses.Add(1)
	if o.Standard {
		s.standard = o.MsgTimeout
	}
	c.join(s, c.timeoutOf(s, o.MsgTimeout))
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
	s.channel.enter()
	s.channel.credit(s, n)
	s.channel.exit()
}

// Close ends the subscription: what is in flight goes back to the channel at once. An ephemeral channel goes with its last
// consumer. A second call does nothing.
func (s *Subscription) Close() error {
	c := s.channel
	c.topic.uses.Add(1)
	c.enterNow()
	last := c.leave(s)
	c.exit()
	if !last {
		return nil
	}
	return c.topic.dropChannel(c)
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

func (s *Subscription) take(d *Delivery, mayFill, filled bool) (n int, fill bool) {
	c, before := s.channel, d.N
	c.enterNow()
	n, fill = c.machine.take(s, d, mayFill, filled)
	c.exit()
	if n > 0 && c.topic.registry.cfg.Trace != nil {
		c.traceTaken(d, before)
	}
	return n, fill
}

// rest parks a consumer that was chosen to read from disk and found nothing.
func (s *Subscription) rest() {
	s.channel.enter()
	s.channel.machine.rest(s)
	s.channel.exit()
}

// HasCredit reports whether the consumer could get a message now, if there were one.
func (s *Subscription) HasCredit() bool {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.ready > s.inflight && !c.held()
}

// Apply carries out the consumer's answers in order. Whom that brings work is added to later, or woken where that is nil.
func (s *Subscription) Apply(answers []Answer, later *Wakes) {
	c := s.channel
	var finished []int64
	var took *[]int64
	if c.topic.registry.cfg.Latency != nil {
		took = &finished
	}
	c.enterNow()
	c.answer(s, answers, took, later)
	c.exit()
	if len(finished) > 0 {
		c.observe(finished)
	}
}
