package topic

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/segment"
)

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
	t.evictKeptLocked()
	d.enough = 2 * d.memory.Load()
}

// fullLocked reports whether the topic has more in memory than it may have: messages, or bytes of the node.
func (t *Topic) fullLocked() bool {
	d := t.d
	return d.tail != nil && (d.resident-d.tail.node.Count() > t.own.machine.Bound() || t.registry.memory.crowded())
}

// overflowLocked moves the oldest nodes out of memory while there is more than memory has room for. What nobody needs any
// more is dropped.
func (t *Topic) overflowLocked() {
	d := t.d
	if t.led != nil || !t.fullLocked() { // of a group's topic memory has what its standby has there: see held.go
		return
	}
	waiting := t.waitingLocked()
	for t.fullLocked() {
		s := d.oldestLocked()
		if s == nil || s == d.tail {
			return
		}
		if !waiting.needs(s) && !d.retain.keeps(s) {
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
func (d *logStore) oldestLocked() *stored {
	for s := d.table.next(d.oldest); s != nil; s = d.table.next(d.oldest) {
		if s.node.InMemory() {
			return s
		}
		d.oldest = Position(s.end.Load())
	}
	return nil
}

func (d *logStore) evictLocked(s *stored) {
	d.addMemory(-int64(len(s.node.Brief()) + s.besideBytes))
	s.beside, s.besideBytes = nil, 0
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
	defer t.registry.cfg.Disk.Waited("write messages to a segment of topic " + t.name).Done() // Topic.pub is held
	frames := s.node.Brief()
	sums, _ := s.node.Sums()
	ref, err := t.d.segments.Append(uint64(s.first), s.node.Count(), frames, blockSections(s.first, s.beside, sums)...)
	if err != nil {
		return fmt.Errorf("writing a segment of topic %s: %w", t.name, err)
	}
	s.block = segment.Block{First: uint64(s.first), Count: uint32(s.node.Count()), Ref: ref}
	if t.d.retain.from() > 0 {
		oldest, newest := times(frames)
		s.oldest.Store(oldest)
		s.newest.Store(newest)
	}
	t.setOnDisk(s)
	return nil
}

func (t *Topic) setOnDisk(s *stored) {
	s.onDisk.Store(true)
	t.d.onDisk.Add(1)
	t.registry.onDisk.Add(1)
}

func (t *Topic) openStoreLocked() error {
	if t.d.segments != nil {
		return nil
	}
	store, _, _, err := t.registry.cfg.Segments.Open(t.d.id, t.name, nil)
	if err != nil {
		return fmt.Errorf("opening the segments of topic %s: %w", t.name, err)
	}
	t.d.segments = store
	return nil
}

// reclaimLocked drops every node that no channel needs, as nothing in it waits, is deferred, in flight or to be delivered again, and that
// is not kept otherwise.
func (t *Topic) reclaimLocked() {
	waiting := t.waitingLocked()
	list := t.d.table.each
	if floor := t.d.retain.from(); floor > 0 { // what is kept needs no look
		list = func() []*stored { return t.d.table.before(floor) }
	}
	for _, s := range list() {
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
		list = c.machine.Waiting(list)
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
	if s.node.InMemory() {
		d.evictLocked(s)
	}
	d.table.drop(s)
	d.opened.forget(s)
	if s.onDisk.Load() {
		d.onDisk.Add(-1)
		t.registry.onDisk.Add(-1)
		if t.led != nil {
			t.letGoHeld(s)
			return
		}
		t.registry.dropped.Add(1)
		d.dropped = append(d.dropped, s.at().Ref)
	}
}
