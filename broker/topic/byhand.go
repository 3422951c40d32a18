package topic

import (
	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// FinishByHand takes one message off the channel for good, whatever the channel has of it, and returns what that was, once the log says so: it
// counts as discarded by hand. A consumer that has it in flight is told with its answer that it is not in flight. It fails with ErrNoMessage
// when the channel has nothing of it, or when it is just being moved to a dead letter topic, with ErrNoPositions, or with the error of the log;
// with the last the message is gone, but may come back with a crash.
func (c *Channel) FinishByHand(pos Position) (was OnChannel, err error) {
	t := c.topic
	if t.d == nil {
		return was, ErrNoPositions
	}
	if err := t.registry.writable(); err != nil {
		return was, err
	}
	c.mu.Lock()
	some := c.deferredIndex.Holding(pos)
	c.mu.Unlock()
	var place *inflight.Place
	if m, ok := some.Find(pos); ok { // outside the lock, as there may be many
		place = &m
	}
	was = c.locate(pos)
	c.enterNow()
	done := c.machine.finishByHand(pos, place)
	c.exit()
	if !done {
		return was, ErrNoMessage
	}
	c.measure()
	t.registry.log.Info("message finished by hand", "topic", t.name, "channel", c.name, "position", uint64(pos), "was", string(was.State))
	return was, t.settleChannels([]*Channel{c})
}

// finishByHand takes a message out, and reports whether there was one. place is where it was when it was looked for among those that are
// deferred, nil when it was not found there.
func (m *machine) finishByHand(pos Position, place *inflight.Place) (done bool) {
	if pos == 0 || pos > m.at.shown || m.isVoid(pos) {
		return false
	}
	those := func(p Position) bool { return p == pos }
	one := backlog.Range{First: pos, Last: pos}
	gone := func(pos Position, f protocol.MessageFrame) {
		done = true
		m.n.discard(journal.ByHand, 1)
		m.effects().discard(one, journal.ByHand, true)
		m.forgetBase(pos, f)
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
		m.asks.deadline = true
		m.nudge()
	}
	return done
}

// takeBuried takes out messages that wait for a dead letter topic, but for those that are being moved.
func (m *machine) takeBuried(those func(Position) bool, gone func(Position, protocol.MessageFrame)) {
	if m.graves == nil {
		return
	}
	for _, list := range [...]*fifo[corpse]{&m.graves.waiting, &m.graves.large} {
		for range list.len() {
			if d := list.pop(); those(d.pos) {
				gone(d.pos, nil)
			} else {
				list.push(d)
			}
		}
	}
}
