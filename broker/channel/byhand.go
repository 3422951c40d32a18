package channel

import (
	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// FinishByHand takes a message out, and reports whether there was one. place is where it was when it was looked for among those that are
// deferred, nil when it was not found there.
func (m *Machine) FinishByHand(pos Position, place *inflight.Place) (done bool) {
	if pos == 0 || pos > m.At.Shown || m.isVoid(pos) {
		return false
	}
	those := func(p Position) bool { return p == pos }
	one := backlog.Range{First: pos, Last: pos}
	gone := func(pos Position, f protocol.MessageFrame) {
		done = true
		m.n.discard(journal.ByHand, 1)
		m.effects().discard(one, journal.ByHand, true)
		m.forget(pos, f)
	}
	returned := false
	m.eachReturned(func(p Position, _ uint16) { returned = returned || p == pos })
	flies := false
	m.inflight.Each(func(p Position, _ uint16) { flies = flies || p == pos })
	switch {
	case flies:
		m.takeFlying(those, gone)
	case returned:
		m.takeReturned(those, gone)
	case len(m.mem.CutAll([]backlog.Range{one})) > 0:
		done = true
		m.taken++
		m.n.discard(journal.ByHand, 1)
		m.effects().discard(one, journal.ByHand, false)
	default:
		if due, ok := m.undefer(pos, place); ok {
			gone(pos, due.Frame)
			break
		}
		m.takeBuried(those, gone)
	}
	if done {
		m.Asks.Deadline = true
		m.nudge()
	}
	return done
}

// takeBuried takes out messages that wait for a dead letter topic, but for those that are being moved.
func (m *Machine) takeBuried(those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	if m.graves == nil {
		return
	}
	for _, list := range [...]*fifo.Queue[Corpse]{&m.graves.waiting, &m.graves.large} {
		for range list.Len() {
			if d := list.Pop(); those(d.Pos) {
				gone(d.Pos, nil)
			} else {
				list.Push(d)
			}
		}
	}
}
