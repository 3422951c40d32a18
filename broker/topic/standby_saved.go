package topic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"brokerd/diskqueue/journal"
)

// A standby as bytes: what the checkpoint of its group has of it, and what is made of that again.

// ErrMidway is a standby that cannot be written down just now: records have come whose others are about to come.
var ErrMidway = errors.New("the standby is in the middle of something")

// StandbySnapshot is what a standby was at one moment.
type StandbySnapshot struct {
	number     uint64 // of the snapshot
	next       uint64
	made       uint32
	generation uint32
	state      []byte
	batches    [][]loggedBatch
}

// Snapshot returns what it is now. It fails with ErrMidway.
func (s *Standby) Snapshot() (*StandbySnapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Unsure() {
		return nil, ErrMidway
	}
	s.thinTopicsLocked(true)
	state, err := s.writeLocked(true)
	if err != nil {
		return nil, err
	}
	s.snapshots++
	snap := &StandbySnapshot{number: s.snapshots, next: s.next, made: s.made, generation: s.generation, state: state}
	for _, of := range s.bodies {
		snap.batches = append(snap.batches, slices.Clone(of.batches)) // messages are never changed
	}
	return snap, nil
}

// writeLocked returns the state as a checkpoint, with the places of what is in segments.
func (s *Standby) writeLocked(places bool) ([]byte, error) {
	if places {
		for id, of := range s.bodies {
			s.state.Topics[id].Nodes = of.places()
		}
		defer func() {
			for id := range s.bodies {
				s.state.Topics[id].Nodes = nil
			}
		}()
	}
	var b bytes.Buffer
	_, err := s.state.Write(&b, recordOffset(s.next))
	return b.Bytes(), err
}

// standbyMagic is what the checkpoint of a standby begins with, from its second version on. The first had the number of the next record there.
const standbyMagic = "brkdstb2"

// Append appends the snapshot as OpenStandby reads it: a magic, the number of the next record, u64; the highest number of a topic, u32; the
// generation of its segments, u32; the size of the state, u64, and the state, a checkpoint with the blocks that are in segments; then each publish that
// is in memory, its size u32 before it.
func (s *StandbySnapshot) Append(dst []byte) []byte {
	dst = slices.Grow(dst, s.size())
	dst = append(dst, standbyMagic...)
	dst = binary.BigEndian.AppendUint64(dst, s.next)
	dst = binary.BigEndian.AppendUint32(dst, s.made)
	dst = binary.BigEndian.AppendUint32(dst, s.generation)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(s.state)))
	dst = append(dst, s.state...)
	for _, list := range s.batches {
		for i := range list {
			dst = list[i].appendTo(dst)
		}
	}
	return dst
}

// appendTo appends a publish as a standby is written, its size before it.
func (b *loggedBatch) appendTo(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = journal.AppendPublish(dst, b.Publish)
	dst = append(dst, b.frames...)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// size returns how many bytes Append appends.
func (s *StandbySnapshot) size() int {
	n := standbyHead + len(s.state)
	var head []byte
	for _, list := range s.batches {
		for i := range list {
			head = journal.AppendPublish(head[:0], list[i].Publish)
			n += 4 + len(head) + len(list[i].frames)
		}
	}
	return n
}

// Sizes in bytes of what stands before the state: of a checkpoint, and of what is sent whole.
const (
	standbyHead = 32
	sentHead    = 20
)

// ErrStandby is bytes that are no standby.
var ErrStandby = errors.New("not the standby of a group")

// OpenStandby returns the standby that Append has written, or that Whole has sent, with what is in its segments. Nil: a new one. It fails with ErrStandby when it is no such, or when it lacks messages, or with what the file system says.
func OpenStandby(content []byte, segments GroupSegments) (*Standby, error) {
	if !bytes.HasPrefix(content, []byte(standbyMagic)) {
		return standbyOf(content, segments)
	}
	if len(content) < standbyHead || binary.BigEndian.Uint64(content[24:]) > uint64(len(content)-standbyHead) || binary.BigEndian.Uint64(content[8:]) == 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrStandby, len(content))
	}
	s := NewStandby()
	s.next, s.made = binary.BigEndian.Uint64(content[8:]), binary.BigEndian.Uint32(content[16:])
	s.segments, s.generation = segments, binary.BigEndian.Uint32(content[20:])
	size := binary.BigEndian.Uint64(content[24:])
	if err := s.readState(content[standbyHead : standbyHead+size]); err != nil {
		return nil, err
	}
	if err := s.openBlocks(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	rest, err := s.readPublishes(content[standbyHead+size:])
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: a publish is cut", ErrStandby)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// standbyOf returns a new standby, or the one that Whole has sent: it is in no segments yet.
func standbyOf(content []byte, segments GroupSegments) (*Standby, error) {
	in, err := NewIntake(segments)
	if err != nil {
		return nil, err
	}
	if err = in.s.findOthers(); content == nil && err == nil {
		return in.s, nil
	}
	var s *Standby
	if err == nil {
		err = in.Write(content)
	}
	if err == nil {
		s, err = in.Standby()
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return s, nil
}

func (s *Standby) readState(b []byte) (err error) {
	if s.state, err = journal.ReadCheckpoint(bytes.NewReader(b), int64(len(b))); err != nil {
		return fmt.Errorf("%w: %w", ErrStandby, err)
	}
	for number := range s.state.Topics {
		s.optionsLocked(number)
	}
	return nil
}

// readPublishes takes publishes that are whole, and returns what is left.
func (s *Standby) readPublishes(b []byte) (rest []byte, err error) {
	for len(b) >= 4 {
		n := binary.BigEndian.Uint32(b)
		if uint64(n) > uint64(len(b)-4) {
			return b, nil
		}
		p, frames, err := journal.ParsePublish(b[4 : 4+n])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStandby, err)
		}
		if s.state.Topics[p.Topic] == nil {
			return nil, fmt.Errorf("%w: a publish to topic %d, which is not there", ErrStandby, p.Topic)
		}
		s.addLocked(loggedBatch{Publish: p, frames: bytes.Clone(frames)}) // or one message would hold all that was read
		b = b[4+n:]
	}
	return b, nil
}
