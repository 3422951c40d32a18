package topic

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// pin returns blocks that have what is needed of a topic's messages from first on and before end, with all every one of them; they stay until
// unpin. None when some may be in memory alone, or are nowhere.
func (s *Standby) pin(topic uint32, first, end Position, all bool) []*block {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.bodies[topic]
	if of == nil || of.spilled < end-1 {
		return nil
	}
	i := sort.Search(len(of.blocks), func(i int) bool { return of.blocks[i].end > first })
	k := i
	for next := first; k < len(of.blocks) && of.blocks[k].first < end; k++ {
		b := of.blocks[k]
		if all && (b.first > next || !b.whole()) {
			return nil
		}
		next = b.end
	}
	if i == k || all && of.blocks[k-1].end < end {
		return nil
	}
	some := slices.Clone(of.blocks[i:k])
	for _, b := range some {
		b.pins++
	}
	return some
}

// spilled returns up to which message of a topic none is in memory alone.
func (s *Standby) spilled(topic uint32) Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.bodies[topic]; of != nil {
		return of.spilled
	}
	return 0
}

// repin pins blocks once more that are pinned.
func (s *Standby) repin(some []*block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range some {
		b.pins++
	}
}

func (s *Standby) unpin(some []*block) {
	if len(some) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range some {
		if b.pins--; b.pins == 0 && b.freed.Load() {
			s.freedHeld--
			s.freedSize += int64(b.place.Load().Ref.Length)
		}
	}
}

// errBlock is a block that is not what was written there any more.
var errBlock = errors.New("messages on disk are damaged: the replica is not used any more, others have them")

// read returns the messages of a block that is pinned, in buf if there is room, and their positions, nil: all of the block's. What is damaged is an
// error, as what cannot be read now is: it is never taken for lost, since other replicas have it.
func (s *Standby) read(b *block, buf []byte) (frames []byte, runs []backlog.Range, err error) {
	at := *b.place.Load()
	frames, held, lost, err := b.store.ReadHeld(at, buf)
	for errors.Is(err, segment.ErrGone) && *b.place.Load() != at { // it was written anew meanwhile
		at = *b.place.Load()
		frames, held, lost, err = b.store.ReadHeld(at, buf)
	}
	switch {
	case len(lost) > 0, errors.Is(err, segment.ErrGone):
		return nil, nil, fmt.Errorf("%w: block %s: %v %v", errBlock, at.Ref, lost, err)
	case err != nil:
		return nil, nil, err
	}
	if b.unread.Load() != 0 {
		b.unread.Store(0)
	}
	if at.Held == 0 {
		return frames, nil, nil
	}
	return frames, rangesOf(held), nil
}

// sections returns what a block that is pinned has beside its messages, and fails as read does.
func (s *Standby) sections(b *block) (beside []journal.Beside, sums []uint32, err error) {
	at := *b.place.Load()
	list, err := b.store.ReadSections(at.Ref)
	for errors.Is(err, segment.ErrGone) && *b.place.Load() != at {
		at = *b.place.Load()
		list, err = b.store.ReadSections(at.Ref)
	}
	within := journal.Range{First: b.first, Last: b.end - 1}
	bad := errors.Is(err, segment.ErrGone) || errors.Is(err, segment.ErrDamaged)
	for _, section := range list {
		switch section.Kind {
		case sectionProperties:
			err = journal.EachOfColumn(section.Data, within, func(m journal.Beside) { beside = append(beside, m) })
		case sectionKeys:
			sums, err = journal.ParseSums(sums, section.Data)
		}
		bad = bad || err != nil
	}
	if bad {
		err = fmt.Errorf("%w: block %s: %v", errBlock, at.Ref, err) // not what segments say: that would pass for lost
	}
	return beside, sums, err
}

// ErrUnread is messages that the disk has not given back for long.
var ErrUnread = errors.New("messages on disk cannot be read, which others may have")

// unreadFor is for how long a block is tried before that is told: each time when it is tried again.
const unreadFor = 2 * time.Second

// broken tells that a block that is needed is not what it was, if an error says so, or that it cannot be read.
func (s *Standby) broken(b *block, why error) {
	s.mu.Lock()
	damaged := s.damaged
	now := time.Now().UnixNano()
	switch {
	case s.state.Topics[b.topic] == nil:
		damaged = nil
	case errors.Is(why, errBlock):
	case b.unread.CompareAndSwap(0, now), now-b.unread.Load() < int64(unreadFor):
		damaged = nil
	default:
		why = fmt.Errorf("%w: %w", ErrUnread, why)
	}
	s.mu.Unlock()
	if damaged != nil {
		damaged(why)
	}
}

// publishes gives the messages of a block as publishes, one for each run of positions.
func (s *Standby) publishes(topic uint32, b *block, give func(loggedBatch) error) error {
	frames, runs, err := s.read(b, nil)
	if err != nil {
		return err
	}
	beside, sums, err := s.sections(b)
	if err != nil {
		return err
	}
	if runs == nil {
		runs = []backlog.Range{{First: b.first, Last: b.end - 1}}
	}
	for _, r := range runs {
		size := 0
		for range r.Len() {
			size += len(protocol.FirstMessage(frames[size:]))
		}
		p := loggedBatch{Publish: journal.Publish{Topic: topic, First: r.First, Count: r.Len()}, frames: frames[:size]}
		frames = frames[size:]
		for len(beside) > 0 && beside[0].Pos <= r.Last {
			n := sort.Search(len(beside), func(i int) bool { return beside[i].Pos > r.Last })
			some := slices.Clone(beside[:n])
			for i := range some {
				some[i].Pos -= r.First
			}
			p.Properties, beside = journal.AppendColumn(nil, 0, some), beside[n:]
		}
		n := min(r.Len(), len(sums))
		if mine := sums[:n]; slices.ContainsFunc(mine, func(sum uint32) bool { return sum != 0 }) {
			p.Sums = append(slices.Clone(mine), make([]uint32, r.Len()-n)...)
		}
		sums = sums[n:]
		if err := give(p); err != nil {
			return err
		}
	}
	return nil
}
