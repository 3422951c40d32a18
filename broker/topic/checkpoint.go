package topic

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Cut is one checkpoint, from what it says to what it frees. One is made at a time.
type Cut struct {
	From journal.Offset // the log from here on is needed beside the checkpoint

	registry *Registry
	topics   []topicSnapshot
}

// topicSnapshot is what a topic was at one moment, with its own backlog, which comes first, and its channels a little later.
type topicSnapshot struct {
	topic    *Topic
	state    *journal.Topic
	nodes    []*stored
	expiry   *expirySnapshot
	channels []channel.Snapshot
}

// Cut begins a checkpoint: from now on it can be Run.
func (r *Registry) Cut() *Cut { return &Cut{registry: r} }

// Run writes down all durable topics: what the log up to From adds up to. sync returns once the log is synced up to a place; name makes
// the checkpoint that was written, of so many bytes, the newest one, for good. The order is the whole of it. Nothing is written that is
// not safe in the log, as it may still be withdrawn; every message that somebody needs is in segments, synced, before the checkpoint
// has its name; nothing is removed before that.
func (c *Cut) Run(dst io.Writer, sync func(upTo journal.Offset) error, name func(size int64) error) error {
	r := c.registry
	c.snapshot()
	if err := sync(r.cfg.Journal.End()); err != nil {
		return err
	}
	w := journal.NewWriter(dst)
	w.Head(r.lastID.Load()+1, c.From, r.stamp())
	for i := range c.topics {
		t := &c.topics[i]
		if err := t.write(w); err != nil {
			return fmt.Errorf("topic %s: %w", t.topic.name, err)
		}
		*t = topicSnapshot{}
	}
	size, err := w.Finish()
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	r.PrepareDrop()
	if err := sync(r.cfg.Journal.End()); err != nil {
		return err
	}
	if err := name(size); err != nil {
		return err
	}
	r.aged()
	r.keysKept(c.From)
	return r.Drop()
}

// snapshot looks at all topics. Their publishers wait while slice headers are copied, their consumers while what is in flight is.
func (c *Cut) snapshot() {
	r := c.registry
	r.create.Lock() // no topic is in the log before that place and not yet in the list
	topics := r.Topics()
	c.From = r.cfg.Journal.End()
	r.create.Unlock()
	r.cuts.Add(1) // behind that place: who sees it names consumers anew where the log is kept
	for _, t := range topics {
		if t.d == nil || t.led != nil { // their group has its own
			continue
		}
		s := t.snapshot()
		if s.state == nil {
			continue // it was deleted
		}
		s.lookAtChannels()
		c.topics = append(c.topics, s)
	}
}

// lookAtChannels completes a snapshot by what the channels are now.
func (s *topicSnapshot) lookAtChannels() {
	for _, c := range s.topic.Channels() {
		if !c.ephemeral {
			s.channels = append(s.channels, c.snapshot())
		}
	}
}

// write writes down a topic. Its publishers wait while a part of what is only in the log is written to segments, not while the disk
// syncs.
func (s *topicSnapshot) write(w *journal.Writer) error {
	t := s.topic
	t.d.watermark.await(s.state.Next - 1)
	if err := t.storeNodes(s.nodes); err != nil {
		return err
	}
	// Where the nodes are is looked at before the sync: what is written anew meanwhile may not be synced. When the sync itself has
	// written something anew it is done once more.
	for again := true; again; {
		t.places(s.state, s.nodes)
		gone, renewed, err := t.syncStore()
		if err != nil || gone {
			return err
		}
		again = renewed
	}
	w.Topic(s.state)
	keys := t.keysUpTo(s.state.Next - 1)
	w.Keys(&keys)
	s.expiry.write(w)
	for i := range s.channels {
		s.channels[i].Write(w)
	}
	return nil
}

// storeAtOnce is how many bytes are written to segments while publishers wait, about.
const storeAtOnce = 1 << 20

// snapshot returns what the topic is now, and its own backlog at the same moment: while that moves to the channels it is not looked at, as what is
// on its way would be in neither. The state is nil when the topic was deleted meanwhile.
func (t *Topic) snapshot() (s topicSnapshot) {
	t.pub.Lock()
	for known := t.own.leaving(); known != nil; known = t.own.leaving() {
		t.pub.Unlock() // publishers do not wait for the disk
		<-known
		t.pub.Lock()
	}
	defer t.pub.Unlock()
	s.topic = t
	if t.deleted.Load() {
		return s
	}
	d := t.d
	t.d.nodes.Close()
	if d.tail != nil && t.d.nodes.Last() == d.tail.node {
		d.tail = nil
	}
	t.reclaimLocked()
	t.voidLocked()
	t.archiveLocked()
	s.state = &journal.Topic{ID: d.id, Name: t.name, Paused: t.Paused(), Options: d.options(), Next: d.next, Floor: d.retain.from(),
		Stamp: d.retain.stamped, Last: d.stamp, Rises: d.rises, Unshared: slices.Clone(d.retain.unshared), AsOf: d.log.End()}
	s.nodes, s.expiry = d.table.each(), t.snapshotExpiry()
	s.channels = []channel.Snapshot{t.own.snapshot()}
	return s
}

// leaving returns what is closed once it is known what became of messages that a record has moved to another topic, nil when there are none.
func (c *Channel) leaving() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Leaving()
}

// storeNodes writes to segments what is only in the log and still needed. Publishers get their turns meanwhile.
func (t *Topic) storeNodes(nodes []*stored) error {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() {
		return nil // its segments are closed; or they would be made anew, for nobody
	}
	written := 0
	for _, s := range nodes {
		frames := s.node.Brief()
		if s.onDisk.Load() || s.gone.Load() {
			continue
		}
		if written += len(frames); written > storeAtOnce {
			written = len(frames)
			t.pub.Unlock()
			t.pub.Lock()
			if t.deleted.Load() {
				return nil
			}
			if s.gone.Load() {
				continue // nobody needs it any more
			}
		}
		if err := t.storeLocked(s); err != nil {
			return err
		}
	}
	return nil
}

// places completes the state of a topic by where its nodes are, those that nobody has come to need no more meanwhile.
func (t *Topic) places(state *journal.Topic, nodes []*stored) {
	t.pub.Lock()
	defer t.pub.Unlock()
	state.Nodes, state.Files = state.Nodes[:0], state.Files[:0]
	for _, s := range nodes {
		switch b := s.at(); {
		case s.gone.Load() || !s.onDisk.Load():
		case s.isFile():
			state.Files = append(state.Files, t.fileLocked(s))
		default:
			state.Nodes = append(state.Nodes, journal.Node{First: s.first, Count: b.Count, File: b.Ref.File, Offset: b.Ref.Offset,
				Length: b.Ref.Length})
		}
	}
}

// snapshot returns what the channel is. It may be taken while the topic is published to. It waits until it is known what became of
// messages that a record has moved: they are in one topic or in the other.
func (c *Channel) snapshot() channel.Snapshot {
	room := channel.RoomFor(c.inFlight())
	c.enterNow()
	for known := c.machine.Leaving(); known != nil; known = c.machine.Leaving() {
		c.exit()
		<-known
		c.enterNow()
	}
	defer c.exit()
	return c.machine.Snapshot(&journal.Channel{ID: c.id, Name: c.name, Paused: c.Paused(), After: c.logged, Began: c.began, AsOf: c.topic.d.log.End(),
		Options: c.keptOptions()}, time.Now().UnixNano(), room)
}

// Reclaim lets go what nobody needs any more of the topics that have messages on disk. What it gives up there goes with Drop,
// once the log is synced up to where it is now.
func (r *Registry) Reclaim() {
	if r.onDisk.Load() == 0 {
		return
	}
	for _, t := range r.durable() {
		t.reclaim()
	}
}

// reclaim is Reclaim of one topic, unless somebody else is at it.
func (t *Topic) reclaim() {
	if t.d.onDisk.Load() == 0 || !t.pub.TryLock() {
		return
	}
	defer t.pub.Unlock()
	if n := t.settled(); n != t.d.settled { // else nothing can have come free
		t.d.settled = n
		t.reclaimLocked()
	}
}

// settled returns a number that changes whenever a channel is done with a message, or goes.
func (t *Topic) settled() (n uint64) {
	for _, c := range t.all() {
		c.mu.Lock()
		n += 1 + c.machine.Gone()
		c.mu.Unlock()
	}
	return n
}

// durable returns the topics that are kept in the node's log by themselves, not by a group of replicas, in no order.
func (r *Registry) durable() []*Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []*Topic
	for _, t := range r.topics {
		if t.d != nil && t.led == nil {
			list = append(list, t)
		}
	}
	return list
}

// PrepareDrop reports whether there is something to drop. The caller syncs the log then, and calls Drop.
func (r *Registry) PrepareDrop() bool {
	if r.dropped.Load() == 0 {
		return false
	}
	for _, t := range r.durable() {
		t.pub.Lock()
		t.d.dropping = len(t.d.dropped)
		t.pub.Unlock()
	}
	return true
}

// Drop removes what was given up before the last PrepareDrop. With an error it goes on with other topics.
func (r *Registry) Drop() error {
	var errs []error
	for _, t := range r.durable() {
		t.pub.Lock()
		if n := t.d.dropping; n > 0 && t.d.segments != nil {
			for _, ref := range t.d.dropped[:n] {
				errs = append(errs, t.d.segments.Drop(ref))
			}
			t.d.dropped, t.d.dropping = slices.Clone(t.d.dropped[n:]), 0
			r.dropped.Add(-int64(n))
		}
		t.pub.Unlock()
	}
	return errors.Join(errs...)
}

// syncStore syncs the topic's segments; publishers need not wait. gone says that the topic was deleted meanwhile, renewed that blocks
// were written anew, elsewhere, as the sync had failed.
func (t *Topic) syncStore() (gone, renewed bool, err error) {
	syncing, err := t.beginSync()
	if syncing == nil {
		return t.deleted.Load(), false, err
	}
	syncing.Run()
	t.pub.Lock()
	defer t.pub.Unlock()
	err = t.d.segments.EndSync(syncing)
	if t.deleted.Load() {
		return true, false, nil
	}
	if err != nil {
		renewed = true
		err = t.renewLocked(err)
	}
	return false, renewed, err
}

// manyUnsynced is how many segment files of a topic may wait to be synced before SyncAhead sees to it.
const manyUnsynced = 4

// SyncAhead syncs the segments of topics that have written many files since they were synced the last time, so that the next checkpoint
// does not wait long for the disk while the log grows. What fails is the checkpoint's to see to.
func (r *Registry) SyncAhead() {
	for _, t := range r.durable() {
		if t.d.onDisk.Load() < manyUnsynced {
			continue
		}
		t.pub.Lock()
		many := t.d.segments != nil && t.d.segments.Unsynced() >= manyUnsynced
		t.pub.Unlock()
		if !many {
			continue
		}
		if _, _, err := t.syncStore(); err != nil {
			r.log.Warn("syncing segments ahead of a checkpoint", "topic", t.name, "error", err)
		}
	}
}

func (t *Topic) beginSync() (*segment.Syncing, error) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.d.segments == nil || t.deleted.Load() {
		return nil, nil
	}
	syncing, err := t.d.segments.BeginSync()
	if err != nil {
		return nil, fmt.Errorf("syncing segments: %w", err)
	}
	return syncing, nil
}

// renewLocked writes blocks anew, elsewhere, that a sync has left in doubt, which has failed.
func (t *Topic) renewLocked(failed error) error {
	store := t.d.segments
	for _, ref := range t.d.dropped { // which no checkpoint names, and which may have to wait for this one
		store.Forgo(ref)
	}
	for _, s := range t.d.stale { // the same: a checkpoint that names one has had it synced
		store.Forgo(s.ref)
	}
	doubtful := map[segment.Ref]bool{}
	for _, ref := range store.Doubtful() {
		doubtful[ref] = true
	}
	for _, s := range t.d.table.each() {
		if s.onDisk.Load() && doubtful[s.at().Ref] {
			if err := t.moveLocked(s); err != nil {
				return fmt.Errorf("writing blocks anew that could not be synced: %w", err)
			}
		}
	}
	// What is left in doubt nobody needs, or the move itself was in vain.
	failed = store.Sync()
	if failed != nil {
		return fmt.Errorf("syncing segments: %w", failed)
	}
	return nil
}

// moveLocked writes a block anew and drops the old one.
func (t *Topic) moveLocked(s *stored) error {
	old := s.at()
	frames := s.node.Frames()
	var held []segment.Run
	beside := s.beside
	sums, _ := s.node.Sums()
	if frames == nil {
		var lost []segment.Lost
		var err error
		if frames, held, lost, err = t.d.segments.ReadHeld(old, nil); err != nil || len(lost) > 0 {
			return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, errors.Join(err, segment.ErrDamaged))
		}
		if beside, err = t.d.readBeside(old); err != nil {
			return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, err)
		}
		if sums, err = t.d.readSums(old); err != nil {
			return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, err)
		}
		sums = gathered(sums, s.first, heldRanges(old, held))
	}
	if held == nil {
		held = []segment.Run{{First: old.First, Count: old.Count}}
	}
	moved, err := t.d.segments.AppendSome(old.First, int(old.Count), held, frames, blockSections(s.first, beside, sums)...)
	if err != nil {
		return err
	}
	s.moved.Store(&moved)
	return t.d.segments.Drop(old.Ref)
}

// Drained reports whether no message of a durable topic is on disk, but for the log.
func (r *Registry) Drained() bool { return r.onDisk.Load() == 0 }

// Memory returns how many bytes of messages durable topics have in memory, needed or not: no more than that is only in the log.
func (r *Registry) Memory() (n uint64) {
	for _, t := range r.durable() {
		n += uint64(t.d.memory.Load())
	}
	return n
}

// CloseDurable closes the segments of all durable topics.
func (r *Registry) CloseDurable() error {
	var errs []error
	for _, t := range r.Topics() {
		if t.d == nil {
			continue
		}
		t.pub.Lock()
		if t.d.segments != nil {
			errs = append(errs, t.d.segments.Close())
		}
		t.pub.Unlock()
	}
	return errors.Join(errs...)
}

// SetSpace says why there is not enough room on the disk, nil when there is: publishes at a level above memory fail with that.
func (r *Registry) SetSpace(why error) {
	if why == nil {
		r.space.Store(nil)
		return
	}
	reason := why // only this moves to the heap
	r.space.Store(&reason)
}

// trim gives back what a topic holds to which nothing has happened for a while: memory, and open files.
func (d *logStore) trim() {
	t := d.topic
	d.nodes.Drop()
	d.tail = nil
	t.reclaimLocked()
	t.evictKeptLocked()
	if t.d.segments != nil {
		if err := t.d.segments.Release(); err != nil {
			t.registry.log.Error("closing idle segments", "topic", t.name, "error", err)
		}
	}
}
