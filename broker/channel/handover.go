package channel

import (
	"math"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// Inheritance is what a topic's own backlog hands on to its channels.
type Inheritance struct {
	mem      backlog.Queue
	deferred []inflight.Due       // with their bodies
	back     inflight.Snapshot    // to be delivered again
	places   [2]inflight.Snapshot // deferred; due and not shown yet
	void     []backlog.Range
	count    int
}

// HandOver takes out all that waits or is deferred.
func (m *Machine) HandOver() (e Inheritance) {
	m.expire(math.MaxInt)
	m.unload()
	e = Inheritance{mem: m.mem, back: m.coldRetries.Snapshot(), places: [...]inflight.Snapshot{m.deferredIndex.Snapshot(), m.dueUnshown.Snapshot()}, void: m.Void()}
	m.deferredMemory.Clear(func(d inflight.Due) { e.deferred = append(e.deferred, d) })
	for m.retries.Len() > 0 { // only what was deferred and has become due stands here
		e.deferred = append(e.deferred, inflight.Due{Frame: m.retries.Pop().Frame})
	}
	e.count = e.mem.Len() + len(e.deferred) + e.back.Len() + e.places[0].Len() + e.places[1].Len()
	m.mem.Clear()
	m.coldRetries.Clear()
	m.deferredIndex.Clear()
	m.dueUnshown.Clear()
	m.setVoid(nil)
	m.n.Accepted -= uint64(e.count)
	m.n.adopted = min(m.n.adopted, m.n.Accepted)
	return e
}

// unload has everything that was brought into memory, or is on its way there, to be delivered again be known by its place only.
func (m *Machine) unload() {
	var list []inflight.Place
	for m.loaded.Len() > 0 {
		r := m.loaded.Pop()
		list = append(list, inflight.Place{At: int64(r.Turn), Pos: r.Pos, Off: inflight.NoOffset, Attempts: r.Attempts})
	}
	m.coldRetries.PushFront(append(list, m.loadingPlaces()...))
	m.loading = nil
	m.loads++
}

// Inherit takes in what a topic's own backlog surrendered; newest is the topic's newest message.
func (m *Machine) Inherit(e *Inheritance, newest Position) {
	m.n.Accepted += uint64(e.count)
	m.mem.AddQueue(&e.mem)
	for _, d := range e.deferred {
		m.deferredMemory.Push(d)
	}
	m.setVoid(journal.Merge(slices.Concat(m.Void(), e.void)))
	for s := range e.back.All() {
		m.based(s.Pos, m.At.Now) // it was due, and nobody knows any more since when
		m.returnPlace(s)
	}
	for _, list := range e.places {
		for s := range list.All() {
			m.deferredIndex.Push(s)
		}
	}
	m.lookSoon()
	m.inherited = newest
	m.offered = max(m.offered, newest)
	m.wake(m.visible(), nil)
	m.Asks.Deadline = true
}

// Earliest returns a position, or that of the first message among what is handed on when that is before it.
func (e *Inheritance) Earliest(pos Position) Position {
	if first := e.mem.First(); first > 0 {
		pos = min(pos, first)
	}
	for _, d := range e.deferred {
		if d.Pos > 0 {
			pos = min(pos, d.Pos)
		}
	}
	for _, list := range e.Places() {
		for m := range list.All() {
			pos = min(pos, m.Pos)
		}
	}
	return pos
}

// Len returns how many messages there are.
func (e *Inheritance) Len() int { return e.count }

// First returns the position of the first one that was never delivered, 0 when there is none, or it has no position.
func (e *Inheritance) First() Position { return e.mem.First() }

// Places returns those that are known by their places: to be delivered again; deferred; due and not shown yet.
func (e *Inheritance) Places() [3]inflight.Snapshot {
	return [...]inflight.Snapshot{e.back, e.places[0], e.places[1]}
}

// Forgo drops what was handed over and has no heir.
func (m *Machine) Forgo(e *Inheritance) {
	m.n.Accepted += uint64(e.count)
	m.n.discard(journal.Emptied, e.count)
}
