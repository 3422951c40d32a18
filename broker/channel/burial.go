package channel

import (
	"errors"
	"math"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/diskqueue/journal"
)

// Messages that become dead letters: they wait in a list of their own until somebody moves them, some at a time, by one record of the log (Burial). While a
// record has them, and nobody knows yet whether it holds, they are the channel's no more, unless it fails.

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

const (
	buryAtOnce = 256         // messages that are moved to a dead letter topic by one record, at most
	buryAgain  = time.Minute // after which a dead letter topic that has refused messages is tried again, when there is no backoff that says so
)

// tooLarge is why messages wait for a dead letter topic that takes others.
const tooLarge = "max_bytes of the dead letter topic is less than each of the messages has"

// burial is a channel's messages that are to become dead letters.
type burial struct {
	waiting fifo.Queue[Corpse]
	large   fifo.Queue[Corpse] // each larger than a bound of their topic: they do not hold up the others
	moving  *lot               // on their way, there or elsewhere; nil: none
	limit   int                // messages that are moved at once
	running bool               // somebody moves them
	notYet  int64              // the topic that they are to go to has refused them: no sooner than this is it tried again
	larger  int64              // the same, of large
	refusal error              // why, nil when the last try has succeeded
}

// lot is messages on their way to another topic, by one record of the log.
type lot struct {
	list    []Corpse
	written chan struct{} // a record has them; closed once it is known what became of it. nil: none has
	emptied bool          // their channel was emptied since
}

// burial returns where such messages are noted.
func (m *Machine) burial() *burial {
	if m.graves == nil {
		m.graves = &burial{limit: buryAtOnce}
	}
	return m.graves
}

// moving returns the messages that are on their way to another topic, nil when none are.
func (m *Machine) moving() []Corpse {
	if m.graves == nil || m.graves.moving == nil {
		return nil
	}
	return m.graves.moving.list
}

// buried returns how many messages wait for a dead letter topic, or are on their way.
func (m *Machine) buried() int {
	if m.graves == nil {
		return 0
	}
	return m.graves.waiting.Len() + m.graves.large.Len() + len(m.moving())
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

// Leaving returns what is closed once it is known what became of messages that a record has moved to another topic, nil when there are none.
func (m *Machine) Leaving() <-chan struct{} {
	if m.written() == 0 {
		return nil
	}
	return m.graves.moving.written
}

// written returns how many messages are in a record of which nobody knows yet what became of it.
func (m *Machine) written() int {
	if m.graves == nil || m.graves.moving == nil || m.graves.moving.written == nil {
		return 0
	}
	return len(m.graves.moving.list)
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

// StartBurial has somebody move messages, unless there is somebody. When start reports false nothing is tried again: the broker stops.
func (m *Machine) StartBurial(start func() bool) {
	if g := m.burial(); !g.running {
		if g.running = start(); !g.running {
			g.rest()
		}
	}
}

// Burial is some of a channel's messages on their way to its dead letter topic, until End says what became of them. Its methods are called as the
// machine's.
type Burial struct {
	To   string // the topic
	List []Corpse

	m   *Machine
	lot *lot
}

// BeginBurial returns messages that are to be moved, nil when none are, or it is not time yet, or as the broker stops: then nobody moves them any more.
func (m *Machine) BeginBurial(stopping error) *Burial {
	list := m.toBury(stopping)
	if len(list) == 0 {
		m.graves.running = false
		m.Asks.Deadline = true
		return nil
	}
	m.graves.moving = &lot{list: list}
	return &Burial{To: m.policy.DeadLetter, List: list, m: m, lot: m.graves.moving}
}

func (m *Machine) toBury(stopping error) (list []Corpse) {
	g := m.graves
	if m.At.Final || m.policy == nil || m.policy.DeadLetter == "" {
		m.revive() // they are no dead letters any more
		return nil
	}
	if m.exiting || m.At.Now < g.notYet || g.moving != nil {
		return nil
	}
	if m.At.Now >= g.larger {
		g.tryLarge()
	}
	if stopping != nil && g.waiting.Len() > 0 {
		g.refusal = stopping
		g.rest() // at the next start
		return nil
	}
	for g.waiting.Len() > 0 && len(list) < g.limit {
		list = append(list, g.waiting.Pop())
	}
	return list
}

// Sorted is messages that are to be moved: those that are, those that are not just now, those that cannot be read any more, and those that
// are larger than their dead letter topic allows.
type Sorted struct{ On, Later, Lost, Large []Corpse }

// Narrow has only some of the messages go on being moved, which it returns, none when the channel was emptied since; the others wait again, or are gone as
// they cannot be read any more. large says that some are too large that none was before. What is left in Lost is what the channel has lost.
func (b *Burial) Narrow(s *Sorted) (on []Corpse, large bool) {
	m, g := b.m, b.m.graves
	if g.moving != b.lot {
		s.Lost = nil
		return nil, false
	}
	b.lot.list = s.On
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
	return s.On, large
}

// Stands reports whether the messages can go: the channel has them still.
func (b *Burial) Stands() bool { return b.m.graves.moving == b.lot && !b.m.exiting }

// Write says that a record has the messages.
func (b *Burial) Write() { b.lot.written = make(chan struct{}) }

// End says what became of the messages: refused is why they have not gone. With room there is some for so many, which are moved next. It returns why
// the last ones were refused before, and how many wait now.
func (b *Burial) End(refused error, room int) (before error, waiting int) {
	m, g := b.m, b.m.graves
	before, g.refusal = g.refusal, refused
	if g.limit = buryAtOnce; room > 0 {
		g.limit = room
	}
	if g.moving != b.lot { // the channel was emptied
		return before, m.buried()
	}
	switch list := m.known(); {
	case refused == nil:
		m.gone(list, journal.DeadLettered)
	case b.lot.emptied:
		m.dropEmptied(list)
	default:
		behind := g.waiting
		g.waiting = fifo.Queue[Corpse]{}
		for _, d := range list {
			g.waiting.Push(d)
		}
		behind.Each(func(d *Corpse) { g.waiting.Push(*d) })
		if refused == ErrFewer || refused == ErrNothing && len(list) == 0 {
			break
		}
		g.notYet = m.At.Now + m.buryAgain()
		m.Asks.Deadline = true
	}
	return before, m.buried()
}

// known ends the lot that is on its way, and returns its messages: it is known what became of them.
func (m *Machine) known() []Corpse {
	l := m.graves.moving
	m.graves.moving = nil
	if l.written != nil {
		close(l.written)
	}
	return l.list
}

// gone counts messages that a record has moved elsewhere.
func (m *Machine) gone(list []Corpse, why journal.Reason) {
	m.n.discard(why, len(list))
	keep := m.effects()
	for _, d := range list {
		keep.Moved = addPosition(keep.Moved, d.Pos)
	}
}

// dropEmptied counts messages that were on their way when their channel was emptied, and did not arrive.
func (m *Machine) dropEmptied(list []Corpse) {
	m.n.discard(journal.Emptied, len(list))
	keep := m.effects()
	for _, d := range list {
		keep.discard(backlog.Range{First: d.Pos, Last: d.Pos}, journal.Emptied, true)
	}
}

// buryAgain returns after how long a dead letter topic that has refused messages is tried again.
func (m *Machine) buryAgain() int64 {
	if p := m.policy; p != nil && p.Backoff != nil {
		return int64(p.Backoff.Longest())
	}
	return int64(buryAgain)
}

// clearBurial drops what waits for a dead letter topic, unless a record has it.
func (m *Machine) clearBurial() {
	g := m.graves
	if g == nil {
		return
	}
	g.waiting, g.large, g.notYet = fifo.Queue[Corpse]{}, fifo.Queue[Corpse]{}, 0
	switch {
	case g.moving == nil:
	case g.moving.written == nil:
		g.moving = nil
	default:
		g.moving.emptied = true
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
	if !written && m.written() > 0 {
		return
	}
	list := m.moving()
	for i := range list {
		f(&list[i])
	}
}
