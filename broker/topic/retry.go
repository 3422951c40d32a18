package topic

import (
	"iter"
	"math"
	"time"

	"brokerd/broker/backlog"
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

// corpse is a message that was delivered as often as its channel allows, or for which that has no room, and waits for its dead letter topic. Its body stays where it is.
type corpse struct {
	pos      Position
	attempts uint16
	why      failure
	due      int64  // it was deferred until then when it was taken out, and is again if it does not go; 0: it was not
	consumer string // that had it last; empty: not known
}

// burial is a channel's messages that are to become dead letters.
type burial struct {
	waiting fifo.Queue[corpse]
	large   fifo.Queue[corpse] // each larger than a bound of their topic: they do not hold up the others
	moving  []corpse           // on their way
	written chan struct{}      // a record has those on their way; closed once it is known what became of it. nil: none has
	limit   int                // messages that are moved at once
	running bool               // somebody moves them
	notYet  int64              // the topic that they are to go to has refused them: no sooner than this is it tried again
	larger  int64              // the same, of large
	refusal error              // why, nil when the last try has succeeded
}

// buried returns how many messages wait for a dead letter topic.
func (m *machine) buried() int {
	if m.graves == nil {
		return 0
	}
	return m.graves.waiting.Len() + m.graves.large.Len() + len(m.graves.moving)
}

// next returns when it is to be tried again.
func (g *burial) next() (at int64, ok bool) {
	switch {
	case g == nil || g.running:
	case g.waiting.Len() > 0:
		return g.notYet, true
	case g.large.Len() > 0:
		return max(g.notYet, g.larger), true
	}
	return 0, false
}

// rest has nothing be tried again.
func (g *burial) rest() { g.notYet, g.larger = math.MaxInt64, math.MaxInt64 }

// tryLarge has those that were too large be tried with the others.
func (g *burial) tryLarge() {
	for g.large.Len() > 0 {
		g.waiting.Push(g.large.Pop())
	}
}

// written returns how many of those are in a record of which nobody knows yet what became of it: they are the channel's no more, unless it
// has failed.
func (m *machine) written() int {
	if m.graves == nil || m.graves.written == nil {
		return 0
	}
	return len(m.graves.moving)
}

// comeBack decides what becomes of a message that was not finished, and reports whether it can be delivered again at once. delay is what its
// consumer asked for, 0 for nothing.
func (m *machine) comeBack(it *inflight.Item[*Subscription], why failure, delay time.Duration) (ready bool) {
	m.traceReturn(it.Owner, it.Pos, why)
	if p := m.policy; p != nil {
		if m.exhausted(it.Attempts) {
			m.bury(corpse{pos: it.Pos, attempts: it.Attempts, why: why, consumer: it.Owner.name})
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
func (m *machine) exhausted(attempts uint16) bool {
	return m.policy.MaxAttempts > 0 && attempts >= m.policy.MaxAttempts && !m.at.final
}

// bury has a message that is in no other state any more become a dead letter, or discards it when the channel has no topic for them.
func (m *machine) bury(d corpse) {
	if m.policy.DeadLetter == "" || d.pos == 0 {
		m.n.discard(journal.TooManyAttempts, 1)
		m.effects().discard(backlog.Range{First: d.pos, Last: d.pos}, journal.TooManyAttempts, true)
		return
	}
	if m.graves == nil {
		m.graves = &burial{limit: buryAtOnce}
	}
	m.graves.waiting.Push(d)
	m.asks.bury = m.asks.bury || m.at.now >= m.graves.notYet
	m.asks.deadline = true
}

// enforcePolicy has the options in force count for what is there: what was delivered too often for them goes, in one sweep, and what is no
// dead letter any more waits to be delivered again.
func (m *machine) enforcePolicy() {
	m.revive()
	p := m.policy
	if p == nil || p.MaxAttempts == 0 || m.at.final {
		return
	}
	dead := func(attempts uint16) bool { return attempts >= p.MaxAttempts }
	for _, list := range [...]*fifo.Queue[retry]{&m.retries, &m.loaded} {
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
				m.bury(corpse{pos: d.Pos, attempts: d.Attempts, why: unknownFailure, due: d.At})
				return
			}
			kept = append(kept, d)
		})
		for _, d := range kept {
			m.deferredMemory.Push(d)
		}
	}
	m.asks.deadline = true
}

// buryOf buries what is to go of a list.
func (m *machine) buryOf(list *fifo.Queue[retry], dead func(uint16) bool) {
	for range list.Len() {
		r := list.Pop()
		if dead(r.attempts) {
			m.bury(corpse{pos: r.pos, attempts: r.attempts, why: unknownFailure})
			continue
		}
		list.Push(r)
	}
}

// buryPlaces buries what is to go of a list, and puts back the rest. deferred says that the list is of messages that are.
func (m *machine) buryPlaces(list inflight.Snapshot, dead func(uint16) bool, deferred bool, back func(inflight.Place)) {
	for s := range list.All() {
		if dead(s.Attempts) && !m.isVoid(s.Pos) {
			d := corpse{pos: s.Pos, attempts: s.Attempts, why: unknownFailure}
			if deferred {
				d.due = s.At
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
func (m *machine) revive() {
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
		case m.policy == nil || !m.exhausted(d.attempts):
			if !m.deferBack(&d) {
				m.coldRetries.Push(inflight.Place{At: int64(m.nextTurn()), Pos: d.pos, Off: inflight.NoOffset, Attempts: d.attempts})
				back++
			}
		default:
			m.bury(d)
		}
	}
	m.wake(back, nil)
}

// deferBack has a message that was deferred when it was taken out be deferred again, and reports whether it is.
func (m *machine) deferBack(d *corpse) bool {
	if d.due <= m.at.now {
		return false
	}
	m.deferredIndex.Push(inflight.Place{At: d.due, Pos: d.pos, Off: inflight.NoOffset, Attempts: d.attempts})
	m.asks.deadline = true
	return true
}

// buryAtOnce is how many messages are moved to a dead letter topic by one record, at most.
const buryAtOnce = 256

// tooLarge is why messages wait for a dead letter topic that takes others.
const tooLarge = "max_bytes of the dead letter topic is less than each of the messages has"

// buryAgain is after how long a dead letter topic that has refused messages is tried again, when there is no backoff that says so.
const buryAgain = time.Minute

// beginBurial returns messages that are to be moved to the dead letter topic, none when none are or it is not time yet. They must end
// with endBurial, unless the epoch has changed: then they are gone.
func (m *machine) beginBurial() (list []corpse, epoch int) {
	g := m.graves
	if m.at.final || m.policy == nil || m.policy.DeadLetter == "" {
		m.revive() // they are no dead letters any more
		return nil, m.epoch
	}
	if m.exiting || m.at.now < g.notYet {
		return nil, m.epoch
	}
	if m.at.now >= g.larger {
		g.tryLarge()
	}
	for g.waiting.Len() > 0 && len(g.moving) < g.limit {
		g.moving = append(g.moving, g.waiting.Pop())
	}
	return g.moving, m.epoch
}

// narrowBurial has only some of those messages go on being moved; the others wait again, or are gone as they cannot be read any more. It
// reports whether some are too large that none was before.
func (m *machine) narrowBurial(s sorted) (large bool) {
	g := m.graves
	g.moving = s.on
	for _, d := range s.later {
		g.waiting.Push(d)
	}
	if large = len(s.large) > 0 && g.large.Len() == 0; large {
		g.larger = m.at.now + m.buryAgain()
	}
	for _, d := range s.large {
		g.large.Push(d)
	}
	for _, d := range s.lost {
		m.n.discard(journal.Unreadable, 1)
		m.effects().discard(backlog.Range{First: d.pos, Last: d.pos}, journal.Unreadable, true)
	}
	return large
}

// buryAgain returns after how long a dead letter topic that has refused messages is tried again.
func (m *machine) buryAgain() int64 {
	if p := m.policy; p != nil && p.Backoff != nil {
		return int64(p.Backoff.Longest())
	}
	return int64(buryAgain)
}

// writeBurial says that a record has the messages that are moved.
func (m *machine) writeBurial() { m.graves.written = make(chan struct{}) }

// endBurial says what became of messages that were to be moved: refused is why they were not. Those of a channel that was emptied since its
// record was written are dropped then.
func (m *machine) endBurial(refused error, epoch int) {
	g := m.graves
	list := g.moving
	g.moving = nil
	if g.written != nil {
		close(g.written)
		g.written = nil
	}
	g.refusal = refused
	keep := m.effects()
	switch {
	case refused == nil:
		m.n.discard(journal.DeadLettered, len(list))
		for _, d := range list {
			keep.moved = addPosition(keep.moved, d.pos)
		}
	case epoch != m.epoch:
		m.n.discard(journal.Emptied, len(list))
		for _, d := range list {
			keep.discard(backlog.Range{First: d.pos, Last: d.pos}, journal.Emptied, true)
		}
	default:
		behind := g.waiting
		g.waiting = fifo.Queue[corpse]{}
		for _, d := range list {
			g.waiting.Push(d)
		}
		behind.Each(func(d *corpse) { g.waiting.Push(*d) })
		if refused == errFewer || refused == errNoMessage && len(list) == 0 {
			return
		}
		g.notYet = m.at.now + m.buryAgain()
		m.asks.deadline = true
	}
}

// clearBurial drops what waits for a dead letter topic, unless a record has it.
func (m *machine) clearBurial() {
	g := m.graves
	if g == nil {
		return
	}
	g.waiting, g.large, g.notYet = fifo.Queue[corpse]{}, fifo.Queue[corpse]{}, 0
	if g.written == nil {
		g.moving = nil
	}
}

// eachBuried calls f with every message that waits for a dead letter topic; written says whether those that a record has are among them.
func (m *machine) eachBuried(written bool, f func(Position, uint16)) {
	m.eachCorpse(written, func(d *corpse) { f(d.pos, d.attempts) })
}

// eachCorpse is eachBuried with all that is known of each.
func (m *machine) eachCorpse(written bool, f func(*corpse)) {
	g := m.graves
	if g == nil {
		return
	}
	g.waiting.Each(f)
	g.large.Each(f)
	if g.written != nil && !written {
		return
	}
	for i := range g.moving {
		f(&g.moving[i])
	}
}

// returned is a message that came back from a consumer.
type returned struct {
	from *Subscription
	pos  Position
	how  journal.Return
}

var returns = [...]journal.Return{requeued: journal.Requeued, timedOut: journal.TimedOut, disconnected: journal.Disconnected}

// traceReturn notes that a message came back from a consumer, where that is wanted.
func (m *machine) traceReturn(from *Subscription, pos Position, why failure) {
	if m.traced && pos > 0 && int(why) < len(returns) && returns[why] != 0 {
		keep := m.effects()
		keep.back = append(keep.back, returned{from, pos, returns[why]})
	}
}
