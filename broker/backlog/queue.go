package backlog

import (
	"math"

	"brokerd/protocol"
)

// span is messages that follow each other in a chain of nodes.
type span struct {
	Extent
	left  int    // messages
	mem   []byte // bytes of the node at from, nil until it is come to
	given bool   // mem was supplied: its end is the node's
}

// Queue is what waits for one channel, in order. Its zero value is empty.
type Queue struct {
	spans []span // the first is read from
	n     int
	after protocol.MessageID // of the last message that was taken, as far as Took was told
	lost  int                // messages that were counted and could not be read
}

// Len returns the number of messages.
func (q *Queue) Len() int { return q.n }

// Add appends count messages, 1 or more.
func (q *Queue) Add(at Extent, count int) {
	q.n += count
	if k := len(q.spans) - 1; k >= 0 && follows(q.spans[k].to, at.from) {
		q.spans[k].to, q.spans[k].last = at.to, at.last
		q.spans[k].left += count
		return
	}
	q.spans = append(q.spans, span{Extent: at, left: count})
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

// Cold returns the node that must be supplied before Next can be called, nil when there is none. It may find that the queue
// is empty, as messages were lost: Len tells.
func (q *Queue) Cold() *Node {
	for q.n > 0 {
		s := &q.spans[0]
		if s.mem != nil && s.from.off < s.end() {
			return nil
		}
		if s.mem == nil || s.from.node != s.to.node {
			if n := s.enter(); n != nil || s.from.off < s.end() {
				return n
			}
			continue
		}
		// The last node is read to its end, and messages are missing.
		q.lost += s.left
		q.n -= s.left
		q.pop()
	}
	return nil
}

// Lost returns how many messages were missing since the last call.
func (q *Queue) Lost() int {
	n := q.lost
	q.lost = 0
	return n
}

// end returns where the node at from ends, as far as is known now.
func (s *span) end() int {
	if s.given {
		return len(s.mem)
	}
	if end := s.from.node.end.Load(); end != unclosed {
		return int(end)
	}
	return math.MaxInt
}

// enter gets the bytes of the node that holds the next message, or returns it when they are not in memory.
func (s *span) enter() *Node {
	if s.from.off >= s.end() {
		s.from = Position{node: s.from.node.next}
		s.given = false
	}
	s.mem = nil
	mem := s.from.node.mem.Load()
	if mem == nil {
		return s.from.node
	}
	s.mem = *mem
	return nil
}

// Supply brings the bytes of a node that Cold returned: its frames. Some may be missing, when damaged is true. It does nothing
// when the queue has moved on meanwhile.
func (q *Queue) Supply(n *Node, frames []byte, damaged bool) {
	if q.n == 0 || q.spans[0].from.node != n || q.spans[0].mem != nil {
		return
	}
	s := &q.spans[0]
	s.mem, s.given = frames, true
	if s.mem == nil {
		s.mem = []byte{}
	}
	if damaged { // offsets are not what they were
		s.from.off = Find(frames, q.after+1)
	}
}

// Find returns the offset of the first of whole frames whose id is from or above, the end when there is none.
func Find(frames []byte, from protocol.MessageID) (off int) {
	for off < len(frames) {
		f := protocol.FirstMessage(frames[off:])
		if id, _ := f.ID(); id >= from {
			return off
		}
		off += len(f)
	}
	return off
}

// Took tells the id of the message that Next has returned. Ids must grow.
func (q *Queue) Took(id protocol.MessageID) { q.after = id }

// After returns what Took was last told, 0 since Clear.
func (q *Queue) After() protocol.MessageID { return q.after }

// Range is the messages of a topic with ids from First to Last.
type Range struct{ First, Last protocol.MessageID }

// Ranges appends what waits to dst, in order. Ids must have been noted.
func (q *Queue) Ranges(dst []Range) []Range {
	for i := range q.spans {
		s := &q.spans[i]
		dst = append(dst, Range{max(s.first, q.after+1), s.last})
	}
	return dst
}

// At returns the node that the first message is in, nil when the queue is empty.
func (q *Queue) At() *Node {
	if q.n == 0 {
		return nil
	}
	s := &q.spans[0]
	if int64(s.from.off) == s.from.node.end.Load() && s.from.node != s.to.node {
		return s.from.node.next
	}
	return s.from.node
}

// Next returns the first message, a view that stays valid, and moves behind it. The queue must not be empty, nor Cold.
func (q *Queue) Next() protocol.MessageFrame {
	s := &q.spans[0]
	if s.mem == nil || s.from.off >= s.end() {
		s.enter()
	}
	f := protocol.FirstMessage(s.mem[s.from.off:])
	s.from.off += len(f)
	s.left--
	q.n--
	if s.left == 0 {
		q.pop()
	}
	return f
}

// Peek returns the message that Next would return, nil when it is not in memory or there is none.
func (q *Queue) Peek() protocol.MessageFrame {
	if q.n == 0 {
		return nil
	}
	s := q.spans[0] // a copy: nothing is entered
	if s.mem == nil || s.from.off >= s.end() {
		if s.from.off >= s.end() && s.from.node == s.to.node || s.enter() != nil {
			return nil
		}
	}
	if s.from.off >= len(s.mem) {
		return nil
	}
	return protocol.FirstMessage(s.mem[s.from.off:])
}

// fewSpans is up to how many spans move up when the first is done. More are left where they are, so that many small spans
// do not cost their square.
const fewSpans = 16

func (q *Queue) pop() {
	if len(q.spans) > fewSpans {
		q.spans[0] = span{}
		q.spans = q.spans[1:]
		return
	}
	k := copy(q.spans, q.spans[1:])
	q.spans[k] = span{}
	q.spans = q.spans[:k]
}
