package channel

import (
	"math"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
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
func (m *Machine) grow(count, frames int) {
	if m.sizes != nil {
		m.sizes.of += count
		m.sizes.bytes += int64(frames - count*protocol.MessageOverhead)
	}
}

// shrink counts a message that has left.
func (m *Machine) shrink(f protocol.MessageFrame) {
	m.sizes.of--
	m.sizes.bytes -= bodyOf(f)
}

// heldBytes returns the bytes of the bodies of what the channel holds.
func (m *Machine) heldBytes() int64 {
	if m.sizes == nil {
		return 0
	}
	n := m.Held()
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
func (m *Machine) excess(p *policy.Policy) int64 { return int64(m.counted()) - p.MaxDepth }

func (m *Machine) counted() int { return m.Held() - m.mem.Above(m.At.Shown) - m.buried() }

// over reports whether the channel holds more than its policy allows.
func (m *Machine) over(p *policy.Policy) bool {
	if p.MaxDepth > 0 && m.excess(p) > 0 {
		return true
	}
	held := m.Held()
	if p.MaxBytes == 0 || held == 0 {
		return false
	}
	return float64(m.heldBytes())*float64(m.counted())/float64(held) > float64(p.MaxBytes)
}

// Fullness is how much a channel holds, for the bounds of its topic.
type Fullness struct {
	Messages int
	Bytes    int64 // of their bodies; 0 where bytes do not count
	Oldest   int64 // when the message was published that waits for longest, nanoseconds since 1970; 0: none does, or it is not known

	Drops   bool // the channel makes room by itself
	Letters int  // of the messages: they wait for a dead letter topic, though the channel makes room by moving them there
}

// Fullness returns how much the channel holds.
func (m *Machine) Fullness() Fullness {
	f := Fullness{Messages: m.Held(), Bytes: m.heldBytes(), Oldest: m.oldest(), Drops: m.drops()}
	if f.Drops && m.policy.Overflow == policy.ToDeadLetter {
		f.Letters = m.buried()
	}
	return f
}

// drops reports whether the channel makes room by itself.
func (m *Machine) drops() bool {
	p := m.policy
	return p.Bounded() && (p.Overflow == policy.DropOldest || p.Overflow == policy.ToDeadLetter && !m.At.Final)
}

// dropAtOnce is how many messages are dropped under one lock, and in one record.
const dropAtOnce = 1 << 16

// MakeRoom drops the oldest messages until the channel is within its bounds: first what waits, the oldest first, then what is deferred,
// what is due first first. What is in flight stays. It reports whether it has to be called once more, as it does not hold the lock for
// longer; what is in a queue on disk is left.
func (m *Machine) MakeRoom() (more bool) {
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
func (m *Machine) dropOldest(limit int) int {
	if pos, attempts, size, some := m.popReturned(); some {
		m.dropOut(pos, attempts, size, 0)
		return 1
	}
	switch {
	case m.order.len() > 0:
		m.dropAside()
		return 1
	case m.mem.Len() > 0 && m.mem.First() <= m.At.Shown:
		return m.dropFresh(limit)
	case m.spilled > 0:
		return 0
	}
	return m.dropDeferred()
}

// popReturned takes out the first message that is to be delivered again, those that have their key's turn before the others. size is that of its frame,
// 0 when its body must be read first.
func (m *Machine) popReturned() (pos Position, attempts uint16, size int, some bool) {
	bodies, places := &m.released, &m.coldReleased
	if bodies.Len()+places.Len() == 0 {
		bodies, places = m.earlier(), &m.coldRetries
	}
	switch {
	case bodies.Len() > 0:
		r := bodies.Pop()
		return r.Pos, r.Attempts, r.Frame.Size(), true
	case places.Len() > 0:
		s := places.Pop()
		return s.Pos, s.Attempts, 0, true
	}
	return 0, 0, 0, false
}

// dropFresh drops messages that were never delivered.
func (m *Machine) dropFresh(limit int) (n int) {
	if m.mem.First() == 0 {
		f, _ := m.mem.Next()
		m.taken++
		m.dropped(backlog.Range{}, len(f), false)
		return 1
	}
	n = 1
	if p := m.policy; p.MaxDepth > 0 {
		visible := m.mem.Len() - m.mem.Above(m.At.Shown)
		n = min(limit, visible, max(1, int(min(math.MaxInt32, m.excess(p)))))
	}
	m.mem.Drop(n, func(r backlog.Range, size int) {
		m.taken += uint64(r.Len())
		m.dropped(r, size, false)
	})
	return n
}

// dropDeferred drops the deferred message that is due first.
func (m *Machine) dropDeferred() int {
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
func (m *Machine) dropOut(pos Position, attempts uint16, size int, due int64) {
	if m.policy.DeadLetter != "" && m.policy.Overflow == policy.ToDeadLetter {
		m.bury(Corpse{Pos: pos, Attempts: attempts, why: overflowed, Due: due})
		return
	}
	m.dropped(backlog.Range{First: pos, Last: pos}, size, true)
}

// dropped counts messages that were dropped, or has them become dead letters when they are fresh; size is that of their frames, 0 when it
// is not known.
func (m *Machine) dropped(r backlog.Range, size int, out bool) {
	if p := m.policy; !out && r.First > 0 && p.DeadLetter != "" && p.Overflow == policy.ToDeadLetter {
		keep := m.effects()
		keep.Pulled = append(keep.Pulled, r)
		for pos := r.First; pos <= r.Last; pos++ {
			m.bury(Corpse{Pos: pos, why: overflowed})
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

// SpilledToDrop returns how many messages of the queue on disk are to be dropped next, at most limit, for the channel to come within its bounds.
func (m *Machine) SpilledToDrop(limit int) (n int) {
	if !m.drops() || !m.over(m.policy) || m.spilled == 0 {
		return 0
	}
	if p := m.policy; p.MaxDepth > 0 {
		return max(1, min(limit, int(min(math.MaxInt32, int64(m.Held())-p.MaxDepth))))
	}
	return 1
}

// DropSpilled counts messages of the queue on disk that were dropped, of so many bytes of frames.
func (m *Machine) DropSpilled(count, frames int) {
	m.unspilled(count)
	m.n.discard(journal.DroppedOldest, count)
	if m.sizes != nil {
		m.sizes.of -= count
		m.sizes.bytes -= int64(frames - count*protocol.MessageOverhead)
	}
}

// Measure counts the bytes of what the channel holds anew, where they count. The queue on disk holds so many messages, of so many bytes of frames. sizeOf
// returns the size of the frames of messages that are known by their places, about; it is nil where there are none.
func (m *Machine) Measure(spilled int, bytes int64, sizeOf func(inflight.Snapshot) int64) {
	if m.sizes == nil {
		return
	}
	frames := bytes + m.mem.Size() + m.inflight.Size()
	count := spilled + m.mem.Len() + m.inflight.Len()
	for _, list := range m.bodied() {
		list.Each(func(r *Retry) { frames += int64(r.Frame.Size()) })
		count += list.Len()
	}
	m.deferredMemory.Each(func(d inflight.Due) { frames += int64(d.Frame.Size()) })
	count += m.deferredMemory.Len()
	if sizeOf != nil {
		for _, list := range m.places() {
			frames += sizeOf(list)
			count += list.Len()
		}
		aside := m.asidePlaces()
		frames += sizeOf(inflight.Snapshot{aside})
		count += len(aside)
	}
	m.sizes.bytes, m.sizes.of = frames-int64(count)*protocol.MessageOverhead, count
}
