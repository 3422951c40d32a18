package channel

import (
	"cmp"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// Whereabouts is where a message is, on one or more channels.
type Whereabouts uint8

// It may be in several of these places on several channels.
const (
	Waits Whereabouts = 1 << iota // or is deferred, on a channel that is kept
	Taken                         // a consumer has it, or it is on its way to one
)

// Whereabouts adds to those of some messages. When it is busy, messages of the channel are on their way elsewhere, and it can Pull none.
func (m *Machine) Whereabouts(of map[Position]Whereabouts) (busy bool) {
	note := func(is Whereabouts) func(Position, uint16) {
		return func(pos Position, _ uint16) {
			if old, ok := of[pos]; ok {
				of[pos] = old | is
			}
		}
	}
	m.inflight.Each(note(Taken))
	for _, s := range m.loadingPlaces() {
		note(Taken)(s.Pos, s.Attempts)
	}
	busy = len(m.moving()) > 0
	if m.ephemeral {
		return busy
	}
	m.eachHeld(note(Waits))
	waiting := journal.Merge(m.mem.Ranges(nil))
	for pos, old := range of {
		if journal.Holds(waiting, pos) {
			of[pos] = old | Waits
		}
	}
	return busy
}

// eachHeld calls f with every message that has left the backlog and waits to be delivered, or is deferred.
func (m *Machine) eachHeld(f func(Position, uint16)) {
	for _, list := range m.bodied() {
		list.Each(func(r *Retry) { f(r.Pos, r.Attempts) })
	}
	m.order.each(f)
	m.deferredMemory.Each(func(d inflight.Due) { f(d.Pos, d.Attempts) })
	for _, list := range m.places() {
		for s := range list.All() {
			f(s.Pos, s.Attempts)
		}
	}
}

// Pulled is messages that were taken out of a channel, on their way to another topic by one record, until End says what became of them. Its method is
// called as the machine's.
type Pulled struct {
	m   *Machine
	lot *lot // nil: the channel had none of them
}

// Pull takes messages out that nobody has; gone is the same as the list.
func (m *Machine) Pull(list []Position, gone map[Position]bool) Pulled {
	var ranges []backlog.Range
	for _, pos := range list {
		ranges = addPosition(ranges, pos)
	}
	var pulled []Corpse
	take := func(pos Position, attempts uint16, due int64) bool {
		if gone[pos] {
			pulled = append(pulled, Corpse{Pos: pos, Attempts: attempts, Due: due})
		}
		return gone[pos]
	}
	keep := m.effects()
	for _, r := range m.mem.CutAll(ranges) {
		for pos := r.First; pos <= r.Last; pos++ {
			take(pos, 0, 0)
			keep.Pulled = addPosition(keep.Pulled, pos)
		}
	}
	some := false
	m.eachHeld(func(pos Position, _ uint16) { some = some || gone[pos] })
	if some {
		m.pullHeld(take)
	}
	if len(pulled) == 0 {
		return Pulled{}
	}
	g := m.burial()
	g.moving = &lot{list: pulled, written: make(chan struct{})}
	return Pulled{m, g.moving}
}

// pullHeld is pull of what has left the backlog.
func (m *Machine) pullHeld(take func(pos Position, attempts uint16, due int64) bool) {
	m.pullAside(func(pos Position, attempts uint16) bool { return take(pos, attempts, 0) })
	for _, list := range m.bodied() {
		for range list.Len() {
			if r := list.Pop(); !take(r.Pos, r.Attempts, 0) {
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

// End says what became of the messages. Those that did not arrive wait to be delivered again; but not when the channel was emptied since.
func (p Pulled) End(failed error) {
	if p.lot == nil {
		return
	}
	m := p.m
	switch list := m.known(); {
	case failed == nil:
		m.gone(list, journal.Redriven)
	case p.lot.emptied:
		m.dropEmptied(list)
	default:
		var back []inflight.Place
		for _, d := range list {
			if !m.deferBack(&d) {
				back = append(back, inflight.Place{Pos: d.Pos, Off: inflight.NoOffset, Attempts: d.Attempts})
			}
		}
		if len(back) > 0 {
			m.waitInFront(back)
		}
	}
	m.Asks.Deadline = true
}

// waitInFront has messages that were taken out wait where they did: in front of all others, and in an ordered channel with those that are
// aside, among which some were.
func (m *Machine) waitInFront(list []inflight.Place) {
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
