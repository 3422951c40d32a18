package channel

import (
	"math"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// The time to live of messages. There are two: a message's own (expiries), and the option ttl of a channel, which holds for all that it has;
// what is over by one of them is over. Both count from the publish or, for what was published for later, from when it was due. A message in
// flight is never dropped, but goes when it comes back.
//
// The option needs no list: what waits is in the order of its age, so that it is looked at from the front, beside what waits to be
// delivered again. Nothing is given out without being looked at.

const (
	lookEvery = 100 * time.Millisecond // at least between two looks at what is over by the option
	lookLater = time.Second            // the same, when much is to be looked at, or nobody knows what is next
	lookMuch  = 10_000                 // messages
	soon      = -1                     // in aging.lookAt: a little later than now, whenever that is
)

// aging is what a machine knows of its messages' age.
type aging struct {
	lookAt int64              // when is to be looked for what is over by the option, 0: not at all
	looked int64              // the option's value then
	bases  map[Position]int64 // of messages that were published for later and are due: since when; by what inflight.Due calls the key
}

// ttl returns the option in nanoseconds, 0 for none.
func (m *Machine) ttl() int64 {
	if m.policy == nil {
		return 0
	}
	return int64(m.policy.TTL)
}

// mortal reports whether a message's time may be over.
func (m *Machine) mortal() bool { return m.At.Over != nil || m.policy != nil && m.policy.TTL > 0 }

// isOver reports whether a message's time is over.
func (m *Machine) isOver(pos Position, f protocol.MessageFrame) bool {
	if m.At.Over != nil && pos > 0 && m.At.Over.Has(pos) {
		return true
	}
	ttl := m.ttl()
	return ttl > 0 && m.age(pos, f) >= ttl
}

// key is what a message is known by in bases.
func key(pos Position, f protocol.MessageFrame) Position {
	return inflight.Due{Pos: pos, Frame: f}.Key()
}

// age returns how old a message is, in nanoseconds. What a clock was set by since it was published does not count.
func (m *Machine) age(pos Position, f protocol.MessageFrame) int64 {
	if m.aging.bases != nil {
		if since, ok := m.aging.bases[key(pos, f)]; ok {
			return m.At.Now - since
		}
	}
	return m.At.Stamp - f.Timestamp() - m.At.Jumps.since(f)
}

// based notes since when a message counts that was published for later and is due.
func (m *Machine) based(key Position, since int64) {
	if m.ttl() == 0 {
		return
	}
	if m.aging.bases == nil {
		m.aging.bases = map[Position]int64{}
	}
	m.aging.bases[key] = since
}

// dueNow notes that a message is due. One that a consumer has put off counts from its publish all the same.
func (m *Machine) dueNow(key Position, since int64, attempts uint16) {
	if m.ttl() == 0 || attempts > 0 {
		return
	}
	if since == 0 { // it was due when the topic's own backlog moved here
		since = m.At.Now
	}
	m.based(key, since)
	m.lookSoon()
}

// unbased forgets it.
func (m *Machine) unbased(pos Position, f protocol.MessageFrame) {
	if m.aging.bases != nil {
		delete(m.aging.bases, key(pos, f))
	}
}

// outlived discards a message whose time is over. out says that it had left the backlog before.
func (m *Machine) outlived(pos Position, f protocol.MessageFrame, out bool) {
	m.n.discard(journal.Expired, 1)
	m.effects().discard(backlog.Range{First: pos, Last: pos}, journal.Expired, out)
	if f == nil {
		delete(m.aging.bases, pos)
		return
	}
	m.unbased(pos, f)
	if m.sizes != nil {
		m.shrink(f)
	}
}

// lookBy has the channel looked at no later than at a time.
func (m *Machine) lookBy(at int64) {
	if m.ttl() > 0 && (m.aging.lookAt == 0 || at < m.aging.lookAt) {
		m.aging.lookAt = at
		m.Asks.Deadline = true
	}
}

// lookSoon has the channel looked at a little later than now, which need not be known.
func (m *Machine) lookSoon() {
	if m.ttl() > 0 && m.aging.lookAt != soon {
		m.aging.lookAt = soon
		m.Asks.Recheck = true
	}
}

// lookDue reports whether the channel is to be looked at now.
func (m *Machine) lookDue() bool {
	ttl := m.ttl()
	if ttl == 0 {
		m.aging = aging{}
		return false
	}
	return ttl != m.aging.looked || m.aging.lookAt != 0 && m.aging.lookAt <= m.At.Now
}

// look discards what is over by the option, at most limit of what was never delivered, as far as memory tells, and says when to look
// again. cold says that the next ones must be read first.
func (m *Machine) look(limit int) (dropped int, cold bool) {
	ttl := m.ttl()
	next := int64(math.MaxInt64)
	m.aging.looked = ttl
	for m.fresh() {
		pos := m.mem.First()
		f := m.mem.Peek()
		if f == nil {
			break
		}
		if !m.isOver(pos, f) {
			next = m.At.Now + ttl - m.age(pos, f)
			break
		}
		if dropped == limit {
			m.aging.lookAt = m.At.Now
			m.Asks.Deadline = true
			return dropped, false
		}
		m.taken++
		m.mem.Next()
		m.outlived(pos, f, false)
		dropped++
	}
	cold = m.freshShown() && m.cold() != nil || m.mem.Len() == 0 && m.At.Disk > 0
	n, soonest := m.ageReturned()
	dropped += n
	dropped += m.agePlaces() + m.ageAside()
	cold = cold || m.coldRetries.Len() > 0 && m.loaded.Len() == 0
	if m.returned()+m.inflight.Len() == 0 {
		m.aging.bases = nil // what left otherwise than by FIN may still be there
	}
	next = min(next, soonest)
	wait := lookEvery
	if m.returned() > lookMuch {
		wait = lookLater
	}
	if next == math.MaxInt64 && (m.backlog() > 0 || m.At.Disk > 0) {
		next, wait = 0, lookLater // it is not known
	}
	if m.aging.lookAt = 0; next < math.MaxInt64 {
		m.aging.lookAt = max(next, m.At.Now+int64(wait))
	}
	m.Asks.Deadline = true
	return dropped, cold
}

// ageReturned discards what is to be delivered again and is over, as far as its body is in memory. It returns when the next one will be.
func (m *Machine) ageReturned() (dropped int, next int64) {
	next = math.MaxInt64
	ttl := m.ttl()
	for _, q := range m.bodied() {
		for range q.Len() {
			r := q.Pop()
			if m.isOver(r.Pos, r.Frame) {
				m.outlived(r.Pos, r.Frame, true)
				dropped++
				continue
			}
			if ttl > 0 {
				next = min(next, m.At.Now+ttl-m.age(r.Pos, r.Frame))
			}
			q.Push(r)
		}
	}
	return dropped, next
}

// agePlaces discards what is to be delivered again, is known by its place only, and is over as far as that tells.
func (m *Machine) agePlaces() int {
	ttl := m.ttl()
	if m.coldRetries.Len()+m.coldReleased.Len() == 0 || m.At.Over == nil && m.aging.bases == nil {
		return 0
	}
	gone := func(s inflight.Place) bool {
		over := m.At.Over != nil && m.At.Over.Has(s.Pos)
		if since, ok := m.aging.bases[s.Pos]; ok && ttl > 0 && m.At.Now-since >= ttl {
			over = true
		}
		if over {
			m.outlived(s.Pos, nil, true)
		}
		return over
	}
	return m.coldRetries.Filter(gone) + m.coldReleased.Filter(gone)
}

// LookOn looks once more for what is over by the option, beside who sweeps, and reports whether something must be read first: then its caller
// has been chosen to read, and to ask again. It ends when there is nothing over, but for the first time.
func (m *Machine) LookOn(first bool) bool {
	dropped, cold := m.look(lookMuch)
	if !cold || m.filling || m.exiting || !first && dropped == 0 {
		return false
	}
	m.filling = true
	return true
}
