package topic

import (
	"slices"
	"sort"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
)

// expired is messages whose time is over. It is never changed.
type expired struct {
	sorted []backlog.Range
	fresh  []backlog.Range // a few, in no order
}

// has reports whether a message's time is over.
func (o *expired) has(pos Position) bool {
	i := sort.Search(len(o.sorted), func(i int) bool { return o.sorted[i].Last >= pos })
	return i < len(o.sorted) && o.sorted[i].First <= pos || journal.Holds(o.fresh, pos)
}

// all returns all ranges, sorted. They are not to be changed.
func (o *expired) all() []backlog.Range {
	if o == nil || len(o.fresh) == 0 {
		if o == nil {
			return nil
		}
		return o.sorted
	}
	return journal.Merge(slices.Concat(o.sorted, o.fresh))
}
