package backlog

import "brokerd/protocol"

// Bytes returns the size of an extent's frames.
func (e Extent) Bytes() int { return e.to.off - e.from.off }

// Drop takes out up to n of the first messages, unread, which all have positions, and calls gone with ranges of them and the size of their
// frames: that of messages in memory, else what the messages of their node have on average.
func (q *Queue) Drop(n int, gone func(r Range, size int)) {
	for n > 0 && q.n > 0 {
		s := &q.spans[0]
		if s.mem == nil || s.from.off >= s.end() {
			s.enter()
		}
		r := Range{First: s.first}
		k, size := s.reach(n)
		r.Last = r.First + Position(k) - 1
		q.skip(k)
		gone(r, size)
		n -= k
	}
}

// reach moves the place of the next message over up to n messages, all of one node, and returns how many these are and their size.
func (s *span) reach(n int) (k, size int) {
	n = min(n, s.left)
	if s.mem != nil && s.runs == nil && s.from.off < s.end() {
		for ; k < n && s.from.off < s.end(); k++ {
			f := protocol.FirstMessage(s.mem[s.from.off:])
			s.from.off += len(f)
			size += len(f)
		}
		return k, size
	}
	node := s.from.node
	if k = n; node != s.to.node {
		k = min(n, max(1, int(node.End()-s.first)))
	}
	size = node.part(k)
	if next := s.first + Position(k); node != s.to.node && next >= node.End() {
		node = node.Next()
	}
	s.from = place{node, unknown}
	s.forget()
	if s.first+Position(k) == node.first {
		s.from.off = 0
	}
	return k, size
}

// part returns the size of k messages of a node whose sizes are not known one by one.
func (n *Node) part(k int) int {
	if !n.Closed() || n.count == 0 {
		return 0
	}
	return int(int64(n.used) * int64(k) / int64(n.count))
}

// sizeOf returns the size of k messages of the node behind the first ones.
func (n *Node) sizeOf(before, k int) int64 {
	frames := n.Brief()
	if frames == nil {
		return int64(n.used) * int64(k) / int64(max(n.count, 1))
	}
	from := offset(frames, before)
	return int64(offset(frames[from:], k))
}

// Average returns the size of a frame of the node, on average. It is for who appends and, once the node is closed, for all.
func (n *Node) Average() int64 { return int64(n.used / max(n.count, 1)) }

// Size returns the size of the frames that wait, of those that are not in memory what the messages of their node have on average. It is
// for who appends.
func (q *Queue) Size() (size int64) {
	for i := range q.spans {
		s := &q.spans[i]
		if s.first == 0 {
			continue
		}
		node := s.from.node
		for first := s.first; first <= s.last; {
			for node != s.to.node && first >= node.End() {
				node = node.Next()
			}
			k := int(s.last - first + 1)
			if node != s.to.node {
				k = min(k, int(node.End()-first))
			}
			size += node.sizeOf(int(first-node.first), k)
			first += Position(k)
		}
	}
	return size + int64(q.bytes)
}
