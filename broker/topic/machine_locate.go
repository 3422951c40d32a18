package topic

import (
	"time"

	"brokerd/broker/inflight"
)

// locate is Channel.locate without what is deferred and known by its place only.
func (m *machine) locate(pos Position) (on OnChannel) {
	ahead := m.at.stamp - m.at.now
	found := func(s State, attempts uint16) { on.State, on.Attempts = s, attempts }
	on.State = Finished
	m.inflight.EachFlying(func(f inflight.Flying[*Subscription]) {
		if f.Pos == pos {
			found(InFlight, f.Attempts)
			on.Client, on.Delivered, on.Deadline = f.Owner.name, time.Unix(0, ahead+f.Delivered), time.Unix(0, ahead+f.Deadline)
		}
	})
	m.deferredMemory.Each(func(d inflight.Due) {
		if d.Pos == pos {
			found(Deferred, d.Attempts)
			on.Due = time.Unix(0, ahead+d.At)
		}
	})
	m.eachBuried(true, func(p Position, attempts uint16) {
		if p == pos {
			found(Dying, attempts)
		}
	})
	if on.State != Finished {
		return on
	}
	n, gone := 0, m.at.over != nil && m.at.over.has(pos)
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
