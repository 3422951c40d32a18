package topic

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
)

// expiries is until when a topic's messages are of use that have a time to live of their own. It knows runs of messages that follow each
// other and expire in the same millisecond, by that time: 24 bytes each. A message that waits is taken out of every channel when its time
// is over, wherever it stands; for what is in flight or deferred then it is remembered, until nobody has such a message any more.
type expiries struct {
	next     atomic.Int64                    // when the next run expires, on the clock of deadlines; math.MaxInt64: there is none
	over     atomic.Pointer[channel.Expired] // nil: nothing
	unswept  atomic.Bool                     // some of that may still wait in channels
	sweeping atomic.Bool                     // a sweep runs
	swept    atomic.Int64                    // when the last one ended

	mu     sync.Mutex // guards what follows; nothing is locked under it
	index  inflight.DeferredIndex
	newest inflight.Place // the last run, which may grow; without messages there is none
}

const (
	sweepEvery     = 250 * time.Millisecond // at least between two sweeps of a topic's channels
	fewFresh       = 64                     // ranges that are not worth sorting in
	sweepPositions = 1 << 19                // that are taken out under one lock
	sweepRanges    = 1 << 13                // the same
)

func newExpiries() *expiries {
	e := &expiries{}
	e.next.Store(math.MaxInt64)
	return e
}

// run keeps how many messages a run has where a deferred message has its offset.
func run(first Position, count uint32, at int64) inflight.Place {
	return inflight.Place{At: at, Pos: first, Off: count}
}

func runRange(p inflight.Place) backlog.Range {
	return backlog.Range{First: p.Pos, Last: p.Pos + Position(p.Off) - 1}
}

// add notes messages that expire at a time, a millisecond early at most. It reports whether nothing else expires as soon.
func (e *expiries) add(first Position, count uint32, at int64) (sooner bool) {
	at -= at % int64(time.Millisecond)
	e.mu.Lock()
	defer e.mu.Unlock()
	n := &e.newest
	if n.Off > 0 && n.At == at && n.Pos+Position(n.Off) == first && n.Off <= math.MaxUint32-count {
		n.Off += count
		return false
	}
	if n.Off > 0 {
		e.index.Push(*n)
	}
	*n = run(first, count, at)
	if at < e.next.Load() {
		e.next.Store(at)
		return true
	}
	return false
}

// look returns which messages' time is over, nil when none is known of.
func (e *expiries) look(now int64) *channel.Expired {
	if now < e.next.Load() {
		return e.over.Load()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.newest.Off > 0 {
		e.index.Push(e.newest)
		e.newest = inflight.Place{}
	}
	var list []backlog.Range
	for {
		r, ok := e.index.Pop(now)
		if !ok {
			break
		}
		list = append(list, runRange(r))
	}
	next, ok := e.index.Next()
	if !ok {
		next = math.MaxInt64
	}
	e.next.Store(next)
	if len(list) > 0 {
		e.addOver(list)
		e.unswept.Store(true)
	}
	return e.over.Load()
}

func (e *expiries) addOver(list []backlog.Range) {
	o := e.over.Load()
	if o == nil {
		o = &channel.Expired{}
	}
	if len(o.Fresh)+len(list) <= fewFresh {
		e.over.Store(&channel.Expired{Sorted: o.Sorted, Fresh: journal.Merge(slices.Concat(o.Fresh, list))})
		return
	}
	e.over.Store(&channel.Expired{Sorted: journal.Merge(slices.Concat(o.Sorted, o.Fresh, list))})
}

// keep forgets what is over but for some that are still held, of what a sweep has looked at.
func (e *expiries) keep(held, looked []backlog.Range) {
	e.mu.Lock()
	defer e.mu.Unlock()
	since, _ := journal.CutAll(e.over.Load().All(), looked) // has expired meanwhile
	if list := journal.Merge(slices.Concat(held, since)); len(list) > 0 {
		e.over.Store(&channel.Expired{Sorted: list})
	} else {
		e.over.Store(nil)
	}
	e.unswept.Store(len(since) > 0)
}

// nextSweep returns when the channels are to be swept, math.MaxInt64 when nothing expires, or a sweep runs, whose end tells again.
func (e *expiries) nextSweep() int64 {
	if e.sweeping.Load() {
		return math.MaxInt64
	}
	at := e.next.Load()
	if e.unswept.Load() {
		at = 0
	}
	if at == math.MaxInt64 {
		return at
	}
	return max(at, e.swept.Load()+int64(sweepEvery))
}

// expireLocked notes until when messages that are published now are of use. Topic.pub is held.
func (t *Topic) expireLocked(first Position, count int, at int64) {
	e := t.expiries.Load()
	if e == nil {
		e = newExpiries()
		t.expiries.Store(e)
	}
	if e.add(first, uint32(count), at) {
		t.armSweep()
	}
}

// armSweep has the sweeper know when the topic's channels are to be swept: its own backlog stands for the topic.
func (t *Topic) armSweep() {
	t.own.enter()
	t.own.machine.Asks.Deadline = true
	t.own.exit()
}

// sweepExpired takes what is over out of all channels, beside the sweeper: it takes Topic.pub, which may be held over writes to disk.
func (t *Topic) sweepExpired() {
	e := t.expiries.Load()
	if e == nil || !e.sweeping.CompareAndSwap(false, true) {
		return
	}
	if !t.registry.spawn(func() {
		t.sweepChannels(e)
		e.swept.Store(t.registry.now())
		e.sweeping.Store(false)
		t.armSweep()
	}) {
		e.sweeping.Store(false)
	}
}

func (t *Topic) sweepChannels(e *expiries) {
	t.pub.Lock()
	defer t.pub.Unlock()
	looked := e.look(t.registry.now()).All()
	for rest := looked; len(rest) > 0 && !t.exiting.Load(); {
		var part []backlog.Range
		part, rest = firstPositions(rest)
		for _, c := range t.all() {
			c.dropWaiting(part)
		}
		if len(rest) > 0 {
			t.pub.Unlock() // for publishers
			t.pub.Lock()
		}
	}
	for _, c := range t.all() {
		c.dropReturned()
	}
	held := t.heldOf(looked)
	e.keep(held, looked)
	t.unshareExpired(looked, held)
}

// firstPositions returns the first of some ranges, as many as are looked at under one lock, and the others.
func firstPositions(list []backlog.Range) (part, rest []backlog.Range) {
	left := sweepPositions
	for i, r := range list {
		if i == sweepRanges || left == 0 {
			return list[:i], list[i:]
		}
		if r.Len() > left {
			end := r.First + Position(left) - 1
			rest = append([]backlog.Range{{First: end + 1, Last: r.Last}}, list[i+1:]...)
			return append(slices.Clone(list[:i]), backlog.Range{First: r.First, Last: end}), rest
		}
		left -= r.Len()
	}
	return list, nil
}

// dropWaiting discards messages whose time is over, as far as they wait and were never delivered. Topic.pub is held.
func (c *Channel) dropWaiting(list []backlog.Range) {
	c.enterNow()
	defer c.exit()
	c.machine.DropWaiting(list)
}

// dropReturned discards what was to be delivered again and is over.
func (c *Channel) dropReturned() {
	c.enterNow()
	defer c.exit()
	c.machine.DropReturned()
}

// heldOf returns which of some messages may still be in flight or deferred. Topic.pub is held.
func (t *Topic) heldOf(list []backlog.Range) (held []backlog.Range) {
	if len(list) == 0 {
		return nil
	}
	for _, s := range t.d.table.each() {
		if s.pins.Load() > 0 {
			held = append(held, within(list, s.first, Position(s.end.Load()))...)
		}
	}
	over := channel.Expired{Sorted: list}
	for _, c := range t.Channels() {
		if !c.ephemeral { // what an ephemeral channel has may be in no node of the topic
			continue
		}
		c.mu.Lock()
		c.machine.EachOut(func(pos Position, _ uint16) { // what is known by its place is pinned in its node
			if over.Has(pos) {
				held = append(held, backlog.Range{First: pos, Last: pos})
			}
		})
		c.mu.Unlock()
	}
	return journal.Merge(held)
}

// expirySnapshot is what a checkpoint has of a topic's times to live.
type expirySnapshot struct {
	runs      inflight.Snapshot
	over      []backlog.Range
	now, wall int64
}

// snapshotExpiry returns nil when no message has a time to live of its own. Topic.pub is held.
func (t *Topic) snapshotExpiry() *expirySnapshot {
	e := t.expiries.Load()
	if e == nil {
		return nil
	}
	s := &expirySnapshot{now: t.registry.now(), wall: time.Now().UnixNano()}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.runs, s.over = e.index.Snapshot(), e.over.Load().All()
	if e.newest.Off > 0 {
		s.runs = append(s.runs, []inflight.Place{e.newest})
	}
	return s
}

func (s *expirySnapshot) write(w *journal.Writer) {
	if s == nil {
		return
	}
	for m := range s.runs.All() {
		w.Expiry(journal.Expiry{First: m.Pos, Count: m.Off, At: s.wall + m.At - s.now})
	}
	for _, r := range s.over {
		for r.First <= r.Last {
			n := min(r.Last-r.First+1, math.MaxUint32)
			w.Expiry(journal.Expiry{First: r.First, Count: uint32(n), At: 1}) // long ago
			r.First += n
		}
	}
}

// expiries makes what a topic had of an earlier life.
func (b *builder) expiries() {
	nodes := b.topic.d.table.each()
	if len(b.state.Expiry) == 0 || len(nodes) == 0 {
		return
	}
	e := newExpiries()
	slices.SortFunc(b.state.Expiry, func(x, y journal.Expiry) int { return cmp.Compare(x.First, y.First) })
	for _, x := range b.state.Expiry {
		if x.First+Position(x.Count) > nodes[0].first {
			e.add(x.First, x.Count, b.now+max(x.At, 1)-b.wall)
		}
	}
	b.state.Expiry = nil
	b.topic.expiries.Store(e)
	b.topic.armSweep()
}

// lookBeside looks beside the sweeper, which must not wait for a disk, at what must be read before it is known whether its time is over.
func (c *Channel) lookBeside() {
	if c.reading.CompareAndSwap(false, true) && !c.topic.registry.spawn(c.lookCold) {
		c.reading.Store(false)
	}
}

// lookCold reads what waits for as long as it is over.
func (c *Channel) lookCold() {
	defer c.reading.Store(false)
	for first := true; ; first = false {
		c.enterNow()
		more := c.machine.LookOn(first)
		c.exit()
		if !more {
			return
		}
		c.fillBeside()
	}
}

// fillBeside is fill for a channel that nobody may consume. A topic's own backlog at level memory is moved under Topic.pub.
func (c *Channel) fillBeside() {
	if t := c.topic; c == t.own && t.d == nil {
		t.pub.Lock()
		defer t.pub.Unlock()
	}
	c.fill()
}
