package journal

import (
	"cmp"
	"math"
	"slices"

	"brokerd/protocol"
)

// Outs is the messages of a channel that are out, by id: 18 bytes each, as there may be ten million of them that are
// deferred. Its zero value is empty.
type Outs struct {
	list outList                    // sorted
	gone int                        // of those: taken out
	late map[protocol.MessageID]Out // with an id below the last of the list; not in the list
}

// removed is the due time of what was taken out of the list.
const removed = math.MinInt64

// fewOuts is up to how many messages are not worth putting in order.
const fewOuts = 1024

// outPiece is three slices of one length.
type outPiece struct {
	ids      []protocol.MessageID
	dues     []int64
	attempts []uint16
}

// outPieceLen is the length of every piece of a list but the last.
const outPieceLen = 1 << 12

// outList is messages in pieces, so that it grows without being copied and can be given back piece by piece. In an Outs they
// are sorted by id.
type outList struct {
	pieces []*outPiece
	n      int
}

// outEntry is one message of a list.
type outEntry struct {
	id protocol.MessageID
	Out
}

func (l *outList) piece(i int) (*outPiece, int) { return l.pieces[i/outPieceLen], i % outPieceLen }

func (l *outList) id(i int) protocol.MessageID { p, k := l.piece(i); return p.ids[k] }

func (l *outList) due(i int) int64 { p, k := l.piece(i); return p.dues[k] }

func (l *outList) setDue(i int, due int64) { p, k := l.piece(i); p.dues[k] = due }

func (l *outList) at(i int) Out {
	p, k := l.piece(i)
	return Out{Due: p.dues[k], Attempts: p.attempts[k]}
}

func (l *outList) set(i int, id protocol.MessageID, o Out) {
	p, k := l.piece(i)
	p.ids[k], p.dues[k], p.attempts[k] = id, o.Due, o.Attempts
}

func (l *outList) push(id protocol.MessageID, o Out) {
	if l.n == len(l.pieces)*outPieceLen {
		p := &outPiece{}
		if l.n > 0 { // it will be filled, most likely
			p = &outPiece{make([]protocol.MessageID, 0, outPieceLen), make([]int64, 0, outPieceLen), make([]uint16, 0, outPieceLen)}
		}
		l.pieces = append(l.pieces, p)
	}
	p := l.pieces[len(l.pieces)-1]
	p.ids, p.dues, p.attempts = append(p.ids, id), append(p.dues, o.Due), append(p.attempts, o.Attempts)
	l.n++
}

// cut keeps the first n.
func (l *outList) cut(n int) {
	keep := (n + outPieceLen - 1) / outPieceLen
	clear(l.pieces[keep:])
	l.pieces, l.n = l.pieces[:keep], n
	if keep > 0 {
		p, rest := l.pieces[keep-1], n-(keep-1)*outPieceLen
		p.ids, p.dues, p.attempts = p.ids[:rest], p.dues[:rest], p.attempts[:rest]
	}
}

// take empties the list and calls f with each, giving memory back as it goes.
func (l *outList) take(f func(outEntry)) {
	pieces := l.pieces
	*l = outList{}
	for i, p := range pieces {
		for k, id := range p.ids {
			f(outEntry{id, Out{Due: p.dues[k], Attempts: p.attempts[k]}})
		}
		pieces[i] = nil
	}
}

func (s *Outs) find(id protocol.MessageID) (int, bool) {
	k, ok := slices.BinarySearchFunc(s.list.pieces, id, func(p *outPiece, id protocol.MessageID) int { return cmp.Compare(p.ids[0], id) })
	if ok {
		return k * outPieceLen, true
	}
	if k--; k < 0 {
		return 0, false
	}
	i, ok := slices.BinarySearch(s.list.pieces[k].ids, id)
	return k*outPieceLen + i, ok
}

// Len returns the number of messages.
func (s *Outs) Len() int { return s.list.n - s.gone + len(s.late) }

// Get returns a message.
func (s *Outs) Get(id protocol.MessageID) (Out, bool) {
	if i, ok := s.find(id); ok {
		o := s.list.at(i)
		return o, o.Due != removed
	}
	o, ok := s.late[id]
	return o, ok
}

// Set adds a message or changes it.
func (s *Outs) Set(id protocol.MessageID, o Out) {
	o.Due = max(o.Due, removed+1)
	i, ok := s.find(id)
	_, late := s.late[id]
	switch {
	case late:
		s.late[id] = o
	case ok:
		if s.list.due(i) == removed {
			s.gone--
		}
		s.list.set(i, id, o)
	case i == s.list.n:
		s.list.push(id, o)
	default:
		if s.late == nil {
			s.late = map[protocol.MessageID]Out{}
		}
		s.late[id] = o
		if len(s.late) > max(fewOuts, s.list.n/8) {
			s.merge()
		}
	}
}

// Delete takes a message out and reports whether it was there.
func (s *Outs) Delete(id protocol.MessageID) bool {
	i, ok := s.find(id)
	if !ok {
		_, ok = s.late[id]
		delete(s.late, id)
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
			s.list.set(n, s.list.id(i), s.list.at(i))
			n++
		}
	}
	s.list.cut(n)
	s.gone = 0
}

// merge puts what came late where it belongs.
func (s *Outs) merge() {
	s.compact()
	ids := sortedKeys(s.late)
	from := s.list.n - 1
	for range ids {
		s.list.push(0, Out{})
	}
	to := s.list.n - 1
	for k := len(ids) - 1; k >= 0; to-- {
		if from >= 0 && s.list.id(from) > ids[k] {
			s.list.set(to, s.list.id(from), s.list.at(from))
			from--
			continue
		}
		s.list.set(to, ids[k], s.late[ids[k]])
		k--
	}
	s.late = nil
}

// Each calls f with every message, in the order of their ids. The messages must not be changed meanwhile.
func (s *Outs) Each(f func(protocol.MessageID, Out)) {
	s.merge()
	for _, p := range s.list.pieces {
		for k, id := range p.ids {
			f(id, Out{Due: p.dues[k], Attempts: p.attempts[k]})
		}
	}
}

// Take empties it and calls f with every message, in the order of their ids. Memory is given back as it goes.
func (s *Outs) Take(f func(protocol.MessageID, Out)) {
	s.merge()
	s.list.take(func(e outEntry) { f(e.id, e.Out) })
}

// order sorts a list that was filled in any order. Of messages with the same id one stays.
func (s *Outs) order() {
	low, high, sorted := protocol.MessageID(math.MaxUint64), protocol.MessageID(0), true
	for _, p := range s.list.pieces {
		for _, id := range p.ids {
			sorted = sorted && (id > high || low > high)
			low, high = min(low, id), max(high, id)
		}
	}
	if sorted {
		return
	}
	// The ids of a channel are close to each other: dealt out by their value they are in parts that fit a cache.
	parts := make([]outList, s.list.n/(8*outPieceLen)+1)
	width := uint64(high-low)/uint64(len(parts)) + 1
	s.list.take(func(e outEntry) { parts[uint64(e.id-low)/width].push(e.id, e.Out) })
	var some []outEntry
	for i := range parts {
		some = some[:0]
		parts[i].take(func(e outEntry) { some = append(some, e) })
		slices.SortFunc(some, func(a, b outEntry) int { return cmp.Compare(a.id, b.id) })
		for k, e := range some {
			if k == 0 || some[k-1].id != e.id {
				s.list.push(e.id, e.Out)
			}
		}
	}
}
