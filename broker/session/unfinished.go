package session

import (
	"time"

	"brokerd/broker/bodies"
	"brokerd/protocol"
)

// arrival is the body that is being read: what it will take in memory, and what is there of it.
type arrival struct {
	total  int64 // bytes, as far as the client has told
	before int   // bytes in the batch that are not of this body
	apart  int   // bytes, not 0, of a body that is not read into the batch
	timed  bool  // the link's deadline is this body's
}

// beginArrival notes that a body of size bytes is expected, in so many messages.
func (s *Session) beginArrival(size, messages int) {
	s.arrival.total = int64(size) + int64(messages)*protocol.MessageOverhead
	s.arrival.before, s.arrival.apart = s.batch.Size(), 0
	s.reading = true
}

// endArrival notes that it is there, or will not come.
func (s *Session) endArrival() {
	s.reading, s.arrival.total = false, 0
	s.body.End()
}

// bodyTime is how long a client without heartbeats, which nothing else holds to anything, may take over a command or a body that it has
// begun: a minute, and what 64 KiB a second need.
func bodyTime(size int64) time.Duration {
	return time.Minute + time.Duration(size/(64<<10))*time.Second
}

// expect runs before a read that may wait. What is unfinished gets a deadline, and a large body a share of the node's memory for such.
func (s *Session) expect() error {
	a := &s.arrival
	switch whole := !s.reading && s.in.r == s.in.w; {
	case s.link.interval > 0:
	case !whole && s.link.dead == 0:
		a.timed = true
		s.link.setDead(bodyTime(a.total))
	case whole && a.timed:
		a.timed = false
		s.link.setDead(0)
	}
	if !s.reading {
		return nil
	}
	arrived := int64(s.batch.Size()-a.before) + int64(a.apart)
	if max(arrived, int64(s.batch.Cap())) <= bodies.Free { // what is only announced takes nothing yet
		return nil
	}
	s.wakes.pass()
	if err := s.body.Hold(max(a.total, int64(s.batch.Cap()+a.apart)), arrived, s.link.prepare); err != nil {
		return err
	}
	if a.apart == 0 {
		s.batch.Reserve(a.before + int(a.total))
	}
	return nil
}
