package channel

import (
	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Restoring puts back what a channel had in an earlier life. Messages are told of in the order of positions: first all that wait, then all that are out.
type Restoring struct {
	m    *Machine
	sum  func(Position) uint32
	rest []inflight.Place // without a turn so far
}

// Restore begins to put back what a checkpoint and the log say of a channel that nobody knows yet: after is up to where its backlog was left, p are its
// options, ordered those of its topic where keys count, nil where they do not. sum returns what is kept of a message's key, 0 for nothing; it is asked
// in the order of positions, and once more so in End.
func (m *Machine) Restore(state *journal.Channel, after Position, p, ordered *policy.Policy, sum func(Position) uint32) Restoring {
	m.mem.SetAfter(after)
	m.offered, m.inherited, m.replay = state.Offered, state.Inherited, state.Replay
	if len(state.Cancelled) > 0 {
		m.voids = &voided{cancelled: state.Cancelled}
	}
	m.policy = p
	m.setOrdered(ordered)
	return Restoring{m: m, sum: sum}
}

// Fresh puts messages into the backlog.
func (r *Restoring) Fresh(at backlog.Extent, count int) { r.m.mem.Add(at, count) }

// Since says since when a message that was published for later counts as old, on the clock of all deadlines.
func (r *Restoring) Since(pos Position, at int64) { r.m.based(pos, at) }

// Deferred puts back a message that is deferred.
func (r *Restoring) Deferred(s inflight.Place) {
	r.m.deferredIndex.Push(s)
	if r.m.order != nil && s.Attempts > 0 { // else it has its place when it is due
		r.holds(s.Pos)
	}
}

// Again puts back a message that is to be delivered again. In an ordered channel what was delivered has its key's turn, and what was not stands behind it.
func (r *Restoring) Again(s inflight.Place) {
	switch {
	case r.m.order == nil: // its turn is now
		r.m.coldRetries.Push(s)
	case s.Attempts > 0 && r.holds(s.Pos):
		r.m.coldRetries.Push(s)
	default:
		r.rest = append(r.rest, s)
	}
}

// holds gives a message its key's turn, unless another has it.
func (r *Restoring) holds(pos Position) bool {
	sum, o := r.sum(pos), r.m.order
	return sum == 0 || o.turns.Take(sum, pos, o.now)
}

// End gives turns to those that had none, and goes on from the counts of the earlier life: of these messages some turn out to be finished, and some to be
// lost. It returns how many were accepted by the counts, and how many have left or are there: this is what is counted from now on.
func (r *Restoring) End(c journal.Counts, done, lost int) (accepted, sum uint64) {
	m := r.m
	for _, s := range r.rest {
		if r.holds(s.Pos) {
			m.coldRetries.Push(s)
			continue
		}
		m.order.behind(r.sum(s.Pos), inflight.Aside[*backlog.Node]{Pos: s.Pos, Off: inflight.NoOffset}, s.Attempts)
	}
	m.n.restore(c)
	m.n.Finished += uint64(done)
	m.n.discard(journal.Unreadable, lost)
	accepted = m.n.Accepted
	sum = m.n.gone() + uint64(m.mem.Len()+m.coldRetries.Len()+m.deferredIndex.Len()+m.order.len())
	m.n.Accepted, m.n.adopted = sum, sum
	m.Asks.Deadline = true
	return accepted, sum
}

// SetOffered says that what was published so far is not for the channel.
func (m *Machine) SetOffered(newest Position) { m.offered = newest }

// TakeIn gives the channel messages that were delivered before, in another broker.
func (m *Machine) TakeIn(at backlog.Extent, attempts []uint16) {
	s, frames := inflight.Place{Pos: at.Positions().First, Off: uint32(at.Offset())}, at.Frames()
	for _, n := range attempts {
		s.Attempts = n
		m.returnPlace(s)
		size := len(protocol.FirstMessage(frames))
		frames = frames[size:]
		s.Pos++
		s.Off += uint32(size)
	}
	m.n.Accepted += uint64(len(attempts))
	m.offered = at.Positions().Last
}

// Adopt counts messages as those of an earlier life.
func (m *Machine) Adopt(n int) { m.n.adopted += uint64(n) }

// TakeWaiting takes out what was never delivered, in order, for who reads a stopped node out, and returns how many messages could not be read. load reads a
// node from a position on.
func (m *Machine) TakeWaiting(load func(*backlog.Node, Position) (Read, error), f func(protocol.MessageFrame, uint16) error) (lost int, err error) {
	m.mem.SetKeyed(false)
	for m.mem.Len() > 0 {
		if cold := m.mem.Cold(); cold != nil {
			node, err := load(cold, m.mem.First())
			if err != nil {
				return lost, err
			}
			m.mem.Supply(cold, node.Of, node.Frames, node.Runs)
			continue
		}
		if m.mem.Len() == 0 {
			break // what was left is lost
		}
		frame, _ := m.mem.Next()
		if err := f(frame, 0); err != nil {
			return lost, err
		}
	}
	for _, r := range m.mem.Lost() {
		lost += r.Len()
	}
	return lost, nil
}
