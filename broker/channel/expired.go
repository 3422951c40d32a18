package channel

import (
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
)

// Expired is messages whose own time to live is over. It is never changed.
type Expired struct {
	Sorted []backlog.Range // without overlaps, as Fresh is
	Fresh  []backlog.Range // a few that came since
}

// Has reports whether a message's time is over.
func (o *Expired) Has(pos Position) bool {
	return journal.Holds(o.Sorted, pos) || journal.Holds(o.Fresh, pos)
}

// All returns all ranges, sorted. They are not to be changed.
func (o *Expired) All() []backlog.Range {
	if o == nil || len(o.Fresh) == 0 {
		if o == nil {
			return nil
		}
		return o.Sorted
	}
	return journal.Merge(slices.Concat(o.Sorted, o.Fresh))
}

// DropWaiting discards messages whose time is over, as far as they wait and were never delivered.
func (m *Machine) DropWaiting(over []backlog.Range) {
	for _, r := range m.mem.CutAll(over) {
		m.taken += uint64(r.Len())
		m.n.discard(journal.Expired, r.Len())
		m.effects().discard(r, journal.Expired, false)
	}
}

// DropReturned discards what was to be delivered again and whose own time is over.
func (m *Machine) DropReturned() {
	if m.At.Over == nil {
		return
	}
	m.agePlaces()
	m.ageReturned()
	m.ageAside()
	m.nudge() // with less aside there may be more to look at
}
