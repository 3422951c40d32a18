package backlog

import (
	"cmp"
	"math"
	"slices"

	"brokerd/protocol"
)

// span is messages that follow each other in a chain of nodes. Where they have positions these follow each other too.
type span struct {
	Extent          // from moves on as messages are taken
	left   int      // messages
	mem    []byte   // bytes of the node at from, nil until it is come to
	given  Range    // which positions mem was supplied for, all of the node's or some that follow each other; zero: it is the node's own
	runs   []Range  // of mem: which positions it has, nil: all
	sums   []uint32 // of the keys of the messages of the node at from, as far as it is known, counted from the first of given, else of the node
}

// supplied reports whether the span's bytes were supplied.
func (s *span) supplied() bool { return s.given.Last > 0 }

// forget drops the bytes of the node that is read.
func (s *span) forget() { s.mem, s.given, s.runs, s.sums = nil, Range{}, nil, nil }

// Queue is what waits for one channel, in order. Its zero value is empty.
type Queue struct {
	spans []span // the first is read from
	n     int
	bytes int      // of messages without positions
	after Position // of the last message that was taken
	lost  *[]Range // were counted and could not be read
	keyed bool     // keys are asked for
}

// Len returns the number of messages.
func (q *Queue) Len() int { return q.n }

// Bytes returns the size of the messages that have no positions: those in no topic's nodes.
func (q *Queue) Bytes() int { return q.bytes }

// First returns the position of the first message, 0 when the queue is empty.
func (q *Queue) First() Position {
	if q.n == 0 {
		return 0
	}
	return q.spans[0].first
}

// Above returns how many messages have a position above one.
func (q *Queue) Above(shown Position) (n int) {
	for i := len(q.spans) - 1; i >= 0 && q.spans[i].last > shown; i-- {
		n += Range{First: max(q.spans[i].first, shown+1), Last: q.spans[i].last}.Len()
	}
	return n
}

// Add appends count messages, 1 or more, behind all that wait.
func (q *Queue) Add(at Extent, count int) {
	q.n += count
	if at.first == 0 {
		q.bytes += at.to.off - at.from.off
	}
	if k := len(q.spans) - 1; k >= 0 && q.spans[k].follows(&at) {
		q.spans[k].to, q.spans[k].last = at.to, at.last
		q.spans[k].left += count
		return
	}
	q.spans = append(q.spans, span{Extent: at, left: count})
}

// follows reports whether nothing lies between a span and what is added.
func (s *span) follows(at *Extent) bool {
	if at.first == 0 || s.last == 0 {
		return s.to == at.from && at.first == s.last
	}
	return at.first == s.last+1 && (at.from.node == s.to.node || s.to.node.Next() == at.from.node)
}

// AddQueue adds all messages of other, which is unchanged and may be added to several queues: where they have positions in their
// order, else behind all that wait.
func (q *Queue) AddQueue(other *Queue) {
	if len(other.spans) == 0 {
		return
	}
	q.n += other.n
	q.bytes += other.bytes
	behind := len(q.spans) == 0 || q.spans[len(q.spans)-1].last < other.spans[0].first
	q.spans = append(q.spans, other.spans...)
	if first := other.spans[0].first; first > 0 {
		q.after = min(q.after, first-1)
		if !behind {
			slices.SortStableFunc(q.spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
		}
	}
}

// Cut takes out the messages of an extent, as far as they wait: none of them was taken. It returns how many.
func (q *Queue) Cut(at Extent) (cut int) {
	for i := len(q.spans) - 1; i >= 0 && q.spans[i].last >= at.first; i-- {
		s := &q.spans[i]
		from, to := max(s.first, at.first), min(s.last, at.last)
		if from > to {
			continue
		}
		n := Range{First: from, Last: to}.Len()
		cut += n
		behind := *s
		s.left = int(from - s.first)
		switch {
		case to < s.last:
			behind.Extent = Extent{from: at.to, to: s.to, first: to + 1, last: behind.last}
			behind.left = int(behind.last - to)
			behind.forget()
			s.last = from - 1
			q.spans = slices.Insert(q.spans, i+1, behind)
			s = &q.spans[i]
		default:
			s.last, s.to = from-1, at.from
		}
		if s.left == 0 {
			q.spans = slices.Delete(q.spans, i, i+1)
		}
	}
	q.n -= cut
	return cut
}

// Clear drops everything.
func (q *Queue) Clear() { *q = Queue{keyed: q.keyed} }

// Warm reports whether the next message is known to be in memory, at a glance; if not, Cold tells.
func (q *Queue) Warm() bool { return q.n > 0 && !q.keyed && q.spans[0].warm() }

func (s *span) warm() bool { return s.mem != nil && s.runs == nil && s.from.off < s.end() }

// Cold returns the node that must be supplied before Next can be called, nil when there is none. It may find that the queue
// is empty, as messages were lost: Len tells.
func (q *Queue) Cold() *Node {
	if q.keyed {
		return q.coldKeyed()
	}
	return q.cold()
}

func (q *Queue) cold() *Node {
	for q.n > 0 {
		s := &q.spans[0]
		if s.warm() {
			return nil
		}
		if s.mem == nil || s.from.off >= s.end() && !s.missing() {
			if n := s.enter(); n != nil {
				return n
			}
			continue
		}
		missing := s.gap()
		if missing.Last < missing.First {
			return nil
		}
		if q.lost == nil {
			q.lost = new([]Range)
		}
		*q.lost = append(*q.lost, missing)
		q.skip(missing.Len())
	}
	return nil
}

// missing reports whether what was supplied should have had the next message.
func (s *span) missing() bool { return s.supplied() && s.first <= s.given.Last }

// gap returns which of the next messages what was supplied does not have, none when it has the next one.
func (s *span) gap() Range {
	end := min(s.last, s.given.Last) + 1
	for _, r := range s.runs {
		if r.Last >= s.first {
			end = min(end, max(r.First, s.first))
			break
		}
	}
	return Range{First: s.first, Last: end - 1}
}

// skip drops the next messages of the first span.
func (q *Queue) skip(n int) {
	s := &q.spans[0]
	s.first += Position(n)
	s.left -= n
	q.n -= n
	q.after = s.first - 1
	if s.left == 0 {
		q.pop()
	}
}

// Lost returns which messages were missing since the last call.
func (q *Queue) Lost() []Range {
	if q.lost == nil {
		return nil
	}
	lost := *q.lost
	q.lost = nil
	return lost
}

// end returns where the node at from ends, as far as is known now.
func (s *span) end() int {
	if s.supplied() {
		return len(s.mem)
	}
	if end := s.from.node.end.Load(); end != unclosed {
		return int(end)
	}
	return math.MaxInt
}

// enter gets the bytes of the node that holds the next message, or returns it when they are not in memory.
func (s *span) enter() *Node {
	switch {
	case s.from.off < s.end():
	case s.supplied() && s.first < s.from.node.End():
		s.from.off = unknown // only a part of it was supplied
	default:
		s.from = place{node: s.from.node.Next()}
	}
	s.forget()
	mem := s.from.node.load()
	if mem == nil {
		return s.from.node
	}
	s.mem = *mem
	if s.from.off == unknown {
		s.from.off = offset(s.mem, int(s.first-s.from.node.first))
	}
	return nil
}

// Supply brings frames of a node that Cold returned: those of some of its positions, the next message's among them, that follow each other.
// Runs are the positions that they have, nil when they are all of those. It does nothing when the queue has moved on meanwhile, or is not
// there yet, which it reports.
func (q *Queue) Supply(n *Node, of Range, frames []byte, runs []Range) (taken bool) {
	if q.n == 0 || q.spans[0].from.node != n || q.spans[0].mem != nil {
		return false
	}
	s := &q.spans[0]
	if of.Last = min(of.Last, n.End()-1); s.first < of.First || s.first > of.Last {
		return false
	}
	s.mem, s.given, s.runs, s.sums = frames, of, runs, nil
	if s.mem == nil {
		s.mem, s.runs = []byte{}, []Range{}
	}
	if runs == nil && s.from.off != unknown && of.First == n.first {
		return true
	}
	before := int(s.first - of.First)
	if s.runs != nil {
		before = 0
		for _, r := range runs {
			if r.First < s.first {
				before += Range{First: r.First, Last: min(r.Last, s.first-1)}.Len()
			}
		}
	}
	s.from.off = offset(s.mem, before)
	return true
}

// offset returns where in whole frames the one behind n others begins.
func offset(frames []byte, n int) (off int) {
	for ; n > 0 && off < len(frames); n-- {
		off += len(protocol.FirstMessage(frames[off:]))
	}
	return off
}

// After returns the position of the message that was taken last, 0 since Clear.
func (q *Queue) After() Position { return q.after }

// SetAfter says which message was taken last, in an earlier life of the queue.
func (q *Queue) SetAfter(pos Position) { q.after = pos }

// Ranges appends what waits to dst, in order, but for what is in no tail's nodes. Messages must have been noted.
func (q *Queue) Ranges(dst []Range) []Range {
	for i := range q.spans {
		if s := &q.spans[i]; !s.from.node.detached {
			dst = append(dst, Range{First: s.first, Last: s.last})
		}
	}
	return dst
}

// Given reports whether the frame that Next returns is a view of what Supply has brought. The queue must not be empty, nor Cold.
func (q *Queue) Given() bool { return q.spans[0].supplied() }

// Next returns the first message, a view that stays valid, with its position, and moves behind it. The queue must not be empty, nor
// Cold.
func (q *Queue) Next() (f protocol.MessageFrame, pos Position) {
	s := &q.spans[0]
	if s.mem == nil || s.from.off >= s.end() {
		s.enter()
	}
	f = protocol.FirstMessage(s.mem[s.from.off:])
	s.from.off += len(f)
	s.left--
	q.n--
	if pos = s.first; pos > 0 {
		s.first++
		q.after = pos
	} else {
		q.bytes -= len(f)
	}
	if s.left == 0 {
		q.pop()
	}
	return f, pos
}

// Run returns the frames of the first message and of those behind it that are in the same piece of memory and follow it without a gap, and
// how many may be taken: n, or fewer; none has a position above upTo. first is the first one's position, 0 without positions, and given is
// Given's. There are none when the queue must look further. It must be neither empty nor Cold; nothing is taken before Pass.
func (q *Queue) Run(upTo Position, n int) (frames []byte, first Position, most int, given bool) {
	s := &q.spans[0]
	if s.runs != nil || s.mem == nil || s.from.off >= s.end() || s.first > upTo {
		return nil, 0, 0, false
	}
	if most = min(n, s.left); s.first > 0 && upTo-s.first < Position(most) {
		most = int(upTo-s.first) + 1
	}
	return s.mem[s.from.off:min(len(s.mem), s.end())], s.first, most, s.supplied()
}

// Pass moves behind the first n messages, which have so many bytes and are of what Run has returned.
func (q *Queue) Pass(n, bytes int) {
	s := &q.spans[0]
	s.from.off += bytes
	if s.first > 0 {
		q.skip(n)
		return
	}
	s.left -= n
	q.n -= n
	q.bytes -= bytes
	if s.left == 0 {
		q.pop()
	}
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
	return protocol.FirstMessage(s.mem[s.from.off:])
}

// fewSpans is up to how many spans move up when the first is done. More are left where they are, so that many small spans
// do not cost their square.
const fewSpans = 16

// pop drops the first span. One that goes on in the same node takes over the bytes that were supplied.
func (q *Queue) pop() {
	done := q.spans[0]
	if len(q.spans) > fewSpans {
		q.spans[0] = span{}
		q.spans = q.spans[1:]
	} else {
		k := copy(q.spans, q.spans[1:])
		q.spans[k] = span{}
		q.spans = q.spans[:k]
	}
	if done.mem != nil && len(q.spans) > 0 && done.first > 0 {
		q.spans[0].takeOver(&done)
	}
}

// takeOver goes on with the bytes of the span before, when they are of the same node.
func (s *span) takeOver(done *span) {
	switch {
	case s.mem != nil || s.from.node != done.from.node || s.first < done.first:
		return
	case done.supplied() && s.first > done.given.Last || !done.supplied() && s.from.off != unknown:
		return
	}
	between := int(s.first - done.first)
	if done.runs != nil {
		between = 0
		for _, r := range done.runs {
			if from, to := max(r.First, done.first), min(r.Last, s.first-1); from <= to {
				between += Range{First: from, Last: to}.Len()
			}
		}
	}
	s.mem, s.given, s.runs, s.sums = done.mem, done.given, done.runs, done.sums
	s.from.off = done.from.off + offset(done.mem[min(done.from.off, len(done.mem)):], between)
}
