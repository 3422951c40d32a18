package inflight

import (
	"cmp"
	"slices"

	"brokerd/protocol"
)

// Groups are the ids that are in flight, neighbours together: an eighth of what a list of them would take, when they follow each
// other. They are in no order until Sort.
type Groups []group

// group is which ids of those that differ in their low bits only are there.
type group struct {
	key  uint64 // the other bits
	have uint8  // a bit for each
}

// Groups appends the ids of all messages in flight.
func (s *Set[O]) Groups(dst Groups) Groups {
	dst = slices.Grow(dst, s.index.n)
	for i := range s.index.pages {
		if p := &s.index.pages[i]; p.n > 0 {
			dst = append(dst, group{key: p.key, have: p.have()})
		}
	}
	return dst
}

// have returns which of its ids the page, which is in use, has.
func (p *page) have() (bits uint8) {
	if p.n == pageIDs {
		return 1<<pageIDs - 1
	}
	for i, slot := range p.slots {
		if slot != 0 {
			bits |= 1 << i
		}
	}
	return bits
}

// Sort prepares for Any.
func (g Groups) Sort() {
	slices.SortFunc(g, func(a, b group) int { return cmp.Compare(a.key, b.key) })
}

// Any reports whether there are ids from first to last.
func (g Groups) Any(first, last protocol.MessageID) bool {
	low, high := keyOf(first), keyOf(last)
	i, _ := slices.BinarySearchFunc(g, low, func(e group, key uint64) int { return cmp.Compare(e.key, key) })
	for ; i < len(g) && g[i].key <= high; i++ {
		have := g[i].have
		if g[i].key == low {
			have &= ^uint8(0) << (first % pageIDs)
		}
		if g[i].key == high {
			have &= ^uint8(0) >> (pageIDs - 1 - last%pageIDs)
		}
		if have != 0 {
			return true
		}
	}
	return false
}
