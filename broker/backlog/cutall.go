package backlog

import "sort"

// CutAll takes out the messages of sorted ranges that do not overlap, as far as they wait, in one pass over the spans concerned. It is for
// who appends, as Cut is. It returns which messages it took out.
func (q *Queue) CutAll(ranges []Range) (cut []Range) {
	if len(ranges) == 0 || q.n == 0 {
		return nil
	}
	from := sort.Search(len(q.spans), func(i int) bool { return q.spans[i].last >= ranges[0].First })
	kept := make([]span, 0, len(q.spans)+len(ranges))
	kept = append(kept, q.spans[:from]...)
	for i := from; i < len(q.spans); i++ {
		s := &q.spans[i]
		for len(ranges) > 0 && ranges[0].Last < s.first {
			ranges = ranges[1:]
		}
		if len(ranges) == 0 || ranges[0].First > s.last {
			kept = append(kept, *s)
			continue
		}
		kept, cut = s.without(ranges, kept, cut)
	}
	for _, r := range cut {
		q.n -= r.Len()
	}
	q.spans = kept
	return cut
}

// without appends what is left of a span to kept, and to cut what is taken out.
func (s *span) without(ranges []Range, kept []span, cut []Range) ([]span, []Range) {
	next := s.first
	for _, r := range ranges {
		if r.First > s.last {
			break
		}
		first, last := max(r.First, next), min(r.Last, s.last)
		if first > next {
			kept = append(kept, s.part(next, first-1))
		}
		cut = append(cut, Range{First: first, Last: last})
		next = last + 1
	}
	if next <= s.last {
		kept = append(kept, s.part(next, s.last))
	}
	return kept, cut
}

// part returns some of a span's messages. What was read or supplied stays so.
func (s *span) part(first, last Position) span {
	p := *s
	if last < s.last {
		p.to = place{s.nodeOf(last), unknown}
	}
	if first > s.first {
		p.from = place{s.nodeOf(first), unknown}
		p.forget()
	}
	p.first, p.last, p.left = first, last, Range{First: first, Last: last}.Len()
	if p.from.off == unknown && first == p.from.node.first {
		p.from.off = 0
	}
	if s.mem != nil {
		p.takeOver(s)
	}
	return p
}

// nodeOf returns the node that has one of the span's messages.
func (s *span) nodeOf(pos Position) *Node {
	n := s.from.node
	for n != s.to.node && n.End() <= pos {
		n = n.Next()
	}
	return n
}
