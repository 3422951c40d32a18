package topic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
)

// Recovery is what the log had: what it adds up to, and the messages in it that are in no segment. Its fields are set before
// Apply and Recover are called.
type Recovery struct {
	State *journal.State
	// Segments are looked into while the log is read, so that what is in them need not be kept in memory; nil: only afterwards.
	Segments Segments
	// Complete says that the log and the checkpoint were read whole: what is in segments and not in them is not needed.
	Complete bool
	// Early are files of segments, by topic, that went before the log could say that nobody needs what is in them.
	Early map[uint32][]uint32

	batches map[uint32][]loggedBatch  // by topic
	blocks  map[uint32]*blocks        // by topic
	missing map[uint32]map[string]int // messages, by topic and channel

	salvaged map[uint32]int // messages, by topic
}

// loggedBatch is a publish of the log.
type loggedBatch struct {
	journal.Publish
	frames []byte // nil when a block has them; what they have beside them is kept in any case
}

// NewRecovery begins from the state of a checkpoint, or an empty one.
func NewRecovery(s *journal.State) *Recovery {
	return &Recovery{State: s, batches: map[uint32][]loggedBatch{}, blocks: map[uint32]*blocks{}, missing: map[uint32]map[string]int{},
		salvaged: map[uint32]int{}, Early: map[uint32][]uint32{}}
}

// Apply takes in a record of the log, which is not kept.
func (v *Recovery) Apply(at journal.Offset, kind journal.Kind, data []byte) (err error) {
	applied := v.State.Apply(at, kind, data, func(p journal.Publish, frames []byte) { err = v.keep(at, p, frames) })
	if err != nil {
		return err
	}
	return applied
}

// keep remembers a publish, but for messages that were finished when the checkpoint was written, and their bytes unless they
// are in the topic's segments.
func (v *Recovery) keep(at journal.Offset, p journal.Publish, frames []byte) error {
	t := v.State.Topics[p.Topic]
	old := at.Before(t.AsOf)
	if old && nodeOf(t.Nodes, p.First) < 0 {
		return nil
	}
	batch := loggedBatch{Publish: p}
	batch.Properties = slices.Clone(p.Properties)
	if v.Segments != nil {
		b, err := v.open(v.Segments, p.Topic)
		if err != nil {
			return err
		}
		if i := b.holding(p.First); i >= 0 {
			known := isNode(t.Nodes, b.list[i])
			if old && known {
				return nil
			}
			if !known && b.list[i].Held == 0 && b.isSound(i) {
				v.batches[p.Topic] = append(v.batches[p.Topic], batch)
				return nil
			}
		}
	}
	batch.frames = slices.Clone(frames)
	v.batches[p.Topic] = append(v.batches[p.Topic], batch)
	return nil
}

// open looks into a topic's segments, once.
func (v *Recovery) open(from Segments, topic uint32) (*blocks, error) {
	if b := v.blocks[topic]; b != nil {
		return b, nil
	}
	b, err := openBlocks(from, v.State.Topics[topic])
	if err == nil {
		v.blocks[topic] = b
	}
	return b, err
}

// Missing returns how many messages the channels of a topic that was recovered need and nobody has, by their names, at most.
func (v *Recovery) Missing(topic uint32) map[string]int { return v.missing[topic] }

// Recover makes the topics of a log. It goes before Restore, which makes the topics that are not in it.
func (r *Registry) Recover(v *Recovery) error {
	if unsure := v.State.Settle(); unsure > 0 {
		r.log.Info("records of the log may be missing: messages that were finished may come again", "at most", unsure)
	}
	r.lastID.Store(v.State.NextID)
	r.logWhole = v.Complete && v.State.NextID > 1
	r.trust.expect(v.State.Newest(), r.now())
	for id, state := range v.State.Topics {
		found, err := v.open(r.cfg.Segments, id)
		if err != nil {
			return fmt.Errorf("recovering topic %s: %w", state.Name, err)
		}
		b := builder{registry: r, state: state, batches: v.batches[id], found: found, complete: v.Complete, lost: map[string]int{}}
		for _, n := range state.Nodes {
			if slices.Contains(v.Early[id], n.File) {
				b.early = append(b.early, n)
			}
		}
		for _, f := range state.Files {
			if slices.Contains(v.Early[id], f.File) {
				b.early = append(b.early, f.Node)
			}
		}
		if err := b.build(); err != nil {
			return fmt.Errorf("recovering topic %s: %w", state.Name, err)
		}
		v.missing[id] = b.lost
		delete(v.batches, id)
		delete(v.blocks, id)
		if v.Segments == nil {
			continue
		}
		if err := found.store.Release(); err != nil {
			r.log.Error("closing segments that were looked into", "topic", state.Name, "error", err)
		}
	}
	for _, b := range v.blocks { // of topics that were deleted
		if err := b.store.Close(); err != nil {
			r.log.Error("closing segments of a topic that was deleted", "error", err)
		}
	}
	v.blocks, v.batches = nil, nil
	return nil
}

// builder makes one topic again.
type builder struct {
	registry *Registry
	state    *journal.Topic
	batches  []loggedBatch
	found    *blocks
	complete bool
	topic    *Topic
	now      int64          // on the clock of all deadlines, and
	wall     int64          // the same moment, Unix nanoseconds
	lost     map[string]int // messages that are needed and nowhere, by channel
	early    []journal.Node // the checkpoint's, in files of segments that went early
	led      *Led           // makes a topic of a group of replicas, which is not put into the registry; nil: of the node's log
	held     []*block       // what the group's standby has on disk
}

func (b *builder) build() error {
	r := b.registry
	b.now, b.wall = r.now(), time.Now().UnixNano()
	t := &Topic{registry: r, name: b.state.Name}
	t.channels.Store(new([]*Channel)) // what is out may be read before they are there
	t.d = newLogStore(t, b.state.ID)
	t.d.segments, t.d.next = b.found.store, b.state.Next
	t.d.retain.floor.Store(uint64(b.floor()))
	t.d.retain.unshared, t.d.retain.stamped = b.state.Unshared, b.state.Stamp
	t.d.rises, t.d.stamp = b.state.Rises, b.state.Last
	t.store = t.d
	t.d.restoreOptions(b.state.Options, r.levelOf(t.name))
	if b.led != nil {
		t.led, t.d.log = b.led, b.led.reign
	}
	if b.state.Dead {
		t.deadLetters.Store(true)
	}
	t.paused.Store(b.state.Paused)
	b.topic = t
	for _, gap := range b.state.Missing {
		r.log.Error("the log does not say what became of messages", "topic", t.name, "positions", gap.String())
	}
	for _, d := range b.found.damage {
		r.log.Error("damage on disk", "topic", t.name, "where", d.String())
	}
	if err := b.nodes(); err != nil {
		return err
	}
	b.channels()
	b.keys()
	b.expiries()
	t.reclaimLocked()
	b.skipNumbers()
	t.d.watermark.shown.Store(uint64(t.d.next - 1)) // all that was read is shown
	for _, c := range t.all() {
		c.measure()
		c.makeRoom(false)
	}
	if b.state.Moved {
		t.d.change(journal.Change{Op: journal.OpInherit})
	}
	if b.led != nil {
		return nil
	}
	r.mu.Lock()
	r.topics[t.name] = t
	r.markLocked(t)
	r.mu.Unlock()
	return nil
}

// floor returns from where on the topic keeps messages: behind what went early, when it was to keep less and the log could not say so.
func (b *builder) floor() Position {
	floor := b.state.Floor
	if floor == 0 {
		return 0
	}
	for _, n := range b.early {
		floor = max(floor, n.End())
	}
	return floor
}

// channels makes the topic's channels.
func (b *builder) channels() {
	t := b.topic
	var list []*Channel
	for i, state := range b.state.Channels {
		c := newChannel(t, state.Name, false)
		c.id = state.ID
		c.paused.Store(state.Paused)
		raw := decodeOptions(state.Options)
		c.restoreRedrive(raw)
		c.set.Store(policy.Kept(raw))
		if i == 0 {
			t.setOwn(c)
		} else {
			list = append(list, c)
		}
		b.fill(c, state)
	}
	slices.SortFunc(list, func(a, c *Channel) int { return strings.Compare(a.name, c.name) })
	t.channels.Store(&list)
	t.applyOptionsLocked()
}

// fill gives a channel what the state says that it has. What is nowhere is lost, and counted.
func (b *builder) fill(c *Channel, state *journal.Channel) {
	ordered := b.topic.policyOf(b.topic.own)
	if !ordered.Orders() || c == b.topic.own {
		ordered = nil
	} else {
		state.BackInLine()
		c.machine.At.Now = b.now
	}
	c.logged = state.After
	if len(state.Waiting) > 0 {
		c.logged = min(c.logged, state.Waiting[0].First-1)
	}
	c.began = state.Began
	keys := keyReader{topic: b.topic}
	r := c.machine.Restore(state, c.logged, b.topic.policyOf(c), ordered, func(pos Position) uint32 {
		sum, err := keys.of(pos)
		if err != nil {
			b.registry.log.Error("keys of messages cannot be read: these are in no order any more", "topic", b.topic.name, "position", pos, "error", err)
		}
		return sum
	})
	waiting := b.waiting(&r, state.Waiting)
	out := b.out(&r, &state.Out)
	keys = keyReader{topic: b.topic} // from the first on again
	lost := waiting.lost + out.lost
	if accepted, sum := r.End(state.Counts, waiting.done+out.done, lost); accepted != sum {
		b.registry.log.Error("the counts of a channel did not add up", "topic", b.topic.name, "channel", c.name, "accepted", accepted,
			"left or there", sum)
	}
	if lost > 0 {
		b.lost[c.name] = lost
		b.registry.log.Error("messages that are needed are nowhere, and were lost", "topic", b.topic.name, "channel", c.name,
			"waiting", waiting.lost, "delivered or deferred", out.lost)
	}
	c.grant()
}

// absent counts messages of which the state says that a channel needs them, and which are in no node.
type absent struct {
	lost int // they are nowhere
	done int // they were finished: their file of segments went early
}

// add counts a range of such messages.
func (a *absent) add(b *builder, r journal.Range) {
	a.lost += r.Len()
	for _, n := range b.early {
		part := journal.Range{First: max(r.First, n.First), Last: min(r.Last, n.End()-1)}
		if part.First <= part.Last {
			a.lost -= part.Len()
			a.done += part.Len()
		}
	}
}

// waiting puts ranges of messages, in order, into the channel's backlog. It returns how many are in no node.
func (b *builder) waiting(c *channel.Restoring, ranges []journal.Range) (gone absent) {
	nodes := b.topic.d.table.each()
	for _, r := range ranges {
		for len(nodes) > 0 && nodes[0].node.End() <= r.First {
			nodes = nodes[1:]
		}
		next := r.First
		for _, s := range nodes {
			part := journal.Range{First: max(r.First, s.first), Last: min(r.Last, s.node.End()-1)}
			if part.First > part.Last {
				break
			}
			c.Fresh(backlog.Of(s.node, part), part.Len())
			if next < part.First {
				gone.add(b, journal.Range{First: next, Last: part.First - 1})
			}
			next = part.Last + 1
		}
		if next <= r.Last {
			gone.add(b, journal.Range{First: next, Last: r.Last})
		}
	}
	return gone
}

// out puts back what had been delivered or deferred, and empties out. It returns how many are in no node.
func (b *builder) out(c *channel.Restoring, out *journal.Outs) (gone absent) {
	var p pins
	out.Take(func(pos Position, o journal.Out) {
		if p.add(&b.topic.d.table, pos, 1); p.node == nil {
			gone.add(b, journal.Range{First: pos, Last: pos})
			p = pins{}
			return
		}
		m := inflight.Place{Pos: pos, Off: inflight.NoOffset, Attempts: o.Attempts}
		if o.DeferredAt(b.wall) {
			m.At = b.now + o.Due - b.wall
			c.Deferred(m)
			return
		}
		if o.Due != 0 {
			c.Since(pos, b.now+max(o.Due, -o.Due)-b.wall)
		}
		c.Again(m)
	})
	p.flush()
	return gone
}
