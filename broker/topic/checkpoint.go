package topic

import (
	"errors"
	"fmt"
	"time"

	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Checkpoint writes down all durable topics: what the log up to the returned place adds up to. Every message that somebody
// needs is in the topics' segments then, synced; what is published meanwhile is behind that place. The log may forget what is
// before it once the checkpoint itself is safe.
func (r *Registry) Checkpoint() ([]byte, journal.Position, error) {
	w := journal.NewWriter()
	r.create.Lock() // no topic is in the log before that place and not yet in the list
	from, topics := r.cfg.Journal.End(), r.Topics()
	r.create.Unlock()
	w.Head(r.lastID.Load()+1, from)
	for _, t := range topics {
		if t.d == nil || t.deleted.Load() {
			continue
		}
		if err := t.checkpoint(w); err != nil {
			return nil, from, fmt.Errorf("topic %s: %w", t.name, err)
		}
	}
	return w.Finish(), from, nil
}

// checkpoint writes down one topic. Its publishers wait meanwhile.
func (t *Topic) checkpoint(w *journal.Writer) error {
	t.pub.Lock()
	defer t.pub.Unlock()
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
			return err
		}
		state.Nodes = append(state.Nodes, journal.Node{Seq: s.node.Seq(), Count: uint32(s.node.Count()),
			First: s.node.First(), Last: s.node.Last()})
	}
	if err := t.syncStoreLocked(); err != nil {
		return err
	}
	w.Topic(state)
	t.own.checkpoint(w)
	for _, c := range t.Channels() {
		if !c.ephemeral {
			c.checkpoint(w)
		}
	}
	return nil
}

// checkpoint writes down one channel. Topic.pub is held, so that nothing new arrives.
func (c *Channel) checkpoint(w *journal.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := &journal.Channel{ID: c.id, Name: c.name, Paused: c.Paused(), After: c.told, AsOf: c.topic.d.log.End(),
		Outs: c.inflight.Len() + c.retries.len() + c.absent.len() + len(c.loading) + c.deferred.Len() + c.shelf.Len()}
	for _, r := range c.mem.Ranges(nil) {
		state.Waiting = append(state.Waiting, journal.Range(r))
	}
	w.Channel(state)
	now, wall := c.topic.registry.now(), time.Now().UnixNano()
	c.inflight.Each(func(id msgID, attempts uint16) { w.Out(id, journal.Out{Attempts: attempts}) })
	c.retries.each(func(r *retry) { w.Out(r.frame.MustID(), journal.Out{Attempts: r.attempts}) })
	c.absent.each(func(m *inflight.Shelved) { w.Out(m.ID, journal.Out{Attempts: m.Attempts}) })
	for id, attempts := range c.loading {
		w.Out(id, journal.Out{Attempts: attempts})
	}
	c.deferred.Each(func(d inflight.Due) {
		w.Out(d.Frame.MustID(), journal.Out{Due: wall + d.At - now, Attempts: d.Attempts})
	})
	for m := range c.shelf.All() {
		w.Out(m.ID, journal.Out{Due: wall + m.At - now, Attempts: m.Attempts})
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
			t.reclaimLocked()
			t.pub.Unlock()
		}
	}
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

// syncStoreLocked syncs the topic's segments. Blocks that a failed sync has left in doubt are written anew, elsewhere.
func (t *Topic) syncStoreLocked() error {
	store := t.d.store
	if store == nil {
		return nil
	}
	err := store.Sync()
	if err == nil {
		return nil
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
	if len(doubtful) > 0 {
		err = store.Sync()
	}
	if err != nil {
		return fmt.Errorf("syncing segments: %w", err)
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
	r.space.Store(&why)
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
