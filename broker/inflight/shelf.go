package inflight

import "brokerd/protocol"

// Shelved is a deferred message of which only the place is known: its body is on disk or in memory that is not the channel's.
type Shelved struct {
	At       int64 // when it is due, nanoseconds
	ID       protocol.MessageID
	Node     uint32 // where the body is: these three are the owner's
	Off      uint32
	Index    uint32
	Attempts uint16 // deliveries so far
}

// Shelf is shelved messages ordered by when they are due: a heap with four children to a node, without pointers. Its zero
// value is empty.
type Shelf struct {
	heap []Shelved
}

// Len returns the number of messages.
func (h *Shelf) Len() int { return len(h.heap) }

// Next returns when the first message is due.
func (h *Shelf) Next() (at int64, ok bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].At, true
}

// All returns all messages in no order: a view that lives until the shelf is changed.
func (h *Shelf) All() []Shelved { return h.heap }

// Push adds a message.
func (h *Shelf) Push(m Shelved) {
	h.heap = append(h.heap, m)
	i := len(h.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if h.heap[up].At <= m.At {
			break
		}
		h.heap[i] = h.heap[up]
		i = up
	}
	h.heap[i] = m
}

// Pop takes out a message that is due at or before now.
func (h *Shelf) Pop(now int64) (Shelved, bool) {
	if len(h.heap) == 0 || h.heap[0].At > now {
		return Shelved{}, false
	}
	first := h.heap[0]
	n := len(h.heap) - 1
	last := h.heap[n]
	h.heap = h.heap[:n]
	switch {
	case n == 0:
		h.heap = nil
	default:
		h.sink(last)
		if cap(h.heap) > 4096 && n < cap(h.heap)/4 {
			h.heap = append(make([]Shelved, 0, 2*n), h.heap...)
		}
	}
	return first, true
}

// sink puts m where the root has left a hole.
func (h *Shelf) sink(m Shelved) {
	i, n := 0, len(h.heap)
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if h.heap[c].At < h.heap[least].At {
				least = c
			}
		}
		if m.At <= h.heap[least].At {
			break
		}
		h.heap[i] = h.heap[least]
		i = least
	}
	h.heap[i] = m
}

// Clear takes out all messages.
func (h *Shelf) Clear() { h.heap = nil }
