package channel

import (
	"cmp"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/protocol"
)

// Order by key: on a channel of a topic with the option ordered at most one message of a key is out, from its delivery on until it leaves for
// good. A take passes over others of its key, which are set aside, out of the backlog: a record says so, as recovery takes what was passed
// over for lost. Once the message has left, the next one of its key is delivered before all that waits. What comes back keeps its turn.

// ordering is what a channel knows of the keys of its messages. Who asks a nil one is told that there is nothing.
type ordering struct {
	turns    inflight.Turns[*backlog.Node]
	attempts map[Position]uint16 // of those aside that were delivered before: while others of their key were, too, as nobody looked then
	ahead    int                 // places of messages aside, at most
	unsure   map[Position]bool   // were in flight when keys began to count: theirs are not known
	now      int64               // when the machine was told last what time it is

	node *backlog.Node // of the fresh message that is about to be delivered, and
	off  uint32        // where it begins there
}

const (
	asideAtOnce   = 4096 // messages that one take sets aside at most
	aheadMessages = 20   // messages aside for each place that there may be
	inTurn        = -1   // the At of a Place that has its key's turn
)

// full reports whether so much is aside that no more is to be looked at.
func (o *ordering) full() bool {
	return o != nil && (o.turns.Places() >= o.ahead || o.turns.Len() >= aheadMessages*o.ahead)
}

// len returns how many messages are aside.
func (o *ordering) len() int {
	if o == nil {
		return 0
	}
	return o.turns.Len()
}

// each calls f with every message that is aside.
func (o *ordering) each(f func(Position, uint16)) {
	if o != nil {
		o.turns.Each(func(pos Position) { f(pos, o.attempts[pos]) })
	}
}

// behind sets a message aside.
func (o *ordering) behind(sum uint32, m inflight.Aside[*backlog.Node], attempts uint16) {
	if attempts > 0 {
		if o.attempts == nil {
			o.attempts = map[Position]uint16{}
		}
		o.attempts[m.Pos] = attempts
	}
	o.turns.Behind(sum, m)
}

// takeAttempts returns how often a message was delivered that was aside, and forgets it.
func (o *ordering) takeAttempts(pos Position) uint16 {
	n := o.attempts[pos]
	if n > 0 {
		delete(o.attempts, pos)
	}
	return n
}

// frameSize is the size of a message in a node, 0 when it is not in memory.
func frameSize(n *backlog.Node, off uint32) int { return len(frameIn(n, off)) }

// frameIn returns a message in a node, nil when it is not in memory or nobody knows where.
func frameIn(n *backlog.Node, off uint32) protocol.MessageFrame {
	if n == nil || off == inflight.NoOffset {
		return nil
	}
	return n.Frame(int(off))
}

// setOrdered puts the option ordered in force, nil takes it off. What is in flight then has no turn: its key is not known before it comes back.
// What has come back, or is deferred, is loaded anew, with its key.
func (m *Machine) setOrdered(p *policy.Policy) {
	switch {
	case p == nil && m.order == nil:
		return
	case p == nil:
		m.disorder()
		return
	case m.order != nil:
		m.order.ahead = p.Ahead()
		return
	}
	m.order = &ordering{ahead: p.Ahead(), now: m.At.Now, unsure: map[Position]bool{}}
	m.mem.SetKeyed(true)
	m.inflight.Each(func(pos Position, _ uint16) { m.order.unsure[pos] = true })
	m.keyless()
}

// keyless has messages that are to be delivered again, and of which no key is known, loaded anew.
func (m *Machine) keyless() {
	var list []inflight.Place
	for _, from := range [...]*fifo.Queue[Retry]{&m.retries, &m.loaded} {
		for from.Len() > 0 {
			r := from.Pop()
			m.keepBody(r.Pos, r.Frame)
			list = append(list, inflight.Place{At: int64(r.Turn), Pos: r.Pos, Off: inflight.NoOffset, Attempts: r.Attempts})
		}
	}
	m.deferredMemory.Clear(func(d inflight.Due) {
		m.keepBody(d.Pos, d.Frame)
		m.deferredIndex.Push(inflight.Place{At: d.At, Pos: d.Pos, Off: inflight.NoOffset, Attempts: d.Attempts})
	})
	if len(list) == 0 {
		return
	}
	list = slices.AppendSeq(list, m.coldRetries.All())
	slices.SortStableFunc(list, func(a, b inflight.Place) int { return cmp.Compare(a.At, b.At) })
	m.coldRetries.Clear()
	for _, s := range list {
		m.coldRetries.Push(s)
	}
}

// unsure reports whether the key of a message that comes back must be looked for.
func (m *Machine) unsure(pos Position) bool {
	if m.order == nil || !m.order.unsure[pos] {
		return false
	}
	delete(m.order.unsure, pos)
	return true
}

// disorder has everything that is aside be delivered, in front of what waits.
func (m *Machine) disorder() {
	var list []inflight.Place
	for m.released.Len() > 0 {
		r := m.released.Pop()
		m.keepBody(r.Pos, r.Frame)
		list = append(list, inflight.Place{Pos: r.Pos, Off: inflight.NoOffset, Attempts: r.Attempts})
	}
	for s := range m.coldReleased.All() {
		s.At = 0
		list = append(list, s)
	}
	for m.ephemeral && m.order.len() > 0 {
		a := m.order.turns.DropOldest(frameSize)
		m.keepBody(a.Pos, frameIn(a.Node, a.Off))
		list = append(list, inflight.Place{Pos: a.Pos, Off: inflight.NoOffset, Attempts: m.order.attempts[a.Pos]})
	}
	for _, pos := range m.order.turns.TakeAside() {
		list = append(list, inflight.Place{Pos: pos, Off: inflight.NoOffset, Attempts: m.order.attempts[pos]})
	}
	m.coldReleased.Clear()
	m.coldRetries.PushFront(list)
	m.order = nil
	m.mem.SetKeyed(false)
	m.wake(len(list), nil)
}

// mayGo reports whether a message that is about to be delivered has its key's turn, and sets it aside when it has not.
func (m *Machine) mayGo(r *Retry, again bool) bool {
	o := m.order
	if r.Key == 0 || o.turns.Take(r.Key, r.Pos, m.At.Now) {
		return true
	}
	place := inflight.Aside[*backlog.Node]{Pos: r.Pos, Off: inflight.NoOffset}
	attempts := uint16(0)
	if again {
		attempts = r.Attempts - 1
	} else {
		place.Node, place.Off = o.node, o.off
		keep := m.effects()
		keep.Aside = addPosition(keep.Aside, r.Pos)
	}
	o.behind(r.Key, place, attempts)
	return false
}

// nextKey notes the key and the place of the fresh message that is about to be delivered.
func (m *Machine) nextKey(r *Retry) {
	r.Key = m.mem.Key()
	node, off := m.mem.Place()
	m.order.node, m.order.off = node, uint32(off) // -1 is unknown
}

// passTurn says that a message is gone for good, and has the next one of its key be delivered, if there is one, which it reports.
func (m *Machine) passTurn(pos Position) bool {
	o := m.order
	if m.At.Now > 0 {
		o.now = m.At.Now
	}
	next, some := o.turns.Leave(pos, o.now, frameSize)
	if !some {
		return false
	}
	attempts := o.takeAttempts(next.Pos)
	if f := frameIn(next.Node, next.Off); f != nil {
		m.released.Push(Retry{Frame: f, Pos: next.Pos, Attempts: attempts})
		return true
	}
	m.coldReleased.Push(inflight.Place{At: inTurn, Pos: next.Pos, Off: next.Off, Attempts: attempts})
	return true
}

// turnsLeft passes on the turns of messages that have left otherwise than by being finished.
func (m *Machine) turnsLeft() {
	if m.keep == nil {
		return
	}
	back := 0
	pass := func(pos Position) {
		if m.passTurn(pos) {
			back++
		}
	}
	passAll := func(r backlog.Range) {
		if r.Last-r.First >= Position(m.order.turns.Held()) { // of a whole backlog, say
			for _, pos := range m.order.turns.HoldersIn(r.First, r.Last) {
				pass(pos)
			}
			return
		}
		for pos := r.First; pos <= r.Last; pos++ {
			pass(pos)
		}
	}
	for i := range m.keep.Discarded {
		passAll(m.keep.Discarded[i].Range)
	}
	for _, r := range m.keep.Moved {
		passAll(r)
	}
	m.wake(back, nil)
}

// fillReleased returns messages that have their turn and are to be brought into memory, those of a node together.
func (m *Machine) fillReleased() (list []inflight.Place) {
	for m.coldReleased.Len() > 0 && m.released.Len()+len(list) < fillAtOnce {
		list = append(list, m.coldReleased.Pop())
	}
	slices.SortFunc(list, func(a, b inflight.Place) int { return cmp.Compare(a.Pos, b.Pos) })
	return list
}

// dropAside drops the message that has been aside for longest.
func (m *Machine) dropAside() {
	a := m.order.turns.DropOldest(frameSize)
	m.dropOut(a.Pos, m.order.takeAttempts(a.Pos), frameSize(a.Node, a.Off), 0)
}

// ageAside discards what is aside and over, as far as memory tells.
func (m *Machine) ageAside() (dropped int) {
	if m.order.len() == 0 {
		return 0
	}
	if over := m.At.Over; over != nil {
		dropped = m.order.turns.Filter(func(pos Position) bool {
			gone := over.Has(pos)
			if gone {
				m.order.takeAttempts(pos)
				m.outlived(pos, nil, true)
			}
			return gone
		})
	}
	for m.ttl() > 0 {
		a, some := m.order.turns.Oldest()
		f := frameIn(a.Node, a.Off)
		if !some || f == nil || !m.isOver(a.Pos, f) {
			break
		}
		m.order.turns.DropOldest(frameSize)
		m.order.takeAttempts(a.Pos)
		m.outlived(a.Pos, f, true)
		dropped++
	}
	return dropped
}

// pullAside takes messages out that are aside.
func (m *Machine) pullAside(take func(Position, uint16) bool) {
	if o := m.order; o != nil {
		o.turns.Filter(func(pos Position) bool {
			gone := take(pos, o.attempts[pos])
			if gone {
				o.takeAttempts(pos)
			}
			return gone
		})
	}
}

// BlockedKey is a key of which one message has been out for long while others wait for their turn.
type BlockedKey struct {
	Sum    uint32             // of the key, see journal.KeySum
	Pos    Position           // of the message that is out
	ID     protocol.MessageID // 0: it is not in memory
	Since  time.Time          // it has its turn
	Behind int                // messages that wait for theirs
}

const (
	blockedAfter = 10 * time.Second
	mostBlocked  = 10 // that are named
)

// blockedKeys returns the keys that have stood still for longest, and how many there are.
func (m *Machine) blockedKeys() (list []BlockedKey, n int) {
	if m.order.len() == 0 {
		return nil, 0
	}
	standing, n := m.order.turns.Standing(m.At.Now-int64(blockedAfter), mostBlocked)
	if n == 0 {
		return nil, 0
	}
	ids := map[Position]protocol.MessageID{}
	m.inflight.EachFlying(func(f inflight.Flying[*Consumer]) { ids[f.Pos] = f.ID })
	for _, from := range m.bodied() {
		from.Each(func(r *Retry) { ids[r.Pos] = r.Frame.MustID() })
	}
	m.deferredMemory.Each(func(d inflight.Due) { ids[d.Pos] = d.Frame.MustID() })
	for _, s := range standing {
		list = append(list, BlockedKey{Sum: s.Sum, Pos: s.Pos, ID: ids[s.Pos], Since: time.Unix(0, m.At.Stamp-m.At.Now+s.Since), Behind: s.Behind})
	}
	return list, n
}

// bodied returns the lists of messages that have left the backlog, wait, and are in memory.
func (m *Machine) bodied() [3]*fifo.Queue[Retry] {
	return [...]*fifo.Queue[Retry]{&m.retries, &m.loaded, &m.released}
}

// asidePlaces returns what is aside as places.
func (m *Machine) asidePlaces() (list []inflight.Place) {
	m.order.each(func(pos Position, attempts uint16) {
		list = append(list, inflight.Place{Pos: pos, Off: inflight.NoOffset, Attempts: attempts})
	})
	return list
}
