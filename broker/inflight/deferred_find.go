package inflight

import (
	"cmp"
	"math"
	"slices"
)

// byDue orders messages as they are listed: by when they are due, and by their positions.
func byDue(at int64, pos Position, other Place) int {
	return cmp.Or(cmp.Compare(at, other.At), cmp.Compare(pos, other.Pos))
}

// Holding returns, of the places that are there, some among which that of a message is, if it is there at all: those of the stretches
// of time in which it may be. Looking through them needs no lock.
func (h *DeferredIndex) Holding(pos Position) Snapshot {
	if h.deferred == nil {
		return nil
	}
	all := h.near.snapshot()
	for _, s := range h.far {
		if s.low <= pos && pos <= s.high {
			all = append(all, s.line.Snapshot()...)
		}
	}
	return all
}

func (h *heap[T]) snapshot() (all [][]T) {
	for at := 0; at < h.n; at += heapPiece {
		all = append(all, slices.Clone(h.pieces[at/heapPiece][:min(heapPiece, h.n-at)]))
	}
	return all
}

// Find returns the place of a message, if it is in the snapshot.
func (s Snapshot) Find(pos Position) (Place, bool) {
	for _, chunk := range s {
		for i := range chunk {
			if chunk[i].Pos == pos {
				return chunk[i], true
			}
		}
	}
	return Place{}, false
}

// Remove takes a message out. It reports whether it was there, and due when m says.
func (h *DeferredIndex) Remove(m Place) bool {
	if h.deferred == nil {
		return false
	}
	if h.far == nil || m.At < h.until {
		for i := range h.near.n {
			if e := h.near.at(i); e.Pos == m.Pos && e.At == m.At {
				h.near.removeAt(i)
				h.left()
				return true
			}
		}
		return false
	}
	s := h.far[m.At>>h.width] // one that is empty goes when its time comes
	if s == nil || !s.line.remove(m) {
		return false
	}
	h.left()
	return true
}

// remove takes a message out, and reports whether it was there with that time. What a Snapshot has stays as it is.
func (l *PlaceQueue) remove(m Place) bool {
	if l.places == nil {
		return false
	}
	for k, chunk := range l.chunks {
		from := 0
		if k == 0 {
			from = l.head
		}
		i := slices.IndexFunc(chunk[from:], func(e Place) bool { return e.Pos == m.Pos && e.At == m.At })
		if i < 0 {
			continue
		}
		rest := slices.Clip(slices.Concat(chunk[from:from+i], chunk[from+i+1:]))
		if k == 0 {
			l.head = 0
		}
		if l.chunks[k] = rest; len(rest) == 0 {
			l.chunks = slices.Delete(l.chunks, k, k+1)
		}
		l.n--
		return true
	}
	return false
}

// Filter takes out the messages for which drop returns true, and returns how many.
func (l *PlaceQueue) Filter(drop func(Place) bool) (dropped int) {
	kept := PlaceQueue{}
	for m := range l.All() {
		if !drop(m) {
			kept.Push(m)
		}
	}
	if dropped = l.Len() - kept.Len(); dropped > 0 {
		*l = kept
	}
	return dropped
}

// After returns, of the places that are there, some among which the first limit ones are that are due behind a place: later, or at the
// same time with a higher position.
func (h *DeferredIndex) After(from Place, limit int) Snapshot {
	if h.deferred == nil {
		return nil
	}
	all := h.near.snapshot()
	found := 0
	count := func(chunks [][]Place) {
		for _, chunk := range chunks {
			for i := range chunk {
				if byDue(chunk[i].At, chunk[i].Pos, from) > 0 {
					found++
				}
			}
		}
	}
	count(all)
	var later heap[*stretch]
	for key, s := range h.far {
		if (key+1)<<h.width > from.At {
			later.push(s)
		}
	}
	for found < limit {
		s, ok := later.pop(math.MaxInt64)
		if !ok {
			break
		}
		chunks := s.line.Snapshot()
		count(chunks)
		all = append(all, chunks...)
	}
	return all
}

// First returns the first limit messages of the snapshot that are due behind a place, in order.
func (s Snapshot) First(from Place, limit int) (list []Place) {
	for m := range s.All() {
		if byDue(m.At, m.Pos, from) <= 0 {
			continue
		}
		if list = append(list, m); len(list) >= 4*limit {
			list = sortedPlaces(list)[:limit]
		}
	}
	list = sortedPlaces(list)
	return list[:min(limit, len(list))]
}

func sortedPlaces(list []Place) []Place {
	slices.SortFunc(list, func(a, b Place) int { return byDue(a.At, a.Pos, b) })
	return list
}

// Key is what tells a message from others that are due at the same time: its position or, where it has none, its id.
func (d Due) Key() Position {
	if d.Pos == 0 {
		return Position(d.Frame.MustID())
	}
	return d.Pos
}

// After returns the first limit messages that are due behind a place, whose position is a key, in order.
func (d *DeferredMemory) After(from Place, limit int) (list []Due) {
	sorted := func() []Due {
		slices.SortFunc(list, func(a, b Due) int { return byDue(a.At, a.Key(), Place{At: b.At, Pos: b.Key()}) })
		return list[:min(limit, len(list))]
	}
	for m := range d.heap.all() {
		if m.At < from.At || byDue(m.At, m.Key(), from) <= 0 {
			continue
		}
		if list = append(list, m); len(list) >= 4*limit {
			list = sorted()
		}
	}
	return sorted()
}

// Remove takes out the message of a position.
func (d *DeferredMemory) Remove(pos Position) (Due, bool) {
	for i := range d.heap.len() {
		if d.heap.at(i).Pos == pos {
			return d.heap.removeAt(i), true
		}
	}
	return Due{}, false
}

// DueBefore adds to counts how many messages are due before each of some times, which grow.
func (h *DeferredIndex) DueBefore(times []int64, counts []int) {
	if h.deferred == nil {
		return
	}
	for m := range h.near.all() {
		countDue(m.At, times, counts, 1)
	}
	for key, s := range h.far {
		first, last := s.first, (key+1)<<h.width-1
		if within(first, last, times) {
			countDue(first, times, counts, s.line.Len())
			continue
		}
		for m := range s.line.All() {
			countDue(m.At, times, counts, 1)
		}
	}
}

// within reports whether no time lies between two others.
func within(first, last int64, times []int64) bool {
	for _, t := range times {
		if first < t && t <= last {
			return false
		}
	}
	return true
}

func countDue(at int64, times []int64, counts []int, n int) {
	for i, t := range times {
		if at < t {
			counts[i] += n
		}
	}
}

// DueBefore adds to counts how many messages are due before each of some times, which grow.
func (d *DeferredMemory) DueBefore(times []int64, counts []int) {
	for m := range d.heap.all() {
		countDue(m.At, times, counts, 1)
	}
}
