package topic

import (
	"cmp"
	"fmt"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// Holding is what a topic of a stopped node has on disk.
type Holding struct {
	Bytes    int64           // of its segments
	Kept     KeptHolding     // what is only kept
	Damage   []string        // messages of its segments that cannot be read, for people
	Missing  int             // of all channels
	Salvaged int             // messages in segments that nothing else speaks of: see Recovery.Salvage
	Gaps     []journal.Range // messages that nothing speaks of
	Channels []ChannelHolding
}

// KeptHolding is what a topic keeps although every channel is done with it.
type KeptHolding struct {
	From     Position // the first position that is kept, of those too that a channel needs; 0: nothing is
	Messages int
	Damage   []string // as that of Holding, of messages that nobody needs
}

// ChannelHolding is what a channel of a stopped node has.
type ChannelHolding struct {
	Name     string // empty for the topic itself
	Paused   bool
	Waiting  int
	Out      int // delivered before and not finished
	Deferred int
	Missing  int // needed, and in no segment, nor in the log
}

// Inspect reads everything that a recovered topic has in segments. It is for tools that look at a stopped node's folder:
// nothing may have been published or consumed since the topic was recovered from v.
func (t *Topic) Inspect(v *Recovery) (Holding, error) {
	missing := v.Missing(t.d.id)
	h := Holding{Salvaged: v.Salvaged(t.d.id)}
	if s := v.State.Topics[t.d.id]; s != nil {
		h.Gaps = s.Missing
	}
	if t.d.segments != nil {
		h.Bytes = t.d.segments.Bytes()
	}
	var needed []backlog.Range
	for _, c := range t.all() {
		needed = append(needed, c.having()...)
	}
	needed = journal.Merge(needed)
	if h.Kept.From = t.d.retain.from(); h.Kept.From > 0 {
		only, _ := journal.CutAll(journal.Merge(t.keptOf(t.d.table.each())), needed)
		h.Kept.Messages = lengths(only)
	}
	for _, s := range t.d.table.each() {
		if !s.onDisk.Load() {
			continue
		}
		pieces, err := t.pieces(s)
		if err != nil {
			return h, fmt.Errorf("topic %s: %w", t.name, err)
		}
		for _, p := range pieces {
			if err := t.inspect(p, needed, &h); err != nil {
				return h, fmt.Errorf("topic %s: %w", t.name, err)
			}
		}
	}
	for _, c := range t.all() {
		has := c.machine.Stats() // what was never delivered waits in the backlog, or is aside
		waiting := lengths(c.machine.Waiting(nil)) + has.Aside
		h.Channels = append(h.Channels, ChannelHolding{Name: c.name, Paused: c.Paused(), Waiting: waiting, Out: has.Waiting - waiting + has.Buried,
			Deferred: has.Deferred - has.Buried, Missing: missing[c.name]})
		h.Missing += missing[c.name]
	}
	return h, nil
}

// inspect reads a node, or a piece of one, of whose file some messages are needed.
func (t *Topic) inspect(s *stored, needed []backlog.Range, h *Holding) error {
	file := s.at().Ref
	lost := []segment.Lost{{First: uint64(s.first), Count: uint32(s.node.Count())}}
	if s.onDisk.Load() {
		var err error
		if _, lost, err = t.d.segments.Read(s.at(), nil); err != nil {
			return err
		}
	} else {
		file = s.of.Load().at().Ref
	}
	for _, l := range lost {
		first, end := Position(l.First), Position(l.First)+Position(l.Count)
		n := lengths(within(needed, first, end))
		if n > 0 {
			h.Damage = append(h.Damage, fmt.Sprintf("%d messages of %s", n, file))
		}
		if n = int(l.Count) - n; n > 0 {
			h.Kept.Damage = append(h.Kept.Damage, fmt.Sprintf("%d messages of %s", n, file))
		}
	}
	return nil
}

// lengths returns how many positions ranges have.
func lengths(list []backlog.Range) (n int) {
	for _, r := range list {
		n += r.Len()
	}
	return n
}

// all returns the topic's own backlog and its channels.
func (t *Topic) all() []*Channel { return append([]*Channel{t.own}, t.Channels()...) }

// Imported returns how many messages of a queue of another broker's folder the topic has taken in already. done says that
// it has all.
func (t *Topic) Imported(queue, source string) (n uint64, done bool) {
	if t.d == nil || t.d.imports == nil || t.d.imports.Queue != queue || t.d.imports.Source != source {
		return 0, false
	}
	return uint64(t.d.next - t.d.imports.Next), t.d.imports.Done
}

// Unload takes every message out of a recovered topic and gives it to f, a channel's after the other's, the topic's own
// first, with an empty name: what was delivered before or is deferred, and then what waits, in order. The frame is good until
// f returns. Messages that cannot be read are logged and counted. It is for tools, as Inspect is.
func (t *Topic) Unload(f func(channel string, m protocol.MessageFrame, attempts uint16) error) (lost int, err error) {
	for _, c := range t.all() {
		n, err := c.unload(func(m protocol.MessageFrame, attempts uint16) error { return f(c.name, m, attempts) })
		lost += n
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

func (c *Channel) unload(f func(m protocol.MessageFrame, attempts uint16) error) (lost int, err error) {
	var places []inflight.Place
	for _, list := range c.machine.EachOut(func(pos Position, attempts uint16) {
		places = append(places, inflight.Place{Pos: pos, Off: inflight.NoOffset, Attempts: attempts})
	}) {
		places = slices.AppendSeq(places, list.All())
	}
	slices.SortFunc(places, func(a, b inflight.Place) int { return cmp.Compare(a.Pos, b.Pos) })
	for part := range slices.Chunk(places, unloadAtOnce) {
		loaded, n, later, why := c.topic.loadEach(part, true)
		c.tellLost(n, why)
		if len(later) > 0 {
			return lost, fmt.Errorf("channel %s: %d messages cannot be read", c.name, len(later))
		}
		lost += len(n)
		for _, r := range loaded {
			if err := f(r.Frame, r.Attempts); err != nil {
				return lost, err
			}
		}
	}
	n, err := c.machine.TakeWaiting(func(cold *backlog.Node, first Position) (channel.Read, error) {
		node, err := c.topic.loadFor(cold, first, false)
		return node.toRead(), err
	}, f)
	return lost + n, err
}

// unloadAtOnce is how many messages that have left a backlog are read at once.
const unloadAtOnce = 256
