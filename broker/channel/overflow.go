package channel

import (
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// What a channel knows of the queue on disk behind its memory, at level memory: how many messages are there or on their way from there.

// Spill counts messages that are about to be written there, of so many bytes of frames: a consumer may read them at once. EndSpill follows, unless they are
// what an earlier life has left there.
func (m *Machine) Spill(count, frames int) {
	m.overflowing = true
	m.spilled += count
	m.n.Accepted += uint64(count)
	m.grow(count, frames)
}

// EndSpill says how many of them were written, and how many were not.
func (m *Machine) EndSpill(written, failed int) {
	m.spilled -= failed
	m.n.Accepted -= uint64(failed)
	m.wake(written, nil)
}

// MoveOn says that messages were read from there to be given to other channels, 0 that there are none any more.
func (m *Machine) MoveOn(count int) {
	m.unspilled(count)
	m.n.Accepted -= uint64(count)
	if count == 0 {
		m.drained()
	}
}

// InMemory returns how many messages are in memory.
func (m *Machine) InMemory() int { return m.backlog() + m.inflight.Len() + m.deferredMemory.Len() }

// Unload takes all messages out that are in memory, at level memory, with the number of deliveries so far.
func (m *Machine) Unload(put func(f protocol.MessageFrame, attempts uint16)) {
	m.inflight.Clear(func(it inflight.Item[*Consumer]) { put(it.Frame, it.Attempts) })
	for m.retries.Len() > 0 {
		r := m.retries.Pop()
		put(r.Frame, r.Attempts)
	}
	for m.mem.Len() > 0 {
		f, _ := m.mem.Next()
		put(f, f.Attempts()-1)
	}
	m.deferredMemory.Clear(func(d inflight.Due) { put(d.Frame, d.Attempts) })
}

// drained ends the overflow: the queue on disk is empty. What is still counted there was lost to damage.
func (m *Machine) drained() {
	m.overflowing = false
	m.n.discard(journal.Unreadable, m.spilled)
	m.spilled = 0
}

// unspilled books messages as read from disk. After an unclean stop of NSQ there may be more than were counted.
func (m *Machine) unspilled(n int) {
	m.spilled -= n
	if m.spilled < 0 {
		m.n.Accepted += uint64(-m.spilled)
		m.spilled = 0
	}
}
