package inflight

import (
	"errors"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Errors of Remove and Touch.
var (
	ErrNotInFlight = errors.New("ID not in flight")
	ErrNotOwner    = errors.New("client does not own message")
)

// none ends a list and marks an empty place.
const none int32 = -1

// Position is the number of a message in its topic, which its owner gets back as it gave it. 0: it has none.
type Position = journal.Position

// Item is a message that leaves a Set.
type Item[O comparable] struct {
	Pos      Position
	Frame    protocol.MessageFrame
	Attempts uint16 // deliveries so far
	Owner    O
}

// slot holds one message in flight, or is a link of the list of free slots.
type slot[O comparable] struct {
	frame      protocol.MessageFrame
	owner      O
	id         protocol.MessageID
	pos        Position
	delivered  int64
	deadline   int64
	prev, next int32
	lane       int32
	attempts   uint16
	used       bool
}

// Set is the messages of one channel that are out with its consumers. O is the consumer. Its zero value is empty.
type Set[O comparable] struct {
	slots [][]slot[O] // in pieces, so that they are not copied when there are more; see at
	made  int32       // slots that have ever been used
	free  int32       // first free slot
	n     int
	bytes int // of the frames
	index table
	lanes []lane
}

const (
	slotBits   = 10
	slotPiece  = 1 << slotBits // slots in a piece
	firstSlots = 2             // in the first one at the beginning; it doubles up to slotPiece, as most channels have few in flight
)

func (s *Set[O]) at(i int32) *slot[O] { return &s.slots[i>>slotBits][i&(slotPiece-1)] }

// Bytes returns the size of the frames that are kept.
func (s *Set[O]) Bytes() int { return s.bytes }

// Size returns the size of the frames of all messages in flight, with bodies that are not kept.
func (s *Set[O]) Size() (size int64) {
	for i := range s.made {
		if p := s.at(i); p.used {
			size += int64(p.frame.Size())
		}
	}
	return size
}

// Len returns the number of messages in flight.
func (s *Set[O]) Len() int { return s.n }

// Add puts a delivered message in flight on a lane of AcquireLane. It replaces nothing: an id that is in flight already
// is refused with false.
func (s *Set[O]) Add(id protocol.MessageID, pos Position, frame protocol.MessageFrame, attempts uint16, owner O, lane int, now int64) bool {
	if s.find(id) != none {
		return false
	}
	i := s.alloc()
	p := s.at(i)
	p.frame, p.owner, p.id, p.pos, p.attempts, p.used = frame, owner, id, pos, attempts, true
	p.delivered, p.deadline = now, now+s.lanes[lane].timeout
	s.index.insert(id, i)
	s.link(i, int32(lane))
	s.n++
	s.bytes += len(frame)
	return true
}

// Remove takes a message out. It fails with ErrNotInFlight or ErrNotOwner and then changes nothing.
func (s *Set[O]) Remove(id protocol.MessageID, owner O) (Item[O], error) {
	i := s.find(id)
	if i == none {
		return Item[O]{}, ErrNotInFlight
	}
	if s.at(i).owner != owner {
		return Item[O]{}, ErrNotOwner
	}
	return s.remove(i), nil
}

// Touch moves a message's deadline to now plus its lane's timeout, but not beyond its delivery plus limit. It fails as
// Remove does.
func (s *Set[O]) Touch(id protocol.MessageID, owner O, now, limit int64) error {
	i := s.find(id)
	if i == none {
		return ErrNotInFlight
	}
	p := s.at(i)
	if p.owner != owner {
		return ErrNotOwner
	}
	if s.lanes[p.lane].timeout == capped {
		return nil // it has been extended to the limit, which stays where it is
	}
	deadline, to := now+s.lanes[p.lane].timeout, p.lane
	if last := p.delivered + limit; deadline >= last {
		deadline, to = last, s.cappedLane()
		p = s.at(i)
	}
	if deadline == p.deadline {
		return nil
	}
	s.unlink(i)
	p.deadline = deadline
	s.link(i, to)
	return nil
}

// EachOf calls f with every message that an owner has, in no order, and until when.
func (s *Set[O]) EachOf(owner O, f func(id protocol.MessageID, deadline int64)) {
	for i := range s.made {
		if p := s.at(i); p.used && p.owner == owner {
			f(p.id, p.deadline)
		}
	}
}

// Timeout returns the timeout of a lane in nanoseconds.
func (s *Set[O]) Timeout(lane int) int64 { return s.lanes[lane].timeout }

// Next returns the earliest deadline.
func (s *Set[O]) Next() (deadline int64, ok bool) {
	for i := range s.lanes {
		if h := s.lanes[i].head; h != none {
			if d := s.at(h).deadline; !ok || d < deadline {
				deadline, ok = d, true
			}
		}
	}
	return deadline, ok
}

// Expire takes one message out whose deadline is at or before now.
func (s *Set[O]) Expire(now int64) (Item[O], bool) {
	for i := range s.lanes {
		if h := s.lanes[i].head; h != none && s.at(h).deadline <= now {
			return s.remove(h), true
		}
	}
	return Item[O]{}, false
}

// RemoveOwner takes out all messages of one consumer and calls f with each, in the order of their delivery as far as it
// is known.
func (s *Set[O]) RemoveOwner(owner O, f func(Item[O])) {
	for l := range s.lanes {
		for i := s.lanes[l].head; i != none; {
			next := s.at(i).next
			if s.at(i).owner == owner {
				f(s.remove(i))
			}
			i = next
		}
	}
}

// Clear takes out all messages and calls f with each; f may be nil.
func (s *Set[O]) Clear(f func(Item[O])) {
	for l := range s.lanes {
		for s.lanes[l].head != none {
			it := s.remove(s.lanes[l].head)
			if f != nil {
				f(it)
			}
		}
	}
}

func (s *Set[O]) find(id protocol.MessageID) int32 { return s.index.find(id) }

// remove takes slot i out.
func (s *Set[O]) remove(i int32) Item[O] {
	p := s.at(i)
	it := Item[O]{Pos: p.pos, Frame: p.frame, Attempts: p.attempts, Owner: p.owner}
	s.unlink(i)
	s.index.delete(p.id)
	s.n--
	s.bytes -= len(p.frame)
	*p = slot[O]{next: s.free}
	s.free = i
	return it
}

// Trim gives an empty set's memory back; it is for channels that have become idle.
func (s *Set[O]) Trim() {
	if s.n == 0 {
		s.slots, s.made, s.free, s.index = nil, 0, none, table{}
	}
}

// alloc returns a slot that is not used.
func (s *Set[O]) alloc() int32 {
	if s.made == 0 {
		s.free = none
	}
	if i := s.free; i != none {
		s.free = s.at(i).next
		return i
	}
	s.grow()
	s.made++
	return s.made - 1
}

// grow makes room for one slot more.
func (s *Set[O]) grow() {
	made := int(s.made)
	switch {
	case made == 0:
		s.slots = append(s.slots, make([]slot[O], firstSlots))
	case made == len(s.slots[0]) && made < slotPiece:
		larger := make([]slot[O], 2*made)
		copy(larger, s.slots[0])
		s.slots[0] = larger
	case made == len(s.slots)*slotPiece:
		s.slots = append(s.slots, make([]slot[O], slotPiece))
	}
}

// Each calls f with every message in flight.
func (s *Set[O]) Each(f func(pos Position, attempts uint16)) {
	for _, piece := range s.slots {
		for i := range piece {
			if piece[i].used {
				f(piece[i].pos, piece[i].attempts)
			}
		}
	}
}
