package topic

import (
	"time"

	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Verb is what a consumer says about a message that it got.
type Verb uint8

// The answers.
const (
	Finish Verb = iota
	Requeue
	Touch
)

// Answer is one FIN, REQ or TOUCH. Apply sets Err to why it failed: inflight.ErrNotInFlight, inflight.ErrNotOwner, or nil.
type Answer struct {
	ID    protocol.MessageID
	Delay time.Duration // of Requeue; 0 is at once
	Err   error
	Verb  Verb
}

// Apply carries out the consumer's answers in order. Whom that brings work is added to later, or woken where that is nil.
func (s *Subscription) Apply(answers []Answer, later *Wakes) {
	c := s.channel
	observe := c.topic.registry.cfg.Latency != nil
	var took []int64
	c.mu.Lock()
	now := c.topic.registry.now()
	requeued, settled := 0, 0
	watch := stopwatch{to: &c.delaysLocked().finished, now: c.topic.registry.stampOf(now)}
	log := c.logged()
	if log {
		c.runs.Begin(c.topic.d.id, c.id)
		c.defers.Begin(c.topic.d.id, c.id)
	}
	var p pins
	for i := range answers {
		a := &answers[i]
		if a.Verb == Touch {
			a.Err = c.inflight.Touch(a.ID, s, now, int64(c.topic.registry.limits.Load().MaxMsgTimeout))
			continue
		}
		var it inflight.Item[*Subscription]
		if it, a.Err = c.inflight.Remove(a.ID, s); a.Err != nil {
			continue
		}
		s.inflight--
		settled++
		if a.Verb == Finish {
			s.n.Finished++
			c.n.Finished++
			if log {
				c.runs.Add(it.Pos)
			}
			if c.topic.d != nil {
				p.add(&c.topic.d.table, it.Pos, -1)
			}
			published := it.Frame.Timestamp()
			watch.saw(published)
			if observe {
				took = append(took, published)
			}
			continue
		}
		s.n.Requeued++
		c.n.requeued++
		if delay := min(a.Delay, c.topic.registry.limits.Load().MaxReqTimeout); delay > 0 {
			c.deferred.Push(inflight.Due{Pos: it.Pos, Frame: owned(it.Frame), At: now + int64(delay), Attempts: it.Attempts})
			if log {
				c.defers.Add(it.Pos, time.Now().Add(delay).UnixNano())
			}
		} else {
			c.returnLocked(it.Frame, it.Pos, it.Attempts)
			requeued++
		}
	}
	watch.note()
	p.flush()
	if log {
		c.logRunsLocked(journal.KindFinished, &c.runs)
		if b := c.defers.Record(); b != nil {
			c.topic.d.log.Append(journal.KindDeferred, b, nil)
		}
	}
	s.timeLocked(settled, now)
	c.wakeLocked(requeued, later)
	c.settleLocked(s, later)
	c.armLocked()
	c.mu.Unlock()
	if len(took) > 0 {
		c.observe(took)
	}
}

// owned returns a frame for a message that may stay for long: a copy, so that it does not keep a whole node of messages
// that are gone, unless it is a good part of that itself.
func owned(f protocol.MessageFrame) protocol.MessageFrame {
	if cap(f) <= 4*len(f) {
		return f
	}
	return append(make(protocol.MessageFrame, 0, len(f)), f...)
}

// observe reports how long finished messages took since they were accepted.
func (c *Channel) observe(accepted []int64) {
	p := c.latency.Load()
	if p == nil {
		o := c.topic.registry.cfg.Latency()
		if !c.latency.CompareAndSwap(nil, &o) {
			p = c.latency.Load()
		} else {
			p = &o
		}
	}
	now := time.Now().UnixNano()
	for _, at := range accepted {
		(*p).Observe(now - at)
	}
}

// settleLocked brings a parked consumer, whose credit or channel has changed, to where it belongs: it is woken when there is
// work, and otherwise waits for some if it has credit.
func (c *Channel) settleLocked(s *Subscription, later *Wakes) {
	if !s.parked || s.closed {
		return
	}
	if s.ready <= s.inflight || c.held() {
		c.waiting.remove(s)
		return
	}
	if c.workLocked() {
		c.wakeOneLocked(s, later)
		return
	}
	c.waiting.push(s)
}

// wakeLocked wakes as many waiting consumers as there are messages for, the least loaded first, and has them set aside. One
// that was woken just before and has not come yet gets its part first.
func (c *Channel) wakeLocked(n int, later *Wakes) {
	topology := c.topic.registry.cfg.TopologyAware
	if s := c.latest; s != nil && s.woken && !topology {
		n -= c.meanLocked(s, n)
	}
	for n > 0 && c.waiting.n > 0 {
		s := c.waiting.best(topology)
		c.wakeOneLocked(s, later)
		n -= c.meanLocked(s, n)
	}
}

// meanLocked sets aside up to n messages for a consumer that was woken, and returns how many it is to have more.
func (c *Channel) meanLocked(s *Subscription, n int) int {
	k := max(0, min(n, s.handful()-s.meant))
	s.meant += k
	c.meant += k
	return k
}

// nudgeLocked wakes one more consumer when messages wait for nobody that is on its way, in memory or on disk with nobody
// reading them.
func (c *Channel) nudgeLocked() {
	if c.waiting.n == 0 || c.held() || !c.workLocked() {
		return
	}
	if free := c.visibleLocked() - c.meant; free > 0 || !c.filling && c.fillableLocked() {
		c.wakeLocked(min(max(1, free), c.waiting.head.handful()), nil)
	}
}

func (c *Channel) wakeOneLocked(s *Subscription, later *Wakes) {
	c.waiting.remove(s)
	s.parked, s.woken = false, true
	if c.topic.registry.cfg.TopologyAware {
		s.came = c.topic.registry.now()
	}
	c.woken++
	c.latest = s
	if later == nil || !later.add(s.owner) {
		s.owner.Wake()
	}
}

// Wakes are consumers that a publish or an answer has brought work, for its caller to wake: who does so a little later, once
// nothing else is left to do, may do a consumer's work itself rather than have another goroutine do it.
type Wakes struct{ consumers []Consumer }

// maxWakes bounds the consumers that wait for one goroutine's turn.
const maxWakes = 4

func (w *Wakes) add(c Consumer) bool {
	if len(w.consumers) == maxWakes {
		return false
	}
	w.consumers = append(w.consumers, c)
	return true
}

// Any reports whether there are any.
func (w *Wakes) Any() bool { return len(w.consumers) > 0 }

// Each calls f with every consumer, and forgets them.
func (w *Wakes) Each(f func(Consumer)) {
	for i, c := range w.consumers {
		w.consumers[i] = nil
		f(c)
	}
	w.consumers = w.consumers[:0]
}

// comeLocked takes note that who sends for a consumer is there: it is neither parked nor on its way.
func (c *Channel) comeLocked(s *Subscription) {
	s.parked = false
	c.waiting.remove(s)
	if s.woken {
		s.woken = false
		c.woken--
		c.meant -= s.meant
		s.meant = 0
		if c.latest == s {
			c.latest = nil
		}
	}
}

// parked is the list of consumers that wait with credit, the longest waiting first.
type parked struct {
	head, tail *Subscription
	n          int
}

// looked is how many consumers are compared by their load.
const looked = 16

// best returns the consumer to wake: the nearest one when that counts, of these the one with the least in flight.
func (l *parked) best(topology bool) *Subscription {
	best := l.head
	for s, i := l.head, 0; s != nil && (topology || i < looked); s, i = s.next, i+1 {
		if topology && s.locality != best.locality {
			if s.locality < best.locality {
				best = s
			}
			continue
		}
		if s.inflight < best.inflight {
			best = s
		}
	}
	return best
}

func (l *parked) push(s *Subscription) {
	if s.listed {
		return
	}
	s.listed = true
	s.prev, s.next = l.tail, nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
	l.n++
}

func (l *parked) remove(s *Subscription) {
	if !s.listed {
		return
	}
	if s.prev == nil {
		l.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.listed = nil, nil, false
	l.n--
}
