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

// logStore keeps a topic in the node's log. Messages are appended to the log and to memory alike; what
// memory has no room for, or the log is to let go, moves to the topic's segments, once for all channels.
type logStore struct {
	topic     *Topic
	id        uint32
	defersOwn atomic.Bool // messages were deferred in the topic's own backlog
	log       Log
	levels    levels

	watermark watermark
	table     nodeTable
	onDisk    atomic.Int64                   // nodes in segments
	memory    atomic.Int64                   // bytes of nodes in memory
	changed   atomic.Pointer[journal.Offset] // of the last change that settle has not seen to
	retain    retention
	opened    openFiles

	complained, leftOut atomic.Int64 // when it was logged last that messages cannot be read, and how often it was not since

	// Guarded by Topic.pub.
	segments *segment.Store
	nodes    backlog.Tail // where is appended
	next     Position     // of the next message
	stamp    int64        // of the message before it, Unix nanoseconds
	rises    Position     // from here on stamps do not fall; 0: nothing is known of them
	voids    voids
	tail     *stored        // the node that is appended to
	resident int            // messages in nodes that are in memory
	enough   int64          // bytes in memory with which it is looked for nodes that nobody needs
	oldest   Position       // no node before this one is in memory
	dropped  []segment.Ref  // blocks that may go once the log, synced, says that their messages are finished
	dropping int            // of those: the log is about to be synced for the first ones, or is
	stale    []staleBlock   // blocks that were written anew, until no checkpoint refers to them
	imports  *Imports       // what is being taken over, nil when nothing is
	settled  uint64         // what Topic.settled was at the last Reclaim
	head     []byte         // scratch
	keys     *journal.Keys  // of messages that were accepted lately; nil until there are some
	keyBytes int64          // what the node knows that they take
	keyedAt  journal.Offset // of the record of the last publish that brought some; none when a checkpoint has made that safe
}

func newLogStore(t *Topic, id uint32) *logStore {
	return &logStore{topic: t, id: id, log: t.registry.cfg.Journal, next: 1}
}

// Durability returns the level that the topic is at now.
func (t *Topic) Durability() Level { return t.store.level() }

func (d *logStore) level() Level    { return d.levels.get() }
func (d *logStore) shown() Position { return d.watermark.position() }

// save has nothing to do: the log has everything.
func (d *logStore) save() error { return nil }

// empty has nothing to do: what the channel has on disk goes with what it has in memory.
func (d *logStore) empty(*Channel) error { return nil }

// adopt gives the channel its number; the topic's own backlog has none. What an earlier life has left Recover has put back.
func (d *logStore) adopt(c *Channel) error {
	switch led := d.topic.led; {
	case c.name == "":
	case led != nil:
		c.id = led.lastID.Add(1)
	default:
		c.id = d.topic.registry.lastID.Add(1)
	}
	return nil
}

// ErrNoSpace is the refusal of a publish because the disk is nearly full.
var ErrNoSpace = errors.New("disk space is below --min-free-space")

// ErrDiskFull is the refusal of a publish because the disk was full to the last byte, and what was kept for that is used up.
var ErrDiskFull = errors.New("the disk is full or has failed: publishes are taken again when the file reserve can be written anew")

func (d *logStore) publish(b *Batch, delay time.Duration, sync bool) error {
	t := d.topic
	if t.led != nil {
		return d.publishReplicated(b, delay)
	}
	if err := t.registry.writable(); err != nil {
		return err
	}
	if b.TTL > 0 {
		if err := t.registry.need(journal.FeatureExpiry); err != nil {
			return err
		}
	}
	k, err := d.keysOf(b, sync)
	if err != nil {
		return err
	}
	if err := d.sumsOf(b); err != nil {
		return err
	}
	id, err := t.registry.ids.take(b.n)
	if err != nil {
		return err
	}
	later := b.Later
	a, err := t.appendDurable(b, id, delay, &k)
	for err != nil {
		first, unsure := err.(*doubt)
		if !unsure {
			return err
		}
		if err := first.await(); err != nil {
			return err
		}
		a, err = t.appendDurable(b, id, delay, &k)
	}
	switch {
	case a.count == 0:
		return d.repeated(a.at, sync, k.lax)
	case k.lax && t.registry.trail(t, &a):
		return nil
	}
	return d.finish(&a, sync, later)
}

// finish returns once a publish is as safe as the level says, and shown; or it fails, and nobody is ever shown it.
func (d *logStore) finish(a *appended, sync bool, later *Wakes) error {
	t := d.topic
	if err := d.commit(a.at, sync || d.levels.synced()); err != nil {
		t.withdraw(a)
		return err
	}
	t.voidsWritten(a.voids)
	t.show(a, false, later)
	return nil
}

// commit returns once a record is written, or synced, and nothing before it is lost on which it may build.
func (d *logStore) commit(at journal.Offset, sync bool) error {
	err := d.log.Commit(at, sync)
	if err == nil {
		err = d.log.Gap()
	}
	d.health(err)
	return err
}

// appendDurable puts a batch into the log's buffer, the topic's nodes and the channels, which do not show it yet. Without messages whose
// keys the topic knows; when nothing is left the count of what it returns is 0.
func (t *Topic) appendDurable(b *Batch, first protocol.MessageID, delay time.Duration, k *keyed) (a appended, err error) {
	d := t.d
	t.pub.Lock()
	defer t.pub.Unlock()
	if err := t.gone(); err != nil {
		return a, err
	}
	now := t.registry.stamp()
	m, err := d.newLocked(b, k, now)
	switch {
	case err != nil:
		return a, err
	case m.n == 0:
		b.receipt = Receipt{Duplicates: k.duplicates}
		b.Reset()
		return appended{at: d.keyedAt}, nil
	}
	var p journal.Publish
	delay = t.describeLocked(&p, m, first, now, delay)
	receipt := Receipt{ID: first, Position: d.next, Count: m.n, Duplicates: k.duplicates}
	targets := t.targetsLocked()
	if k.added > 0 {
		d.columnLocked(m, &p)
	}
	a = t.logLocked(m, &p)
	if k.added > 0 {
		d.keyedAt = a.at
	}
	t.active = true
	if m.TTL > 0 {
		t.expireLocked(p.First, p.Count, t.registry.now()+int64(delay)+int64(m.TTL))
	}
	if delay > 0 {
		t.deferLocked(a.extent, m.n, t.registry.now()+int64(delay), targets)
	} else {
		for _, c := range targets {
			c.offerDurable(a.extent, m.n)
		}
	}
	t.accept(m)
	if m != b {
		b.Reset()
	}
	b.first, b.stamped, b.receipt = first, now, receipt
	t.overflowLocked()
	t.thinLocked()
	return a, nil
}

// describeLocked gives the messages of a batch their times and ids, and p what the log is to say of them. It returns how long they are deferred.
func (t *Topic) describeLocked(p *journal.Publish, b *Batch, first protocol.MessageID, now int64, delay time.Duration) time.Duration {
	d := t.d
	stamp := now
	if d.retain.from() > 0 {
		if stamp = d.retain.stampLocked(now); stamp > now {
			t.registry.heldBack(first)
		}
	}
	b.stamp(stamp, first)
	d.noteStamp(d.next, stamp)
	p.Topic, p.First, p.Count, p.From = d.id, d.next, b.n, b.From
	if delay = b.delayUntil(now, delay); delay > 0 {
		p.Due = now + int64(delay)
	}
	if b.TTL > 0 {
		p.Expires = now + int64(delay) + int64(b.TTL)
	}
	if t.blockedLocked() {
		p.Only = journal.Own
	}
	return delay
}

// logLocked appends a batch to the log's buffer and to the topic's nodes, and notes that it is not safe yet.
func (t *Topic) logLocked(b *Batch, p *journal.Publish) appended {
	d := t.d
	a := appended{count: b.n, bodies: b.bodies, due: p.Due != 0, voids: t.voidLocked()}
	if len(b.beside) > 0 {
		p.Properties = journal.AppendColumn(nil, 0, b.beside)
	}
	p.Sums = b.column()
	d.head = journal.AppendPublish(d.head[:0], *p)
	a.extent = t.keepLocked(b, p.First)
	body := a.extent.Brief()
	if t.led != nil { // its log keeps them
		body = a.extent.Frames()
	}
	a.at = d.log.Append(journal.KindPublish, d.head, body)
	shown := b.n
	if a.due {
		shown = 0
	}
	a.number = d.watermark.add(p.Last(), shown)
	return a
}

// keepLocked appends the batch to the topic's nodes, from a position on.
func (t *Topic) keepLocked(b *Batch, first Position) backlog.Extent {
	d := t.d
	if last := t.d.nodes.Last(); last != nil && last.End() != first {
		t.d.nodes.Close() // the positions of a node's messages follow each other
	}
	n := len(b.frames)
	extent, taken := t.d.nodes.Append(b.frames)
	extent = t.d.nodes.Note(extent, first, b.n)
	if len(b.sums) > 0 {
		t.d.nodes.NoteSums(extent, b.sums)
	}
	if taken {
		b.frames = nil
	}
	if d.tail == nil || d.tail.node != t.d.nodes.Last() {
		d.tail = d.table.add(t.d.nodes.Last())
	}
	d.tail.ids.addBatch(b, extent.Brief())
	d.next = first + Position(b.n)
	d.tail.end.Store(uint64(d.next))
	d.resident += b.n
	d.addMemory(int64(n))
	if len(b.beside) > 0 {
		d.keepBeside(first, b.beside)
	}
	return extent
}

// addMemory counts bytes of nodes in memory.
func (d *logStore) addMemory(n int64) {
	d.memory.Add(n)
	d.topic.registry.memory.add(n, 0)
}

// deferLocked defers messages that are in the node of the tail.
func (t *Topic) deferLocked(extent backlog.Extent, count int, at int64, targets []*Channel) {
	d := t.d
	s := d.tail
	frames := extent.Brief()
	m := inflight.Place{At: at, Pos: extent.Positions().First, Off: uint32(extent.Offset())}
	for range count {
		size := len(protocol.FirstMessage(frames))
		for _, c := range targets {
			if c == t.own {
				d.defersOwn.Store(true)
			}
			s.pins.Add(1)
			c.enter()
			c.machine.DeferPlace(m, size)
			c.exit()
		}
		frames = frames[size:]
		m.Pos++
		m.Off += uint32(size)
	}
}

// offerDurable gives the channel messages of the tail, which are not shown yet. An ephemeral channel takes as many as it has room for.
func (c *Channel) offerDurable(at backlog.Extent, count int) {
	c.enter()
	defer c.exit()
	c.machine.Accept(at, count)
}

// change appends a change of the topic to the log.
func (d *logStore) change(c journal.Change) { d.append(c) }

// append is change, and returns where it is.
func (d *logStore) append(c journal.Change) journal.Offset {
	c.Topic = d.id
	at := d.log.Append(journal.KindChange, journal.AppendChange(nil, c), nil)
	d.changed.Store(&at)
	return at
}

// skip says which position the topic's next message has, and what the topic's options are as of then, and returns where.
func (d *logStore) skip() journal.Offset {
	return d.append(journal.Change{Op: journal.OpSkip, Next: d.next, Options: d.options()})
}

// settle returns once the last change of the topic is in the log, also when another goroutine waits for it already. A change
// that cannot be written stays in force as long as the broker runs: consumers go on without a disk. One of a replicated topic goes with the
// lead.
func (d *logStore) settle() error {
	at := d.changed.Load()
	if at == nil {
		return nil
	}
	err := d.log.Commit(*at, d.levels.synced())
	first := d.changed.CompareAndSwap(at, nil)
	switch {
	case err != nil && d.topic.led != nil:
		return err
	case err != nil && first:
		d.health(err)
		d.topic.registry.log.Error("a change was not written to the log", "topic", d.topic.name, "error", err)
	}
	return nil
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
	if r.cfg.Unpromised != nil {
		return ErrUnpromised
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

// inherit moves the topic's own backlog to its channels. Each needs what of it has left the backlog.
func (d *logStore) inherit() {
	t := d.topic
	t.own.enterNow()
	e := t.own.machine.HandOver()
	t.own.exit()
	if e.Len() == 0 {
		return
	}
	if !slices.ContainsFunc(t.Channels(), func(c *Channel) bool { return !c.ephemeral }) {
		// Nobody has them who is there after a crash, or after this reign: who reads the log, or follows, lets go of them. Else the topic, or its next
		// channel, would need there what may be in no segment any more.
		t.own.mu.Lock()
		t.own.machine.Forgo(&e)
		t.own.mu.Unlock()
		d.change(journal.Change{Op: journal.OpEmpty})
	} else {
		d.change(journal.Change{Op: journal.OpInherit})
	}
	lists := e.Places()
	for _, c := range t.Channels() {
		for _, list := range lists {
			t.pinEach(list.All(), 1)
		}
		c.enterNow()
		c.began = e.Earliest(c.began)
		c.machine.Inherit(&e, d.next-1)
		if first := e.First(); first > 0 {
			c.logged = min(c.logged, first-1)
		}
		c.exit()
		c.measure()
		c.makeRoom(false)
	}
	for _, list := range lists {
		t.pinEach(list.All(), -1)
	}
}

// destroy removes what the log and the segments have of a topic that is deleted.
func (d *logStore) destroy() error {
	t := d.topic
	err := d.log.Commit(d.append(journal.Change{Op: journal.OpDeleteTopic}), true) // before the segments go
	d.health(err)
	d.dropKeys()
	t.registry.onDisk.Add(-d.onDisk.Swap(0))
	d.addMemory(-d.memory.Load())
	t.registry.dropped.Add(-int64(len(d.dropped)))
	d.dropped, d.dropping = nil, 0
	switch {
	case err != nil:
		return fmt.Errorf("the deletion of topic %s was not written, and its messages on disk stay until the next start: %w", t.name, err)
	case d.segments != nil:
		return d.segments.RemoveAll()
	}
	return nil
}
