package inflight

import (
	"cmp"
	"iter"
	"slices"
)

// Place is a message of which only the place is known: its body is on disk or in memory that is not the channel's. In 24
// bytes, as there may be ten million of them.
type Place struct {
	At       int64 // when it is due, nanoseconds; in a PlaceQueue it is its owner's
	Pos      Position
	Off      uint32 // where in its node the body is: the owner's
	Attempts uint16 // deliveries so far
}

func (s Place) due() int64 { return s.At }

// Snapshot is what a DeferredIndex or a PlaceQueue held at one moment. It may be read while they change.
type Snapshot [][]Place

// All returns the messages.
func (s Snapshot) All() iter.Seq[Place] {
	return func(yield func(Place) bool) {
		for _, chunk := range s {
			for _, m := range chunk {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Order puts the chunks into the order of their first messages: those that were pushed in the order of their positions are all in order then,
// but for what was due next.
func (s Snapshot) Order() {
	slices.SortFunc(s, func(a, b []Place) int { return cmp.Compare(first(a), first(b)) })
}

func first(chunk []Place) Position {
	if len(chunk) == 0 {
		return 0
	}
	return chunk[0].Pos
}

// Len returns the number of messages.
func (s Snapshot) Len() (n int) {
	for _, chunk := range s {
		n += len(chunk)
	}
	return n
}

// PlaceQueue is places of messages in the order in which they were pushed, in chunks whose elements never change: taking a Snapshot of
// ten million takes no longer than to copy some thousand slice headers. Its zero value is empty, and takes a pointer: most channels never use theirs.
type PlaceQueue struct{ *places }

type places struct {
	chunks [][]Place
	head   int // of the first chunk: taken out
	n      int
}

// Elements in a chunk: the first ones are small, as most channels have few.
const (
	minChunk = 8
	maxChunk = 1 << 10
)

// Len returns the number of messages.
func (l *PlaceQueue) Len() int {
	if l.places == nil {
		return 0
	}
	return l.n
}

// Push adds a message at the end.
func (l *PlaceQueue) Push(m Place) {
	if l.places == nil {
		l.places = new(places)
	}
	k := len(l.chunks) - 1
	if k < 0 || len(l.chunks[k]) == cap(l.chunks[k]) {
		l.chunks = append(l.chunks, make([]Place, 0, min(max(l.n, minChunk), maxChunk)))
		k++
	}
	l.chunks[k] = append(l.chunks[k], m)
	l.n++
}

// Pop takes out the first message; there must be one.
func (l *PlaceQueue) Pop() Place {
	m := l.chunks[0][l.head]
	l.head++
	l.n--
	if l.head == cap(l.chunks[0]) {
		l.chunks[0] = nil
		l.chunks, l.head = l.chunks[1:], 0
	}
	return m
}

// First returns the first message without taking it out; there must be one.
func (l *PlaceQueue) First() Place { return l.chunks[0][l.head] }

// PushFront adds messages in front of all others, in their order.
func (l *PlaceQueue) PushFront(list []Place) {
	switch {
	case len(list) == 0:
		return
	case l.places == nil:
		l.places = new(places)
	}
	if l.n > 0 {
		l.chunks[0] = l.chunks[0][l.head:]
	} else {
		l.chunks = nil
	}
	l.chunks = slices.Insert(l.chunks, 0, slices.Clip(slices.Clone(list)))
	l.head = 0
	l.n += len(list)
}

// Snapshot returns what is in the line now.
func (l *PlaceQueue) Snapshot() Snapshot {
	if l.places == nil {
		return nil
	}
	s := slices.Clone(Snapshot(l.chunks))
	if len(s) > 0 {
		s[0] = s[0][l.head:]
	}
	return s
}

// All returns all messages, in order. The line must not be changed meanwhile.
func (l *PlaceQueue) All() iter.Seq[Place] { return l.Snapshot().All() }

// Clear takes out all messages.
func (l *PlaceQueue) Clear() { *l = PlaceQueue{} }
