package topic

import (
	"errors"
	"fmt"
	"io"
	"time"

	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Checkpoint writes down all durable topics: what the log up to the returned place adds up to. Every message that somebody
// needs is in the topics' segments then, synced; what is published meanwhile is behind that place. The log may forget what is
// before it once the checkpoint itself is safe. One checkpoint is written at a time.
func (r *Registry) Checkpoint(dst io.Writer) (size int64, from journal.Offset, err error) {
	w := journal.NewWriter(dst)
	r.create.Lock() // no topic is in the log before that place and not yet in the list
	from, topics := r.cfg.Journal.End(), r.Topics()
	r.create.Unlock()
	w.Head(r.lastID.Load()+1, from)
	for _, t := range topics {
		if t.d == nil || t.deleted.Load() {
			continue
		}
		if err := t.checkpoint(w); err != nil {
			return 0, from, fmt.Errorf("topic %s: %w", t.name, err)
		}
	}
	if size, err = w.Finish(); err != nil {
		err = fmt.Errorf("writing a checkpoint: %w", err)
	}
	return size, from, err
}

// checkpoint writes down one topic. Its publishers wait while it looks, not while it syncs and writes.
func (t *Topic) checkpoint(w *journal.Writer) error {
	if err := t.storeAhead(); err != nil {
		return err
	}
	state, channels, err := t.snapshot()
	if err != nil || state == nil {
		return err
	}
	switch gone, err := t.syncStore(); {
	case err != nil:
		return err
	case gone:
		return nil
	}
	w.Topic(state)
	for _, c := range channels {
		c.write(w)
	}
	return nil
}

// storeAtOnce is how many bytes are written to segments while publishers wait, about.
const storeAtOnce = 1 << 20

// storeAhead moves most of what is only in the log to segments. Publishers get their turns meanwhile, so that there may be more
// at the end.
func (t *Topic) storeAhead() error {
	t.pub.Lock()
	defer t.pub.Unlock()
	t.reclaimLocked()
	written := 0
	for _, s := range t.d.residentLocked() {
		frames := s.node.Frames()
		if s == t.d.tail || s.onDisk.Load() || frames == nil {
			continue
		}
		if written += len(frames); written > storeAtOnce {
			written = len(frames)
			t.pub.Unlock()
			t.pub.Lock()
			if t.deleted.Load() {
				return nil
			}
			if t.d.table.get(s.num) != s {
				continue // it has gone meanwhile
			}
		}
		if err := t.storeLocked(s); err != nil {
			return err
		}
	}
	return nil
}

// snapshot moves what is only in the log to segments and returns what the topic and its channels are then, nil when it was
// deleted meanwhile.
func (t *Topic) snapshot() (*journal.Topic, []channelSnapshot, error) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() {
		return nil, nil, nil
	}
	d := t.d
	t.tail.Close()
	if d.tail != nil && t.tail.Last() == d.tail.node {
		d.tail = nil
	}
	t.reclaimLocked()
	state := &journal.Topic{ID: d.id, Name: t.name, Paused: t.Paused(), Options: d.options(), Last: d.last, Seq: d.seq,
		AsOf: d.log.End()}
	for _, s := range d.table.each() {
		if err := t.storeLocked(s); err != nil {
			return nil, nil, err
		}
		state.Nodes = append(state.Nodes, journal.Node{Seq: s.node.Seq(), Count: uint32(s.node.Count()),
			First: s.node.First(), Last: s.node.Last()})
	}
	channels := []channelSnapshot{t.own.snapshot()}
	for _, c := range t.Channels() {
		if !c.ephemeral {
			channels = append(channels, c.snapshot())
		}
	}
	return state, channels, nil
}

// channelSnapshot is what a channel was at one moment.
type channelSnapshot struct {
	state         *journal.Channel
	out           []outMessage
	absent, shelf inflight.Snapshot
	now, wall     int64 // of that moment, on the clock of all deadlines and in Unix nanoseconds
}

// outMessage is a message that has left a backlog.
type outMessage struct {
	id msgID
	journal.Out
}

// snapshot returns what the channel is. Topic.pub is held, so that nothing new arrives.
func (c *Channel) snapshot() channelSnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := channelSnapshot{absent: c.absent.Snapshot(), shelf: c.shelf.Snapshot(), now: c.topic.registry.now(), wall: time.Now().UnixNano()}
	s.state = &journal.Channel{ID: c.id, Name: c.name, Paused: c.Paused(), After: c.told, AsOf: c.topic.d.log.End()}
	for _, r := range c.mem.Ranges(nil) {
		s.state.Waiting = append(s.state.Waiting, journal.Range(r))
	}
	s.out = make([]outMessage, 0, c.inflight.Len()+c.retries.len()+len(c.loading)+c.deferred.Len())
	add := func(id msgID, o journal.Out) { s.out = append(s.out, outMessage{id, o}) }
	c.inflight.Each(func(id msgID, attempts uint16) { add(id, journal.Out{Attempts: attempts}) })
	c.retries.each(func(r *retry) { add(r.frame.MustID(), journal.Out{Attempts: r.attempts}) })
	for id, attempts := range c.loading {
		add(id, journal.Out{Attempts: attempts})
	}
	c.deferred.Each(func(d inflight.Due) {
		add(d.Frame.MustID(), journal.Out{Due: s.wall + d.At - s.now, Attempts: d.Attempts})
	})
	return s
}

func (s *channelSnapshot) write(w *journal.Writer) {
	w.Channel(s.state)
	for _, m := range s.out {
		w.Out(m.id, m.Out)
	}
	for m := range s.absent.All() {
		w.Out(m.ID, journal.Out{Attempts: m.Attempts})
	}
	for m := range s.shelf.All() {
		w.Out(m.ID, journal.Out{Due: s.wall + m.At - s.now, Attempts: m.Attempts})
	}
}

// Reclaim lets go what nobody needs any more of the topics that have messages on disk. What it gives up there goes with Drop,
// once the log is synced up to where it is now.
func (r *Registry) Reclaim() {
	if r.onDisk.Load() == 0 {
		return
	}
	for _, t := range r.durable() {
		if t.d.onDisk.Load() > 0 && t.pub.TryLock() {
			if n := t.settled(); n != t.d.settled { // else nothing can have come free
				t.d.settled = n
				t.reclaimLocked()
			}
			t.pub.Unlock()
		}
	}
}

// settled returns a number that changes whenever a channel is done with a message, or goes.
func (t *Topic) settled() (n uint64) {
	for _, c := range t.all() {
		c.mu.Lock()
		n += 1 + c.n.finished + c.n.discarded
		c.mu.Unlock()
	}
	return n
}

// durable returns the topics that are kept in the log, in no order.
func (r *Registry) durable() []*Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []*Topic
	for _, t := range r.topics {
		if t.d != nil {
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
		t.d.dropping = append(t.d.dropping, t.d.dropped...)
		t.d.dropped = nil
		t.pub.Unlock()
	}
	return true
}

// Drop removes what was given up before the last PrepareDrop. With an error it goes on with other topics.
func (r *Registry) Drop() error {
	var errs []error
	for _, t := range r.durable() {
		t.pub.Lock()
		if n := len(t.d.dropping); n > 0 && t.d.store != nil {
			for _, ref := range t.d.dropping {
				errs = append(errs, t.d.store.Drop(ref))
			}
			t.d.dropping = nil
			r.dropped.Add(-int64(n))
		}
		t.pub.Unlock()
	}
	return errors.Join(errs...)
}

// syncStore syncs the topic's segments; publishers need not wait. gone says that the topic was deleted meanwhile.
func (t *Topic) syncStore() (gone bool, err error) {
	syncing, err := t.beginSync()
	if syncing == nil {
		return t.deleted.Load(), err
	}
	syncing.Run()
	t.pub.Lock()
	defer t.pub.Unlock()
	err = t.d.store.EndSync(syncing)
	if t.deleted.Load() {
		return true, nil
	}
	if err != nil {
		err = t.renewLocked(err)
	}
	return false, err
}

func (t *Topic) beginSync() (*segment.Syncing, error) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.d.store == nil || t.deleted.Load() {
		return nil, nil
	}
	syncing, err := t.d.store.BeginSync()
	if err != nil {
		return nil, fmt.Errorf("syncing segments: %w", err)
	}
	return syncing, nil
}

// renewLocked writes blocks anew, elsewhere, that a sync has left in doubt, which has failed.
func (t *Topic) renewLocked(failed error) error {
	store := t.d.store
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
	if len(doubtful) > 0 {
		failed = store.Sync()
	}
	if failed != nil {
		return fmt.Errorf("syncing segments: %w", failed)
	}
	return nil
}

// moveLocked writes a block anew and drops the old one.
func (t *Topic) moveLocked(s *stored) error {
	old := s.at()
	frames := s.node.Frames()
	if frames == nil {
		var lost []segment.Lost
		var err error
		if frames, lost, err = t.d.store.Read(old, nil); err != nil || len(lost) > 0 {
			return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, errors.Join(err, segment.ErrDamaged))
		}
	}
	ref, err := t.d.store.Append(old.First, int(old.Count), frames)
	if err != nil {
		return err
	}
	s.moved.Store(&segment.Block{First: old.First, Count: old.Count, Ref: ref})
	return t.d.store.Drop(old.Ref)
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
		if t.d.store != nil {
			errs = append(errs, t.d.store.Close())
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

// trimDurableLocked gives back what a topic holds to which nothing has happened for a while: memory, and open files.
func (t *Topic) trimDurableLocked() {
	if t.d == nil {
		return
	}
	t.d.tail = nil
	t.reclaimLocked()
	if t.d.store != nil {
		if err := t.d.store.Release(); err != nil {
			t.registry.log.Error("closing idle segments", "topic", t.name, "error", err)
		}
	}
}
