package backlog

// Messages may have keys that order them, of which a node has the sums: nothing where none of its messages has one. They go from memory
// with the node's bytes.

// NoteSums says which sums the keys of the messages of the last Append have, behind Note; 0 of one that has none.
func (t *Tail) NoteSums(at Extent, sums []uint32) {
	n := t.last
	i := int(at.first - n.first)
	need := i + len(sums)
	var list []uint32
	if p := n.sums.Load(); p != nil {
		list = *p
	}
	if i < len(list) { // nobody looks that far yet, but somebody may go on with this list
		copy(list[i:], sums)
	}
	if need <= len(list) {
		return
	}
	grown := make([]uint32, max(need, 2*len(list)))
	copy(grown, list)
	copy(grown[i:], sums)
	n.sums.Store(&grown)
}

// Sums returns the sums of the keys of the node's messages, as many as are known; messages behind them have none. ok is false when they
// are not in memory. The slice must not be changed.
func (n *Node) Sums() (sums []uint32, ok bool) {
	if p := n.sums.Load(); p != nil { // before the bytes, which go first
		sums = *p
	}
	return sums, n.mem.Load() != nil
}

// Sums returns the sums of the keys of an extent's messages whose node is in memory, nil when none has a key.
func (e Extent) Sums(count int) []uint32 {
	sums, _ := e.from.node.Sums()
	i := int(e.first - e.from.node.first)
	if i >= len(sums) {
		return nil
	}
	return sums[i:min(len(sums), i+count)]
}

// SetSums gives the messages of an extent of Detached the sums of their keys. Nobody else knows the extent yet.
func (e Extent) SetSums(sums []uint32) {
	if len(sums) > 0 {
		e.from.node.sums.Store(&sums)
	}
}

// SetKeyed says whether Key is to be called: then Cold returns nodes whose sums are not known, too.
func (q *Queue) SetKeyed(on bool) { q.keyed = on }

// Key returns the sum of the first message's key, 0 when it has none. The queue is keyed, and neither empty nor Cold.
func (q *Queue) Key() uint32 {
	sum, _ := q.spans[0].key()
	return sum
}

// Place returns the node of the first message, and where in its whole bytes, or in those that were supplied of it, that begins, -1 when nobody
// knows. The queue is neither empty nor Cold.
func (q *Queue) Place() (n *Node, off int) {
	s := &q.spans[0]
	if s.runs != nil {
		return s.from.node, unknown
	}
	return s.from.node, s.from.off
}

// key returns the sum of the next message's key. known is false when it must be supplied with the node's bytes.
func (s *span) key() (sum uint32, known bool) {
	if s.supplied() {
		if i := int(s.first - s.given.First); i < len(s.sums) {
			return s.sums[i], true
		}
		return 0, s.sums != nil
	}
	i := int(s.first - s.from.node.first)
	if i < len(s.sums) {
		return s.sums[i], true
	}
	list, ok := s.from.node.Sums()
	if i < len(list) {
		s.sums = list
		return list[i], true
	}
	return 0, ok
}

// coldKeyed is Cold of a queue whose messages' keys are asked for.
func (q *Queue) coldKeyed() *Node {
	n := q.cold()
	if n != nil || q.n == 0 {
		return n
	}
	s := &q.spans[0]
	if _, known := s.key(); known {
		return nil
	}
	s.forget()
	if s.from.off = unknown; s.first == s.from.node.first {
		s.from.off = 0
	}
	return s.from.node
}

// SupplyKeyed is Supply with the sums of the messages' keys, counted from the first of those positions, whichever of them there are.
func (q *Queue) SupplyKeyed(n *Node, of Range, frames []byte, runs []Range, sums []uint32) {
	if !q.Supply(n, of, frames, runs) {
		return
	}
	if sums == nil {
		sums = []uint32{}
	}
	q.spans[0].sums = sums
}
