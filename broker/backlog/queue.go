package backlog

import "brokerd/protocol"

// span is messages that follow each other in a chain of nodes.
type span struct {
	Extent
	left int // messages
}

// Queue is what waits in memory for one channel, in order. Its zero value is empty.
type Queue struct {
	spans []span // the first is read from
	n     int
}

// Len returns the number of messages.
func (q *Queue) Len() int { return q.n }

// Add appends count messages, 1 or more.
func (q *Queue) Add(at Extent, count int) {
	q.n += count
	if k := len(q.spans) - 1; k >= 0 && follows(q.spans[k].to, at.from) {
		q.spans[k].to = at.to
		q.spans[k].left += count
		return
	}
	q.spans = append(q.spans, span{at, count})
}

// follows reports whether nothing lies between the two places.
func follows(to, from Position) bool {
	if to == from {
		return true
	}
	return from.off == 0 && int64(to.off) == to.node.end.Load() && to.node.next == from.node
}

// AddQueue appends all messages of other, which is unchanged and may be added to several queues.
func (q *Queue) AddQueue(other *Queue) {
	q.n += other.n
	q.spans = append(q.spans, other.spans...)
}

// Clear drops everything.
func (q *Queue) Clear() { *q = Queue{} }

// Next returns the first message, a view that stays valid, and moves behind it. The queue must not be empty.
func (q *Queue) Next() protocol.MessageFrame {
	s := &q.spans[0]
	if int64(s.from.off) == s.from.node.end.Load() {
		s.from = Position{node: s.from.node.next}
	}
	f := protocol.FirstMessage(s.from.node.mem[s.from.off:])
	s.from.off += len(f)
	s.left--
	q.n--
	if s.left == 0 {
		k := copy(q.spans, q.spans[1:])
		q.spans[k] = span{}
		q.spans = q.spans[:k]
	}
	return f
}
