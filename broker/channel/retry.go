package channel

import (
	"errors"
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

// Corpse is a message that was delivered as often as its channel allows, or for which that has no room, and waits for its dead letter topic. Its body stays where it is.
type Corpse struct {
	Pos      Position
	Attempts uint16
	Due      int64  // it was deferred until then when it was taken out, and is again if it does not go; 0: it was not
	Consumer string // that had it last; empty: not known
	why      failure
}

// Reason returns why it is to be a dead letter, in a word.
func (d *Corpse) Reason() string {
	if d.why == overflowed {
		return "overflow"
	}
	return "max_attempts"
}

// Failure returns how its last delivery ended, in a word; nothing where that is not known.
func (d *Corpse) Failure() string { return failureNames[d.why] }

// ErrFewer is why messages are moved in smaller parts.
var ErrFewer = errors.New("the dead letter topic has room for some of them only")

// ErrNothing is why there is nothing to move any more.
var ErrNothing = errors.New("nothing is left to move")

// Sorted is messages that are to be moved: those that are, those that are not just now, those that cannot be read any more, and those that
// are larger than their dead letter topic allows.
type Sorted struct{ On, Later, Lost, Large []Corpse }

// burial is a channel's messages that are to become dead letters.
type burial struct {
	waiting fifo.Queue[Corpse]
	large   fifo.Queue[Corpse] // each larger than a bound of their topic: they do not hold up the others
	moving  []Corpse           // on their way
	written chan struct{}      // a record has those on their way; closed once it is known what became of it. nil: none has
	limit   int                // messages that are moved at once
	running bool               // somebody moves them
	notYet  int64              // the topic that they are to go to has refused them: no sooner than this is it tried again
	larger  int64              // the same, of large
	refusal error              // why, nil when the last try has succeeded
}

// burial returns where such messages are noted.
func (m *Machine) burial() *burial {
	if m.graves == nil {
		m.graves = &burial{limit: buryAtOnce}
	}
	return m.graves
}

// buried returns how many messages wait for a dead letter topic.
func (m *Machine) buried() int {
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

// Moving reports whether messages are on their way to another topic.
func (m *Machine) Moving() bool { return m.graves != nil && len(m.graves.moving) > 0 }

// Leaving returns what is closed once it is known what became of messages that a record has moved to another topic, nil when there are none.
func (m *Machine) Leaving() <-chan struct{} {
	if m.written() == 0 {
		return nil
	}
	return m.graves.written
}

// written returns how many of those are in a record of which nobody knows yet what became of it: they are the channel's no more, unless it
// has failed.
func (m *Machine) written() int {
	if m.graves == nil || m.graves.written == nil {
		return 0
	}
	return len(m.graves.moving)
}

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

// bury has a message that is in no other state any more become a dead letter, or discards it when the channel has no topic for them.
func (m *Machine) bury(d Corpse) {
	if m.policy.DeadLetter == "" || d.Pos == 0 {
		m.n.discard(journal.TooManyAttempts, 1)
		m.effects().discard(backlog.Range{First: d.Pos, Last: d.Pos}, journal.TooManyAttempts, true)
		return
	}
	g := m.burial()
	g.waiting.Push(d)
	m.Asks.Bury = m.Asks.Bury || m.At.Now >= g.notYet
	m.Asks.Deadline = true
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

// buryAtOnce is how many messages are moved to a dead letter topic by one record, at most.
const buryAtOnce = 256

// tooLarge is why messages wait for a dead letter topic that takes others.
const tooLarge = "max_bytes of the dead letter topic is less than each of the messages has"

// buryAgain is after how long a dead letter topic that has refused messages is tried again, when there is no backoff that says so.
const buryAgain = time.Minute

// StartBurial has somebody move messages, unless there is somebody. When start reports false nothing is tried again: the broker stops.
func (m *Machine) StartBurial(start func() bool) {
	if g := m.burial(); !g.running {
		if g.running = start(); !g.running {
			g.rest()
		}
	}
}

// BeginBurial returns messages that are to be moved to the dead letter topic of that name, none when none are or it is not time yet, or as the
// broker stops: then nobody moves them any more. They must end with EndBurial, unless the epoch has changed: then they are gone.
func (m *Machine) BeginBurial(stopping error) (list []Corpse, epoch int, to string) {
	list = m.beginBurial()
	g := m.graves
	if stopping != nil && len(list) > 0 {
		m.endBurial(stopping, m.epoch)
		g.rest() // at the next start
		list = nil
	}
	if len(list) == 0 {
		g.running = false
		m.Asks.Deadline = true
		return nil, m.epoch, ""
	}
	return list, m.epoch, m.policy.DeadLetter
}

func (m *Machine) beginBurial() (list []Corpse) {
	g := m.graves
	if m.At.Final || m.policy == nil || m.policy.DeadLetter == "" {
		m.revive() // they are no dead letters any more
		return nil
	}
	if m.exiting || m.At.Now < g.notYet {
		return nil
	}
	if m.At.Now >= g.larger {
		g.tryLarge()
	}
	for g.waiting.Len() > 0 && len(g.moving) < g.limit {
		g.moving = append(g.moving, g.waiting.Pop())
	}
	return g.moving
}

// NarrowBurial has only some of those messages go on being moved; the others wait again, or are gone as they cannot be read any more. It
// reports whether some are too large that none was before.
func (m *Machine) NarrowBurial(s Sorted) (large bool) {
	g := m.graves
	g.moving = s.On
	for _, d := range s.Later {
		g.waiting.Push(d)
	}
	if large = len(s.Large) > 0 && g.large.Len() == 0; large {
		g.larger = m.At.Now + m.buryAgain()
	}
	for _, d := range s.Large {
		g.large.Push(d)
	}
	for _, d := range s.Lost {
		m.n.discard(journal.Unreadable, 1)
		m.effects().discard(backlog.Range{First: d.Pos, Last: d.Pos}, journal.Unreadable, true)
	}
	return large
}

// buryAgain returns after how long a dead letter topic that has refused messages is tried again.
func (m *Machine) buryAgain() int64 {
	if p := m.policy; p != nil && p.Backoff != nil {
		return int64(p.Backoff.Longest())
	}
	return int64(buryAgain)
}

// WriteBurial says that a record has the messages that are moved.
func (m *Machine) WriteBurial() { m.graves.written = make(chan struct{}) }

// EndBurial says what became of messages that were to be moved: refused is why they were not. Those of a channel that was emptied since its
// record was written are dropped then. With room there is some for so many, which are moved next. It returns why the last ones were refused
// before, and how many wait now.
func (m *Machine) EndBurial(refused error, epoch, room int) (before error, waiting int) {
	before = m.graves.refusal
	if m.graves.limit = buryAtOnce; room > 0 {
		m.graves.limit = room
	}
	m.endBurial(refused, epoch)
	return before, m.buried()
}

func (m *Machine) endBurial(refused error, epoch int) {
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
			keep.Moved = addPosition(keep.Moved, d.Pos)
		}
	case epoch != m.epoch:
		m.n.discard(journal.Emptied, len(list))
		for _, d := range list {
			keep.discard(backlog.Range{First: d.Pos, Last: d.Pos}, journal.Emptied, true)
		}
	default:
		behind := g.waiting
		g.waiting = fifo.Queue[Corpse]{}
		for _, d := range list {
			g.waiting.Push(d)
		}
		behind.Each(func(d *Corpse) { g.waiting.Push(*d) })
		if refused == ErrFewer || refused == ErrNothing && len(list) == 0 {
			return
		}
		g.notYet = m.At.Now + m.buryAgain()
		m.Asks.Deadline = true
	}
}

// clearBurial drops what waits for a dead letter topic, unless a record has it.
func (m *Machine) clearBurial() {
	g := m.graves
	if g == nil {
		return
	}
	g.waiting, g.large, g.notYet = fifo.Queue[Corpse]{}, fifo.Queue[Corpse]{}, 0
	if g.written == nil {
		g.moving = nil
	}
}

// EachBuried calls f with every message that waits for a dead letter topic, or that a record has of which nobody knows yet what became of it.
func (m *Machine) EachBuried(f func(Position, uint16)) {
	m.eachCorpse(true, func(d *Corpse) { f(d.Pos, d.Attempts) })
}

// eachCorpse is EachBuried with all that is known of each; written says whether those that a record has are among them.
func (m *Machine) eachCorpse(written bool, f func(*Corpse)) {
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

var returns = [...]journal.Return{requeued: journal.Requeued, timedOut: journal.TimedOut, disconnected: journal.Disconnected}

// traceReturn notes that a message came back from a consumer, where that is wanted.
func (m *Machine) traceReturn(from *Consumer, pos Position, why failure) {
	if m.traced && pos > 0 && int(why) < len(returns) && returns[why] != 0 {
		keep := m.effects()
		keep.Back = append(keep.Back, Returned{from, pos, returns[why]})
	}
}
