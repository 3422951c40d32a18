package topic

import (
	"cmp"
	"slices"
	"sync/atomic"

	"brokerd/broker/backlog"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Retention: a topic with the options retain_time or retain_bytes keeps messages that every channel is done with. It has a floor, a
// position: a node whose last message is not below it stays, whoever needs it. The log has the floor before anything goes that is below it,
// and what a channel needs stays in any case. Of what is kept, some positions are not for all channels: those of publishes that failed, and
// messages that were for one channel only.

// retention is what a topic that keeps messages knows of them. It is guarded by Topic.pub but for what is atomic.
type retention struct {
	floor    atomic.Uint64   // a Position: from here on messages are kept, 0: none are; set under Topic.pub
	unshared []backlog.Range // of what is kept: void, for one channel only, or of no use any more; sorted, without overlaps
	stamped  int64           // by the newest message; times do not fall in a topic that keeps messages
	bytes    atomic.Int64    // of frames that are kept, when it was last looked
	oldest   atomic.Int64    // when the first of these came, Unix nanoseconds; 0: none are, or not known
	early    atomic.Int64    // messages that were dropped before their time, as the disk was nearly full
}

// from returns the first position that is kept, 0 when none is.
func (k *retention) from() Position { return Position(k.floor.Load()) }

// keeps reports whether a node has messages that are kept.
func (k *retention) keeps(s *stored) bool {
	floor := k.from()
	return floor > 0 && Position(s.end.Load()) > floor
}

// unshare notes messages that are not for all channels. Topic.pub is held.
func (k *retention) unshare(r backlog.Range) {
	if floor := k.from(); floor > 0 && r.Last >= floor {
		k.unshared = journal.AddRange(k.unshared, r)
	}
}

// stampLocked returns when a message came that is published now: not before the newest one.
func (k *retention) stampLocked(now int64) int64 {
	k.stamped = max(k.stamped, now)
	return k.stamped
}

// needRetention returns once the folder says that messages are kept, when the options say so.
func (r *Registry) needRetention(p *policy.Policy, logged bool) error {
	if !logged || !p.Retains() {
		return nil
	}
	return r.need(journal.FeatureRetention)
}

// retainLocked begins or ends to keep messages, as the topic's options say now. The folder says already that messages are kept. Topic.pub
// is held, or nobody knows the topic yet.
func (t *Topic) retainLocked() {
	if t.d == nil {
		return
	}
	switch on, floor := t.policy.Load().Retains(), t.d.retain.from(); {
	case on && floor == 0:
		t.setFloorLocked(t.d.next)
	case !on && floor > 0:
		t.setFloorLocked(0)
		t.reclaimLocked()
	}
}

// setFloorLocked moves the floor.
func (t *Topic) setFloorLocked(pos Position) {
	k := &t.d.retain
	k.floor.Store(uint64(pos))
	if pos == 0 {
		k.unshared, k.stamped = nil, 0
		k.bytes.Store(0)
		k.oldest.Store(0)
	} else {
		k.unshared = journal.Above(k.unshared, pos)
	}
	t.d.change(journal.Change{Op: journal.OpFloor, Next: pos})
}

// Retain drops messages of all topics that are kept and are older, or more, than their options say. What a channel needs stays. Their files
// go as those of other messages do: see PrepareDrop.
func (r *Registry) Retain() {
	now := r.trust.look(r.stamp(), r.now(), r.log)
	for _, t := range r.durable() {
		if t.d.retain.from() == 0 && !t.policy.Load().Retains() {
			continue
		}
		if err := t.retain(now); err != nil {
			r.log.Error("looking for messages that need not be kept any more", "topic", t.name, "error", err)
		}
	}
}

func (t *Topic) retain(now int64) error {
	p := t.policy.Load()
	if err := t.registry.needRetention(p, true); err != nil {
		return err
	}
	t.pub.Lock()
	if t.deleted.Load() || t.exiting.Load() {
		t.pub.Unlock()
		return nil
	}
	t.retainLocked()
	t.pub.Unlock()
	if !p.Retains() {
		return nil
	}
	list, size := t.kept()
	o := outdating{topic: t, policy: p, list: list, size: size, now: now, jumps: t.registry.jumps.Load()}
	err := o.run()
	if o.upTo > 0 {
		t.pub.Lock()
		if t.policy.Load() != p { // it took a while, and somebody may want to keep more now
			t.pub.Unlock()
			return nil
		}
		t.raiseFloorLocked(o.upTo)
		t.pub.Unlock()
	}
	oldest := int64(0)
	if len(o.list) > 0 && err == nil {
		oldest, err = t.firstTime(&o.list[0])
	}
	t.d.retain.bytes.Store(o.size)
	t.d.retain.oldest.Store(oldest)
	return err
}

// raiseFloorLocked drops what is kept below a position and no channel needs.
func (t *Topic) raiseFloorLocked(pos Position) {
	if floor := t.d.retain.from(); t.deleted.Load() || floor == 0 || pos <= floor {
		return
	}
	if d := t.d; d.tail != nil && Position(d.tail.end.Load()) <= pos {
		d.nodes.Close()
		d.tail = nil
	}
	t.setFloorLocked(pos)
	t.reclaimLocked()
}

// FreeKept drops about so many bytes of messages that are only kept, the oldest of the topic that keeps most, and returns how many. They come free
// with the next Drop; or, of those that only the log has, which count with logged, with the next checkpoints.
func (r *Registry) FreeKept(want int64, logged bool) (freed int64) {
	type keeper struct {
		topic *Topic
		bytes int64
	}
	var list []keeper
	for _, t := range r.durable() {
		if t.d.retain.from() > 0 && !t.exiting.Load() { // what is being deleted waits, with its lock, for the log, and that perhaps for room
			_, size := t.kept()
			list = append(list, keeper{t, size})
		}
	}
	slices.SortFunc(list, func(a, b keeper) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, k := range list {
		if freed += k.topic.freeKept(want-freed, logged); freed >= want {
			break
		}
	}
	return freed
}

func (t *Topic) freeKept(want int64, logged bool) (freed int64) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() {
		return 0
	}
	floor := t.d.retain.from()
	waiting := t.waitingLocked()
	upTo := floor
	list, _ := t.keptLocked()
	for _, n := range list {
		if freed >= want {
			break
		}
		if waiting.needs(n.s) || !logged && (n.s == t.d.tail || !n.s.onDisk.Load()) {
			continue // nothing comes free with it
		}
		freed += n.size
		upTo = n.end
	}
	if freed == 0 {
		return 0
	}
	t.d.retain.early.Add(int64(upTo - floor))
	t.raiseFloorLocked(upTo)
	t.registry.log.Warn("messages that were only kept are dropped before their time, as the disk is nearly full", "topic", t.name, "bytes", freed,
		"up to", uint64(upTo-1))
	return freed
}

// evictKeptLocked moves nodes out of memory that are only kept. Topic.pub is held.
func (t *Topic) evictKeptLocked() {
	d := t.d
	if d.retain.from() == 0 {
		return
	}
	d.oldestLocked() // which passes over those that are not in memory
	waiting := t.waitingLocked()
	for _, s := range d.table.from(max(d.oldest, d.retain.from())) {
		if s == d.tail || !s.node.InMemory() || waiting.needs(s) || s.node.End() > d.watermark.position()+1 {
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

// Kept is what a topic keeps although nobody needs it any more, or keeps and needs, when it was last looked.
type Kept struct {
	From  Position // the first position that is kept; 0: the topic keeps nothing
	Bytes int64    // of frames
	Since int64    // when the first one came, Unix nanoseconds; 0: not known, or nothing is kept
	Early uint64   // messages that were dropped before their time, as the disk was nearly full, since the start
}

// Kept returns what the topic keeps. It waits for nothing.
func (t *Topic) Kept() Kept {
	if t.d == nil {
		return Kept{}
	}
	k := &t.d.retain
	return Kept{From: k.from(), Bytes: k.bytes.Load(), Since: k.oldest.Load(), Early: uint64(k.early.Load())}
}

// keptOf returns which messages of a node are kept and for all channels. Topic.pub is not held.
func (t *Topic) keptOf(nodes []*stored) (list []backlog.Range) {
	floor := t.d.retain.from()
	if floor == 0 {
		return nil
	}
	t.pub.Lock()
	unshared := slices.Clone(t.d.retain.unshared)
	t.pub.Unlock()
	for _, s := range nodes {
		if r := (backlog.Range{First: max(s.first, floor), Last: Position(s.end.Load()) - 1}); r.First <= r.Last {
			list = append(list, r)
		}
	}
	if e := t.expiries.Load(); e != nil {
		unshared = journal.Merge(append(unshared, e.over.Load().All()...))
	}
	list, _ = journal.CutAll(list, unshared)
	return list
}

// policyOfNew returns what holds for a topic of that name that is made now, at a level above memory.
func (r *Registry) policyOfNew(name string) *policy.Policy {
	place := policy.Place{Topic: name, Logged: !protocol.IsEphemeral(name)}
	return policy.Of(place, policy.Layer{Name: name, Patterns: r.patterns.Load().Topics})
}

// keepsSome reports whether there are messages that are kept.
func (t *Topic) keepsSome() bool {
	if t.d == nil {
		return false
	}
	floor := t.d.retain.from()
	return floor > 0 && t.d.table.next(floor) != nil
}

// Keeps reports whether any topic keeps messages.
func (r *Registry) Keeps() bool {
	return slices.ContainsFunc(r.durable(), func(t *Topic) bool { return t.d.retain.from() > 0 })
}

// unshareExpired remembers, of messages whose time is over and that nobody has any more, that nobody is to be given them again. Topic.pub is
// held.
func (t *Topic) unshareExpired(over, held []backlog.Range) {
	if t.d.retain.from() == 0 {
		return
	}
	gone, _ := journal.CutAll(over, held)
	gone = journal.Above(gone, t.d.retain.from())
	t.d.retain.unshared = journal.Merge(slices.Concat(t.d.retain.unshared, gone)) // at once, as they may be many and in any order
}
