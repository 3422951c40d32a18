package journal

import (
	"math"
	"slices"
	"sort"
)

// inherit moves the topic's own backlog to all its channels, but for what a channel's snapshot has of it already.
func (t *Topic) inherit() {
	own := t.Channels[0]
	if len(t.Channels) == 1 {
		return // the record of its channel was lost
	}
	for _, c := range t.Channels[1:] {
		c.inherit(own)
		c.Inherited = max(c.Inherited, t.Next-1)
	}
	own.Counts.Accepted -= own.holds()
	own.Waiting, own.unsure, own.Out = nil, nil, Outs{}
}

// has returns what waits in the channel and what is out, both sorted. When the record was lost by which it was given something of the topic's
// own backlog, that has it still, and it must not get it twice.
func (c *Channel) has() (waits, out []Range) {
	for _, r := range slices.Concat(c.Waiting, c.unsure) {
		waits = AddRange(waits, r)
	}
	c.Out.Each(func(pos Position, _ Out) { out = AddRange(out, Range{pos, pos}) })
	return waits, out
}

// holdsPosition reports whether a position is in one of some sorted ranges.
func holdsPosition(list []Range, pos Position) bool {
	i := sort.Search(len(list), func(i int) bool { return list[i].Last >= pos })
	return i < len(list) && list[i].First <= pos
}

func (c *Channel) inherit(own *Channel) {
	had := c.holds()
	c.Began = own.earliest(c.Began)
	fresh, _ := Cut(nil, slices.Concat(own.unsure, own.Waiting), 0, c.Inherited) // of the topic's own nobody knows more than that it waits
	here, out := c.has()
	slices.SortFunc(fresh, byFirst)
	fresh, _ = CutAll(fresh, here)
	fresh, _ = CutAll(fresh, out)
	own.Out.Each(func(pos Position, o Out) {
		if pos > c.Inherited && !holdsPosition(here, pos) && !holdsPosition(out, pos) {
			c.Out.Set(pos, o)
		}
	})
	if len(fresh) > 0 && fresh[0].First <= c.After { // a message for this channel alone came meanwhile, or a record was lost
		c.After = fresh[0].First - 1
	}
	c.Waiting = append(c.Waiting, fresh...)
	c.sort()
	c.Offered = max(c.Offered, own.Offered)
	c.Counts.Accepted += c.holds() - had
}

// handOver gives the topic's channels what its own backlog has up to the last of some messages, if it has any of these: they are c's
// now, so that the backlog had moved, by a record that was lost. What came later may still wait there. Without channels c gets it all: it
// is about to be one, and those that the backlog had moved to are lost.
func (t *Topic) handOver(c *Channel, list []Range) {
	own := t.Channels[0]
	waits, out := own.has()
	last := Position(0)
	for _, has := range [...][]Range{waits, out} {
		if both := common(has, list); len(both) > 0 {
			last = max(last, both[len(both)-1].Last)
		}
	}
	if last == 0 {
		return
	}
	moved := newChannel(0, "")
	moved.Offered = min(own.Offered, last)
	moved.Waiting, _ = Cut(nil, waits, last+1, math.MaxUint64)
	own.Out.Each(func(pos Position, o Out) {
		if pos <= last {
			moved.Out.Set(pos, o)
		}
	})
	had := own.holds()
	own.Waiting, _ = Cut(nil, own.Waiting, 1, last)
	own.unsure, _ = Cut(nil, own.unsure, 1, last)
	own.cutOut([]Range{{1, last}})
	own.Counts.Accepted -= had - own.holds()
	to := t.Channels[1:]
	if len(to) == 0 {
		to = []*Channel{c}
	}
	for _, c := range to {
		c.inherit(moved)
		c.Inherited = max(c.Inherited, last)
	}
}
