package topic

import (
	"cmp"
	"encoding/json"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// memoryStore keeps a topic's messages in memory, and what that has no room for in queues on disk in nsqd's layout. Messages have no
// positions: everything is shown, and nobody is told what becomes of it.
type memoryStore struct {
	topic *Topic

	// Guarded by Topic.pub.
	tail   backlog.Tail // frames that wait
	held   backlog.Tail // frames that are deferred
	pace   pace
	full   []*Channel // scratch of one publish
	moving bool       // move runs
}

func (m *memoryStore) level() Level                    { return Memory }
func (m *memoryStore) shown() Position                 { return everything }
func (m *memoryStore) note(*Channel, *channel.Effects) {}
func (m *memoryStore) release(*Channel)                {}
func (m *memoryStore) change(journal.Change)           {}
func (m *memoryStore) options() json.RawMessage        { return nil }
func (m *memoryStore) settle() error                   { return nil }
func (m *memoryStore) destroy() error                  { return nil }

// trim lets go of nodes that nothing waits in.
func (m *memoryStore) trim() {
	m.tail.Drop()
	m.held.Drop()
	m.pace.timer = nil
	m.full = nil
}

func (m *memoryStore) publish(b *Batch, delay time.Duration, _ bool) error {
	t := m.topic
	first, err := t.registry.ids.take(b.n)
	if err != nil {
		return err
	}
	now := t.registry.stamp()
	b.stamp(now, first)
	b.receipt = Receipt{ID: first, Count: b.n}
	at := int64(0)
	if delay = b.delayUntil(now, delay); delay > 0 {
		at = t.registry.now() + int64(delay)
	}
	t.pub.Lock()
	defer t.pub.Unlock()
	if err := t.gone(); err != nil {
		return err
	}
	if err := t.refusedLocked(b); err != nil {
		return err
	}
	if delay > 0 {
		m.holdLocked(b, at)
	} else {
		t.active = true
		if err := m.distributeLocked(b, t.targetsLocked(), false); err != nil {
			return err
		}
	}
	t.accept(b)
	return nil
}

// holdLocked defers a batch.
func (m *memoryStore) holdLocked(b *Batch, at int64) {
	extent, taken := m.held.Append(b.frames)
	if taken {
		b.frames = nil
	}
	var frames backlog.Queue
	frames.Add(extent, b.n)
	bounded := false
	for frames.Len() > 0 {
		f, _ := frames.Next()
		for _, c := range m.topic.targetsLocked() {
			c.enter()
			c.machine.Hold(inflight.Due{Frame: f, At: at})
			bounded = bounded || c.machine.Policy() != nil
			c.exit()
		}
	}
	if !bounded {
		return
	}
	for _, c := range m.topic.targetsLocked() {
		c.makeRoom(true)
	}
}

// inherit moves what the topic has in memory, and goes on with what it has on disk, a part at a time.
func (m *memoryStore) inherit() {
	t := m.topic
	t.own.enterNow()
	e := t.own.machine.HandOver()
	t.own.exit()
	if e.Len() > 0 {
		for _, c := range t.Channels() {
			c.enterNow()
			c.machine.Inherit(&e, 0)
			c.exit()
			c.measure()
			c.makeRoom(true)
		}
	}
	if t.own.diskDepth() > 0 && !m.moving {
		m.moving = t.registry.spawn(m.move)
	}
}

// move brings what overflowed from the topic to its channels, a part at a time, so that publishes and their consumers go on
// meanwhile.
func (m *memoryStore) move() {
	var b Batch
	for m.movePart(&b) {
	}
}

func (m *memoryStore) movePart(b *Batch) (more bool) {
	t := m.topic
	t.pub.Lock()
	defer t.pub.Unlock()
	m.moving = false
	if t.exiting.Load() || t.blockedLocked() || t.registry.ctx.Err() != nil {
		return false
	}
	if !t.own.unspill(b) {
		return false
	}
	if err := m.distributeLocked(b, t.Channels(), true); err != nil {
		t.registry.log.Error("moving a topic's backlog to its channels", "topic", t.name, "error", err)
	}
	b.Reset()
	m.moving = true
	return true
}

// distributeLocked gives the batch to each target: in memory where there is room, on disk otherwise. What the disk refuses a
// target does not get, unless it is owed: then it stays in memory, room or not, and some of it may come twice.
func (m *memoryStore) distributeLocked(b *Batch, targets []*Channel, owed bool) error {
	m.pace.earn(b.n)
	extent, taken := m.tail.Append(b.frames)
	full := m.full[:0]
	for _, c := range targets {
		if !c.offer(extent, b.n, b.Later) {
			full = append(full, c)
		}
	}
	kept := len(full) < len(targets)
	var err error
	for _, c := range full {
		if m.awaitRoomLocked(c, extent, b) {
			kept = true
			continue
		}
		if !c.onDiskAllowed() {
			c.pushLossy(extent, b.n)
			continue
		}
		e := c.spill(b)
		c.makeRoom(true)
		if e != nil && owed {
			c.force(extent, b.n)
			kept = true
		}
		err = cmp.Or(err, e)
	}
	clear(full)
	m.full = full[:0]
	switch {
	case !kept && taken:
		m.tail.Drop()
	case !kept:
		m.tail.Rewind(extent)
	case taken && err != nil:
		b.Release()
	case taken:
		b.frames = nil
	}
	return err
}

// pushLossy gives a channel that has no disk what it has room for.
func (c *Channel) pushLossy(at backlog.Extent, count int) {
	c.enter()
	c.machine.OfferSome(at, count)
	c.exit()
}

// force gives the channel messages for which it has no room. Topic.pub is held.
func (c *Channel) force(at backlog.Extent, count int) {
	c.enter()
	c.machine.Force(at, count)
	c.exit()
}
