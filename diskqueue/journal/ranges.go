package journal

import (
	"cmp"
	"slices"
)

// Merge sorts ranges and joins those that overlap or follow each other. The list is what it returns is made of.
func Merge(list []Range) []Range {
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
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

// Holds reports whether a position is in one of a few ranges, which it looks through.
func Holds(ranges []Range, pos Position) bool {
	for _, r := range ranges {
		if r.First <= pos && pos <= r.Last {
			return true
		}
	}
	return false
}
