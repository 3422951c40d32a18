package topic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// ErrNotDeferred is the refusal to cancel or release a message that is not deferred, or not any more, where it was looked for.
var ErrNotDeferred = errors.New("the message is not deferred, or not any more")

// ErrNoPositions is the refusal of what names one message, of a topic that keeps no place for it.
var ErrNoPositions = errors.New("the topic is at level memory, where a message has no position and nothing is written of it; it must be at level disk or fsync")

// Scheduled is a message that is deferred.
type Scheduled struct {
	ID       protocol.MessageID
	Position Position // 0 at level memory
	Due      time.Time
	Age      time.Duration // since it was published
	Size     int           // of its body, bytes
	Attempts uint16        // deliveries so far
}

// DueMark is a place in the order in which deferred messages are due.
type DueMark struct {
	At  int64  // nanoseconds since the Unix epoch, by the clock as it was when the broker started: so it does not move with the clock
	Key uint64 // the position of the message behind which the place is, or its id; 0: in front of all that are due then
}

// MarkAt returns the place in front of all that is due at a time or later.
func (r *Registry) MarkAt(t time.Time) DueMark {
	return DueMark{At: t.UnixNano() - r.ahead.Load() + r.start.UnixNano()}
}

// Deferred returns the first limit messages that are deferred and due behind a mark, in the order in which they are due. What is due
// or gone before its body was read is left out. next is the mark to go on from, its zero value when there were fewer.
func (c *Channel) Deferred(ctx context.Context, from DueMark, limit int) (list []Scheduled, next DueMark, err error) {
	next, end, err := c.eachDeferred(ctx, from, limit, func(m *Scheduled, _ protocol.MessageFrame) bool {
		list = append(list, *m)
		return true
	})
	if end {
		next = DueMark{}
	}
	return list, next, err
}

// eachDeferred calls f with the first limit messages of Deferred, one after the other, and with each its frame, which f does not keep, until f
// returns false. next is the mark behind the last one for which it has not; end says that there are no more. One body is in memory at a
// time. It fails with the error of the context, too.
func (c *Channel) eachDeferred(ctx context.Context, from DueMark, limit int, f func(*Scheduled, protocol.MessageFrame) bool) (next DueMark, end bool, err error) {
	c.enterNow()
	start, at := c.topic.registry.start.UnixNano(), &c.machine.At
	mark := inflight.Place{At: from.At - start, Pos: Position(from.Key)}
	now, ahead := at.Stamp, at.Stamp-at.Now
	schedule := c.machine.Schedule(mark, limit)
	c.exit()
	l := loader{topic: c.topic}
	n := 0
	next = from
	for d := range schedule.All() {
		n++
		key := d.Key()
		if d.Frame == nil && d.Visible {
			if err := ctx.Err(); err != nil {
				return next, false, err
			}
			if d.Frame, err = l.load(d.Place); err != nil && !errors.Is(err, errGoneNode) && !errors.Is(err, segment.ErrDamaged) {
				return next, false, fmt.Errorf("reading message %d: %w", d.Pos, err)
			}
		}
		if frame := d.Frame; frame != nil && !f(&Scheduled{ID: frame.MustID(), Position: d.Pos, Due: time.Unix(0, ahead+d.At), Attempts: d.Attempts,
			Age: time.Duration(max(0, now-frame.Timestamp())), Size: len(frame) - protocol.MessageOverhead}, frame) {
			return next, false, nil
		}
		next = DueMark{At: start + d.At, Key: uint64(key)}
	}
	return next, n < limit, nil
}

// Own returns the topic's own backlog, which is nobody's channel: what waits or is deferred while no channel may get it.
func (t *Topic) Own() *Channel { return t.own }

// Cancel drops a message that is deferred, for good: on one channel, or wherever it is when c is nil. No rewind brings it again there; one
// that was dropped wherever it was comes to no channel that is made later either. It returns where it was, the topic's own backlog as an
// empty name, once the log says so. It fails with ErrNotDeferred, ErrNoPositions, or the error of the log; with the
// last the message is dropped, but may come back with a crash.
func (t *Topic) Cancel(pos Position, c *Channel) (from []string, err error) {
	from, err = t.reschedule(pos, c, (*channel.Machine).Cancel)
	if len(from) == 0 || c != nil && c != t.own {
		return from, err
	}
	if at := t.forgo(pos); err == nil && at != (journal.Offset{}) {
		err = t.d.commit(at, t.d.levels.synced())
	}
	return from, err
}

// forgo has no channel be given a message of what is kept, and returns where the log says so.
func (t *Topic) forgo(pos Position) (at journal.Offset) {
	t.pub.Lock()
	defer t.pub.Unlock()
	d := t.d
	if floor := d.retain.from(); floor == 0 || pos < floor {
		return at
	}
	d.retain.unshare(backlog.Range{First: pos, Last: pos})
	var r journal.Runs
	r.BeginDiscarded(d.id, 0, journal.Cancelled)
	r.Add(pos)
	return d.log.Append(journal.KindDiscarded, r.Record(), nil)
}

// Release has a message that is deferred be due now, as Cancel drops it.
func (t *Topic) Release(pos Position, c *Channel) (from []string, err error) {
	return t.reschedule(pos, c, (*channel.Machine).Release)
}

func (t *Topic) reschedule(pos Position, only *Channel, act func(*channel.Machine, Position, *inflight.Place) bool) (from []string, err error) {
	if t.d == nil {
		return nil, ErrNoPositions
	}
	if err := t.registry.writable(); err != nil {
		return nil, err
	}
	targets := []*Channel{only}
	if only == nil {
		targets = t.all()
	}
	for _, c := range targets {
		if c.reschedule(pos, act) {
			from = append(from, c.name)
		}
	}
	if len(from) == 0 && only == nil { // it may have moved from the topic's own backlog to the channels meanwhile
		t.pub.Lock()
		for _, c := range t.all() {
			if c.reschedule(pos, act) {
				from = append(from, c.name)
			}
		}
		t.pub.Unlock()
	}
	if len(from) == 0 {
		return nil, ErrNotDeferred
	}
	return from, t.settleChannels(targets)
}

// settleChannels returns once all records of channels are in the log so far.
func (t *Topic) settleChannels(list []*Channel) error {
	var last journal.Offset
	for _, c := range list {
		c.mu.Lock()
		if c.records != nil && last.Before(c.records.last) {
			last = c.records.last
		}
		c.mu.Unlock()
	}
	if last == (journal.Offset{}) {
		return nil // an ephemeral channel has none
	}
	return t.d.commit(last, t.d.levels.synced())
}

// reschedule looks for a deferred message outside the lock, as there may be many, and acts under it.
func (c *Channel) reschedule(pos Position, act func(*channel.Machine, Position, *inflight.Place) bool) (done bool) {
	c.mu.Lock()
	some := c.machine.DeferredHolding(pos)
	c.mu.Unlock()
	var place *inflight.Place
	if m, ok := some.Find(pos); ok {
		place = &m
	}
	c.enterNow()
	defer c.exit()
	return act(&c.machine, pos, place)
}

// Receipt says which messages a publish has become: Count of them, the ids and the positions of the others following those of the
// first. At level memory there are no positions.
type Receipt struct {
	ID       protocol.MessageID
	Position Position
	Count    int

	// Duplicates are those of the publish that were not stored, in order: they are not in Count.
	Duplicates []Duplicate
}

// Receipt returns what the last publish that succeeded has become. It is good until the batch is published again.
func (b *Batch) Receipt() Receipt { return b.receipt }

// delayUntil returns how long a batch is to be deferred that is accepted at a time, nanoseconds since the Unix epoch: to its due time,
// or for a delay.
func (b *Batch) delayUntil(now int64, delay time.Duration) time.Duration {
	if b.Due == 0 {
		return delay
	}
	return time.Duration(max(0, b.Due-now))
}
