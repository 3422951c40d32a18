package topic

import (
	"math"
	"slices"
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
	lookSoon  = -1                     // in machine.lookAt: as soon as may be
)

// aging is what a machine knows of its messages' age.
type aging struct {
	lookAt int64              // when is to be looked for what is over by the option, 0: not at all
	looked int64              // the option's value then
	bases  map[Position]int64 // of messages that were published for later and are due: since when; by what inflight.Due calls the key
}

// ttl returns the option in nanoseconds, 0 for none.
func (m *machine) ttl() int64 {
	if m.policy == nil {
		return 0
	}
	return int64(m.policy.TTL)
}

// mortal reports whether a message's time may be over.
func (m *machine) mortal() bool { return m.at.over != nil || m.policy != nil && m.policy.TTL > 0 }

// isOver reports whether a message's time is over.
func (m *machine) isOver(pos Position, f protocol.MessageFrame) bool {
	if m.at.over != nil && pos > 0 && m.at.over.has(pos) {
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
func (m *machine) age(pos Position, f protocol.MessageFrame) int64 {
	if m.aging.bases != nil {
		if since, ok := m.aging.bases[key(pos, f)]; ok {
			return m.at.now - since
		}
	}
	return m.at.stamp - f.Timestamp() - setSince(m.at.jumps, f)
}

// based notes since when a message counts that was published for later and is due.
func (m *machine) based(key Position, since int64) {
	if m.ttl() == 0 {
		return
	}
	if m.aging.bases == nil {
		m.aging.bases = map[Position]int64{}
	}
	m.aging.bases[key] = since
}

// dueNow notes that a message is due. One that a consumer has put off counts from its publish all the same.
func (m *machine) dueNow(key Position, since int64, attempts uint16) {
	if m.ttl() == 0 || attempts > 0 {
		return
	}
	if since == 0 { // it was due when the topic's own backlog moved here
		since = m.at.now
	}
	m.based(key, since)
	m.lookBy(lookSoon)
}

// unbased forgets it.
func (m *machine) unbased(pos Position, f protocol.MessageFrame) {
	if m.aging.bases != nil {
		delete(m.aging.bases, key(pos, f))
	}
}

// outlived discards a message whose time is over. out says that it had left the backlog before.
func (m *machine) outlived(pos Position, f protocol.MessageFrame, out bool) {
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
func (m *machine) lookBy(at int64) {
	if m.ttl() > 0 && (m.aging.lookAt == 0 || at < m.aging.lookAt) {
		m.aging.lookAt = at
		m.asks.deadline = true
	}
}

// lookDue reports whether the channel is to be looked at now.
func (m *machine) lookDue() bool {
	ttl := m.ttl()
	if ttl == 0 {
		m.aging = aging{}
		return false
	}
	return ttl != m.aging.looked || m.aging.lookAt != 0 && m.aging.lookAt <= m.at.now
}

// look discards what is over by the option, at most limit of what was never delivered, as far as memory tells, and says when to look
// again. cold says that the next ones must be read first.
func (m *machine) look(limit int) (dropped int, cold bool) {
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
			next = m.at.now + ttl - m.age(pos, f)
			break
		}
		if dropped == limit {
			m.aging.lookAt = m.at.now
			m.asks.deadline = true
			return dropped, false
		}
		m.taken++
		m.mem.Next()
		m.outlived(pos, f, false)
		dropped++
	}
	cold = m.freshShown() && m.cold() != nil || m.mem.Len() == 0 && m.at.disk > 0
	n, soonest := m.ageReturned()
	dropped += n
	dropped += m.agePlaces() + m.ageAside()
	cold = cold || m.coldRetries.Len() > 0 && m.loaded.len() == 0
	if m.returned()+m.inflight.Len() == 0 {
		m.aging.bases = nil // what left otherwise than by FIN may still be there
	}
	next = min(next, soonest)
	wait := lookEvery
	if m.returned() > lookMuch {
		wait = lookLater
	}
	if next == math.MaxInt64 && (m.backlog() > 0 || m.at.disk > 0) {
		next, wait = 0, lookLater // it is not known
	}
	if m.aging.lookAt = 0; next < math.MaxInt64 {
		m.aging.lookAt = max(next, m.at.now+int64(wait))
	}
	m.asks.deadline = true
	return dropped, cold
}

// ageReturned discards what is to be delivered again and is over, as far as its body is in memory. It returns when the next one will be.
func (m *machine) ageReturned() (dropped int, next int64) {
	next = math.MaxInt64
	ttl := m.ttl()
	for _, q := range m.bodied() {
		for range q.len() {
			r := q.pop()
			if m.isOver(r.pos, r.frame) {
				m.outlived(r.pos, r.frame, true)
				dropped++
				continue
			}
			if ttl > 0 {
				next = min(next, m.at.now+ttl-m.age(r.pos, r.frame))
			}
			q.push(r)
		}
	}
	return dropped, next
}

// agePlaces discards what is to be delivered again, is known by its place only, and is over as far as that tells.
func (m *machine) agePlaces() int {
	ttl := m.ttl()
	if m.coldRetries.Len()+m.coldReleased.Len() == 0 || m.at.over == nil && m.aging.bases == nil {
		return 0
	}
	gone := func(s inflight.Place) bool {
		over := m.at.over != nil && m.at.over.has(s.Pos)
		if since, ok := m.aging.bases[s.Pos]; ok && ttl > 0 && m.at.now-since >= ttl {
			over = true
		}
		if over {
			m.outlived(s.Pos, nil, true)
		}
		return over
	}
	return m.coldRetries.Filter(gone) + m.coldReleased.Filter(gone)
}

// lookAround is one look by the sweeper, which must not wait for a disk: what must be read first is looked at beside it.
func (c *Channel) lookAround() {
	if !c.lookDue() {
		return
	}
	if _, cold := c.look(lookMuch); cold && !c.filling && !c.exiting && c.reading.CompareAndSwap(false, true) {
		if !c.topic.registry.spawn(c.lookCold) {
			c.reading.Store(false)
		}
	}
}

// lookCold reads what waits for as long as it is over.
func (c *Channel) lookCold() {
	defer c.reading.Store(false)
	for first := true; ; first = false {
		c.enterNow()
		dropped, cold := c.look(lookMuch)
		if !cold || c.filling || c.exiting || !first && dropped == 0 {
			c.exit()
			return
		}
		c.filling = true
		c.exit()
		c.fillBeside()
	}
}

// fillBeside is fill for a channel that nobody may consume. A topic's own backlog at level memory is moved under Topic.pub.
func (c *Channel) fillBeside() {
	if t := c.topic; c == t.own && t.d == nil {
		t.pub.Lock()
		defer t.pub.Unlock()
	}
	c.fill()
}

// deadlineOfAge returns the earlier of a deadline, if there is one, and of when is to be looked for messages whose time is over.
func (c *Channel) deadlineOfAge(at int64, ok bool) (int64, bool) {
	if c.aging.lookAt == lookSoon {
		c.aging.lookAt = c.topic.registry.now() + int64(lookEvery)
	}
	if look := c.aging.lookAt; look > 0 && (!ok || look < at) {
		at, ok = look, true
	}
	if e := c.topic.expiries.Load(); e != nil && c == c.topic.own {
		if next := e.nextSweep(); next < math.MaxInt64 && (!ok || next < at) {
			at, ok = next, true
		}
	}
	return at, ok
}

// jump is a moment at which the clock of stamps was set.
type jump struct {
	by   int64              // nanoseconds, back when below 0
	at   int64              // the first stamp behind it
	from protocol.MessageID // of this node: lower ones were given before it, but for a few that were just being published
}

const (
	jumpFrom  = int64(time.Second) // by so much a clock is set, and does not only drift
	jumpRace  = int64(time.Second) // in so much behind a jump back a message may be of either side
	mostJumps = 16
)

// jumped notes that stamps have gone another way than the clock of deadlines, if it was by much.
func (r *Registry) jumped(stamp, by int64) {
	if -jumpFrom < by && by < jumpFrom {
		return
	}
	fresh := jump{by: by, at: stamp, from: r.ids.at()}
	for {
		old := r.jumps.Load()
		var list []jump
		if old != nil {
			list = append(list, *old...)
		}
		list = append(list, fresh)
		if len(list) > mostJumps {
			list = list[1:]
		}
		if r.jumps.CompareAndSwap(old, &list) {
			return
		}
	}
}

// heldBack notes that a message with that id, and what gets higher ones, comes behind the last jump, which was back: it is stamped with a time of before it, as
// times of its topic do not fall, and its id was perhaps given before the jump was noticed.
func (r *Registry) heldBack(first protocol.MessageID) {
	for {
		old := r.jumps.Load()
		if old == nil {
			return
		}
		last := len(*old) - 1
		if j := (*old)[last]; j.by > 0 || j.from <= first {
			return
		}
		list := slices.Clone(*old)
		list[last].from = first
		if r.jumps.CompareAndSwap(old, &list) {
			return
		}
	}
}

// setSince returns by how much the clock was set since a message was stamped.
func setSince(jumps *[]jump, f protocol.MessageFrame) (by int64) {
	if jumps == nil {
		return 0
	}
	for _, j := range *jumps {
		if j.before(f) {
			by += j.by
		}
	}
	return by
}

// before reports whether a message was stamped before the jump. Behind one that went back stamps come twice: then its id tells.
func (j *jump) before(f protocol.MessageFrame) bool {
	is, sure := j.beforeStamp(f.Timestamp())
	if !sure {
		return f.MustID() < j.from
	}
	return is
}

// beforeStamp is before of whatever was stamped then; sure is false for stamps that come twice.
func (j *jump) beforeStamp(at int64) (is, sure bool) {
	switch {
	case j.by > 0:
		return at < j.at-j.by/2, true
	case at < j.at:
		return true, true
	case at >= j.at-j.by || at < j.at+jumpRace:
		return false, true
	}
	return false, false
}

// setSinceStamp is setSince of whatever was stamped then, which is taken for younger where nobody knows.
func setSinceStamp(jumps *[]jump, at int64) (by int64) {
	if jumps == nil {
		return 0
	}
	for i := range *jumps {
		if is, _ := (*jumps)[i].beforeStamp(at); is {
			by += (*jumps)[i].by
		}
	}
	return by
}
