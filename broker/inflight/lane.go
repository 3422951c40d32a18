package inflight

// lane is the messages whose timeout is the same, ordered by deadline.
type lane struct {
	timeout    int64
	refs       int // consumers that use it
	head, tail int32
}

// capped is the timeout of the one lane for messages that TOUCH has extended to the limit; there what comes later need not
// be due later.
const capped = -1

// AcquireLane returns the lane for a timeout in nanoseconds, above 0. Each call is paired with a ReleaseLane.
func (s *Set[O]) AcquireLane(timeout int64) int {
	reuse := -1
	for i := range s.lanes {
		l := &s.lanes[i]
		if l.timeout == timeout {
			l.refs++
			return i
		}
		if l.refs == 0 && l.head == none {
			reuse = i
		}
	}
	if reuse < 0 {
		s.lanes = append(s.lanes, lane{})
		reuse = len(s.lanes) - 1
	}
	s.lanes[reuse] = lane{timeout: timeout, refs: 1, head: none, tail: none}
	return reuse
}

// ReleaseLane gives a lane back; it may be reused once its last message is gone.
func (s *Set[O]) ReleaseLane(lane int) { s.lanes[lane].refs-- }

func (s *Set[O]) cappedLane() int32 {
	l := s.AcquireLane(capped)
	s.lanes[l].refs--
	return int32(l)
}

// link puts slot i into the lane before everything that is due later, which but for the capped lane is at its end.
func (s *Set[O]) link(i, to int32) {
	l, p := &s.lanes[to], s.at(i)
	before := l.tail
	for before != none && s.at(before).deadline > p.deadline {
		before = s.at(before).prev
	}
	p.lane, p.prev = to, before
	if before == none {
		p.next = l.head
		l.head = i
	} else {
		p.next = s.at(before).next
		s.at(before).next = i
	}
	if p.next == none {
		l.tail = i
	} else {
		s.at(p.next).prev = i
	}
}

func (s *Set[O]) unlink(i int32) {
	p := s.at(i)
	l := &s.lanes[p.lane]
	if p.prev == none {
		l.head = p.next
	} else {
		s.at(p.prev).next = p.next
	}
	if p.next == none {
		l.tail = p.prev
	} else {
		s.at(p.next).prev = p.prev
	}
}
