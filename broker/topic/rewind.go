package topic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
)

// To read again, and to pass over. A rewind has every message from a place to the end wait on a channel once more, once: what the topic keeps
// and is for all channels, and what of those that come then the channel has not finished. A skip discards what waits before a place. Both are one
// record of the log. Neither ever does what the other does: a slip of a time zone must not drop a backlog.

// Errors of Rewind and Skip.
var (
	ErrKeepsNothing = errors.New("the topic keeps nothing that is finished: set its option retain_time or retain_bytes first")
	ErrNoPlaces     = errors.New("the topic is at level memory, where a message has no position: it must be at level disk or fsync")
)

// Moved is what a rewind or a skip does, or would do.
type Moved struct {
	From      Position // the place
	Messages  int      // that wait from there on, or that are discarded
	Truncated bool     // the place is before all that is kept
	ID        string   // of the first message that waits there; empty when none does
	Time      int64    // when that came, Unix nanoseconds
	Missing   uint64   // positions between the place that was named by its position and the first that is kept

	first Position // that waits there
}

// Rewind has the messages from a place on wait once more. What is unfinished before it stays; what is in flight from there on is taken back, so
// that its answer fails; what is deferred from there on stays deferred and comes when it is due. With dry it only says what it would do. While the
// log cannot be written nothing is done. When it fails just then the channel is rewound, but a crash may forget it.
func (c *Channel) Rewind(p Place, dry bool) (Moved, error) {
	t := c.topic
	if t.d == nil {
		return Moved{}, ErrNoPlaces
	}
	pos, early, err := t.findPlace(p, max(t.d.retain.from(), 1))
	if err == nil && !dry {
		err = t.d.failing()
	}
	if err != nil {
		return Moved{}, err
	}
	m, at, err := c.rewind(pos, dry)
	m.at(p, early)
	if err != nil {
		return m, err
	}
	t.describe(&m)
	if dry {
		return m, nil
	}
	if at != (journal.Offset{}) {
		if err := t.d.commit(at, t.d.levels.synced()); err != nil {
			return m, err
		}
	}
	t.registry.log.Info("channel rewound", "topic", t.name, "channel", c.name, "position", uint64(m.From), "messages", m.Messages)
	return m, nil
}

// describe adds what is to be said of the first message. What cannot be read now is left out.
func (t *Topic) describe(m *Moved) {
	if m.first == 0 {
		return
	}
	l, err := t.Browse(context.Background(), Look{From: m.first, Limit: 1})
	if err == nil && len(l.Messages) == 1 && l.Messages[0].Pos == m.first {
		m.ID, m.Time = l.Messages[0].ID.String(), l.Messages[0].Time
	}
}

// at says of a place that was not there any more what is to be said of its kind.
func (m *Moved) at(p Place, early bool) {
	if p.kind != atPosition {
		m.Missing = 0
	}
	m.Truncated = p.kind != atBeginning && (m.Truncated || early && m.From > 1)
}

// failing returns why a record that is appended now would not hold, nil when nothing is known. Whoever appends to a group is told by it.
func (d *logStore) failing() error {
	if d.topic.led != nil {
		return nil
	}
	if err := d.log.Err(); err != nil {
		return fmt.Errorf("nothing was done, as the log cannot be written: %w", err)
	}
	return nil
}

// rewind returns where its record is, too: nowhere when it needs none.
func (c *Channel) rewind(pos Position, dry bool) (m Moved, at journal.Offset, err error) {
	t := c.topic
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.exiting.Load() || !slices.Contains(t.Channels(), c) {
		return m, at, ErrExiting
	}
	shared, m, err := t.replayLocked(pos)
	if err != nil {
		return m, at, err
	}
	nodes := t.closedNodesLocked(m.From)
	c.enterNow()
	list, stay, bytes := c.machine.Again(m.From, shared)
	queue := queueOf(nodes, list)
	m.Messages, m.first = queue.Len(), queue.First()
	if err := t.bounded(c.machine.Policy(), &queue, stay, bytes); err != nil || dry {
		c.exit()
		return m, at, err
	}
	if first := c.machine.Rewind(m.From, &queue); first > 0 {
		c.logged = min(c.logged, first-1)
	}
	if m.first > 0 {
		c.began = min(c.began, m.first)
	}
	if queue.Len() > 0 && !c.ephemeral {
		at = t.d.append(journal.Change{Op: journal.OpRewind, Channel: c.id, Next: m.From, Runs: runsOf(queue.Ranges(nil))})
	}
	c.exit()
	c.measure()
	return m, at, nil
}

// replayLocked returns which messages of the topic a channel gets that reads from a position on, of those that nobody has to hold for it: what
// is kept, shown, for all channels, and not in the topic's own backlog, which comes by itself. Topic.pub is held.
func (t *Topic) replayLocked(pos Position) (shared []backlog.Range, m Moved, err error) {
	floor := t.d.retain.from()
	if floor == 0 {
		return nil, m, ErrKeepsNothing
	}
	shown := t.d.shown()
	m.From = pos
	oldest := shown + 1
	if s := t.d.table.next(floor); s != nil {
		oldest = min(oldest, max(s.first, floor))
	}
	for _, s := range t.d.table.from(max(floor, pos)) {
		if r := (backlog.Range{First: max(s.first, floor, pos), Last: min(Position(s.end.Load())-1, shown)}); r.First <= r.Last {
			shared = append(shared, r)
		}
	}
	if pos < oldest {
		m.From, m.Truncated = oldest, oldest > 1
		if pos > 1 {
			m.Missing = uint64(oldest - pos)
		}
	}
	shared, _ = journal.CutAll(journal.Merge(shared), t.unsharedLocked())
	shared, _ = journal.CutAll(shared, t.own.having())
	return shared, m, nil
}

// unsharedLocked returns which positions are not for all channels, or are of no use any more. Topic.pub is held.
func (t *Topic) unsharedLocked() []backlog.Range {
	list := t.d.retain.unshared
	if e := t.expiries.Load(); e != nil {
		list = journal.Merge(slices.Concat(list, e.look(t.registry.now()).All()))
	}
	return list
}

// closedNodesLocked returns all nodes that have messages from a position on, none of which grows any more. Topic.pub is held.
func (t *Topic) closedNodesLocked(from Position) []*stored {
	t.d.nodes.Close()
	t.d.tail = nil
	return t.d.table.from(from)
}

// queueOf returns a queue of those of sorted ranges that are in nodes.
func queueOf(nodes []*stored, list []backlog.Range) (q backlog.Queue) {
	i := 0
	for _, r := range list {
		for i < len(nodes) && nodes[i].node.End() <= r.First {
			i++
		}
		for _, s := range nodes[i:] {
			part := backlog.Range{First: max(r.First, s.first), Last: min(r.Last, s.node.End()-1)}
			if s.first > r.Last {
				break
			}
			if part.First <= part.Last {
				q.Add(backlog.Of(s.node, part), part.Len())
			}
		}
	}
	return q
}

// runsOf encodes ranges as a record has them.
func runsOf(list []backlog.Range) []byte {
	var runs journal.Runs
	runs.Begin(0, 0)
	for _, r := range list {
		runs.AddRange(r)
	}
	return slices.Clone(runs.Runs())
}

// having returns which messages the channel has, sorted.
func (c *Channel) having() (list []backlog.Range) {
	c.enter()
	defer c.exit()
	list = c.machine.Waiting(nil)
	c.eachOut(func(pos Position) { list = append(list, backlog.Range{First: pos, Last: pos}) })
	return journal.Merge(list)
}

// eachOut calls f with every message that has left the channel's backlog and not the channel. The lock is held.
func (c *Channel) eachOut(f func(Position)) {
	for _, places := range c.machine.EachOut(func(pos Position, _ uint16) { f(pos) }) {
		for p := range places.All() {
			f(p.Pos)
		}
	}
}

// ChannelAt returns the channel of that name and makes it when there is none, so that it begins at a place: beside what comes, and what waits
// in the topic itself, it gets what is kept from there on. made says whether it was made; one that is there is left alone.
// While the log cannot be written nothing is done. When it fails just then the channel is made, but a crash may forget it.
func (t *Topic) ChannelAt(name string, p Place) (c *Channel, made bool, m Moved, err error) {
	if t.d != nil && p.kind != atEnd && t.LookupChannel(name) == nil {
		if err := t.d.failing(); err != nil {
			return nil, false, m, err
		}
	}
	c, made, m, err = t.channelAt(name, p)
	if err == nil && made && p.kind != atEnd && t.led == nil {
		err = t.d.log.Err()
	}
	return c, made, m, err
}

// channelAt is ChannelAt for consumers, who go on without a disk.
func (t *Topic) channelAt(name string, p Place) (c *Channel, made bool, m Moved, err error) {
	if c := t.LookupChannel(name); c != nil {
		return c, false, m, nil
	}
	if p.kind == atEnd {
		c, made, err = t.makeChannel(name, 0, nil)
		return c, made, m, err
	}
	if t.d == nil {
		return nil, false, m, ErrNoPlaces
	}
	pos, early, err := t.findPlace(p, max(t.d.retain.from(), 1))
	if err != nil {
		return nil, false, m, err
	}
	c, made, err = t.makeChannel(name, pos, &m)
	m.at(p, early)
	t.describe(&m)
	return c, made, m, err
}

// startLocked returns what a channel that is made now gets of what is kept, from a position on: also what is not shown yet, as that was given to
// others already. Topic.pub is held.
func (t *Topic) startLocked(pos Position) (queue backlog.Queue, m Moved, err error) {
	shared, m, err := t.replayLocked(pos)
	if err != nil {
		return queue, m, err
	}
	if !t.blockedLocked() {
		shared = append(shared, t.d.watermark.unshown()...)
	}
	shared = journal.Merge(shared)
	from := m.From
	if len(shared) > 0 {
		from = min(from, shared[0].First)
	}
	queue = queueOf(t.closedNodesLocked(from), shared)
	m.Messages, m.first = queue.Len(), queue.First()
	return queue, m, nil
}

// beginAtLocked gives a channel that is about to be made what is kept from a position on, and returns the record that says so. Topic.pub is held.
func (t *Topic) beginAtLocked(c *Channel, change journal.Change, from Position, m *Moved) (journal.Change, error) {
	queue, moved, err := t.startLocked(from)
	if err != nil {
		return change, err
	}
	if err := t.bounded(t.policyOf(c), &queue, 0, 0); err != nil {
		return change, err
	}
	*m = moved
	if queue.Len() > 0 {
		change.Next, change.Runs = moved.From, runsOf(queue.Ranges(nil))
		c.logged = c.machine.Rewind(moved.From, &queue) - 1
	}
	return change, nil
}

// unshown returns which messages are published and not shown yet, but for those that are deferred.
func (w *watermark) unshown() (list []backlog.Range) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.position() + 1
	for i := range w.pending.Len() {
		p := w.pending.At(i)
		if p.count > 0 {
			list = append(list, backlog.Range{First: max(next, p.last-Position(p.count)+1), Last: p.last})
		}
		next = p.last + 1
	}
	return list
}

// Skip discards what waits before a place. What is in flight or deferred stays, unless all says that it goes too.
func (c *Channel) Skip(p Place, all, dry bool) (Moved, error) {
	t := c.topic
	if t.d == nil {
		return Moved{}, ErrNoPlaces
	}
	pos, _, err := t.findPlace(p, c.lowest())
	if err != nil {
		return Moved{}, err
	}
	m := Moved{From: pos}
	t.pub.Lock()
	if t.exiting.Load() || !slices.Contains(t.Channels(), c) {
		t.pub.Unlock()
		return m, ErrExiting
	}
	c.enterNow()
	m.Messages = c.machine.Skip(pos, all, dry)
	c.exit()
	if dry {
		t.pub.Unlock()
		return m, nil
	}
	c.measure()
	t.pub.Unlock()
	if err := t.settleChannels([]*Channel{c}); err != nil {
		return m, err
	}
	t.registry.log.Info("messages skipped", "topic", t.name, "channel", c.name, "before", uint64(pos), "messages", m.Messages)
	return m, nil
}

// lowest returns the position of the first message that the channel has, the highest that there can be when it has none.
func (c *Channel) lowest() Position {
	c.enter()
	defer c.exit()
	first := Position(math.MaxUint64)
	if pos := c.machine.First(); pos > 0 {
		first = pos
	}
	c.eachOut(func(pos Position) { first = min(first, pos) })
	return first
}
