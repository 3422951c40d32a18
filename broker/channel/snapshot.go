package channel

import (
	"maps"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// Snapshot is what a channel was at one moment, for a checkpoint. It is taken under the lock, and read without.
type Snapshot struct {
	state     *journal.Channel
	out       Room
	room      Room           // pieces for it that were made before
	due       []inflight.Due // without their bodies
	places    [4]inflight.Snapshot
	void      []backlog.Range
	bases     map[Position]int64
	now, wall int64 // of that moment, on the clock of all deadlines and in Unix nanoseconds
}

// Room is memory for what is out, in pieces, so that nothing is copied as it grows.
type Room [][]outMessage

// outMessage is a message that has left a backlog: 16 bytes.
type outMessage struct {
	pos      Position
	attempts uint16
}

// outPiece is how many messages there are in a piece.
const outPiece = 1 << 13

// RoomFor returns room for so many messages, nil for few. Its memory has been written to: the system gives a process its pages when it
// writes to them, which for a million messages takes longer than to copy them, and a channel's lock is held then.
func RoomFor(count int) (room Room) {
	const inPage = 4096 / 16 // of the smallest pages, messages of 16 bytes
	for ; count >= outPiece; count -= outPiece {
		piece := make([]outMessage, outPiece)
		for i := 0; i < len(piece); i += inPage {
			piece[i].pos = 1
		}
		room = append(room, piece[:0])
	}
	return room
}

// Snapshot returns what the channel is, wall Unix nanoseconds being now. It completes the state, which says who the channel is and what the log has of it.
// Nothing is in a record of which nobody knows yet what became of it: see Leaving.
func (m *Machine) Snapshot(state *journal.Channel, wall int64, room Room) Snapshot {
	state.Offered, state.Inherited, state.Replay = m.offered, m.inherited, m.replay
	state.Counts, state.Waiting = m.n.counts(), m.mem.Ranges(nil)
	if v := m.voids; v != nil {
		if m.At.Floor > 0 {
			v.cancelled = journal.Above(v.cancelled, m.At.Floor)
		} else {
			v.cancelled = nil
		}
		state.Cancelled = slices.Clone(v.cancelled)
	}
	s := Snapshot{state: state, room: room, places: m.places(), void: slices.Clone(m.Void()), bases: maps.Clone(m.aging.bases), now: m.At.Now, wall: wall}
	m.eachOut(s.add, func(d *inflight.Due) {
		s.due = append(s.due, inflight.Due{Pos: d.Pos, At: d.At, Attempts: d.Attempts})
	})
	return s
}

func (s *Snapshot) add(pos Position, attempts uint16) {
	k := len(s.out) - 1
	if k < 0 || len(s.out[k]) == cap(s.out[k]) {
		s.out = append(s.out, s.piece())
		k++
	}
	s.out[k] = append(s.out[k], outMessage{pos, attempts})
}

// piece returns an empty piece.
func (s *Snapshot) piece() (p []outMessage) {
	switch n := len(s.room); {
	case n > 0:
		p, s.room = s.room[n-1], s.room[:n-1]
	case len(s.out) == 0:
		p = make([]outMessage, 0, 16)
	default:
		p = make([]outMessage, 0, outPiece)
	}
	return p
}

// Write writes it down.
func (s *Snapshot) Write(w *journal.Writer) {
	w.Channel(s.State())
	s.EachOut(w.Out)
}

// State returns what is said of the channel beside what is out of its backlog. A message that is deferred and whose publish has failed it has not.
func (s *Snapshot) State() *journal.Channel {
	state := *s.state
	for _, list := range s.places {
		if len(s.void) == 0 {
			break // which is nearly always so, and there may be millions
		}
		for m := range list.All() {
			if journal.Holds(s.void, m.Pos) {
				state.Counts.Accepted--
			}
		}
	}
	return &state
}

// EachOut calls f with every message that is out of the backlog.
func (s *Snapshot) EachOut(f func(Position, journal.Out)) {
	for i, list := range slices.Backward(s.places[:]) {
		list.Order() // a start need not sort what is sorted but for a few
		for m := range list.All() {
			if journal.Holds(s.void, m.Pos) {
				continue
			}
			out := journal.Out{Attempts: m.Attempts, Due: s.since(m.Pos)}
			if i > 1 { // deferred
				out.Due = s.wall + m.At - s.now
			}
			f(m.Pos, out)
		}
	}
	for _, piece := range s.out {
		for _, m := range piece {
			f(m.pos, journal.Out{Attempts: m.attempts, Due: s.since(m.pos)})
		}
	}
	for _, d := range s.due {
		f(d.Pos, journal.Out{Due: s.wall + d.At - s.now, Attempts: d.Attempts})
	}
}

// since returns when a message was due that is not deferred any more, negated, and 0 where that does not matter.
func (s *Snapshot) since(pos Position) int64 {
	if at, ok := s.bases[pos]; ok {
		return -(s.wall + at - s.now)
	}
	return 0
}
