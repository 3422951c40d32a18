package channel

import (
	"iter"
	"time"

	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// failure is why a message is delivered once more, or a dead letter.
type failure uint8

const (
	unknownFailure failure = iota // it was before the start, or before the limit was lowered
	requeued                      // its consumer has asked for it
	timedOut                      // its consumer has not answered in time
	disconnected                  // its consumer's connection was lost
	overflowed                    // it was the oldest of a channel that is at its bound
)

var failureNames = [...]string{"", "requeued", "timed_out", "disconnected", ""}

// comeBack decides what becomes of a message that was not finished, and reports whether it can be delivered again at once. delay is what its
// consumer asked for, 0 for nothing.
func (m *Machine) comeBack(it *inflight.Item[*Consumer], why failure, delay time.Duration) (ready bool) {
	m.traceReturn(it.Owner, it.Pos, why)
	if p := m.policy; p != nil {
		if m.exhausted(it.Attempts) {
			m.bury(Corpse{Pos: it.Pos, Attempts: it.Attempts, why: why, Consumer: it.Owner.Name})
			return false
		}
		if p.Backoff != nil && delay == 0 && (why != requeued || p.BackoffRequeue) {
			delay = p.Backoff.Delay(it.Attempts)
		}
	}
	if delay > 0 {
		m.deferAgain(it, delay)
		return false
	}
	m.giveBack(it.Frame, it.Pos, it.Attempts)
	return true
}

// exhausted reports whether a message that was delivered so often is not delivered again. There is a policy.
func (m *Machine) exhausted(attempts uint16) bool {
	return m.policy.MaxAttempts > 0 && attempts >= m.policy.MaxAttempts && !m.At.Final
}

// EnforcePolicy has the options in force count for what is there: what was delivered too often for them goes, in one sweep, and what is no
// dead letter any more waits to be delivered again.
func (m *Machine) EnforcePolicy() {
	m.revive()
	p := m.policy
	if p == nil || p.MaxAttempts == 0 || m.At.Final {
		return
	}
	dead := func(attempts uint16) bool { return attempts >= p.MaxAttempts }
	for _, list := range [...]*fifo.Queue[Retry]{&m.retries, &m.loaded} {
		m.buryOf(list, dead)
	}
	if some := m.coldRetries.All(); anyPlace(some, dead) {
		list := m.coldRetries.Snapshot()
		m.coldRetries.Clear()
		m.buryPlaces(list, dead, false, m.coldRetries.Push)
	}
	if some := m.deferredIndex.All(); anyPlace(some, dead) {
		list := m.deferredIndex.Snapshot()
		m.deferredIndex.Clear()
		m.buryPlaces(list, dead, true, m.deferredIndex.Push)
	}
	var kept []inflight.Due
	over := false
	m.deferredMemory.Each(func(d inflight.Due) { over = over || dead(d.Attempts) })
	if over {
		m.deferredMemory.Clear(func(d inflight.Due) {
			if dead(d.Attempts) {
				m.bury(Corpse{Pos: d.Pos, Attempts: d.Attempts, why: unknownFailure, Due: d.At})
				return
			}
			kept = append(kept, d)
		})
		for _, d := range kept {
			m.deferredMemory.Push(d)
		}
	}
	m.Asks.Deadline = true
}

// buryOf buries what is to go of a list.
func (m *Machine) buryOf(list *fifo.Queue[Retry], dead func(uint16) bool) {
	for range list.Len() {
		r := list.Pop()
		if dead(r.Attempts) {
			m.bury(Corpse{Pos: r.Pos, Attempts: r.Attempts, why: unknownFailure})
			continue
		}
		list.Push(r)
	}
}

// buryPlaces buries what is to go of a list, and puts back the rest. deferred says that the list is of messages that are.
func (m *Machine) buryPlaces(list inflight.Snapshot, dead func(uint16) bool, deferred bool, back func(inflight.Place)) {
	for s := range list.All() {
		if dead(s.Attempts) && !m.isVoid(s.Pos) {
			d := Corpse{Pos: s.Pos, Attempts: s.Attempts, why: unknownFailure}
			if deferred {
				d.Due = s.At
			}
			m.bury(d)
			continue
		}
		back(s)
	}
}

func anyPlace(list iter.Seq[inflight.Place], dead func(uint16) bool) bool {
	for s := range list {
		if dead(s.Attempts) {
			return true
		}
	}
	return false
}

// revive has messages wait to be delivered again that are no dead letters by the options in force now, and discards them when there is
// no topic for them any more. What is on its way stays so.
func (m *Machine) revive() {
	g := m.graves
	if g == nil {
		return
	}
	g.notYet = 0
	g.tryLarge()
	back := 0
	for range g.waiting.Len() {
		d := g.waiting.Pop()
		switch {
		case m.policy == nil || !m.exhausted(d.Attempts):
			if !m.deferBack(&d) {
				m.coldRetries.Push(inflight.Place{At: int64(m.nextTurn()), Pos: d.Pos, Off: inflight.NoOffset, Attempts: d.Attempts})
				back++
			}
		default:
			m.bury(d)
		}
	}
	m.wake(back, nil)
}

// deferBack has a message that was deferred when it was taken out be deferred again, and reports whether it is.
func (m *Machine) deferBack(d *Corpse) bool {
	if d.Due <= m.At.Now {
		return false
	}
	m.deferredIndex.Push(inflight.Place{At: d.Due, Pos: d.Pos, Off: inflight.NoOffset, Attempts: d.Attempts})
	m.Asks.Deadline = true
	return true
}

var returns = [...]journal.Return{requeued: journal.Requeued, timedOut: journal.TimedOut, disconnected: journal.Disconnected}

// traceReturn notes that a message came back from a consumer, where that is wanted.
func (m *Machine) traceReturn(from *Consumer, pos Position, why failure) {
	if m.traced && pos > 0 && int(why) < len(returns) && returns[why] != 0 {
		keep := m.effects()
		keep.Back = append(keep.Back, Returned{from, pos, returns[why]})
	}
}
