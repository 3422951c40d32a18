package channel

import (
	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// Effects is what has become of messages that have positions, for whoever keeps them. Its memory is reused.
type Effects struct {
	Fresh, Again []backlog.Range // were delivered for the first time, or once more
	Finished     []backlog.Range
	Discarded    []Discard
	Deferred     []inflight.Place // without a place
	Aside        []backlog.Range  // have left the backlog, undelivered, until their key's turn
	Moved        []backlog.Range  // have left by a record that says so already
	Pulled       []backlog.Range  // have left the backlog for such a record

	// Of topics that are traced.
	By   *Consumer // whose doing it is; nil: nobody's
	Back []Returned
}

// Discard is messages that have left otherwise than by being finished.
type Discard struct {
	backlog.Range
	Why journal.Reason
	Out bool // they had left the backlog before
}

// Returned is a message that came back from a consumer.
type Returned struct {
	From *Consumer
	Pos  Position
	How  journal.Return
}

// Left returns what has become of messages since it was reset last, nil when there never was any. Turns of keys that have come free are passed on.
func (m *Machine) Left() *Effects {
	if m.order != nil {
		m.turnsLeft()
	}
	return m.keep
}

// After returns up to where the backlog was left, as far as is told with them.
func (m *Machine) After() Position { return m.mem.After() }

// Any reports whether there is any; nil has none.
func (e *Effects) Any() bool {
	return e != nil && len(e.Fresh)+len(e.Again)+len(e.Finished)+len(e.Discarded)+len(e.Deferred)+len(e.Moved)+len(e.Pulled)+len(e.Aside)+len(e.Back) > 0
}

// Reset forgets them: they are kept.
func (e *Effects) Reset() {
	e.Fresh, e.Again, e.Finished = e.Fresh[:0], e.Again[:0], e.Finished[:0]
	e.Discarded, e.Deferred, e.Moved, e.Pulled, e.Aside = e.Discarded[:0], e.Deferred[:0], e.Moved[:0], e.Pulled[:0], e.Aside[:0]
	e.By = nil
	if len(e.Back) > 0 {
		clear(e.Back)
		e.Back = e.Back[:0]
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
func (m *Machine) effects() *Effects {
	if m.keep == nil {
		m.keep = new(Effects)
	}
	return m.keep
}

func (e *Effects) discard(r backlog.Range, why journal.Reason, out bool) {
	if k := len(e.Discarded) - 1; k >= 0 && e.Discarded[k].Last+1 == r.First && e.Discarded[k].Why == why && e.Discarded[k].Out == out {
		e.Discarded[k].Last = r.Last
		return
	}
	if r.First > 0 {
		e.Discarded = append(e.Discarded, Discard{r, why, out})
	}
}
