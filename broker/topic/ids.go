package topic

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/stall"
	"brokerd/protocol"
)

// IDStore keeps, across restarts, a bound below which every id may have been used.
type IDStore interface {
	// Bound is the first number that was never reserved.
	Bound() uint64
	// Reserve makes upTo the bound, on disk, before it returns.
	Reserve(upTo uint64) error
}

// The counter of ids counts from the clock or from the stored bound, whichever is further, so that it does not go back when
// the clock does, nor when a data folder is thrown away. A tick of the clock is 1/8 microsecond: the counter passes the clock
// only at over eight million messages a second, and 54 bits last until 2091. What is left of them behind idClock is not for the clock: a
// counter that a wrong one has brought far ahead has 2^50 numbers still. A clock behind that begins at 0 again.
const (
	idTick    = 125 * time.Nanosecond
	idReserve = 1 << 28 // numbers reserved at once; the next ones when half of them are used
	idClock   = protocol.MaxSequence - 1<<50
)

var idEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// sequence hands out message ids of one node.
type sequence struct {
	node     atomic.Int64
	next     atomic.Uint64
	reserved atomic.Uint64
	asked    atomic.Bool // more are being reserved in the background
	mu       sync.Mutex  // one Reserve at a time
	store    IDStore
	spawn    func(func()) bool // runs something in the background
	disk     *stall.Watch
}

func newSequence(node int64, store IDStore, spawn func(func()) bool, disk *stall.Watch) *sequence {
	s := &sequence{store: store, spawn: spawn, disk: disk}
	s.node.Store(node)
	start := uint64(max(0, time.Since(idEpoch)/idTick)) % idClock
	if store != nil {
		start = max(start, store.Bound())
	}
	s.next.Store(start)
	return s
}

// take returns the first of n ids that follow each other. It fails when the bound cannot be written, and waits for that only
// when numbers were used up faster than more could be reserved.
func (s *sequence) take(n int) (protocol.MessageID, error) {
	end := s.next.Add(uint64(n))
	if s.store == nil {
		return protocol.NewMessageID(s.node.Load(), end-uint64(n)), nil
	}
	if reserved := s.reserved.Load(); end+idReserve/2 > reserved {
		if end > reserved {
			if err := s.reserve(end); err != nil {
				return 0, err
			}
		} else {
			s.reserveAhead()
		}
	}
	return protocol.NewMessageID(s.node.Load(), end-uint64(n)), nil
}

// reserveAhead reserves more numbers in the background, so that no publish waits for the disk. What fails is tried again with the
// next take.
func (s *sequence) reserveAhead() {
	if s.store == nil || !s.asked.CompareAndSwap(false, true) {
		return
	}
	if !s.spawn(func() {
		defer s.asked.Store(false)
		_ = s.reserveMore() // who needs the numbers is told
	}) {
		s.asked.Store(false)
	}
}

func (s *sequence) reserveMore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extendLocked(s.next.Load())
}

// at returns the id that the next message would get.
func (s *sequence) at() protocol.MessageID {
	return protocol.NewMessageID(s.node.Load(), s.next.Load())
}

// one returns an id without looking at the bound, which is far ahead: it waits for nothing.
func (s *sequence) one() protocol.MessageID {
	return protocol.NewMessageID(s.node.Load(), s.next.Add(1)-1)
}

// reserve returns once the numbers below end may be used.
func (s *sequence) reserve(end uint64) error {
	defer s.disk.Waited("reserve message ids").Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if end <= s.reserved.Load() {
		return nil
	}
	return s.extendLocked(end)
}

// extendLocked reserves idReserve numbers from one on.
func (s *sequence) extendLocked(from uint64) error {
	bound := from + idReserve
	defer s.disk.Call("reserve message ids in", "the data folder").Done()
	if err := s.store.Reserve(bound); err != nil {
		return fmt.Errorf("reserving message ids: %w", err)
	}
	s.reserved.Store(bound)
	return nil
}
