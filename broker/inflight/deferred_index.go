package inflight

import (
	"iter"
	"slices"
)

// DeferredIndex is places of messages ordered by when they are due: 24 bytes each, without pointers. Its zero value is empty, and takes a pointer.
//
// Those that are due next are in a heap. When they are many the others lie in stretches of time, unordered,
// and go to the heap stretch by stretch: so that pushing takes a step or two however many there are, and a Snapshot needs to copy
// only what is due next.
type DeferredIndex struct{ *deferred }

type deferred struct {
	near  heap[Place] // due before horizon, or all when there are no stretches
	far   map[int64]*stretch
	order heap[*stretch] // of far, each once
	width uint           // of a stretch: 2^width nanoseconds
	until int64          // horizon: nothing in a stretch is due before this
	n     int

	latest    *stretch // where the last one was put, nil when that is not in far any more
	latestKey int64
}

// stretch is the messages that are due in one stretch of time.
type stretch struct {
	first     int64 // when the first is due that it may hold
	low, high Position
	line      PlaceQueue
}

func (s *stretch) due() int64 { return s.first }

const (
	stretchWidth  = 26 // 67 ms: at 20,000 a second some thousand messages
	sparseStretch = 16 // messages in a stretch, on average, below which stretches are too short
	widestStretch = 44 // 5 hours
)

// Variables for tests only.
var (
	fewShelved    = 1 << 12 // up to so many need no stretches
	manyStretches = 1 << 10 // stretches that may be sparse
)

// Len returns the number of messages.
func (h *DeferredIndex) Len() int {
	if h.deferred == nil {
		return 0
	}
	return h.n
}

// Next returns when the first message is due; it may say a little too early.
func (h *DeferredIndex) Next() (at int64, ok bool) {
	if h.deferred == nil {
		return 0, false
	}
	if at, ok = h.near.next(); ok {
		return at, true
	}
	return h.order.next()
}

// All returns all messages in no order. It must not be changed meanwhile.
func (h *DeferredIndex) All() iter.Seq[Place] { return h.Snapshot().All() }

// Snapshot returns what is there now.
func (h *DeferredIndex) Snapshot() Snapshot {
	if h.deferred == nil {
		return nil
	}
	size := len(h.near.pieces)
	for _, s := range h.far {
		size += len(s.line.chunks)
	}
	all := make(Snapshot, 0, size)
	for at := 0; at < h.near.n; at += heapPiece {
		all = append(all, slices.Clone(h.near.pieces[at/heapPiece][:min(heapPiece, h.near.n-at)]))
	}
	for _, s := range h.far {
		all = append(all, s.line.Snapshot()...)
	}
	return all
}

// Push adds a message.
func (h *DeferredIndex) Push(m Place) {
	if h.deferred == nil {
		h.deferred = new(deferred)
	}
	h.n++
	if h.far == nil && h.near.n >= fewShelved {
		h.spread()
	}
	h.place(m)
}

func (h *DeferredIndex) place(m Place) {
	if h.far == nil || m.At < h.until {
		h.near.push(m)
		return
	}
	key := m.At >> h.width
	if h.latest != nil && key == h.latestKey {
		h.latest.add(m)
		return
	}
	s := h.far[key]
	if s == nil {
		if len(h.far) >= manyStretches && h.n < len(h.far)*sparseStretch && h.width < widestStretch {
			h.widen()
			h.place(m)
			return
		}
		s = &stretch{first: max(key<<h.width, h.until), low: m.Pos}
		h.far[key] = s
		h.order.push(s)
	}
	h.latest, h.latestKey = s, key
	s.add(m)
}

func (s *stretch) add(m Place) {
	s.low, s.high = min(s.low, m.Pos), max(s.high, m.Pos)
	s.line.Push(m)
}

// spread begins to use stretches: what is in the heap goes there, but for what is due next.
func (h *DeferredIndex) spread() {
	first, _ := h.near.next()
	if h.width == 0 {
		h.width = stretchWidth
	}
	h.far, h.until = map[int64]*stretch{}, (first>>h.width+1)<<h.width
	all := h.near
	h.near = heap[Place]{}
	for m := range all.all() {
		h.place(m)
	}
}

// widen makes stretches twice as wide until they hold enough.
func (h *DeferredIndex) widen() {
	h.width++
	old := h.far
	h.latest = nil
	h.far, h.order = map[int64]*stretch{}, heap[*stretch]{}
	for _, s := range old {
		for m := range s.line.All() {
			h.place(m)
		}
	}
}

// Pop takes out a message that is due at or before now.
func (h *DeferredIndex) Pop(now int64) (Place, bool) {
	if h.deferred == nil {
		return Place{}, false
	}
	for h.near.n == 0 && h.far != nil {
		s, ok := h.order.pop(now)
		if !ok {
			break
		}
		h.open(s)
	}
	m, ok := h.near.pop(now)
	if ok {
		h.left()
	}
	return m, ok
}

// left notes that a message was taken out. With the last one stretches go that are empty, as Remove leaves them.
func (h *DeferredIndex) left() {
	if h.n--; h.n == 0 && h.far != nil {
		*h.deferred = deferred{width: h.width}
	}
}

// open moves the messages of the first stretch to the heap.
func (h *DeferredIndex) open(s *stretch) {
	key := s.first >> h.width
	delete(h.far, key)
	h.latest = nil
	h.until = (key + 1) << h.width
	for m := range s.line.All() {
		h.near.push(m)
	}
	if len(h.far) == 0 {
		h.far, h.order = nil, heap[*stretch]{}
	}
}

// Clear takes out all messages.
func (h *DeferredIndex) Clear() { *h = DeferredIndex{} }
