package topic

import (
	"math"
	"sync"
	"sync/atomic"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/diskqueue/journal"
)

// watermark is up to which position a topic's messages are shown to consumers: the last one before which all are as safe as the topic's
// level, or their publish, asks for. So a publish that fails was never seen by anybody.
type watermark struct {
	shown atomic.Uint64 // stored under mu; consumers read it under their channel's lock

	mu      sync.Mutex // guards what follows; taken behind Topic.pub and before Channel.mu
	pending fifo.Queue[pendingPublish]
	popped  uint64        // publishes that have left pending
	moved   chan struct{} // closed with the next step, nil when nobody waits for it
}

// pendingPublish is a publish that is not known to be safe yet, or one behind such a one.
type pendingPublish struct {
	last  Position
	count int // messages that consumers can have at once, 0 when they are deferred or were withdrawn
	done  bool
	doubt *doubt // nil: nobody waits for what becomes of it
}

// everything is the watermark of a topic at level memory.
const everything = math.MaxUint64

func (w *watermark) position() Position { return Position(w.shown.Load()) }

// add notes a publish, in the order of the topic, and returns its number.
func (w *watermark) add(last Position, count int) (number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.Push(pendingPublish{last: last, count: count})
	return w.popped + uint64(w.pending.Len()) - 1
}

// done says that a publish is safe, or that it is withdrawn, and returns how many messages are shown now that were not.
func (w *watermark) done(number uint64, withdrawn bool) (count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pending.At(int(number - w.popped))
	p.done = true
	if p.doubt != nil {
		p.doubt.failed = withdrawn
		close(p.doubt.known)
		p.doubt = nil
	}
	if withdrawn {
		p.count = 0
	}
	for w.pending.Len() > 0 && w.pending.At(0).done {
		first := w.pending.Pop()
		w.popped++
		w.shown.Store(uint64(first.last))
		count += first.count
	}
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
	return count
}

// await returns once everything up to a position is shown, or withdrawn. What it waits for must be on its way: the log is synced up to
// there, and whoever has published it is about to say so.
func (w *watermark) await(last Position) {
	for w.position() < last {
		w.mu.Lock()
		if w.position() >= last {
			w.mu.Unlock()
			return
		}
		if w.moved == nil {
			w.moved = make(chan struct{})
		}
		moved := w.moved
		w.mu.Unlock()
		<-moved
	}
}

// appended is a publish that is in the log's buffer and in the channels, and not shown yet.
type appended struct {
	at     journal.Offset // of its record
	number uint64         // in the watermark
	extent backlog.Extent
	count  int
	bodies int
	due    bool
	voids  uint64 // how many ranges of the topic the records before it say to be void
}

// show gives consumers what is safe now. Whom that brings work is added to later, or woken where that is nil.
func (t *Topic) show(a *appended, withdrawn bool, later *Wakes) {
	count := t.d.watermark.done(a.number, withdrawn)
	for _, c := range t.Channels() {
		c.show(count, later)
	}
	if t.d.defersOwn.Load() || t.policy.Load() != nil {
		t.own.show(0, nil) // nobody consumes it: it has only to look at what was due before, and at its bounds
	}
}

func (c *Channel) show(count int, later *Wakes) {
	c.enter()
	more := c.machine.Show(count, later)
	c.exit()
	if more {
		c.makeRoom(false)
	}
}

// withdraw takes back a publish that was refused by the disk: nobody has seen it, nobody will.
func (t *Topic) withdraw(a *appended) {
	t.pub.Lock()
	r := a.extent.Positions()
	for _, c := range t.all() {
		c.enter()
		c.machine.Withdraw(a.extent, a.due)
		c.exit()
	}
	t.messages.Add(-uint64(a.count))
	t.bytes.Add(-uint64(a.bodies))
	t.d.keys.Forget(r)
	t.d.accountKeys()
	t.d.voids.add(r)
	t.d.retain.unshare(r)
	t.voidLocked() // before consumers pass over them
	t.pub.Unlock()
	t.show(a, true, nil)
}

// voids are the positions of publishes that have failed, as long as the log may not say so.
type voids struct {
	list  []backlog.Range
	total uint64 // that there ever were
}

func (v *voids) add(r backlog.Range) {
	v.list = append(v.list, r)
	v.total++
}

// written forgets the first of all there ever were: a commit has succeeded behind their records.
func (v *voids) written(total uint64) {
	keep := min(uint64(len(v.list)), v.total-total)
	v.list = v.list[uint64(len(v.list))-keep:]
}

// voidLocked writes down which positions are void, before the next record of the topic: again and again, until a commit behind that
// has succeeded. What an import counts by goes first, or the next one would pass over as many messages. It returns how many ranges there ever
// were. Topic.pub is held.
func (t *Topic) voidLocked() uint64 {
	d := t.d
	if d.imports != nil && len(d.voids.list) > 0 {
		d.skip()
	}
	var runs journal.Runs
	for _, r := range d.voids.list {
		for part := r; part.First <= r.Last; part.First = part.Last + 1 {
			part.Last = min(r.Last, part.First+voidPositions-1)
			runs.BeginVoid(d.id)
			runs.AddRange(part)
			d.log.Append(journal.KindVoid, runs.Record(), nil)
		}
	}
	return d.voids.total
}

// voidPositions is how many positions one Void record holds at most.
const voidPositions = 1 << 20

// voidsWritten says that a commit has succeeded behind the records of so many void ranges.
func (t *Topic) voidsWritten(total uint64) {
	if total == 0 {
		return
	}
	t.pub.Lock()
	defer t.pub.Unlock()
	t.d.voids.written(total)
}
