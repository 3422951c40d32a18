package journal

import (
	"cmp"
	"math"
	"slices"
)

// Out is a message that has left a channel's backlog and is not finished.
type Out struct {
	Due      int64 // Unix nanoseconds; 0 when it never was deferred, negated when it has been delivered since it was due
	Attempts uint16
}

// DeferredAt reports whether the message waits for a time after now, Unix nanoseconds. A clock may say less than 0, and what never was deferred
// is not.
func (o Out) DeferredAt(now int64) bool { return o.Due > max(now, 0) }

// Outs is the messages of a channel that are out, by position: 18 bytes each, as there may be ten million of them that are
// deferred. Its zero value is empty.
type Outs struct {
	list outList          // sorted
	gone int              // of those: taken out
	late map[Position]Out // with a position below the last of the list; not in the list
}

// removed is the due time of what was taken out of the list.
const removed = math.MinInt64

// fewOuts is up to how many messages are not worth putting in order.
const fewOuts = 1024

// outPiece is three slices of one length.
type outPiece struct {
	positions []Position
	dues      []int64
	attempts  []uint16
}

// outPieceLen is the length of every piece of a list but the last.
const outPieceLen = 1 << 12

// outList is messages in pieces, so that it grows without being copied and can be given back piece by piece. In an Outs they
// are sorted by position.
type outList struct {
	pieces []*outPiece
	n      int
}

// outEntry is one message of a list.
type outEntry struct {
	pos Position
	Out
}

func (l *outList) piece(i int) (*outPiece, int) { return l.pieces[i/outPieceLen], i % outPieceLen }

func (l *outList) pos(i int) Position { p, k := l.piece(i); return p.positions[k] }

func (l *outList) due(i int) int64 { p, k := l.piece(i); return p.dues[k] }

func (l *outList) setDue(i int, due int64) { p, k := l.piece(i); p.dues[k] = due }

func (l *outList) at(i int) Out {
	p, k := l.piece(i)
	return Out{Due: p.dues[k], Attempts: p.attempts[k]}
}

func (l *outList) set(i int, pos Position, o Out) {
	p, k := l.piece(i)
	p.positions[k], p.dues[k], p.attempts[k] = pos, o.Due, o.Attempts
}

func (l *outList) push(pos Position, o Out) {
	if l.n == len(l.pieces)*outPieceLen {
		p := &outPiece{}
		if l.n > 0 { // it will be filled, most likely
			p = &outPiece{make([]Position, 0, outPieceLen), make([]int64, 0, outPieceLen), make([]uint16, 0, outPieceLen)}
		}
		l.pieces = append(l.pieces, p)
	}
	p := l.pieces[len(l.pieces)-1]
	p.positions, p.dues, p.attempts = append(p.positions, pos), append(p.dues, o.Due), append(p.attempts, o.Attempts)
	l.n++
}

// cut keeps the first n.
func (l *outList) cut(n int) {
	keep := (n + outPieceLen - 1) / outPieceLen
	clear(l.pieces[keep:])
	l.pieces, l.n = l.pieces[:keep], n
	if keep > 0 {
		p, rest := l.pieces[keep-1], n-(keep-1)*outPieceLen
		p.positions, p.dues, p.attempts = p.positions[:rest], p.dues[:rest], p.attempts[:rest]
	}
}

// take empties the list and calls f with each, giving memory back as it goes.
func (l *outList) take(f func(outEntry)) {
	pieces := l.pieces
	*l = outList{}
	for i, p := range pieces {
		for k, pos := range p.positions {
			f(outEntry{pos, Out{Due: p.dues[k], Attempts: p.attempts[k]}})
		}
		pieces[i] = nil
	}
}

func (s *Outs) find(pos Position) (int, bool) {
	k, ok := slices.BinarySearchFunc(s.list.pieces, pos, func(p *outPiece, pos Position) int { return cmp.Compare(p.positions[0], pos) })
	if ok {
		return k * outPieceLen, true
	}
	if k--; k < 0 {
		return 0, false
	}
	i, ok := slices.BinarySearch(s.list.pieces[k].positions, pos)
	return k*outPieceLen + i, ok
}

// Len returns the number of messages.
func (s *Outs) Len() int { return s.list.n - s.gone + len(s.late) }

// Get returns a message.
func (s *Outs) Get(pos Position) (Out, bool) {
	if i, ok := s.find(pos); ok {
		o := s.list.at(i)
		return o, o.Due != removed
	}
	o, ok := s.late[pos]
	return o, ok
}

// Set adds a message or changes it.
func (s *Outs) Set(pos Position, o Out) {
	o.Due = max(o.Due, removed+1)
	i, ok := s.find(pos)
	_, late := s.late[pos]
	switch {
	case late:
		s.late[pos] = o
	case ok:
		if s.list.due(i) == removed {
			s.gone--
		}
		s.list.set(i, pos, o)
	case i == s.list.n:
		s.list.push(pos, o)
	default:
		if s.late == nil {
			s.late = map[Position]Out{}
		}
		s.late[pos] = o
		if len(s.late) > max(fewOuts, s.list.n/8) {
			s.merge()
		}
	}
}

// Delete takes a message out and reports whether it was there.
func (s *Outs) Delete(pos Position) bool {
	i, ok := s.find(pos)
	if !ok {
		_, ok = s.late[pos]
		delete(s.late, pos)
		return ok
	}
	if s.list.due(i) == removed {
		return false
	}
	s.list.setDue(i, removed)
	s.gone++
	if s.gone == s.list.n || s.gone > max(fewOuts, s.list.n/2) {
		s.compact()
	}
	return true
}

// compact closes the gaps of the list.
func (s *Outs) compact() {
	if s.gone == 0 {
		return
	}
	n := 0
	for i := range s.list.n {
		if s.list.due(i) != removed {
			s.list.set(n, s.list.pos(i), s.list.at(i))
			n++
		}
	}
	s.list.cut(n)
	s.gone = 0
}

// merge puts what came late where it belongs.
func (s *Outs) merge() {
	s.compact()
	positions := sortedKeys(s.late)
	from := s.list.n - 1
	for range positions {
		s.list.push(0, Out{})
	}
	to := s.list.n - 1
	for k := len(positions) - 1; k >= 0; to-- {
		if from >= 0 && s.list.pos(from) > positions[k] {
			s.list.set(to, s.list.pos(from), s.list.at(from))
			from--
			continue
		}
		s.list.set(to, positions[k], s.late[positions[k]])
		k--
	}
	s.late = nil
}

// Each calls f with every message, in the order of their positions. The messages must not be changed meanwhile.
func (s *Outs) Each(f func(Position, Out)) {
	s.merge()
	for _, p := range s.list.pieces {
		for k, pos := range p.positions {
			f(pos, Out{Due: p.dues[k], Attempts: p.attempts[k]})
		}
	}
}

// Take empties it and calls f with every message, in the order of their positions. Memory is given back as it goes.
func (s *Outs) Take(f func(Position, Out)) {
	s.merge()
	s.list.take(func(e outEntry) { f(e.pos, e.Out) })
}

// order sorts a list that was filled in any order. Of messages with the same position one stays.
func (s *Outs) order() {
	low, high, behind := Position(math.MaxUint64), Position(0), 0
	for _, p := range s.list.pieces {
		for _, pos := range p.positions {
			if pos <= high && low <= high {
				behind++
			}
			low, high = min(low, pos), max(high, pos)
		}
	}
	switch {
	case behind == 0:
		return
	case behind <= s.list.n/8:
		s.insert(behind)
		return
	}
	// The positions of a channel are close to each other: dealt out by their value they are in parts that fit a cache.
	parts := make([]outList, s.list.n/(8*outPieceLen)+1)
	width := uint64(high-low)/uint64(len(parts)) + 1
	s.list.take(func(e outEntry) { parts[uint64(e.pos-low)/width].push(e.pos, e.Out) })
	var some []outEntry
	for i := range parts {
		some = some[:0]
		parts[i].take(func(e outEntry) { some = append(some, e) })
		slices.SortFunc(some, func(a, b outEntry) int { return cmp.Compare(a.pos, b.pos) })
		for k, e := range some {
			if k == 0 || some[k-1].pos != e.pos {
				s.list.push(e.pos, e.Out)
			}
		}
	}
}

// insert is order of a list that is sorted but for a few, each behind one with a higher position.
func (s *Outs) insert(few int) {
	some := make([]outEntry, 0, few)
	n := 0
	for i := range s.list.n {
		pos, o := s.list.pos(i), s.list.at(i)
		if n > 0 && pos <= s.list.pos(n-1) {
			some = append(some, outEntry{pos, o})
			continue
		}
		s.list.set(n, pos, o)
		n++
	}
	s.list.cut(n)
	for _, e := range some {
		if _, there := s.Get(e.pos); !there {
			s.Set(e.pos, e.Out)
		}
	}
}
