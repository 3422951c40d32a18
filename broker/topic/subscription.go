package topic

import (
	"fmt"
	"time"

	"brokerd/broker/channel"
)

// What consumers get and say, as channels have it.
type (
	Consumer          = channel.Owner // who subscribes: a connection
	Locality          = channel.Locality
	Run               = channel.Run
	Delivery          = channel.Delivery
	Verb              = channel.Verb
	Answer            = channel.Answer
	Wakes             = channel.Wakes
	SubscriptionStats = channel.ConsumerStats
)

// The localities, nearest first.
const (
	ZoneLocal   = channel.ZoneLocal
	RegionLocal = channel.RegionLocal
	Elsewhere   = channel.Elsewhere
)

// The answers.
const (
	Finish  = channel.Finish
	Requeue = channel.Requeue
	Touch   = channel.Touch
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
	consumer channel.Consumer // guarded by Channel.mu, but for what never changes; first, so that it needs no address of its own
	channel  *Channel
	number   uint64 // that no other has had since the start
	named    uint64 // guarded by Channel.mu too: where the log has said the consumer's name, one more than Registry.cuts was; 0: nowhere
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
	if c.machine.Exiting() {
		return nil, errGone
	}
	if limit := c.topic.registry.limits.Load().MaxConsumers; limit > 0 && len(c.machine.Consumers()) >= limit {
		return nil, &LimitError{c.topic.name, c.name, limit}
	}
	s := &Subscription{channel: c, number: c.topic.registry.consumers.Add(1)}
	s.consumer = channel.Consumer{Owner: o.Owner, Ref: s, Name: o.Name, Sample: o.SampleRate, Locality: o.Locality}
	c.topic.uses.Add(1)
	c.machine.Join(&s.consumer, o.MsgTimeout, o.Standard)
	return s, nil
}

// Channel returns the channel that is consumed.
func (s *Subscription) Channel() *Channel { return s.channel }

// Owner returns the consumer.
func (s *Subscription) Owner() Consumer { return s.consumer.Owner }

// Stats returns the counters.
func (s *Subscription) Stats() SubscriptionStats {
	s.channel.mu.Lock()
	defer s.channel.mu.Unlock()
	return s.consumer.Stats()
}

// SetReady sets the credit: how many messages may be in flight at once, 0 or more.
func (s *Subscription) SetReady(n int) {
	s.channel.enter()
	s.channel.machine.SetReady(&s.consumer, n)
	s.channel.exit()
}

// Close ends the subscription: what is in flight goes back to the channel at once. An ephemeral channel goes with its last
// consumer. A second call does nothing.
func (s *Subscription) Close() error {
	c := s.channel
	c.topic.uses.Add(1)
	c.enterNow()
	last := c.machine.Leave(&s.consumer)
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
	n, fill = c.machine.Take(&s.consumer, d, mayFill, filled)
	c.exit()
	if n > 0 && c.topic.registry.cfg.Trace != nil {
		c.traceTaken(d, before)
	}
	return n, fill
}

// rest parks a consumer that was chosen to read from disk and found nothing.
func (s *Subscription) rest() {
	s.channel.enter()
	s.channel.machine.Rest(&s.consumer)
	s.channel.exit()
}

// HasCredit reports whether the consumer could get a message now, if there were one.
func (s *Subscription) HasCredit() bool {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.consumer.HasCredit() && !c.held()
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
	c.machine.Answer(&s.consumer, answers, took, later)
	c.exit()
	if len(finished) > 0 {
		c.observe(finished)
	}
}
