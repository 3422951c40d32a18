package topic

import (
	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// effects is what has become of messages that have positions, for whoever keeps them. Its memory is reused.
type effects struct {
	fresh, again []backlog.Range // were delivered for the first time, or once more
	finished     []backlog.Range
	discarded    []discard
	deferred     []inflight.Place // without a place
	aside        []backlog.Range  // have left the backlog, undelivered, until their key's turn
	moved        []backlog.Range  // have left by a record that says so already
	pulled       []backlog.Range  // have left the backlog for such a record

	// Of topics that are traced.
	by   *Subscription // whose doing it is; nil: nobody's
	back []returned
}

// discard is messages that have left otherwise than by being finished.
type discard struct {
	backlog.Range
	why journal.Reason
	out bool // they had left the backlog before
}

func (e *effects) any() bool {
	return e != nil && len(e.fresh)+len(e.again)+len(e.finished)+len(e.discarded)+len(e.deferred)+len(e.moved)+len(e.pulled)+len(e.aside)+len(e.back) > 0
}

func (e *effects) reset() {
	e.fresh, e.again, e.finished = e.fresh[:0], e.again[:0], e.finished[:0]
	e.discarded, e.deferred, e.moved, e.pulled, e.aside = e.discarded[:0], e.deferred[:0], e.moved[:0], e.pulled[:0], e.aside[:0]
	e.by = nil
	if len(e.back) > 0 {
		clear(e.back)
		e.back = e.back[:0]
	}
}

// addPosition adds a message to ranges; one without a position is kept by nobody.
func addPosition(list []backlog.Range, pos Position) []backlog.Range {
	if k := len(list) - 1; k >= 0 && list[k].Last+1 == pos {
		list[k].Last = pos
		return list
	}
	if pos == 0 {
		return list
	}
	return append(list, backlog.Range{First: pos, Last: pos})
}

// addRange is addPosition of messages that follow each other, and have positions.
func addRange(list []backlog.Range, r backlog.Range) []backlog.Range {
	if k := len(list) - 1; k >= 0 && list[k].Last+1 == r.First {
		list[k].Last = r.Last
		return list
	}
	return append(list, r)
}

// effects returns where effects are left.
func (m *machine) effects() *effects {
	if m.keep == nil {
		m.keep = new(effects)
	}
	return m.keep
}

func (e *effects) discard(r backlog.Range, why journal.Reason, out bool) {
	if k := len(e.discarded) - 1; k >= 0 && e.discarded[k].Last+1 == r.First && e.discarded[k].why == why && e.discarded[k].out == out {
		e.discarded[k].Last = r.Last
		return
	}
	if r.First > 0 {
		e.discarded = append(e.discarded, discard{r, why, out})
	}
}
