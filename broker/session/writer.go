package session

import (
	"errors"
	"runtime"
	"time"

	"brokerd/broker/topic"
)

// stockTimeout is the output buffer timeout that NSQ and all its clients have as their default.
const stockTimeout = 250 * time.Millisecond

// batching is how long messages may wait for company. It is set before the writer starts.
type batching struct {
	delay time.Duration // 0 sends as soon as there is nothing more to send
	never bool          // nothing but a full buffer, a response or the end of the credit sends
}

// setBatching derives the batching from the settings.
func (s *Session) setBatching() {
	set := &s.settings
	s.batching = batching{}
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

// write sends messages while there is a subscription. It is the session's writer goroutine.
func (s *Session) write(sub *topic.Subscription) {
	defer s.writer.Done()
	var d topic.Delivery
	var timer *time.Timer
	var due <-chan time.Time
	for {
		if err := s.drain(sub, &d); err != nil {
			s.fail(err)
			return
		}
		if s.batching.delay > 0 && !s.batching.never && due == nil && s.out.buffered() {
			if timer == nil {
				timer = time.NewTimer(s.batching.delay)
				defer timer.Stop()
			} else {
				timer.Reset(s.batching.delay)
			}
			due = timer.C
		}
		if due == nil {
			<-sub.Wake() // cheaper than a select, and most consumers wait here
		} else {
			select {
			case <-sub.Wake():
			case <-due:
				due = nil
				if err := s.out.flush(); err != nil {
					s.fail(err)
					return
				}
			}
		}
		if s.ended.Load() {
			return
		}
	}
}

// fail ends the session after a failed write, by waking the reader, unless that is ending it already.
func (s *Session) fail(err error) {
	if !errors.Is(err, errDismissed) {
		s.Close()
	}
}

// drain takes and sends all that may be sent now.
func (s *Session) drain(sub *topic.Subscription, d *topic.Delivery) error {
	for sub.Take(d) > 0 {
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
