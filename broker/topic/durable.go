package topic

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// durable is what a topic has that is kept in the node's log. Messages are appended to the log and to memory alike; what
// memory has no room for, or the log is to let go, moves to the topic's segments, once for all channels.
type durable struct {
	id    uint32
	log   Log
	level levels

	prompt  prompt
	table   nodeTable
	onDisk  atomic.Int64                   // nodes in segments
	memory  atomic.Int64                   // bytes of nodes in memory
	changed atomic.Pointer[journal.Offset] // of the last change that settle has not seen to

	// Guarded by Topic.pub.
	store    *segment.Store
	seq      uint64             // of the next message
	last     protocol.MessageID // of the newest message
	tail     *stored            // the node that is appended to
	resident int                // messages in nodes that are in memory
	enough   int64              // bytes in memory with which it is looked for nodes that nobody needs
	oldest   uint32             // no node before this one is in memory
	dropped  []segment.Ref      // blocks that may go once the log, synced, says that their messages are finished
	dropping []segment.Ref      // of those: the log is about to be synced, or is
	imports  *Imports           // what is being taken over, nil when nothing is
	settled  uint64             // what Topic.settled was at the last Reclaim
	head     []byte             // scratch
}

// Durability returns the level that the topic is at now.
func (t *Topic) Durability() Level {
	if t.d == nil {
		return Memory
	}
	return t.d.level.get()
}

// ErrNoSpace is the refusal of a publish because the disk is nearly full.
var ErrNoSpace = errors.New("disk space is below --min-free-space")

// ErrDiskFull is the refusal of a publish because the disk was full to the last byte, and what was kept for that is used up.
var ErrDiskFull = errors.New("the disk is full: publishes are taken again when there is room for the file reserve")

// publishDurable appends a batch to the log and gives it to the channels, deferred when due is not 0. It returns when the
// log has it as safe as the topic's level, or sync, asks for.
func (t *Topic) publishDurable(b *Batch, delay time.Duration, sync bool) error {
	d := t.d
	if err := t.registry.writable(); err != nil {
		return err
	}
	n := b.n
	first, err := t.registry.ids.take(n)
	if err != nil {
		return err
	}
	sync = sync || d.level.synced()
	if sync || !d.prompt.is() {
		b.Later = nil // consumers would wait for the disk
	}
	at, err := t.appendDurable(b, first, delay)
	if err != nil {
		return err
	}
	start := t.registry.now()
	err = d.log.Commit(at, sync)
	d.prompt.took(time.Duration(t.registry.now() - start))
	t.registry.SetHealth(err)
	return err
}

func (t *Topic) appendDurable(b *Batch, first protocol.MessageID, delay time.Duration) (journal.Offset, error) {
	d := t.d
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.exiting.Load() {
		return journal.Offset{}, ErrExiting
	}
	if first <= d.last { // another publisher was faster: ids must grow along the topic
		var err error
		if first, err = t.registry.ids.take(b.n); err != nil {
			return journal.Offset{}, err
		}
	}
	now := t.registry.stamp()
	b.stamp(now, first)
	p := journal.Publish{Topic: d.id, First: first, Last: first + protocol.MessageID(b.n) - 1, Seq: d.seq, Count: b.n}
	if delay > 0 {
		p.Due = now + int64(delay)
	}
	targets := t.targetsLocked()
	if t.blockedLocked() {
		p.Only = journal.Own
	}
	d.head = journal.AppendPublish(d.head[:0], p)
	extent := t.keepLocked(b, p)
	at := d.log.Append(journal.KindPublish, d.head, extent.Frames())
	t.active = true
	if delay > 0 {
		t.shelveLocked(extent, b.n, t.registry.now()+int64(delay), targets)
	} else {
		for _, c := range targets {
			c.offerDurable(extent, b.n, b.Later)
		}
	}
	t.accept(b)
	t.overflowLocked()
	t.thinLocked()
	return at, nil
}

// minEnough is how many bytes of messages a topic may hold before it looks whether somebody still needs them.
const minEnough = 16 << 20

// thinLocked drops what nobody needs any more, so that a topic whose consumers keep up goes on in the same memory. It looks only
// when the topic holds twice as much as was needed the last time.
func (t *Topic) thinLocked() {
	d := t.d
	if d.memory.Load() < max(d.enough, minEnough) {
		return
	}
	t.reclaimLocked()
	d.enough = 2 * d.memory.Load()
}

// keepLocked appends the batch to the topic's nodes.
func (t *Topic) keepLocked(b *Batch, p journal.Publish) backlog.Extent {
	d := t.d
	if last := t.tail.Last(); last != nil && last.Seq()+uint64(last.Count()) != p.Seq {
		t.tail.Close() // the numbers of a node's messages follow each other
	}
	n := len(b.frames)
	extent, taken := t.tail.Append(b.frames)
	extent = t.tail.Note(extent, p.Seq, p.First, p.Last, p.Count)
	if taken {
		b.frames = nil
	}
	if d.tail == nil || d.tail.node != t.tail.Last() {
		d.tail = d.table.add(t.tail.Last())
	}
	d.seq, d.last = p.Seq+uint64(p.Count), p.Last
	d.resident += p.Count
	d.memory.Add(int64(n))
	return extent
}

// shelveLocked defers messages that are in the node of the tail.
func (t *Topic) shelveLocked(extent backlog.Extent, count int, at int64, targets []*Channel) {
	s := t.d.tail
	off, index := extent.Offset(), s.node.Count()-count
	frames := s.node.Frames()
	for range count {
		f := protocol.FirstMessage(frames[off:])
		id, _ := f.ID()
		m := inflight.Shelved{At: at, ID: id}
		m.Off, m.Index = place(uint32(off), index)
		for _, c := range targets {
			c.shelve(m, s)
		}
		off += len(f)
		index++
	}
}

// shelve defers a message whose body stays where it is.
func (c *Channel) shelve(m inflight.Shelved, s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pins.Add(1)
	c.n.accepted++
	c.shelf.Push(m)
	c.armLocked()
}

// offerDurable gives the channel messages of the tail. An ephemeral channel takes as many as it has room for.
func (c *Channel) offerDurable(at backlog.Extent, count int, later *Wakes) {
	if c.ephemeral {
		if !c.offer(at, count, later) {
			c.squeeze(at, count)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.accepted += uint64(count)
	c.mem.Add(at, count)
	c.wakeLocked(count, later)
}

// overflowLocked moves the oldest nodes out of memory while there is more than memory has room for. What nobody needs any
// more is dropped.
func (t *Topic) overflowLocked() {
	d := t.d
	if d.tail == nil || d.resident-d.tail.node.Count() <= t.own.bound {
		return
	}
	idle := unpinned(d.residentLocked())
	need := t.neededLocked()
	for d.resident-d.tail.node.Count() > t.own.bound {
		s := d.oldestLocked()
		if s == nil || s == d.tail {
			return
		}
		if i, ok := slices.BinarySearchFunc(idle, s.num, byNum); ok && !need.has(idle[i].node) {
			t.dropLocked(s)
			continue
		}
		if err := t.storeLocked(s); err != nil {
			t.registry.SetHealth(err)
			t.registry.log.Error("moving messages to disk", "topic", t.name, "error", err)
			return // they stay in memory
		}
		d.evictLocked(s)
	}
}

// oldestLocked returns the first node that is in memory.
func (d *durable) oldestLocked() *stored {
	for ; d.tail != nil && d.oldest <= d.tail.num; d.oldest++ {
		if s := d.table.get(d.oldest); s != nil && s.node.Frames() != nil {
			return s
		}
	}
	return nil
}

// residentLocked returns the nodes that are in memory, in order: few, however many there are on disk.
func (d *durable) residentLocked() (list []*stored) {
	for num := d.oldest; d.tail != nil && num <= d.tail.num; num++ {
		if s := d.table.get(num); s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (d *durable) evictLocked(s *stored) {
	d.memory.Add(-int64(len(s.node.Frames())))
	d.resident -= s.node.Count()
	s.node.Evict()
}

// storeLocked writes a closed node to the topic's segments.
func (t *Topic) storeLocked(s *stored) error {
	if s.onDisk.Load() {
		return nil
	}
	if err := t.openStoreLocked(); err != nil {
		return err
	}
	frames := s.node.Frames()
	ref, err := t.d.store.Append(s.node.Seq(), s.node.Count(), frames)
	if err != nil {
		return fmt.Errorf("writing a segment of topic %s: %w", t.name, err)
	}
	s.block = segment.Block{First: s.node.Seq(), Count: uint32(s.node.Count()), Ref: ref}
	t.setOnDisk(s)
	return nil
}

func (t *Topic) setOnDisk(s *stored) {
	s.onDisk.Store(true)
	t.d.onDisk.Add(1)
	t.registry.onDisk.Add(1)
}

func (t *Topic) openStoreLocked() error {
	if t.d.store != nil {
		return nil
	}
	store, _, _, err := t.registry.cfg.Segments.Open(t.d.id)
	if err != nil {
		return fmt.Errorf("opening the segments of topic %s: %w", t.name, err)
	}
	t.d.store = store
	return nil
}

// reclaimLocked drops every node that no channel needs: nothing in it waits, is deferred, in flight or about to be delivered
// again.
func (t *Topic) reclaimLocked() {
	idle := unpinned(t.d.table.each())
	need := t.neededLocked()
	for _, s := range idle {
		if s != t.d.tail && !need.has(s.node) {
			t.dropLocked(s)
		}
	}
}

// unpinned returns the nodes without pins. It goes before neededLocked: what loses its last pin meanwhile is not among them,
// and what had lost it before is needed as single messages, if at all.
func unpinned(nodes []*stored) []*stored {
	return slices.DeleteFunc(nodes, func(s *stored) bool { return s.pins.Load() > 0 })
}

func byNum(s *stored, num uint32) int { return int(int64(s.num) - int64(num)) }

// dropLocked forgets a node that nobody needs.
func (t *Topic) dropLocked(s *stored) {
	d := t.d
	if s.node.Frames() != nil {
		d.evictLocked(s)
	}
	d.table.drop(s)
	if s.onDisk.Load() {
		d.onDisk.Add(-1)
		t.registry.onDisk.Add(-1)
		t.registry.dropped.Add(1)
		d.dropped = append(d.dropped, s.at().Ref)
	}
}

// need is which messages of a topic are needed: those that wait, those in flight, and single ones, sorted.
type need struct {
	waiting []backlog.Range
	flying  inflight.Groups
	single  []protocol.MessageID
}

func (t *Topic) neededLocked() *need {
	n := &need{}
	t.own.needs(n)
	for _, c := range t.Channels() {
		c.needs(n)
	}
	n.flying.Sort()
	slices.Sort(n.single)
	return n
}

// needs adds what the channel needs, but for what is pinned.
func (c *Channel) needs(n *need) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.waiting = c.mem.Ranges(n.waiting)
	n.flying = c.inflight.Groups(n.flying)
	c.retries.each(func(r *retry) {
		id, _ := r.frame.ID()
		n.single = append(n.single, id)
	})
	c.deferred.Each(func(d inflight.Due) {
		id, _ := d.Frame.ID()
		n.single = append(n.single, id)
	})
	for id := range c.loading {
		n.single = append(n.single, id)
	}
}

func (n *need) has(node *backlog.Node) bool {
	for _, r := range n.waiting {
		if r.First <= node.Last() && node.First() <= r.Last {
			return true
		}
	}
	if n.flying.Any(node.First(), node.Last()) {
		return true
	}
	i, _ := slices.BinarySearch(n.single, node.First())
	return i < len(n.single) && n.single[i] <= node.Last()
}

// change appends a change of the topic to the log and returns where it is.
func (d *durable) change(c journal.Change) journal.Offset {
	c.Topic = d.id
	at := d.log.Append(journal.KindChange, journal.AppendChange(nil, c), nil)
	d.changed.Store(&at)
	return at
}

// settle returns once the last change of the topic is in the log. It must not be called under a channel's lock. A change
// that cannot be written stays in force as long as the broker runs: consumers go on without a disk.
func (t *Topic) settle() {
	if t.d == nil {
		return
	}
	if at := t.d.changed.Swap(nil); at != nil {
		if err := t.d.log.Commit(*at, t.d.level.synced()); err != nil {
			t.registry.SetHealth(err)
			t.registry.log.Error("a change was not written to the log", "topic", t.name, "error", err)
		}
	}
}

// levelOf returns the level of a topic that is made now.
func (r *Registry) levelOf(name string) Level {
	if r.cfg.Level == nil || r.cfg.Journal == nil {
		return Memory
	}
	return r.cfg.Level(name)
}

// writable returns why publishes that must reach the disk are refused, nil when they are not.
func (r *Registry) writable() error {
	if p := r.space.Load(); p != nil {
		return *p
	}
	if err := r.cfg.Journal.Err(); err != nil {
		r.SetHealth(err)
		return fmt.Errorf("the log cannot be written: %w", err)
	}
	return nil
}

// inheritLocked moves the topic's own backlog to its channels.
func (t *Topic) inheritLocked() {
	own := t.own
	own.mu.Lock()
	mem, shelf, absent := own.mem, own.shelf.Snapshot(), own.absent.Snapshot()
	n := mem.Len() + shelf.Len() + absent.Len()
	own.mem.Clear()
	own.shelf.Clear()
	own.absent.Clear()
	own.n.discarded += uint64(n)
	own.mu.Unlock()
	if n == 0 {
		return
	}
	t.d.change(journal.Change{Op: journal.OpInherit})
	for _, c := range t.Channels() {
		c.inheritPlaces(&mem, shelf, absent)
	}
	t.unpin(shelf.All())
	t.unpin(absent.All())
}

// inheritPlaces takes in what a topic's own backlog held.
func (c *Channel) inheritPlaces(mem *backlog.Queue, shelf, absent inflight.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.accepted += uint64(mem.Len() + shelf.Len() + absent.Len())
	c.mem.AddQueue(mem)
	c.topic.pin(shelf.All())
	for m := range shelf.All() {
		c.shelf.Push(m)
	}
	c.topic.pin(absent.All())
	for m := range absent.All() {
		c.absent.Push(m)
	}
	c.wakeLocked(mem.Len()+absent.Len(), nil)
	c.armLocked()
}

// destroyDurableLocked removes what the log and the segments have of a topic that is deleted.
func (t *Topic) destroyDurableLocked() error {
	d := t.d
	err := t.syncTo(d.change(journal.Change{Op: journal.OpDeleteTopic})) // before the segments go
	t.registry.onDisk.Add(-d.onDisk.Swap(0))
	t.registry.dropped.Add(-int64(len(d.dropped) + len(d.dropping)))
	d.dropped, d.dropping = nil, nil
	switch {
	case err != nil:
		return fmt.Errorf("the deletion of topic %s was not written, and its messages on disk stay until the next start: %w", t.name, err)
	case d.store != nil:
		return d.store.RemoveAll()
	}
	return nil
}
