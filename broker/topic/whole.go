package topic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Whole is all that a standby had at one moment, on its way to a replica that lacks entries which are kept nowhere any more. Close it.
type Whole struct {
	s      *Standby
	head   []byte
	topics []wholeTopic
}

type wholeTopic struct {
	number uint32
	blocks []*block // pinned
	rest   []loggedBatch
}

// Whole returns what it is now. It fails with ErrMidway.
func (s *Standby) Whole() (*Whole, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Unsure() {
		return nil, ErrMidway
	}
	s.thinTopicsLocked(true)
	state, err := s.writeLocked(false)
	if err != nil {
		return nil, err
	}
	w := &Whole{s: s, head: binary.BigEndian.AppendUint64(make([]byte, 0, sentHead+len(state)), s.next)}
	w.head = binary.BigEndian.AppendUint32(w.head, s.made)
	w.head = binary.BigEndian.AppendUint64(w.head, uint64(len(state)))
	w.head = append(w.head, state...)
	for id, of := range s.bodies {
		for _, b := range of.blocks {
			b.pins++
		}
		w.topics = append(w.topics, wholeTopic{id, slices.Clone(of.blocks), slices.Clone(of.batches)})
	}
	return w, nil
}

// Send gives all of it, piece by piece, as an Intake takes it: the number of the next record, u64; the highest number of a topic, u32; the size of
// the state, u64, and the state, a checkpoint; then each publish, its size u32 before it. Pieces are not kept.
func (w *Whole) Send(put func([]byte) error) error {
	if err := put(w.head); err != nil {
		return err
	}
	var buf []byte
	give := func(b loggedBatch) error {
		if buf = b.appendTo(buf); len(buf) < blockBytes {
			return nil
		}
		err := put(buf)
		buf = buf[:0]
		return err
	}
	for _, t := range w.topics {
		for _, b := range t.blocks {
			if err := w.s.publishes(t.number, b, give); err != nil {
				w.s.broken(b, err)
				return fmt.Errorf("what a group holds cannot be sent whole: %w", err)
			}
		}
		for _, b := range t.rest {
			if err := give(b); err != nil {
				return err
			}
		}
	}
	if len(buf) > 0 {
		return put(buf)
	}
	return nil
}

// Close lets go of it.
func (w *Whole) Close() {
	for _, t := range w.topics {
		w.s.unpin(t.blocks)
	}
	w.topics = nil
}

// Intake makes a standby of what Whole.Send has given, as it comes. It has a generation of segments of its own, so that the standby in whose place
// it comes stays as it is until a checkpoint says otherwise.
type Intake struct {
	s     *Standby
	buf   []byte // what is not taken yet
	begun bool   // the state has come
	room  int64  // bytes of messages that memory has room for
}

// NewIntake begins one.
func NewIntake(segments GroupSegments) (*Intake, error) {
	in := &Intake{s: NewStandby(), room: leastEnough}
	in.s.segments = segments
	if segments == nil {
		return in, nil
	}
	var err error
	in.s.generation, err = segments.New()
	return in, err
}

// Write takes some of it, which is not kept. It fails with ErrStandby, or with what the disk says.
func (in *Intake) Write(b []byte) error {
	in.buf = append(in.buf, b...)
	if !in.begun {
		if len(in.buf) < sentHead {
			return nil
		}
		size := binary.BigEndian.Uint64(in.buf[12:])
		if binary.BigEndian.Uint64(in.buf) == 0 || size > mostState {
			return fmt.Errorf("%w: a state of %d bytes", ErrStandby, size)
		}
		if uint64(len(in.buf)) < sentHead+size {
			return nil
		}
		in.s.next, in.s.made = binary.BigEndian.Uint64(in.buf), binary.BigEndian.Uint32(in.buf[8:])
		if err := in.s.readState(in.buf[sentHead : sentHead+size]); err != nil {
			return err
		}
		for _, t := range in.s.state.Topics {
			t.Nodes = nil // of another node
		}
		in.buf, in.begun = slices.Clone(in.buf[sentHead+size:]), true
		in.s.looked = in.s.next // all that comes is needed
		in.s.Keep(in.room, nil, nil)
	}
	rest, err := in.s.readPublishes(in.buf)
	if err != nil {
		return err
	}
	in.buf = in.buf[:copy(in.buf, rest)]
	if cap(in.buf) > 4*blockBytes && len(in.buf) < blockBytes {
		in.buf = slices.Clone(in.buf)
	}
	return in.s.Spill()
}

// mostState is how many bytes of state are taken.
const mostState = 2 << 30

// Standby returns what it is, once all has come.
func (in *Intake) Standby() (*Standby, error) {
	if !in.begun || len(in.buf) > 0 {
		return nil, fmt.Errorf("%w: it is cut", ErrStandby)
	}
	return in.s, nil
}

// Close gives it up, with what is on the disk.
func (in *Intake) Close() error { return in.s.Discard() }

// Discard closes the standby and removes its segments: nothing refers to them.
func (s *Standby) Discard() error {
	err := s.Close()
	if s.segments != nil {
		err = errors.Join(err, s.segments.Remove(s.generation))
	}
	return err
}
