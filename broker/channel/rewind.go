package channel

import (
	"math"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Again returns which messages wait after a rewind, from a position on, sorted: some that are for all channels, but for what was cancelled here, and what
// waits here, is to be delivered again, or is in flight; but what is deferred, or on its way to a dead letter topic, stays as it is. stay and bytes are how
// many messages are beside these in a channel that has bounds, and how large, about: what waits for its dead letter topic does not count.
func (m *Machine) Again(from Position, shared []backlog.Range) (list []backlog.Range, stay, bytes int64) {
	list, _ = journal.CutAll(shared, m.cancelled())
	add := func(pos Position, _ uint16) {
		if pos >= from {
			list = append(list, backlog.Range{First: pos, Last: pos})
		}
	}
	for _, r := range m.mem.Ranges(nil) {
		if r.Last >= from {
			list = append(list, backlog.Range{First: max(r.First, from), Last: r.Last})
		}
	}
	m.inflight.Each(add)
	m.eachReturned(add)
	list, _ = journal.CutAll(journal.Merge(list), m.putOff())
	stay, bytes = m.besides(from)
	return list, stay, bytes
}

// eachReturned calls f with every message that has left the backlog and waits.
func (m *Machine) eachReturned(f func(Position, uint16)) {
	m.eachNear(f)
	for p := range m.coldRetries.All() {
		f(p.Pos, p.Attempts)
	}
}

// eachNear is that of what does not just wait for its body to be read, of which there may be many.
func (m *Machine) eachNear(f func(Position, uint16)) {
	for _, list := range m.bodied() {
		list.Each(func(r *Retry) { f(r.Pos, r.Attempts) })
	}
	m.order.each(f)
	for _, p := range m.loadingPlaces() {
		f(p.Pos, p.Attempts)
	}
	for p := range m.coldReleased.All() {
		f(p.Pos, p.Attempts)
	}
}

// putOff returns what is deferred, or on its way to a dead letter topic, sorted.
func (m *Machine) putOff() (list []backlog.Range) {
	add := func(pos Position) { list = append(list, backlog.Range{First: pos, Last: pos}) }
	m.deferredMemory.Each(func(d inflight.Due) { add(d.Pos) })
	for p := range m.deferredIndex.All() {
		add(p.Pos)
	}
	for p := range m.dueUnshown.All() {
		add(p.Pos)
	}
	m.EachBuried(func(pos Position, _ uint16) { add(pos) })
	return journal.Merge(list)
}

// Rewind puts a queue in the place of all that waits, is to be delivered again, or is in flight, from a position on. It returns the first message that was
// never delivered, 0 when there is none.
func (m *Machine) Rewind(from Position, q *backlog.Queue) (first Position) {
	had := m.Held()
	m.mem.CutAll([]backlog.Range{{First: from, Last: math.MaxUint64 - 1}})
	m.takeBack(from)
	ranges := q.Ranges(nil)
	m.mem.AddQueue(q)
	if first = m.mem.First(); first > 0 {
		m.mem.SetAfter(min(m.mem.After(), first-1))
	}
	if k := len(ranges) - 1; k >= 0 {
		m.replay = ranges[k].Last
	}
	more := uint64(m.Held() - had)
	m.n.Accepted += more
	m.n.replayed += more
	m.n.adopted += more
	m.lookSoon()
	m.Asks.Deadline = true
	m.wake(m.visible(), nil)
	m.nudge()
	return first
}

// takeBack takes out what is in flight, is to be delivered again, or waits for the turn of its key, from a position on. The turns that such
// messages had pass on with the effects.
func (m *Machine) takeBack(from Position) {
	keep := m.effects()
	those := func(pos Position) bool { return pos >= from }
	gone := func(pos Position, f protocol.MessageFrame) {
		keep.Moved = append(keep.Moved, backlog.Range{First: pos, Last: pos})
		m.forget(pos, f)
	}
	m.takeFlying(those, gone)
	m.takeReturned(those, gone)
}

// forget has nothing be remembered of a message that leaves by somebody's hand.
func (m *Machine) forget(pos Position, f protocol.MessageFrame) {
	m.unbased(pos, f)
	m.unsure(pos) // which forgets it
}

// takeFlying takes out messages that are in flight.
func (m *Machine) takeFlying(those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	m.inflight.RemoveIf(those, func(it inflight.Item[*Consumer]) {
		it.Owner.inflight--
		gone(it.Pos, it.Frame)
	})
	for _, s := range m.consumers {
		m.settle(s, nil)
	}
}

// takeReturned takes out messages that are to be delivered again, or wait for the turn of their key.
func (m *Machine) takeReturned(those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	for _, list := range m.bodied() {
		for range list.Len() {
			if r := list.Pop(); those(r.Pos) {
				gone(r.Pos, r.Frame)
			} else {
				list.Push(r)
			}
		}
	}
	m.loads++ // what is on its way from disk is not what is wanted any more; what is on its way to a dead letter topic goes on
	m.putBack(m.loadingPlaces())
	m.loading = nil
	takePlaces(&m.coldRetries, those, gone)
	takePlaces(&m.coldReleased, those, gone)
	m.pullAside(func(pos Position, _ uint16) bool {
		if !those(pos) {
			return false
		}
		gone(pos, nil)
		return true
	})
}

// takePlaces takes places out of a queue.
func takePlaces(q *inflight.PlaceQueue, those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	for range q.Len() {
		if p := q.Pop(); those(p.Pos) {
			gone(p.Pos, nil)
		} else {
			q.Push(p)
		}
	}
}

// takeDeferred takes out messages that are deferred, but for those whose publish has failed: these go when they are due.
func (m *Machine) takeDeferred(those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	var stay []inflight.Due
	m.deferredMemory.Clear(func(d inflight.Due) {
		if those(d.Pos) {
			gone(d.Pos, d.Frame)
		} else {
			stay = append(stay, d)
		}
	})
	for _, d := range stay {
		m.deferredMemory.Push(d)
	}
	sound := func(pos Position) bool { return those(pos) && !m.isVoid(pos) }
	places := slices.Collect(m.deferredIndex.All())
	m.deferredIndex.Clear()
	for _, p := range places {
		if sound(p.Pos) {
			gone(p.Pos, nil)
		} else {
			m.deferredIndex.Push(p)
		}
	}
	takePlaces(&m.dueUnshown, sound, gone)
}

// Skip discards what waits before a position, and with all what is in flight or deferred before it, and returns how many messages that are.
func (m *Machine) Skip(before Position, all, dry bool) (n int) {
	if before <= 1 {
		return 0
	}
	those := func(pos Position) bool { return pos < before }
	if dry {
		return m.countBefore(those, before, all)
	}
	had := m.Held()
	gone := func(pos Position, f protocol.MessageFrame) {
		m.n.discard(journal.Skipped, 1)
		m.effects().discard(backlog.Range{First: pos, Last: pos}, journal.Skipped, true)
		m.forget(pos, f)
	}
	for _, r := range m.mem.CutAll([]backlog.Range{{First: 1, Last: before - 1}}) {
		m.taken += uint64(r.Len())
		m.n.discard(journal.Skipped, r.Len())
		m.effects().discard(r, journal.Skipped, false)
	}
	m.takeReturned(those, gone)
	if all {
		m.takeFlying(those, gone)
		m.takeDeferred(those, gone)
	}
	m.Asks.Deadline = true
	m.nudge()
	return had - m.Held()
}

// countBefore returns how many messages skip would discard.
func (m *Machine) countBefore(those func(Position) bool, before Position, all bool) (n int) {
	count := func(pos Position) {
		if those(pos) {
			n++
		}
	}
	for _, r := range m.mem.Ranges(nil) {
		if r.First < before {
			n += backlog.Range{First: r.First, Last: min(r.Last, before-1)}.Len()
		}
	}
	m.eachReturned(func(pos Position, _ uint16) { count(pos) })
	if !all {
		return n
	}
	m.inflight.Each(func(pos Position, _ uint16) { count(pos) })
	m.deferredMemory.Each(func(d inflight.Due) { count(d.Pos) })
	for p := range m.deferredIndex.All() {
		count(p.Pos)
	}
	for p := range m.dueUnshown.All() {
		count(p.Pos)
	}
	return n
}

// replaying returns how many of the messages that wait are not behind the last one of the last rewind.
func (m *Machine) replaying() int {
	if m.replay == 0 || m.mem.Len() == 0 {
		return 0
	}
	return m.mem.Len() - m.mem.Above(m.replay)
}

// besides returns what of a channel is not in a queue that a rewind from a position on brings.
func (m *Machine) besides(from Position) (messages, bytes int64) {
	if !m.policy.Bounded() {
		return 0, 0
	}
	all := m.Held()
	n := all - m.buried()
	for _, r := range m.mem.Ranges(nil) {
		if r.Last >= from {
			n -= backlog.Range{First: max(r.First, from), Last: r.Last}.Len()
		}
	}
	taken := func(pos Position, _ uint16) {
		if pos >= from {
			n--
		}
	}
	m.inflight.Each(taken)
	m.eachReturned(taken)
	return int64(n), m.heldBytes() * int64(n) / int64(max(all, 1))
}
