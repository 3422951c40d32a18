package inflight

import (
	"iter"
	"slices"

	"brokerd/protocol"
)

// Shelved is a deferred message of which only the place is known: its body is on disk or in memory that is not the channel's.
type Shelved struct {
	At       int64 // when it is due, nanoseconds
	ID       protocol.MessageID
	Node     uint32 // where the body is: these three are the owner's
	Off      uint32
	Index    uint32
	Attempts uint16 // deliveries so far
}

func (s Shelved) due() int64 { return s.At }

// Shelf is shelved messages ordered by when they are due: 32 bytes each, without pointers. Its zero value is empty.
type Shelf struct{ heap heap[Shelved] }

// Len returns the number of messages.
func (h *Shelf) Len() int { return h.heap.n }

// Next returns when the first message is due.
func (h *Shelf) Next() (at int64, ok bool) { return h.heap.next() }

// All returns all messages in no order. The shelf must not be changed meanwhile.
func (h *Shelf) All() iter.Seq[Shelved] { return h.heap.all() }

// Grow prepares for n more messages.
func (h *Shelf) Grow(n int) { h.heap.pieces = slices.Grow(h.heap.pieces, n/heapPiece+1) }

// Push adds a message.
func (h *Shelf) Push(m Shelved) { h.heap.push(m) }

// Pop takes out a message that is due at or before now.
func (h *Shelf) Pop(now int64) (Shelved, bool) { return h.heap.pop(now) }

// Clear takes out all messages.
func (h *Shelf) Clear() { h.heap = heap[Shelved]{} }
