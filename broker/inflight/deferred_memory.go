package inflight

import "brokerd/protocol"

// Due is a deferred message.
type Due struct {
	Pos      Position
	Frame    protocol.MessageFrame
	At       int64  // nanoseconds
	Attempts uint16 // deliveries so far
}

func (d Due) due() int64 { return d.At }

// DeferredMemory is messages with their bodies, ordered by when they are due. Its zero value is empty, and takes a pointer.
type DeferredMemory struct{ heap *heap[Due] }

// Len returns the number of messages.
func (d *DeferredMemory) Len() int { return d.heap.len() }

// Next returns when the first message is due.
func (d *DeferredMemory) Next() (at int64, ok bool) { return d.heap.next() }

// Push adds a message.
func (d *DeferredMemory) Push(m Due) {
	if d.heap == nil {
		d.heap = new(heap[Due])
	}
	d.heap.push(m)
}

// Pop takes out a message that is due at or before now.
func (d *DeferredMemory) Pop(now int64) (Due, bool) { return d.heap.pop(now) }

// Clear takes out all messages, in no order, and calls f with each; f may be nil.
func (d *DeferredMemory) Clear(f func(Due)) {
	if f != nil {
		d.Each(f)
	}
	d.heap = nil
}

// Each calls f with all messages, in no order.
func (d *DeferredMemory) Each(f func(Due)) {
	for m := range d.heap.all() {
		f(m)
	}
}
