package channel

import (
	"time"

	"brokerd/broker/inflight"
)

// State is what a channel has of a message.
type State string

// The states.
const (
	Waiting  State = "waiting"   // to be delivered, for the first time or again
	InFlight State = "in_flight" // a consumer has it
	Deferred State = "deferred"  // to be delivered when it is due
	Dying    State = "dying"     // it was delivered too often, and waits for its dead letter topic
	Finished State = "finished"  // the channel is done with it: it was finished, or discarded
)

// Found is what a channel has of one message.
type Found struct {
	State    State
	Attempts uint16 // deliveries so far, of what is not finished

	Ahead     int       // of what waits: messages that go before it, about
	Aside     bool      // of what waits: another message of its key is out
	Client    string    // of what is in flight: who has it
	Delivered time.Time // to that
	Deadline  time.Time // when its time in flight is over
	Due       time.Time // of what is deferred
}

// Located is what a channel had of a message when it was looked for. It is taken under the lock, and read without.
type Located struct {
	pos   Position
	on    Found
	sure  bool              // else it may be deferred, and known by its place only
	cold  inflight.Snapshot // among which it is then
	ahead int64             // what the clock of stamps is ahead of that of deadlines
}

// Locate looks for a message.
func (m *Machine) Locate(pos Position) Located {
	on := m.locate(pos)
	sure := on.State != Finished || m.At.Over != nil && m.At.Over.Has(pos) || m.isVoid(pos)
	return Located{pos: pos, on: on, sure: sure, cold: m.deferredIndex.Holding(pos), ahead: m.At.Stamp - m.At.Now}
}

// Place returns where the message is among those that are deferred and known by their places only, nil when it is not there.
func (l *Located) Place() *inflight.Place {
	if p, ok := l.cold.Find(l.pos); ok {
		return &p
	}
	return nil
}

// Found returns what the channel has of the message: Finished when it has nothing of it.
func (l *Located) Found() Found {
	on := l.on
	if !l.sure {
		if p := l.Place(); p != nil {
			on.State, on.Attempts, on.Due = Deferred, p.Attempts, time.Unix(0, l.ahead+p.At)
		}
	}
	return on
}

func (m *Machine) locate(pos Position) (on Found) {
	ahead := m.At.Stamp - m.At.Now
	found := func(s State, attempts uint16) { on.State, on.Attempts = s, attempts }
	on.State = Finished
	m.inflight.EachFlying(func(f inflight.Flying[*Consumer]) {
		if f.Pos == pos {
			found(InFlight, f.Attempts)
			flight := m.flight(&f)
			on.Client, on.Delivered, on.Deadline = flight.Client, flight.Delivered, flight.Deadline
		}
	})
	m.deferredMemory.Each(func(d inflight.Due) {
		if d.Pos == pos {
			found(Deferred, d.Attempts)
			on.Due = time.Unix(0, ahead+d.At)
		}
	})
	m.EachBuried(func(p Position, attempts uint16) {
		if p == pos {
			found(Dying, attempts)
		}
	})
	if on.State != Finished {
		return on
	}
	n, gone := 0, m.At.Over != nil && m.At.Over.Has(pos)
	m.eachReturned(func(p Position, attempts uint16) {
		if p == pos && !gone {
			found(Waiting, attempts)
			on.Ahead = n
		}
		n++
	})
	m.order.each(func(p Position, _ uint16) { on.Aside = on.Aside || p == pos })
	if on.State != Finished || gone {
		return on
	}
	for _, r := range m.mem.Ranges(nil) {
		if r.First <= pos && pos <= r.Last {
			found(Waiting, 0)
			on.Ahead = n + int(pos-r.First)
			break
		}
		n += r.Len()
	}
	return on
}
