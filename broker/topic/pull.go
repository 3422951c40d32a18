package topic

import (
	"cmp"
	"errors"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// pulling is the channels of a dead letter topic, its own backlog too, while messages are taken out of all of them.
type pulling struct {
	channels []*Channel
	epochs   []int
	pulled   bool
}

// lock locks all channels: nobody else holds more than one.
func (p *pulling) lock() {
	for _, c := range p.channels {
		c.enterNow()
		p.epochs = append(p.epochs, c.epoch)
	}
}

func (p *pulling) unlock() {
	for _, c := range p.channels {
		c.exit()
	}
}

// errBusy is why nothing can be pulled just now.
var errBusy = errors.New("messages of a channel of the dead letter topic are on their way elsewhere")

// busy reports whether messages of a channel are being moved already.
func (p *pulling) busy() bool {
	return slices.ContainsFunc(p.channels, func(c *Channel) bool { return c.graves != nil && len(c.graves.moving) > 0 })
}

// free returns those of some messages that wait on a channel that is kept, and that no consumer has; busy is how many consumers have.
func (p *pulling) free(list []letter) (free []letter, busy int) {
	const waits, out = 1, 2
	states := make(map[Position]uint8, len(list))
	for _, l := range list {
		states[l.pos] = 0
	}
	for _, c := range p.channels {
		note := func(state uint8) func(Position, uint16) {
			return func(pos Position, _ uint16) {
				if old, ok := states[pos]; ok {
					states[pos] = old | state
				}
			}
		}
		c.eachTaken(note(out))
		if c.ephemeral && c != c.topic.own {
			continue
		}
		c.eachHeld(note(waits))
		ranges := merged(c.mem.Ranges(nil))
		for _, l := range list {
			if len(within(ranges, l.pos, l.pos+1)) > 0 {
				states[l.pos] |= waits
			}
		}
	}
	for _, l := range list {
		switch state := states[l.pos]; {
		case state&out != 0:
			busy++
		case state == waits:
			free = append(free, l)
		}
	}
	return free, busy
}

// pull takes messages out of all channels that have them.
func (p *pulling) pull(list []Position) {
	gone := make(map[Position]bool, len(list))
	var ranges []backlog.Range
	for _, pos := range list {
		gone[pos] = true
		ranges = addPosition(ranges, pos)
	}
	for _, c := range p.channels {
		c.pull(ranges, gone)
	}
	p.pulled = true
}

// end says what became of the messages.
func (p *pulling) end(err error) {
	if !p.pulled {
		return
	}
	for i, c := range p.channels {
		c.enterNow()
		c.endPull(err, p.epochs[i])
		c.exit()
	}
	if err != nil { // what waits in the topic itself again may be its channels' by now
		t := p.channels[0].topic
		t.pub.Lock()
		t.releaseLocked()
		t.pub.Unlock()
	}
}

// eachTaken calls f with every message that a consumer has, or that is on its way to one.
func (m *machine) eachTaken(f func(Position, uint16)) {
	m.inflight.Each(f)
	for _, s := range m.loadingPlaces() {
		f(s.Pos, s.Attempts)
	}
}

// eachHeld calls f with every message that has left the backlog and waits to be delivered, or is deferred.
func (m *machine) eachHeld(f func(Position, uint16)) {
	for _, list := range m.bodied() {
		list.each(func(r *retry) { f(r.pos, r.attempts) })
	}
	m.order.each(f)
	m.deferredMemory.Each(func(d inflight.Due) { f(d.Pos, d.Attempts) })
	for _, list := range m.places() {
		for s := range list.All() {
			f(s.Pos, s.Attempts)
		}
	}
}

// pull takes messages out that nobody has, until endPull says what became of them.
func (m *machine) pull(ranges []backlog.Range, gone map[Position]bool) {
	if m.graves == nil {
		m.graves = &burial{limit: buryAtOnce}
	}
	g := m.graves
	take := func(pos Position, attempts uint16, due int64) bool {
		if gone[pos] {
			g.moving = append(g.moving, corpse{pos: pos, attempts: attempts, due: due})
		}
		return gone[pos]
	}
	keep := m.effects()
	for _, r := range m.mem.CutAll(ranges) {
		for pos := r.First; pos <= r.Last; pos++ {
			take(pos, 0, 0)
			keep.pulled = addPosition(keep.pulled, pos)
		}
	}
	some := false
	m.eachHeld(func(pos Position, _ uint16) { some = some || gone[pos] })
	if some {
		m.pullHeld(take)
	}
	if len(g.moving) > 0 {
		g.written = make(chan struct{})
	}
}

// pullHeld is pull of what has left the backlog.
func (m *machine) pullHeld(take func(pos Position, attempts uint16, due int64) bool) {
	m.pullAside(func(pos Position, attempts uint16) bool { return take(pos, attempts, 0) })
	for _, list := range m.bodied() {
		for range list.len() {
			if r := list.pop(); !take(r.pos, r.attempts, 0) {
				list.push(r)
			}
		}
	}
	var kept []inflight.Due
	m.deferredMemory.Clear(func(d inflight.Due) {
		if !take(d.Pos, d.Attempts, d.At) {
			kept = append(kept, d)
		}
	})
	for _, d := range kept {
		m.deferredMemory.Push(d)
	}
	lists := m.places()
	m.coldRetries.Clear()
	m.coldReleased.Clear()
	m.deferredIndex.Clear()
	m.dueUnshown.Clear()
	for i, back := range [...]func(inflight.Place){m.coldRetries.Push, m.coldReleased.Push, m.deferredIndex.Push, m.dueUnshown.Push} {
		for s := range lists[i].All() {
			due := int64(0)
			if i > 1 { // deferred
				due = s.At
			}
			if !take(s.Pos, s.Attempts, due) {
				back(s)
			}
		}
	}
}

// endPull says what became of messages that were taken out. Those that did not arrive wait to be delivered again; but not when the channel
// was emptied since.
func (m *machine) endPull(failed error, epoch int) {
	g := m.graves
	if g == nil || g.written == nil {
		return
	}
	list := g.moving
	g.moving = nil
	close(g.written)
	g.written = nil
	keep := m.effects()
	var back []inflight.Place
	for _, d := range list {
		r := backlog.Range{First: d.pos, Last: d.pos}
		switch {
		case failed == nil:
			m.n.discard(journal.Redriven, 1)
			keep.moved = addPosition(keep.moved, d.pos)
		case epoch != m.epoch:
			m.n.discard(journal.Emptied, 1)
			keep.discard(r, journal.Emptied, true)
		case m.deferBack(&d):
		default:
			back = append(back, inflight.Place{Pos: d.pos, Off: unknown, Attempts: d.attempts})
		}
	}
	if len(back) > 0 {
		m.waitInFront(back)
	}
}

// waitInFront has messages that were taken out wait where they did: in front of all others, and in an ordered channel with those that are
// aside, among which some were.
func (m *machine) waitInFront(list []inflight.Place) {
	n := len(list)
	if m.order != nil {
		list = append(list, m.asidePlaces()...)
		m.order.turns.TakeAside()
		m.order.attempts = nil
	}
	slices.SortFunc(list, func(a, b inflight.Place) int { return cmp.Compare(a.Pos, b.Pos) })
	m.coldRetries.PushFront(list)
	m.wake(n, nil)
}
