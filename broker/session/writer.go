package session

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/topic"
)

// stockTimeout is the output buffer timeout that NSQ and all its clients have as their default.
const stockTimeout = 250 * time.Millisecond

// batching is how long messages may wait for company. delay and never are set before anything is sent; what
// follows belongs to whoever has the duty, but for due.
type batching struct {
	delay time.Duration // 0 sends as soon as there is nothing more to send
	never bool          // nothing but a full buffer, a response or the end of the credit sends

	due   atomic.Bool // the timer has fired
	armed bool        // it has been set, and nobody has seen it fire
	timer *time.Timer
}

// setBatching derives the batching from the settings.
func (s *Session) setBatching() {
	set := &s.settings
	s.batching.delay, s.batching.never = 0, false
	switch {
	case set.outputSize == 1: // asked for no buffering at all
	case set.outputTimeout == 0:
		s.batching.never = true
		s.batching.delay = time.Hour
	case set.outputTimeout != stockTimeout:
		s.batching.delay = set.outputTimeout
	}
	limit := set.outputSize
	if s.batching.delay == 0 {
		limit = bufferSize
	}
	s.out.setLimit(limit, s.batching.delay > 0)
}

// Wake has a goroutine send what there is for the client, unless one does.
func (s *Session) Wake() {
	if s.duty.begin() {
		go s.send(nil)
	}
}

// deliveries are what is taken and not sent yet.
var deliveries = sync.Pool{New: func() any { return new(topic.Delivery) }}

func dropDelivery(d *topic.Delivery) {
	d.Clear()
	deliveries.Put(d)
}

// send sends messages as long as there are any. It is a goroutine of its own, has the duty, and begins with what is taken
// already, if that is not nil.
func (s *Session) send(d *topic.Delivery) {
	if d == nil {
		d = deliveries.Get().(*topic.Delivery)
	}
	defer dropDelivery(d)
	for {
		err := s.drain(d)
		if err == nil {
			err = s.flushLate()
		}
		if err != nil {
			s.fail(err)
		}
		if !s.duty.end() {
			return
		}
	}
}

// sendNow sends what there is for the client, unless somebody does, on a goroutine that must not wait. What would wait is left
// to another one.
func (s *Session) sendNow() {
	if !s.duty.begin() {
		return
	}
	d := deliveries.Get().(*topic.Delivery)
	if sub := s.taking(); s.batching.delay > 0 || sub == nil || !s.out.sendReady(sub, d) {
		go s.send(d)
		return
	}
	dropDelivery(d)
	if s.duty.end() {
		go s.send(nil)
	}
}

// flushLate sends messages that have waited long enough for company, and sees to it that others will not wait longer.
func (s *Session) flushLate() error {
	switch b := &s.batching; {
	case b.delay == 0 || b.never:
		return nil
	case b.due.Swap(false):
		b.armed = false
		return s.out.flush()
	case b.armed || !s.out.buffered():
		return nil
	case b.timer == nil:
		b.timer = time.AfterFunc(b.delay, func() {
			b.due.Store(true)
			s.Wake()
		})
	default:
		b.timer.Reset(b.delay)
	}
	s.batching.armed = true
	return nil
}

// fail ends the session after a failed write, by waking the reader, unless that is ending it already.
func (s *Session) fail(err error) {
	if !errors.Is(err, errDismissed) {
		s.Close()
	}
}

// drain takes and sends all that may be sent now, after what is in d already.
func (s *Session) drain(d *topic.Delivery) error {
	sub := s.sub.Load()
	if sub == nil {
		if err := s.tellFailed(); err != nil {
			return err
		}
		if sub = s.taking(); sub == nil {
			return s.drainRelayed(d)
		}
	}
	for len(d.Runs) > 0 || sub.Take(d) > 0 {
		err := s.out.deliver(d)
		d.Clear()
		if err != nil {
			return err
		}
		if !s.out.buffered() {
			runtime.Gosched() // a full buffer has left: it is the turn of others
		}
	}
	if s.batching.delay > 0 && sub.HasCredit() {
		return nil
	}
	return s.out.flush()
}

// wakes are consumers that the reader has brought work. It serves them itself when it would only wait for its peer otherwise,
// which spares a switch to another goroutine and, on a machine that idles, the start of another thread; and it has them woken
// before it does anything else that may wait.
type wakes struct{ topic.Wakes }

// pass has all of them woken.
func (w *wakes) pass() {
	if w.Any() {
		w.Each(topic.Consumer.Wake)
	}
}

// serve does their work.
func (w *wakes) serve() {
	w.Each(func(c topic.Consumer) {
		if s, ok := c.(*Session); ok {
			s.sendNow()
		} else {
			c.Wake()
		}
	})
}
