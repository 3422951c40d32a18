package topic

import (
	"math"

	"brokerd/broker/backlog"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// sizes is the bytes of the bodies of what a channel holds, kept only where max_bytes needs them. They are exact for messages in memory.
// What leaves otherwise than by FIN counts with the average.
type sizes struct {
	bytes int64
	of    int // messages that are in bytes
}

func bodyOf(f protocol.MessageFrame) int64 {
	size := len(f)
	if size == protocol.MessageOverhead { // it is a Head, or has no body
		size = f.Size()
	}
	return int64(size - protocol.MessageOverhead)
}

// grow counts messages that have come, of so many bytes of frames.
func (m *machine) grow(count, frames int) {
	if m.sizes != nil {
		m.sizes.of += count
		m.sizes.bytes += int64(frames - count*protocol.MessageOverhead)
	}
}

// shrink counts a message that has left.
func (m *machine) shrink(f protocol.MessageFrame) {
	m.sizes.of--
	m.sizes.bytes -= bodyOf(f)
}

// heldBytes returns the bytes of the bodies of what the channel holds.
func (m *machine) heldBytes() int64 {
	if m.sizes == nil {
		return 0
	}
	n := m.holds()
	switch s := m.sizes; {
	case n <= 0 || s.of <= 0:
		s.bytes, s.of = 0, n
	case s.of != n:
		s.bytes, s.of = int64(float64(max(0, s.bytes))*float64(n)/float64(s.of)), n
	}
	return max(0, m.sizes.bytes)
}

// excess returns by how many messages the channel holds more than max_depth allows, below 0 when there is room. What nobody is shown yet
// does not count, as its publish may fail, nor what waits for its dead letter topic.
func (m *machine) excess(p *policy.Policy) int64 { return int64(m.counted()) - p.MaxDepth }

func (m *machine) counted() int { return m.holds() - m.mem.Above(m.at.shown) - m.buried() }

// over reports whether the channel holds more than its policy allows.
func (m *machine) over(p *policy.Policy) bool {
	if p.MaxDepth > 0 && m.excess(p) > 0 {
		return true
	}
	held := m.holds()
	if p.MaxBytes == 0 || held == 0 {
		return false
	}
	return float64(m.heldBytes())*float64(m.counted())/float64(held) > float64(p.MaxBytes)
}

// drops reports whether the channel makes room by itself.
func (m *machine) drops() bool {
	p := m.policy
	return p.Bounded() && (p.Overflow == policy.DropOldest || p.Overflow == policy.ToDeadLetter && !m.at.final)
}

// dropAtOnce is how many messages are dropped under one lock, and in one record.
const dropAtOnce = 1 << 16

// makeRoom drops the oldest messages until the channel is within its bounds: first what waits, the oldest first, then what is deferred,
// what is due first first. What is in flight stays. It reports whether it has to be called once more, as it does not hold the lock for
// longer; what is in a queue on disk is left.
func (m *machine) makeRoom() (more bool) {
	for n := 0; m.drops() && m.over(m.policy); {
		k := m.dropOldest(dropAtOnce - n)
		if k == 0 {
			return false
		}
		if n += k; n >= dropAtOnce {
			return true
		}
	}
	return false
}

// dropOldest drops one message, or more when the depth is over by more, and returns how many.
func (m *machine) dropOldest(limit int) int {
	switch {
	case m.released.Len() > 0:
		r := m.released.Pop()
		m.dropOut(r.pos, r.attempts, r.frame.Size(), 0)
		return 1
	case m.coldReleased.Len() > 0:
		s := m.coldReleased.Pop()
		m.dropOut(s.Pos, s.Attempts, 0, 0)
		return 1
	case m.retries.Len() > 0 && (m.loaded.Len() == 0 || m.retries.At(0).turn <= m.loaded.At(0).turn):
		r := m.retries.Pop()
		m.dropOut(r.pos, r.attempts, r.frame.Size(), 0)
		return 1
	case m.loaded.Len() > 0:
		r := m.loaded.Pop()
		m.dropOut(r.pos, r.attempts, r.frame.Size(), 0)
		return 1
	case m.coldRetries.Len() > 0:
		s := m.coldRetries.Pop()
		m.dropOut(s.Pos, s.Attempts, 0, 0)
		return 1
	case m.order.len() > 0:
		m.dropAside()
		return 1
	case m.mem.Len() > 0 && m.mem.First() <= m.at.shown:
		return m.dropFresh(limit)
	case m.spilled > 0:
		return 0
	}
	return m.dropDeferred()
}

// dropFresh drops messages that were never delivered.
func (m *machine) dropFresh(limit int) (n int) {
	if m.mem.First() == 0 {
		f, _ := m.mem.Next()
		m.taken++
		m.dropped(backlog.Range{}, len(f), false)
		return 1
	}
	n = 1
	if p := m.policy; p.MaxDepth > 0 {
		visible := m.mem.Len() - m.mem.Above(m.at.shown)
		n = min(limit, visible, max(1, int(min(math.MaxInt32, m.excess(p)))))
	}
	m.mem.Drop(n, func(r backlog.Range, size int) {
		m.taken += uint64(r.Len())
		m.dropped(r, size, false)
	})
	return n
}

// dropDeferred drops the deferred message that is due first.
func (m *machine) dropDeferred() int {
	inMemory, some := m.deferredMemory.Next()
	if due, ok := m.deferredIndex.Next(); ok && (!some || due <= inMemory) {
		s, ok := m.deferredIndex.Pop(math.MaxInt64)
		switch {
		case !ok:
			return 0
		case m.isVoid(s.Pos):
			m.n.Accepted--
			m.effects().discard(backlog.Range{First: s.Pos, Last: s.Pos}, 0, true)
		default:
			m.dropOut(s.Pos, s.Attempts, 0, s.At)
		}
		return 1
	}
	d, ok := m.deferredMemory.Pop(math.MaxInt64)
	if !ok {
		return 0
	}
	m.dropOut(d.Pos, d.Attempts, d.Frame.Size(), d.At)
	return 1
}

// dropOut drops a message that had left the backlog before; due is until when it was deferred, 0 when it was not.
func (m *machine) dropOut(pos Position, attempts uint16, size int, due int64) {
	if m.policy.DeadLetter != "" && m.policy.Overflow == policy.ToDeadLetter {
		m.bury(corpse{pos: pos, attempts: attempts, why: overflowed, due: due})
		return
	}
	m.dropped(backlog.Range{First: pos, Last: pos}, size, true)
}

// dropped counts messages that were dropped, or has them become dead letters when they are fresh; size is that of their frames, 0 when it
// is not known.
func (m *machine) dropped(r backlog.Range, size int, out bool) {
	if p := m.policy; !out && r.First > 0 && p.DeadLetter != "" && p.Overflow == policy.ToDeadLetter {
		keep := m.effects()
		keep.pulled = append(keep.pulled, r)
		for pos := r.First; pos <= r.Last; pos++ {
			m.bury(corpse{pos: pos, why: overflowed})
		}
		return
	}
	n := 1
	if r.First > 0 {
		n = r.Len()
	}
	if m.sizes != nil && size > 0 {
		m.sizes.of -= n
		m.sizes.bytes -= int64(size - n*protocol.MessageOverhead)
	}
	m.n.discard(journal.DroppedOldest, n)
	if r.First > 0 {
		m.effects().discard(r, journal.DroppedOldest, out)
	}
}
