package journal

import (
	"cmp"
	"math"
	"slices"
)

// What is looked at of a state without changing it, a part at a time.

// NeededIn is Needed of the messages of a range.
func (t *Topic) NeededIn(in Range) (list []Range) {
	for _, c := range t.Channels {
		list = append(list, c.WaitingIn(in)...)
		c.Out.EachIn(in, func(pos Position, _ Out) { list = appendPosition(list, pos) })
	}
	return joined(list)
}

// WaitingIn returns which messages of a range wait on the channel, sorted, without overlaps. What is unsure waits.
func (c *Channel) WaitingIn(in Range) []Range {
	return joined(append(clip(nil, c.Waiting, in), clip(nil, c.unsure, in)...))
}

// clip appends the parts of sorted ranges that are in one.
func clip(dst, list []Range, in Range) []Range {
	i, _ := slices.BinarySearchFunc(list, in.First, func(r Range, pos Position) int { return cmp.Compare(r.Last, pos) })
	for ; i < len(list) && list[i].First <= in.Last; i++ {
		dst = append(dst, Range{max(list[i].First, in.First), min(list[i].Last, in.Last)})
	}
	return dst
}

// appendPosition appends a position to ranges, to the last of them when it follows that.
func appendPosition(list []Range, pos Position) []Range {
	if k := len(list) - 1; k >= 0 && list[k].Last+1 == pos {
		list[k].Last = pos
		return list
	}
	return append(list, Range{pos, pos})
}

// joined sorts ranges, and makes one of those that overlap or follow each other.
func joined(list []Range) []Range {
	slices.SortFunc(list, byFirst)
	out := list[:0]
	for _, r := range list {
		if k := len(out) - 1; k >= 0 && r.First <= out[k].Last+1 {
			out[k].Last = max(out[k].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// EachIn calls f with every message of a range, in the order of their positions. The messages must not be changed meanwhile.
func (s *Outs) EachIn(in Range, f func(Position, Out)) {
	var late []Position
	for pos := range s.late {
		if in.First <= pos && pos <= in.Last {
			late = append(late, pos)
		}
	}
	slices.Sort(late)
	before := func(pos Position) {
		for ; len(late) > 0 && late[0] < pos; late = late[1:] {
			f(late[0], s.late[late[0]])
		}
	}
	for i, _ := s.find(in.First); i < s.list.n && s.list.pos(i) <= in.Last; i++ {
		before(s.list.pos(i))
		if o := s.list.at(i); o.Due != removed {
			f(s.list.pos(i), o)
		}
	}
	for _, pos := range late {
		f(pos, s.late[pos])
	}
}

// EachSome is EachIn for about so many messages, and a few more, from a position on. It returns the position where it has ended, 0 at the end of all.
func (s *Outs) EachSome(from Position, most int, f func(Position, Out)) (next Position) {
	in := Range{from, math.MaxUint64}
	if i, _ := s.find(from); s.list.n-i > most {
		next = s.list.pos(i + most)
		in.Last = next - 1
	}
	s.EachIn(in, f)
	return next
}
