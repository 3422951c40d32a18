package topic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Recovery is what the log had: what it adds up to, and the messages in it that are in no segment. Its fields are set before
// Apply and Recover are called.
type Recovery struct {
	State *journal.State
	// Segments are looked into while the log is read, so that what is in them need not be kept in memory; nil: only afterwards.
	Segments Segments
	// Complete says that the log and the checkpoint were read whole: what is in segments and not in them is not needed.
	Complete bool

	batches map[uint32][]loggedBatch // by topic
	blocks  map[uint32]*blocks       // by topic
	missing map[uint32]int           // messages, by topic
}

// loggedBatch is a publish of the log.
type loggedBatch struct {
	journal.Publish
	frames []byte // nil when a block has them
}

// NewRecovery begins from the state of a checkpoint, or an empty one.
func NewRecovery(s *journal.State) *Recovery {
	return &Recovery{State: s, batches: map[uint32][]loggedBatch{}, blocks: map[uint32]*blocks{}, missing: map[uint32]int{}}
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
	if old && nodeOf(t.Nodes, p.Seq) < 0 {
		return nil
	}
	batch := loggedBatch{Publish: p}
	if v.Segments != nil {
		b, err := v.open(v.Segments, p.Topic)
		if err != nil {
			return err
		}
		if i := b.holding(p.Seq); i >= 0 {
			known := isNode(t.Nodes, b.list[i])
			if old && known {
				return nil
			}
			if !known && b.isSound(i) {
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
	b, err := openBlocks(from, topic, v.State.Topics[topic].Nodes)
	if err == nil {
		v.blocks[topic] = b
	}
	return b, err
}

// Missing returns how many messages a topic that was recovered needs and nobody has, at most.
func (v *Recovery) Missing(topic uint32) int { return v.missing[topic] }

// Recover makes the topics of a log. It goes before Restore, which makes the topics that are not in it.
func (r *Registry) Recover(v *Recovery) error {
	if unsure := v.State.Settle(); unsure > 0 {
		r.log.Info("records of the log may be missing: messages that were finished may come again", "at most", unsure)
	}
	r.lastID.Store(v.State.NextID)
	r.logWhole = v.Complete && v.State.NextID > 1
	for id, state := range v.State.Topics {
		found, err := v.open(r.cfg.Segments, id)
		if err != nil {
			return fmt.Errorf("recovering topic %s: %w", state.Name, err)
		}
		r.ids.passed(state.Last)
		b := builder{registry: r, state: state, batches: v.batches[id], found: found, complete: v.Complete}
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
	now      int64 // on the clock of all deadlines, and
	wall     int64 // the same moment, Unix nanoseconds
	lost     int   // messages that are needed and nowhere
}

func (b *builder) build() error {
	r := b.registry
	b.now, b.wall = r.now(), time.Now().UnixNano()
	t := &Topic{registry: r, name: b.state.Name}
	t.d = &durable{id: b.state.ID, log: r.cfg.Journal, store: b.found.store, seq: b.state.Seq, last: b.state.Last}
	t.d.restoreOptions(b.state.Options, r.levelOf(t.name))
	t.paused.Store(b.state.Paused)
	b.topic = t
	for _, d := range b.found.damage {
		r.log.Error("damage on disk", "topic", t.name, "where", d.String())
	}
	if err := b.nodes(); err != nil {
		return err
	}
	b.reportMissing()
	if err := b.channels(); err != nil {
		return err
	}
	t.reclaimLocked()
	b.skipNumbers()
	if b.state.Moved {
		t.d.change(journal.Change{Op: journal.OpInherit})
	}
	r.mu.Lock()
	r.topics[t.name] = t
	r.mu.Unlock()
	return nil
}

// channels makes the topic's channels.
func (b *builder) channels() error {
	t := b.topic
	var list []*Channel
	for i, state := range b.state.Channels {
		c := newChannel(t, state.Name, "", false)
		c.id = state.ID
		c.told = state.After
		c.paused.Store(state.Paused)
		if i == 0 {
			t.own = c
		} else {
			list = append(list, c)
		}
		if err := b.waiting(c, state.Waiting); err != nil {
			return err
		}
		b.out(c, &state.Out)
		c.n.adopted = c.n.accepted
	}
	slices.SortFunc(list, func(a, c *Channel) int { return strings.Compare(a.name, c.name) })
	t.channels.Store(&list)
	return nil
}

// waiting puts ranges of messages, in order, into the channel's backlog.
func (b *builder) waiting(c *Channel, ranges []journal.Range) error {
	if len(ranges) > 0 {
		c.told = min(c.told, ranges[0].First-1)
	}
	nodes := b.topic.d.table.each()
	for len(ranges) > 0 && len(nodes) > 0 {
		n := nodes[0].node
		if n.Last() < ranges[0].First {
			nodes = nodes[1:]
			continue
		}
		if ranges[0].First <= n.First() && n.Last() <= ranges[0].Last {
			c.mem.Add(backlog.All(n, n), n.Count())
			c.n.accepted += uint64(n.Count())
			nodes = nodes[1:]
			continue
		}
		rest, err := b.parts(c, nodes[0], ranges)
		if err != nil {
			return err
		}
		ranges, nodes = rest, nodes[1:]
	}
	return nil
}

// parts puts those messages of a node that wait, not all of it, into the channel's backlog. It returns the ranges that go on
// behind the node.
func (b *builder) parts(c *Channel, s *stored, ranges []journal.Range) ([]journal.Range, error) {
	n := s.node
	var frames []byte
	for ; len(ranges) > 0 && ranges[0].First <= n.Last(); ranges = ranges[1:] {
		r := ranges[0]
		if r.Last >= n.First() {
			if frames == nil {
				var damaged bool
				var err error
				if frames, damaged, err = b.topic.load(n); err != nil {
					return nil, err
				}
				if damaged {
					return b.singles(c, s, frames, ranges), nil
				}
			}
			from, to := backlog.Find(frames, r.First), backlog.Find(frames, r.Last+1)
			if count := countFrames(frames[from:to]); count > 0 {
				c.mem.Add(backlog.Within(n, from, to, max(r.First, n.First()), min(r.Last, n.Last())), count)
				c.n.accepted += uint64(count)
			}
		}
		if r.Last > n.Last() {
			break
		}
	}
	return ranges, nil
}

// singles is parts of a node that is damaged: what is left has other offsets than it had, so that it is delivered by its ids.
func (b *builder) singles(c *Channel, s *stored, frames []byte, ranges []journal.Range) []journal.Range {
	for len(ranges) > 0 && ranges[0].First <= s.node.Last() {
		r := ranges[0]
		from, to := backlog.Find(frames, r.First), backlog.Find(frames, min(r.Last, s.node.Last())+1)
		for rest := frames[from:to]; len(rest) > 0; {
			f := protocol.FirstMessage(rest)
			rest = rest[len(f):]
			b.place(c, s, f.MustID(), journal.Out{})
		}
		if r.Last > s.node.Last() {
			return ranges
		}
		ranges = ranges[1:]
	}
	return ranges
}

func countFrames(frames []byte) (n int) {
	for ; len(frames) > 0; n++ {
		frames = frames[len(protocol.FirstMessage(frames)):]
	}
	return n
}

// out puts back what had been delivered or deferred, and empties out.
func (b *builder) out(c *Channel, out *journal.Outs) {
	var gone []msgID
	out.Take(func(id msgID, o journal.Out) {
		if s := b.topic.d.table.find(id); s != nil {
			b.place(c, s, id, o)
			return
		}
		gone = append(gone, id)
	})
	if len(gone) > 0 {
		b.lost += len(gone)
		b.registry.log.Error("messages that were delivered or deferred were lost: they are needed and nowhere", "topic", b.topic.name,
			"channel", c.name, "messages", len(gone), "first", gone[0].String(), "last", gone[len(gone)-1].String())
	}
	c.armLocked()
}

// place gives the channel a message that is in a node.
func (b *builder) place(c *Channel, s *stored, id msgID, o journal.Out) {
	s.pins.Add(1)
	c.n.accepted++
	m := inflight.Shelved{ID: id, Off: unknown, Attempts: o.Attempts}
	if o.Due > b.wall {
		m.At = b.now + o.Due - b.wall
		c.shelf.Push(m)
		return
	}
	c.absent.Push(m)
}
