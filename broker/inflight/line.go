package inflight

import (
	"iter"
	"slices"
)

// Shelved is a message of which only the place is known: its body is on disk or in memory that is not the channel's. In 24
// bytes, as there may be ten million of them.
type Shelved struct {
	At       int64 // when it is due, nanoseconds; in a Line it is its owner's
	Pos      Position
	Off      uint32 // where in its node the body is: the owner's
	Attempts uint16 // deliveries so far
}

func (s Shelved) due() int64 { return s.At }

// Snapshot is what a Shelf or a Line held at one moment. It may be read while they change.
type Snapshot [][]Shelved

// All returns the messages.
func (s Snapshot) All() iter.Seq[Shelved] {
	return func(yield func(Shelved) bool) {
		for _, chunk := range s {
			for _, m := range chunk {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Len returns the number of messages.
func (s Snapshot) Len() (n int) {
	for _, chunk := range s {
		n += len(chunk)
	}
	return n
}

// Line is shelved messages in the order in which they were pushed, in chunks whose elements never change: taking a Snapshot of
// ten million takes no longer than to copy some thousand slice headers. Its zero value is empty.
type Line struct {
	chunks [][]Shelved
	head   int // of the first chunk: taken out
	n      int
}

// Elements in a chunk: the first ones are small, as most channels have few.
const (
	minChunk = 8
	maxChunk = 1 << 10
)

// Len returns the number of messages.
func (l *Line) Len() int { return l.n }

// Push adds a message at the end.
func (l *Line) Push(m Shelved) {
	k := len(l.chunks) - 1
	if k < 0 || len(l.chunks[k]) == cap(l.chunks[k]) {
		l.chunks = append(l.chunks, make([]Shelved, 0, min(max(l.n, minChunk), maxChunk)))
		k++
	}
	l.chunks[k] = append(l.chunks[k], m)
	l.n++
}

// Pop takes out the first message; there must be one.
func (l *Line) Pop() Shelved {
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
func (l *Line) First() Shelved { return l.chunks[0][l.head] }

// PushFront adds messages in front of all others, in their order.
func (l *Line) PushFront(list []Shelved) {
	if len(list) == 0 {
		return
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
func (l *Line) Snapshot() Snapshot {
	s := slices.Clone(Snapshot(l.chunks))
	if len(s) > 0 {
		s[0] = s[0][l.head:]
	}
	return s
}

// All returns all messages, in order. The line must not be changed meanwhile.
func (l *Line) All() iter.Seq[Shelved] { return l.Snapshot().All() }

// Clear takes out all messages.
func (l *Line) Clear() { *l = Line{} }
