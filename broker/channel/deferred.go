package channel

import (
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// undefer takes out a message that is deferred and may be known of. place is where it was when it was looked for, nil when it was not
// found among those without bodies.
func (m *Machine) undefer(pos Position, place *inflight.Place) (due inflight.Due, ok bool) {
	if place == nil {
		return m.deferredMemory.Remove(pos)
	}
	if pos > m.At.Shown || m.isVoid(pos) {
		return due, false
	}
	return due, m.deferredIndex.Remove(*place)
}

// Cancel drops a message that is deferred, and reports whether there was one.
func (m *Machine) Cancel(pos Position, place *inflight.Place) bool {
	if _, ok := m.undefer(pos, place); !ok {
		return false
	}
	one := backlog.Range{First: pos, Last: pos}
	m.n.discard(journal.Cancelled, 1)
	m.effects().discard(one, journal.Cancelled, true)
	if m.At.Floor > 0 && pos >= m.At.Floor {
		v := m.voided()
		v.cancelled = journal.AddRange(v.cancelled, one)
	}
	return true
}

// Release has a message that is deferred wait to be delivered, and reports whether there was one.
func (m *Machine) Release(pos Position, place *inflight.Place) bool {
	due, ok := m.undefer(pos, place)
	if !ok {
		return false
	}
	keep := m.effects()
	keep.Deferred = append(keep.Deferred, inflight.Place{Pos: pos, At: m.At.Now})
	if place != nil {
		m.dueNow(pos, m.At.Now, place.Attempts)
		m.returnPlace(*place)
	} else {
		m.dueNow(due.Key(), m.At.Now, due.Attempts)
		m.giveBack(due.Frame, due.Pos, due.Attempts)
	}
	m.wake(1, nil)
	return true
}

// waitingBounds are how far ahead deferred messages are counted in Stats.
var waitingBounds = [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour}

// Ahead is how many messages are deferred, by when they are due: within a minute, an hour, a day, later.
type Ahead struct{ Minute, Hour, Day, Later int }

// ahead counts what is deferred. What is due and not shown yet is due within the minute.
func (m *Machine) ahead(now int64) (a Ahead) {
	all := m.postponed()
	if all == 0 {
		return a
	}
	var times [len(waitingBounds)]int64
	for i, d := range waitingBounds {
		times[i] = now + int64(d)
	}
	var n [len(waitingBounds)]int
	m.deferredMemory.DueBefore(times[:], n[:])
	m.deferredIndex.DueBefore(times[:], n[:])
	unshown := m.dueUnshown.Len()
	return Ahead{Minute: n[0] + unshown, Hour: n[1] - n[0], Day: n[2] - n[1], Later: all - n[2] - unshown}
}

// manyAhead is from how many deferred messages on they are not counted by due time more often than every aheadAge.
const (
	manyAhead = 1 << 18
	aheadAge  = 5 * time.Second
)

// countedAhead is what was counted at a time.
type countedAhead struct {
	Ahead
	at int64
}
