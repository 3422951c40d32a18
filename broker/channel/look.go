package channel

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// What is seen of a channel by somebody who takes nothing. There may be millions: a look is taken under the lock, and read without.

// Backlog is what waited on a channel when it was looked at.
type Backlog struct {
	ranges []backlog.Range  // never delivered
	again  []inflight.Place // to be delivered again
	cold   inflight.Snapshot
	void   []backlog.Range
	over   *Expired
}

// Backlog returns what waits to be delivered, for the first time or again.
func (m *Machine) Backlog() Backlog {
	l := Backlog{ranges: m.mem.Ranges(nil), cold: m.coldRetries.Snapshot(), void: slices.Clone(m.Void()), over: m.At.Over}
	m.eachNear(func(pos Position, attempts uint16) {
		l.again = append(l.again, inflight.Place{Pos: pos, Attempts: attempts})
	})
	return l
}

// From returns what of it is at a position or behind it, in order, and how often each of these messages was delivered so far. What is over is left out.
func (l *Backlog) From(pos Position) (list []backlog.Range, attempts func(Position) uint16) {
	again := slices.Clone(l.again)
	for p := range l.cold.All() {
		if p.Pos >= pos && !journal.Holds(l.void, p.Pos) {
			again = append(again, p)
		}
	}
	slices.SortFunc(again, func(a, b inflight.Place) int { return cmp.Compare(a.Pos, b.Pos) })
	list = slices.Clone(l.ranges)
	for _, p := range again {
		list = append(list, backlog.Range{First: p.Pos, Last: p.Pos})
	}
	list = journal.Merge(list)
	if gone := l.over.All(); len(gone) > 0 {
		list, _ = journal.CutAll(list, gone)
	}
	return list, func(pos Position) uint16 {
		i, ok := slices.BinarySearchFunc(again, pos, func(p inflight.Place, pos Position) int { return cmp.Compare(p.Pos, pos) })
		if !ok {
			return 0
		}
		return again[i].Attempts
	}
}

// Schedule is some of what was deferred on a channel when it was looked at.
type Schedule struct {
	mark  inflight.Place
	limit int
	warm  []inflight.Due // with their bodies
	cold  inflight.Snapshot
	void  []backlog.Range
	shown Position
}

// Schedule returns the first messages that are deferred and due behind a mark, at most limit.
func (m *Machine) Schedule(mark inflight.Place, limit int) Schedule {
	return Schedule{mark: mark, limit: limit, warm: m.deferredMemory.After(mark, limit), cold: m.deferredIndex.After(mark, limit), void: slices.Clone(m.Void()),
		shown: m.At.Shown}
}

// Deferral is a message that is deferred.
type Deferral struct {
	inflight.Place
	Frame   protocol.MessageFrame // nil: it is known by its place only
	Visible bool                  // else nobody is shown it, yet or ever, as its publish is not safe, or has failed
}

// Key tells it from others that are due at the same time.
func (d *Deferral) Key() Position { return inflight.Due{Pos: d.Pos, Frame: d.Frame}.Key() }

// All returns the messages in the order in which they are due, those of one moment by their keys.
func (l *Schedule) All() iter.Seq[Deferral] {
	warm, cold := l.warm, l.cold.First(l.mark, l.limit)
	return func(yield func(Deferral) bool) {
		for n := 0; n < l.limit && len(warm)+len(cold) > 0; n++ {
			var d Deferral
			if len(cold) == 0 || len(warm) > 0 && (warm[0].At < cold[0].At || warm[0].At == cold[0].At && warm[0].Key() < cold[0].Pos) {
				w := warm[0]
				d, warm = Deferral{inflight.Place{At: w.At, Pos: w.Pos, Off: inflight.NoOffset, Attempts: w.Attempts}, w.Frame, true}, warm[1:]
			} else {
				p := cold[0]
				d, cold = Deferral{Place: p, Visible: p.Pos <= l.shown && !journal.Holds(l.void, p.Pos)}, cold[1:]
			}
			if !yield(d) {
				return
			}
		}
	}
}

// EachOut calls f with all messages that have left the backlog and are known by more than their places, and returns where the others are, to be looked at
// without the lock: to be delivered again; their key's turn has come; deferred; due and not shown yet. What is in a record is not among them: see EachBuried.
func (m *Machine) EachOut(f func(pos Position, attempts uint16)) [4]inflight.Snapshot {
	m.eachOut(f, func(d *inflight.Due) { f(d.Pos, d.Attempts) })
	return m.places()
}

// eachOut calls out with all messages that have left the backlog and are known by more than their places, and deferred with those that are deferred
// with their bodies, or were when they were taken out for a dead letter topic.
func (m *Machine) eachOut(out func(pos Position, attempts uint16), deferred func(*inflight.Due)) {
	m.inflight.Each(out)
	for _, list := range m.bodied() {
		list.Each(func(r *Retry) { out(r.Pos, r.Attempts) })
	}
	m.order.each(out)
	for _, s := range m.loadingPlaces() {
		out(s.Pos, s.Attempts)
	}
	m.eachCorpse(false, func(d *Corpse) {
		if d.Due > 0 {
			deferred(&inflight.Due{Pos: d.Pos, At: d.Due, Attempts: d.Attempts})
		} else {
			out(d.Pos, d.Attempts)
		}
	})
	m.deferredMemory.Each(func(d inflight.Due) { deferred(&d) })
}

// places returns what is known by its place only: to be delivered again; its key's turn has come; deferred; due and not shown yet.
func (m *Machine) places() [4]inflight.Snapshot {
	return [...]inflight.Snapshot{m.coldRetries.Snapshot(), m.coldReleased.Snapshot(), m.deferredIndex.Snapshot(), m.dueUnshown.Snapshot()}
}

// Backlogged reports whether messages wait that were never delivered, not counting those on disk.
func (m *Machine) Backlogged() bool { return m.mem.Len() > 0 }

// First returns the position of the first message that was never delivered, 0 when there is none, or it has no position.
func (m *Machine) First() Position { return m.mem.First() }

// Waiting appends the positions of what was never delivered to a list, in order.
func (m *Machine) Waiting(list []backlog.Range) []backlog.Range { return m.mem.Ranges(list) }

// Flight is a message that a consumer has.
type Flight struct {
	Pos       Position
	Attempts  uint16 // deliveries so far
	Client    string // who has it
	Delivered time.Time
	Deadline  time.Time // when its time in flight is over
}

// Flights returns what consumers have from a position on, in no order.
func (m *Machine) Flights(from Position) (list []Flight) {
	m.inflight.EachFlying(func(f inflight.Flying[*Consumer]) {
		if f.Pos >= from {
			list = append(list, m.flight(&f))
		}
	})
	return list
}

func (m *Machine) flight(f *inflight.Flying[*Consumer]) Flight {
	ahead := m.At.Stamp - m.At.Now
	return Flight{Pos: f.Pos, Attempts: f.Attempts, Client: f.Owner.Name, Delivered: time.Unix(0, ahead+f.Delivered), Deadline: time.Unix(0, ahead+f.Deadline)}
}

// DeferredHolding returns among which places a deferred message is that is known by its place only: it is looked for without the lock.
func (m *Machine) DeferredHolding(pos Position) inflight.Snapshot {
	return m.deferredIndex.Holding(pos)
}
