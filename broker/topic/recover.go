package topic

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// Recovery is what the log had: what it adds up to, and the messages in it.
type Recovery struct {
	State   *journal.State
	batches map[uint32][]loggedBatch // by topic
}

type loggedBatch struct {
	journal.Publish
	frames []byte
}

// NewRecovery begins from the state of a checkpoint, or an empty one.
func NewRecovery(s *journal.State) *Recovery {
	return &Recovery{State: s, batches: map[uint32][]loggedBatch{}}
}

// Apply takes in a record of the log, which is not kept.
func (v *Recovery) Apply(at journal.Position, kind journal.Kind, data []byte) error {
	return v.State.Apply(at, kind, data, func(p journal.Publish, frames []byte) {
		v.batches[p.Topic] = append(v.batches[p.Topic], loggedBatch{p, slices.Clone(frames)})
	})
}

// Recover makes the topics of a log. It goes before Restore, which makes the topics that are not in it.
func (r *Registry) Recover(v *Recovery) error {
	r.lastID.Store(v.State.NextID)
	for _, state := range v.State.Topics {
		r.ids.passed(state.Last)
		b := builder{registry: r, state: state, batches: v.batches[state.ID]}
		if err := b.build(); err != nil {
			return fmt.Errorf("recovering topic %s: %w", state.Name, err)
		}
		delete(v.batches, state.ID)
	}
	return nil
}

// builder makes one topic again.
type builder struct {
	registry *Registry
	state    *journal.Topic
	batches  []loggedBatch
	topic    *Topic
	lost     int // messages that are needed and nowhere
}

func (b *builder) build() error {
	r := b.registry
	t := &Topic{registry: r, name: b.state.Name}
	t.d = &durable{id: b.state.ID, log: r.cfg.Journal, seq: b.state.Seq, last: b.state.Last}
	t.d.restoreOptions(b.state.Options, r.levelOf(t.name))
	t.paused.Store(b.state.Paused)
	b.topic = t
	store, blocks, damage, err := r.cfg.Segments.Open(b.state.ID)
	if err != nil {
		return err
	}
	t.d.store = store
	for _, d := range damage {
		r.log.Error("damage on disk", "topic", t.name, "where", d.String())
	}
	b.nodes(blocks)
	if err := b.channels(); err != nil {
		return err
	}
	t.reclaimLocked()
	if b.lost > 0 {
		r.log.Error("messages were lost: they are needed and nowhere", "topic", t.name, "messages", b.lost)
	}
	r.mu.Lock()
	r.topics[t.name] = t
	r.mu.Unlock()
	return nil
}

// piece is messages that were appended together, on disk or out of the log.
type piece struct {
	journal.Node
	block  segment.Block
	frames []byte // nil when they are on disk
}

// nodes makes the topic's nodes: blocks of its segments, and batches of the log that are in no block.
func (b *builder) nodes(blocks []segment.Block) {
	var pieces []piece
	for _, blk := range blocks {
		n, ok := b.identify(blk)
		if !ok {
			continue // it was not needed when the checkpoint was written, or its messages are not in the log any more
		}
		pieces = append(pieces, piece{Node: n, block: blk})
	}
	for _, batch := range b.batches {
		if !covered(blocks, batch.Seq) {
			pieces = append(pieces, piece{Node: journal.Node{Seq: batch.Seq, Count: uint32(batch.Count), First: batch.First,
				Last: batch.Last}, frames: batch.frames})
		}
	}
	sort.Slice(pieces, func(i, j int) bool { return pieces[i].Seq < pieces[j].Seq })
	for _, p := range pieces {
		b.append(p)
	}
	b.batches = nil
}

// identify finds the ids of a block: in the checkpoint, or in the log, which holds all that is newer.
func (b *builder) identify(blk segment.Block) (journal.Node, bool) {
	nodes := b.state.Nodes
	if i := sort.Search(len(nodes), func(i int) bool { return nodes[i].Seq >= blk.First }); i < len(nodes) && nodes[i].Seq == blk.First {
		return nodes[i], nodes[i].Count == blk.Count
	}
	n := journal.Node{Seq: blk.First, Count: blk.Count}
	first := sort.Search(len(b.batches), func(i int) bool { return b.batches[i].Seq >= blk.First })
	end := blk.First + uint64(blk.Count)
	if first == len(b.batches) || b.batches[first].Seq != blk.First {
		return n, false
	}
	n.First = b.batches[first].First
	for _, batch := range b.batches[first:] {
		if batch.Seq >= end {
			break
		}
		n.Last = batch.Last
	}
	return n, true
}

// covered reports whether a message is in one of the blocks, which are sorted.
func covered(blocks []segment.Block, seq uint64) bool {
	i := sort.Search(len(blocks), func(i int) bool { return blocks[i].First > seq })
	return i > 0 && seq < blocks[i-1].First+uint64(blocks[i-1].Count)
}

func (b *builder) append(p piece) {
	t := b.topic
	if p.frames == nil {
		t.tail.Close()
		n := backlog.NewCold(t.tail.Last(), p.Seq, p.First, p.Last, int(p.Count), int(p.block.Ref.Length))
		t.tail.After(n)
		s := t.d.table.add(n)
		s.block = p.block
		t.setOnDisk(s)
		return
	}
	seq, last := t.d.seq, t.d.last
	batch := Batch{frames: p.frames, n: int(p.Count)}
	t.keepLocked(&batch, journal.Publish{Seq: p.Seq, First: p.First, Last: p.Last, Count: int(p.Count)})
	t.d.seq, t.d.last = max(seq, t.d.seq), max(last, t.d.last)
}

// channels makes the topic's channels.
func (b *builder) channels() error {
	t := b.topic
	var list []*Channel
	for i, state := range b.state.Channels {
		c := newChannel(t, state.Name, "", false)
		c.id = state.ID
		c.paused.Store(state.Paused)
		if i == 0 {
			t.own = c
		} else {
			list = append(list, c)
		}
		for _, r := range state.Waiting {
			if err := b.waiting(c, r); err != nil {
				return err
			}
		}
		b.out(c, state.Out)
		c.n.adopted = c.n.accepted
	}
	slices.SortFunc(list, func(a, c *Channel) int { return strings.Compare(a.name, c.name) })
	t.channels.Store(&list)
	return nil
}

// waiting puts a range of messages into the channel's backlog.
func (b *builder) waiting(c *Channel, r journal.Range) error {
	for _, s := range b.topic.d.table.each() {
		n := s.node
		if n.Last() < r.First || n.First() > r.Last {
			continue
		}
		if r.First <= n.First() && n.Last() <= r.Last {
			c.mem.Add(backlog.All(n, n), n.Count())
			c.n.accepted += uint64(n.Count())
			continue
		}
		frames, _, err := b.topic.load(n)
		if err != nil {
			return err
		}
		from, to := backlog.Find(frames, r.First), backlog.Find(frames, r.Last+1)
		if count := countFrames(frames[from:to]); count > 0 {
			c.mem.Add(backlog.Within(n, from, to, max(r.First, n.First()), min(r.Last, n.Last())), count)
			c.n.accepted += uint64(count)
		}
	}
	return nil
}

func countFrames(frames []byte) (n int) {
	for ; len(frames) > 0; n++ {
		frames = frames[len(protocol.FirstMessage(frames)):]
	}
	return n
}

// out puts back what had been delivered or deferred.
func (b *builder) out(c *Channel, out map[msgID]journal.Out) {
	now, wall := b.registry.now(), time.Now().UnixNano()
	ids := make([]msgID, 0, len(out))
	for id := range out {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		o := out[id]
		s := b.topic.d.table.find(id)
		if s == nil {
			b.lost++
			continue
		}
		s.pins.Add(1)
		c.n.accepted++
		m := inflight.Shelved{ID: id, Node: s.num, Off: unknown, Attempts: o.Attempts}
		if o.Due != 0 && o.Due > wall {
			m.At = now + o.Due - wall
			c.shelf.Push(m)
		} else {
			c.absent.push(m)
		}
	}
	c.armLocked()
}
