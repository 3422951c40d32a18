package topic

import (
	"cmp"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// eachTaken calls f with every message that a consumer has, or that is on its way to one.
func (m *machine) eachTaken(f func(Position, uint16)) {
	m.inflight.Each(f)
	for _, s := range m.loadingPlaces() {
		f(s.Pos, s.Attempts)
	}
}

// eachHeld calls f with every message that has left the backlog and waits to be delivered, or is deferred.
func (m *machine) eachHeld(f func(Position, uint16)) {
	for _, list := range m.bodied() {
		list.Each(func(r *retry) { f(r.pos, r.attempts) })
	}
	m.order.each(f)
	m.deferredMemory.Each(func(d inflight.Due) { f(d.Pos, d.Attempts) })
	for _, list := range m.places() {
		for s := range list.All() {
			f(s.Pos, s.Attempts)
		}
	}
}

// pull takes messages out that nobody has, until endPull says what became of them.
func (m *machine) pull(ranges []backlog.Range, gone map[Position]bool) {
	if m.graves == nil {
		m.graves = &burial{limit: buryAtOnce}
	}
	g := m.graves
	take := func(pos Position, attempts uint16, due int64) bool {
		if gone[pos] {
			g.moving = append(g.moving, corpse{pos: pos, attempts: attempts, due: due})
		}
		return gone[pos]
	}
	keep := m.effects()
	for _, r := range m.mem.CutAll(ranges) {
		for pos := r.First; pos <= r.Last; pos++ {
			take(pos, 0, 0)
			keep.pulled = addPosition(keep.pulled, pos)
		}
	}
	some := false
	m.eachHeld(func(pos Position, _ uint16) { some = some || gone[pos] })
	if some {
		m.pullHeld(take)
	}
	if len(g.moving) > 0 {
		g.written = make(chan struct{})
	}
}

// pullHeld is pull of what has left the backlog.
func (m *machine) pullHeld(take func(pos Position, attempts uint16, due int64) bool) {
	m.pullAside(func(pos Position, attempts uint16) bool { return take(pos, attempts, 0) })
	for _, list := range m.bodied() {
		for range list.Len() {
			if r := list.Pop(); !take(r.pos, r.attempts, 0) {
				list.Push(r)
			}
		}
	}
	var kept []inflight.Due
	m.deferredMemory.Clear(func(d inflight.Due) {
		if !take(d.Pos, d.Attempts, d.At) {
			kept = append(kept, d)
		}
	})
	for _, d := range kept {
		m.deferredMemory.Push(d)
	}
	lists := m.places()
	m.coldRetries.Clear()
	m.coldReleased.Clear()
	m.deferredIndex.Clear()
	m.dueUnshown.Clear()
	for i, back := range [...]func(inflight.Place){m.coldRetries.Push, m.coldReleased.Push, m.deferredIndex.Push, m.dueUnshown.Push} {
		for s := range lists[i].All() {
			due := int64(0)
			if i > 1 { // deferred
				due = s.At
			}
			if !take(s.Pos, s.Attempts, due) {
				back(s)
			}
		}
	}
}

// endPull says what became of messages that were taken out. Those that did not arrive wait to be delivered again; but not when the channel
// was emptied since.
func (m *machine) endPull(failed error, epoch int) {
	g := m.graves
	if g == nil || g.written == nil {
		return
	}
	list := g.moving
	g.moving = nil
	close(g.written)
	g.written = nil
	keep := m.effects()
	var back []inflight.Place
	for _, d := range list {
		r := backlog.Range{First: d.pos, Last: d.pos}
		switch {
		case failed == nil:
			m.n.discard(journal.Redriven, 1)
			keep.moved = addPosition(keep.moved, d.pos)
		case epoch != m.epoch:
			m.n.discard(journal.Emptied, 1)
			keep.discard(r, journal.Emptied, true)
		case m.deferBack(&d):
		default:
			back = append(back, inflight.Place{Pos: d.pos, Off: inflight.NoOffset, Attempts: d.attempts})
		}
	}
	if len(back) > 0 {
		m.waitInFront(back)
	}
}

// waitInFront has messages that were taken out wait where they did: in front of all others, and in an ordered channel with those that are
// aside, among which some were.
func (m *machine) waitInFront(list []inflight.Place) {
	n := len(list)
	if m.order != nil {
		list = append(list, m.asidePlaces()...)
		m.order.turns.TakeAside()
		m.order.attempts = nil
	}
	slices.SortFunc(list, func(a, b inflight.Place) int { return cmp.Compare(a.Pos, b.Pos) })
	m.coldRetries.PushFront(list)
	m.wake(n, nil)
}
