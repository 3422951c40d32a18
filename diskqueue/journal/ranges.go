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

// Holds reports whether a position is in one of some ranges, which are sorted and do not overlap.
func Holds(sorted []Range, pos Position) bool {
	i, end := 0, len(sorted) // by hand: it is asked for each message of a node, of a range or two
	for i < end {
		if middle := (i + end) / 2; sorted[middle].Last < pos {
			i = middle + 1
		} else {
			end = middle
		}
	}
	return i < len(sorted) && sorted[i].First <= pos
}
