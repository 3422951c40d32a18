package channel

import (
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// What comes to a channel from its topic: of a log, Accept and DeferPlace, shown later by Show or taken back by Withdraw; in memory, Offer and Hold, and for what
// has no room OfferSome, Force and the queue on disk.

// add gives the channel messages.
func (m *Machine) add(at backlog.Extent, count int) {
	m.mem.Add(at, count)
	m.n.Accepted += uint64(count)
	m.offered = max(m.offered, at.Positions().Last)
	m.grow(count, at.Bytes())
	if m.policy != nil && m.aging.lookAt == 0 {
		m.lookSoon()
	}
}

// Offer gives the channel messages that are in memory and shown, if it has room, and wakes consumers: those that are added to later are its caller's to
// wake.
func (m *Machine) Offer(at backlog.Extent, count int, later *Wakes) bool {
	if !m.offer(at, count) {
		return false
	}
	if m.policy != nil {
		m.MakeRoom()
	}
	m.wake(min(count, m.visible()), later)
	return true
}

// OfferSome gives a channel that has no disk what it has room for, of messages that are shown.
func (m *Machine) OfferSome(at backlog.Extent, count int) {
	n := m.offerLossy(at, count)
	m.MakeRoom()
	m.wake(min(n, m.visible()), nil)
}

// Force gives the channel messages that are shown, room or not.
func (m *Machine) Force(at backlog.Extent, count int) {
	m.add(at, count)
	m.wake(count, nil)
}

// Accept gives the channel messages of the log, which are not shown yet. An ephemeral channel takes as many as it has room for.
func (m *Machine) Accept(at backlog.Extent, count int) {
	if !m.ephemeral {
		m.add(at, count)
	} else if !m.offer(at, count) {
		m.offerLossy(at, count)
	}
}

// offer gives the channel messages that are in memory, if it has room.
func (m *Machine) offer(at backlog.Extent, count int) bool {
	if m.overflowing && !m.filling && m.At.Disk == 0 {
		m.drained()
	}
	if m.overflowing || m.mem.Len()+count > m.bound || m.At.Crowded && m.mem.Len() > 0 {
		return false
	}
	if m.lossy && 2*m.mem.Len() < m.bound {
		m.lossy = false
	}
	if m.lossy {
		at = detached(at, count)
	}
	m.add(at, count)
	return true
}

// offerLossy gives a channel that has no disk as many of the messages as it has room for, which it returns, and discards the others.
func (m *Machine) offerLossy(at backlog.Extent, count int) (n int) {
	if n = min(count, max(0, m.bound-m.mem.Len())); m.At.Crowded {
		n = min(n, max(0, 1-m.mem.Len()))
	}
	m.n.Accepted += uint64(count - n)
	m.n.discard(journal.EphemeralOverflow, count-n)
	m.lossy = m.lossy || n < count
	if n > 0 {
		m.add(detached(at, n), n)
	}
	return n
}

// WantsRoom reports whether it is worth waiting until count messages fit into memory: not when the channel overflows already, could
// never hold that many, or nobody consumes. It asks for room when there is some already.
func (m *Machine) WantsRoom(count int) bool {
	if m.overflowing || m.At.Crowded || len(m.consumers) == 0 || m.At.Held || count > m.bound || m.exiting {
		return false
	}
	m.want = max(count, m.bound/16)
	m.Asks.Room = m.mem.Len()+count <= m.bound // consumers have made it since
	if m.Asks.Room {
		m.want = 0
	}
	return true
}

// Hold defers a message with its body.
func (m *Machine) Hold(d inflight.Due) {
	m.n.Accepted++
	if next, some := m.deferredMemory.Next(); !some || d.At < next {
		m.Asks.Deadline = true
	}
	m.deferredMemory.Push(d)
	m.grow(1, len(d.Frame))
}

// DeferPlace defers a message whose body stays where it is; its frame has so many bytes.
func (m *Machine) DeferPlace(s inflight.Place, size int) {
	m.n.Accepted++
	m.offered = s.Pos
	if next, some := m.deferredIndex.Next(); !some || s.At < next {
		m.Asks.Deadline = true
	}
	m.deferredIndex.Push(s)
	m.grow(1, size)
}

// Withdraw takes back messages that nobody was shown; due says that they are deferred.
func (m *Machine) Withdraw(at backlog.Extent, due bool) {
	if due {
		m.setVoid(journal.AddRange(m.Void(), at.Positions())) // they are dropped when they are due
		return
	}
	m.n.Accepted -= uint64(m.mem.Cut(at))
}

// Show lets consumers have what is shown now: as many fresh messages as were not before, and deferred ones that were due earlier. It reports whether
// MakeRoom is to be called, until that is done.
func (m *Machine) Show(count int, later *Wakes) (more bool) {
	more = m.policy != nil && m.MakeRoom()
	for m.dueUnshown.Len() > 0 && m.dueUnshown.First().Pos <= m.At.Shown {
		m.returnPlace(m.dueUnshown.Pop())
		count++
	}
	if count > 0 {
		m.wake(min(count, m.visible()), later)
	}
	return more
}

// detached returns a copy of the first count messages. What a channel keeps of a stream that it mostly discards must not keep
// the nodes in which it came.
func detached(at backlog.Extent, count int) backlog.Extent {
	frames := at.Node().Frames()[at.Offset():]
	size := 0
	for range count {
		size += len(protocol.FirstMessage(frames[size:]))
	}
	copied := backlog.Detached(slices.Clone(frames[:size]), at.Positions().First, count)
	copied.SetSums(slices.Clone(at.Sums(count)))
	return copied
}
