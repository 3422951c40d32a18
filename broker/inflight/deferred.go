package inflight

import "brokerd/protocol"

// Due is a deferred message.
type Due struct {
	Frame    protocol.MessageFrame
	At       int64  // nanoseconds
	Attempts uint16 // deliveries so far
}

// Deferred is messages ordered by when they are due: a heap with four children to a node. Its zero value is empty.
type Deferred struct {
	heap []Due
}

// Len returns the number of messages.
func (d *Deferred) Len() int { return len(d.heap) }

// Next returns when the first message is due.
func (d *Deferred) Next() (at int64, ok bool) {
	if len(d.heap) == 0 {
		return 0, false
	}
	return d.heap[0].At, true
}

// Push adds a message.
func (d *Deferred) Push(m Due) {
	d.heap = append(d.heap, m)
	i := len(d.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if d.heap[up].At <= m.At {
			break
		}
		d.heap[i] = d.heap[up]
		i = up
	}
	d.heap[i] = m
}

// Pop takes out a message that is due at or before now.
func (d *Deferred) Pop(now int64) (Due, bool) {
	if len(d.heap) == 0 || d.heap[0].At > now {
		return Due{}, false
	}
	first := d.heap[0]
	n := len(d.heap) - 1
	last := d.heap[n]
	d.heap[n] = Due{}
	d.heap = d.heap[:n]
	if n == 0 {
		d.heap = nil
		return first, true
	}
	d.sink(last)
	return first, true
}

// sink puts m where the root has left a hole.
func (d *Deferred) sink(m Due) {
	i, n := 0, len(d.heap)
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if d.heap[c].At < d.heap[least].At {
				least = c
			}
		}
		if m.At <= d.heap[least].At {
			break
		}
		d.heap[i] = d.heap[least]
		i = least
	}
	d.heap[i] = m
}

// Clear takes out all messages, in no order, and calls f with each; f may be nil.
func (d *Deferred) Clear(f func(Due)) {
	if f != nil {
		for _, m := range d.heap {
			f(m)
		}
	}
	d.heap = nil
}

// Each calls f with all messages, in no order.
func (d *Deferred) Each(f func(Due)) {
	for _, m := range d.heap {
		f(m)
	}
}
