package topic

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
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

	watermark watermark
	table     nodeTable
	onDisk    atomic.Int64                   // nodes in segments
	memory    atomic.Int64                   // bytes of nodes in memory
	changed   atomic.Pointer[journal.Offset] // of the last change that settle has not seen to

	// Guarded by Topic.pub.
	store    *segment.Store
	next     Position // of the next message
	voids    voids
	tail     *stored       // the node that is appended to
	resident int           // messages in nodes that are in memory
	enough   int64         // bytes in memory with which it is looked for nodes that nobody needs
	oldest   uint32        // no node before this one is in memory
	dropped  []segment.Ref // blocks that may go once the log, synced, says that their messages are finished
	dropping []segment.Ref // of those: the log is about to be synced, or is
	imports  *Imports      // what is being taken over, nil when nothing is
	settled  uint64        // what Topic.settled was at the last Reclaim
	head     []byte        // scratch
	runs     journal.Runs  // scratch
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
	first, err := t.registry.ids.take(b.n)
	if err != nil {
		return err
	}
	later := b.Later
	a, err := t.appendDurable(b, first, delay)
	if err != nil {
		return err
	}
	err = d.log.Commit(a.at, sync || d.level.synced())
	t.registry.SetHealth(err)
	if err != nil {
		t.withdraw(&a)
		return err
	}
	t.voidsWritten(a.voids)
	t.show(&a, false, later)
	return nil
}

// appendDurable puts a batch into the log's buffer, the topic's nodes and the channels, which do not show it yet.
func (t *Topic) appendDurable(b *Batch, first protocol.MessageID, delay time.Duration) (a appended, err error) {
	d := t.d
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.exiting.Load() {
		return a, ErrExiting
	}
	now := t.registry.stamp()
	b.stamp(now, first)
	p := journal.Publish{Topic: d.id, First: d.next, Count: b.n}
	if delay > 0 {
		p.Due = now + int64(delay)
	}
	targets := t.targetsLocked()
	if t.blockedLocked() {
		p.Only = journal.Own
	}
	a = t.logLocked(b, &p)
	t.active = true
	if delay > 0 {
		t.shelveLocked(a.extent, b.n, t.registry.now()+int64(delay), targets)
	} else {
		for _, c := range targets {
			c.offerDurable(a.extent, b.n)
		}
	}
	t.accept(b)
	t.overflowLocked()
	t.thinLocked()
	return a, nil
}

// logLocked appends a batch to the log's buffer and to the topic's nodes, and notes that it is not safe yet.
func (t *Topic) logLocked(b *Batch, p *journal.Publish) appended {
	d := t.d
	a := appended{count: b.n, bodies: b.bodies, due: p.Due != 0, voids: t.voidLocked()}
	d.head = journal.AppendPublish(d.head[:0], *p)
	a.extent = t.keepLocked(b, p.First)
	a.at = d.log.Append(journal.KindPublish, d.head, a.extent.Frames())
	shown := b.n
	if a.due {
		shown = 0
	}
	a.number = d.watermark.add(p.Last(), shown)
	return a
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

// keepLocked appends the batch to the topic's nodes, from a position on.
func (t *Topic) keepLocked(b *Batch, first Position) backlog.Extent {
	d := t.d
	if last := t.tail.Last(); last != nil && last.End() != first {
		t.tail.Close() // the positions of a node's messages follow each other
	}
	n := len(b.frames)
	extent, taken := t.tail.Append(b.frames)
	extent = t.tail.Note(extent, first, b.n)
	if taken {
		b.frames = nil
	}
	if d.tail == nil || d.tail.node != t.tail.Last() {
		d.tail = d.table.add(t.tail.Last())
	}
	d.next = first + Position(b.n)
	d.tail.end.Store(uint64(d.next))
	d.resident += b.n
	d.memory.Add(int64(n))
	return extent
}

// shelveLocked defers messages that are in the node of the tail.
func (t *Topic) shelveLocked(extent backlog.Extent, count int, at int64, targets []*Channel) {
	s := t.d.tail
	frames := extent.Frames()
	m := inflight.Shelved{At: at, Pos: extent.Positions().First, Off: uint32(extent.Offset())}
	for range count {
		for _, c := range targets {
			c.shelve(m, s)
		}
		size := len(protocol.FirstMessage(frames))
		frames = frames[size:]
		m.Pos++
		m.Off += uint32(size)
	}
}

// shelve defers a message whose body stays where it is.
func (c *Channel) shelve(m inflight.Shelved, s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pins.Add(1)
	c.n.Accepted++
	c.offered = m.Pos
	c.shelf.Push(m)
	c.armLocked()
}

// offerDurable gives the channel messages of the tail. An ephemeral channel takes as many as it has room for.
func (c *Channel) offerDurable(at backlog.Extent, count int) {
	if c.ephemeral {
		if !c.offer(at, count, nil) {
			c.squeeze(at, count)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.Accepted += uint64(count)
	c.offered = at.Positions().Last
	c.mem.Add(at, count)
}

// overflowLocked moves the oldest nodes out of memory while there is more than memory has room for. What nobody needs any
// more is dropped.
func (t *Topic) overflowLocked() {
	d := t.d
	if d.tail == nil || d.resident-d.tail.node.Count() <= t.own.bound {
		return
	}
	waiting := t.waitingLocked()
	for d.resident-d.tail.node.Count() > t.own.bound {
		s := d.oldestLocked()
		if s == nil || s == d.tail {
			return
		}
		if !waiting.needs(s) {
			t.dropLocked(s)
			continue
		}
		if s.node.End() > d.watermark.position()+1 {
			return // it may still be withdrawn: at a later publish
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
	ref, err := t.d.store.Append(uint64(s.first), s.node.Count(), frames)
	if err != nil {
		return fmt.Errorf("writing a segment of topic %s: %w", t.name, err)
	}
	s.block = segment.Block{First: uint64(s.first), Count: uint32(s.node.Count()), Ref: ref}
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

// reclaimLocked drops every node that no channel needs: nothing in it waits, is deferred, in flight or to be delivered again.
func (t *Topic) reclaimLocked() {
	waiting := t.waitingLocked()
	for _, s := range t.d.table.each() {
		if s != t.d.tail && !waiting.needs(s) {
			t.dropLocked(s)
		}
	}
}

// ranges are positions, in order; some may be there more than once.
type ranges []backlog.Range

// waitingLocked returns what waits in the topic or in a channel. Nodes are asked for their pins only afterwards: what has left a backlog
// before it was looked at is pinned then, or done with.
func (t *Topic) waitingLocked() ranges {
	var list ranges
	for _, c := range t.all() {
		c.mu.Lock()
		list = c.mem.Ranges(list)
		c.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b backlog.Range) int { return cmp.Compare(a.First, b.First) })
	// Each ends no sooner than the one before it, so that those of a node can be searched for.
	for i := 1; i < len(list); i++ {
		list[i].Last = max(list[i].Last, list[i-1].Last)
	}
	return list
}

// needs reports whether a node has messages that wait or are pinned.
func (r ranges) needs(s *stored) bool {
	if s.pins.Load() > 0 {
		return true
	}
	i := sort.Search(len(r), func(i int) bool { return r[i].Last >= s.first })
	return i < len(r) && r[i].First < s.node.End()
}

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
	if r.noPublishes.Load() {
		return ErrDraining
	}
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
	mem, places := own.mem, [...]inflight.Snapshot{own.absent.Snapshot(), own.shelf.Snapshot(), own.early.Snapshot()}
	held := mem.Len()
	for _, list := range places {
		held += list.Len()
	}
	void := own.void
	own.mem.Clear()
	own.shelf.Clear()
	own.absent.Clear()
	own.early.Clear()
	own.void = nil
	own.n.Accepted -= uint64(held)
	own.n.adopted = min(own.n.adopted, own.n.Accepted)
	own.mu.Unlock()
	if held == 0 {
		return
	}
	t.d.change(journal.Change{Op: journal.OpInherit})
	for _, c := range t.Channels() {
		c.inheritDurable(&mem, places[:], void)
	}
	for _, list := range places {
		t.pinEach(list.All(), -1)
	}
}

// inheritDurable takes in what a topic's own backlog held. Topic.pub is held.
func (c *Channel) inheritDurable(mem *backlog.Queue, places []inflight.Snapshot, void []backlog.Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := mem.Len()
	c.mem.AddQueue(mem)
	if first := mem.First(); first > 0 {
		c.told = min(c.told, first-1)
	}
	c.void = append(c.void, void...)
	for i, list := range places {
		held += list.Len()
		c.topic.pinEach(list.All(), 1)
		for m := range list.All() {
			if i == 0 { // it is to be delivered again
				c.returnShelvedLocked(m)
			} else {
				c.shelf.Push(m)
			}
		}
	}
	c.n.Accepted += uint64(held)
	c.inherited = c.topic.d.next - 1
	c.offered = max(c.offered, c.inherited)
	c.wakeLocked(c.visibleLocked(), nil)
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
