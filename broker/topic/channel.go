package topic

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
	"brokerd/protocol"
)

// errGone is a channel that exits; who asked for it by name asks again.
var errGone = errors.New("channel is exiting")

// retry is a message that waits to be delivered again.
type retry struct {
	frame    protocol.MessageFrame
	pos      Position
	turn     uint64 // it goes once so many fresh messages were given out
	attempts uint16 // deliveries so far
}

// Channel is what one group of consumers still has to get of a topic.
type Channel struct {
	topic     *Topic
	name      string // empty for a topic's own backlog
	queueName string // of its overflow on disk
	born      uint64 // differs from that of every other channel
	id        uint32 // in the node's log; 0 for a topic's own backlog
	ephemeral bool
	bound     int // messages in memory

	paused   atomic.Bool
	disk     atomic.Pointer[nsqdata.Queue]   // nil until it overflows; set under Topic.pub
	latency  atomic.Pointer[LatencyObserver] // nil until a message is finished
	unsaved  atomic.Int64                    // messages that the final save has yet to write
	room     chan struct{}                   // tells the publisher that asked with wantRoom
	sweepPos int                             // place in the sweeper's heap; the sweeper's

	mu                 sync.Mutex // guards what follows
	exiting            bool
	mem                backlog.Queue
	taken              uint64             // fresh messages ever given out
	turn               uint64             // of the message that came back last
	retries            fifo[retry]        // to be delivered again, by turn
	loaded             fifo[retry]        // of absent: in memory now
	absent             inflight.Line      // to be delivered again once their bodies are in memory, by turn
	loading            []inflight.Shelved // of absent: on their way into memory
	inflight           inflight.Set[*Subscription]
	deferred           inflight.Deferred
	shelf              inflight.Shelf  // deferred, of a durable topic: the bodies are in its nodes
	early              inflight.Line   // of those: due, and not shown yet
	void               []backlog.Range // of those: their publish has failed
	offered, inherited Position        // of the last publish; of the topic when its own backlog moved here last
	told               Position        // the log says that mem was left up to here
	subs               []*Subscription
	waiting            parked        // consumers that have credit and nothing to do
	woken              int           // consumers that were woken and have not taken yet
	meant              int           // messages that those are to have
	latest             *Subscription // the consumer that was woken last
	want               int           // messages that a publisher waits to put in memory
	lossy              bool          // a channel without a disk has discarded, and is still over half full
	armed              int64         // deadline that the sweeper knows
	active             bool          // taken from since the last trim

	overflowing bool // new messages go to disk
	filling     bool // one consumer reads from disk
	spilled     int  // messages on disk or on their way from there
	epoch       int  // counts Empty, so that what is on its way from disk is dropped too

	n      counters
	delays *delays // nil until it has delivered
	newest int64   // when the message was published that was last delivered for the first time

	runs, drops journal.Runs // scratch for the log
	defers      journal.Deferrals
}

// counters only ever grow, but for publishes that are withdrawn.
type counters struct {
	journal.Counts
	adopted                           uint64 // of Accepted: those of an earlier life of the daemon
	requeued, timedOut, disconnected  uint64
	zoneLocal, regionLocal, elsewhere uint64
}

func newChannel(t *Topic, name, queueName string, ephemeral bool) *Channel {
	cfg := &t.registry.cfg
	c := &Channel{topic: t, name: name, queueName: queueName, ephemeral: ephemeral || t.ephemeral && name == "",
		born: t.registry.born.Add(1), bound: cfg.MemQueueSize, armed: math.MaxInt64, sweepPos: -1}
	if c.bound == 0 && !c.onDiskAllowed() {
		c.bound = ephemeralBound
	}
	return c
}

// onDiskAllowed reports whether the channel may overflow to disk.
func (c *Channel) onDiskAllowed() bool { return !c.ephemeral && c.topic.registry.cfg.Queues != nil }

// Name returns the channel's name.
func (c *Channel) Name() string { return c.name }

// Topic returns the topic that the channel reads.
func (c *Channel) Topic() *Topic { return c.topic }

// Ephemeral reports whether the channel is not kept on disk and goes with its last consumer.
func (c *Channel) Ephemeral() bool { return c.ephemeral }

// Paused reports whether consumers get nothing.
func (c *Channel) Paused() bool { return c.paused.Load() }

// Latency returns the observer of finished messages, nil when there is none.
func (c *Channel) Latency() LatencyObserver {
	if p := c.latency.Load(); p != nil {
		return *p
	}
	return nil
}

// SetPaused stops or resumes the delivery. Timeouts and what consumers answer go on.
func (c *Channel) SetPaused(paused bool) {
	if c.paused.Swap(paused) == paused {
		return
	}
	if c.logged() {
		c.topic.d.change(journal.Change{Op: journal.OpPause, Channel: c.id, Paused: paused})
	}
	c.mu.Lock()
	for _, s := range c.subs {
		if paused {
			s.owner.Wake() // for what it has taken and not sent: no more company is to come
		} else {
			c.settleLocked(s, nil)
		}
	}
	c.mu.Unlock()
	c.topic.settle()
	c.topic.registry.changed()
}

// restorePause is SetPaused of a channel that nobody knows yet.
func (c *Channel) restorePause(paused bool) {
	if c.paused.Swap(paused) != paused && c.logged() {
		c.topic.d.change(journal.Change{Op: journal.OpPause, Channel: c.id, Paused: paused})
	}
}

// Subscriptions returns the channel's consumers.
func (c *Channel) Subscriptions() []*Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Subscription(nil), c.subs...)
}

// offer gives the channel count messages that the topic has in memory, if it has room. Topic.pub is held.
func (c *Channel) offer(at backlog.Extent, count int, later *Wakes) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overflowing && !c.filling && c.diskDepth() == 0 {
		c.drainedLocked()
	}
	if c.overflowing || c.mem.Len()+count > c.bound {
		return false
	}
	if c.lossy && 2*c.mem.Len() < c.bound {
		c.lossy = false
	}
	if c.lossy {
		at = detached(at, count)
	}
	c.addLocked(at, count)
	if c.topic.d == nil {
		c.wakeLocked(count, later)
	}
	return true
}

// addLocked gives the channel messages.
func (c *Channel) addLocked(at backlog.Extent, count int) {
	c.mem.Add(at, count)
	c.n.Accepted += uint64(count)
	c.offered = max(c.offered, at.Positions().Last)
}

// squeeze gives a channel that has no disk as many of the messages as it has room for, and discards the others.
func (c *Channel) squeeze(at backlog.Extent, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(count, max(0, c.bound-c.mem.Len()))
	c.n.Accepted += uint64(count - n)
	c.n.Discarded[journal.EphemeralOverflow] += uint64(count - n)
	c.lossy = c.lossy || n < count
	if n == 0 {
		return
	}
	c.addLocked(detached(at, n), n)
	if c.topic.d == nil {
		c.wakeLocked(n, nil)
	}
}

// detached returns a copy of the first count messages. What a channel keeps of a stream that it mostly discards must not keep
// the nodes in which it came.
func detached(at backlog.Extent, count int) backlog.Extent {
	frames := at.Node().Frames()[at.Offset():]
	size := 0
	for range count {
		size += len(protocol.FirstMessage(frames[size:]))
	}
	return backlog.Detached(slices.Clone(frames[:size]), at.Positions().First, count)
}

// force gives the channel messages for which it has no room. Topic.pub is held.
func (c *Channel) force(at backlog.Extent, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(at, count)
	c.wakeLocked(count, nil)
}

// wantRoom returns what tells when count messages may fit into memory, or nil when it is not worth waiting: the channel
// overflows already, could never hold that many, or nobody consumes.
func (c *Channel) wantRoom(count int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overflowing || len(c.subs) == 0 || c.held() || count > c.bound || c.exiting {
		return nil
	}
	if c.room == nil {
		c.room = make(chan struct{}, 1)
	}
	select {
	case <-c.room:
	default:
	}
	c.want = max(count, c.bound/16)
	if c.mem.Len()+count <= c.bound { // consumers have made it since
		c.want = 0
		c.room <- struct{}{}
	}
	return c.room
}

// hold defers a message.
func (c *Channel) hold(d inflight.Due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.Accepted++
	c.deferred.Push(d)
	c.armLocked()
}

// surrender takes out all that waits in memory or is deferred: a topic's own backlog moves to its channels.
func (c *Channel) surrender() (mem backlog.Queue, deferred []inflight.Due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expireLocked(c.topic.registry.now(), math.MaxInt)
	mem = c.mem
	c.mem.Clear()
	c.deferred.Clear(func(d inflight.Due) { deferred = append(deferred, d) })
	for c.retries.len() > 0 {
		// Only what was deferred and has become due stands here.
		deferred = append(deferred, inflight.Due{Frame: c.retries.pop().frame})
	}
	c.n.Accepted -= uint64(mem.Len() + len(deferred))
	return mem, deferred
}

// inherit takes in what a topic's own backlog surrendered.
func (c *Channel) inherit(mem *backlog.Queue, deferred []inflight.Due) {
	if mem.Len()+len(deferred) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.Accepted += uint64(mem.Len() + len(deferred))
	c.mem.AddQueue(mem)
	for _, d := range deferred {
		c.deferred.Push(d)
	}
	c.wakeLocked(mem.Len(), nil)
	c.armLocked()
}

// Empty drops all messages: waiting, deferred, in flight and on disk.
func (c *Channel) Empty() error {
	c.topic.pub.Lock()
	err := c.empty()
	c.topic.pub.Unlock()
	c.topic.settle()
	return err
}

// empty is Empty with Topic.pub held.
func (c *Channel) empty() (err error) {
	// The disk goes first: what a consumer has just read from there is dropped with the rest.
	if q := c.disk.Load(); q != nil {
		if err = q.Empty(); err != nil {
			err = fmt.Errorf("emptying the queue %s: %w", c.queueName, err)
		}
	}
	c.mu.Lock()
	c.clearLocked(journal.Emptied)
	if c.logged() {
		c.topic.d.change(journal.Change{Op: journal.OpEmpty, Channel: c.id})
	}
	c.mu.Unlock()
	return err
}

func (c *Channel) clearLocked(why journal.Reason) {
	c.n.Discarded[why] += uint64(c.heldLocked())
	c.unpinAllLocked()
	c.mem.Clear()
	c.retries, c.loaded, c.loading = fifo[retry]{}, fifo[retry]{}, nil
	c.absent.Clear()
	c.shelf.Clear()
	c.early.Clear()
	c.void = nil
	c.turn = 0
	c.inflight.Clear(nil)
	c.inflight.Trim()
	c.deferred.Clear(nil)
	c.spilled = 0
	c.epoch++
	for _, s := range c.subs {
		s.inflight = 0
		c.settleLocked(s, nil)
	}
}

// unpinAllLocked says that the channel needs nothing of what has left its backlog any more.
func (c *Channel) unpinAllLocked() {
	if c.topic.d == nil {
		return
	}
	var p pins
	unpin := func(pos Position) { p.add(&c.topic.d.table, pos, -1) }
	c.eachOutLocked(func(pos Position, _ uint16) { unpin(pos) }, func(d *inflight.Due) { unpin(d.Pos) })
	for _, list := range [...]inflight.Snapshot{c.absent.Snapshot(), c.shelf.Snapshot(), c.early.Snapshot()} {
		for m := range list.All() {
			unpin(m.Pos)
		}
	}
	p.flush()
}

// eachOutLocked calls out with all messages that have left the backlog and are not shelved, and deferred with those that are deferred
// with their bodies.
func (c *Channel) eachOutLocked(out func(pos Position, attempts uint16), deferred func(*inflight.Due)) {
	c.inflight.Each(out)
	c.retries.each(func(r *retry) { out(r.pos, r.attempts) })
	c.loaded.each(func(r *retry) { out(r.pos, r.attempts) })
	for _, m := range c.loading {
		out(m.Pos, m.Attempts)
	}
	c.deferred.Each(func(d inflight.Due) { deferred(&d) })
}

// beginExit refuses new consumers and reports whether this call was the first.
func (c *Channel) beginExit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.exiting
	c.exiting = true
	return first
}

// destroy drops all messages and files and closes the consumers. Topic.pub is held and the channel exits.
func (c *Channel) destroy() error {
	c.mu.Lock()
	c.clearLocked(journal.Deleted)
	subs := append([]*Subscription(nil), c.subs...) // they leave while they are closed
	c.mu.Unlock()
	c.topic.registry.sweep.forget(c)
	for _, s := range subs {
		s.owner.Close()
	}
	if q := c.disk.Swap(nil); q != nil {
		return q.Delete()
	}
	return nil
}

// backlogLocked returns the messages that wait, those on disk not counted. Not all of them may be shown yet.
func (c *Channel) backlogLocked() int { return c.mem.Len() + c.returnedLocked() }

// returnedLocked returns how many messages are to be delivered again.
func (c *Channel) returnedLocked() int {
	return c.retries.len() + c.loaded.len() + c.absent.Len() + len(c.loading)
}

// deferredLocked returns how many messages are deferred.
func (c *Channel) deferredLocked() int { return c.deferred.Len() + c.shelf.Len() + c.early.Len() }

// heldLocked returns how many messages the channel has.
func (c *Channel) heldLocked() int {
	return c.backlogLocked() + c.spilled + c.deferredLocked() + c.inflight.Len()
}

// checkLocked returns what is wrong with the books: each accepted message must be in exactly one state.
func (c *Channel) checkLocked() error {
	if c.n.Gone()+uint64(c.heldLocked()) != c.n.Accepted {
		return fmt.Errorf("channel %s: accepted %d but finished %d, discarded %v, backlog %d, on disk %d, deferred %d, in flight %d",
			c.name, c.n.Accepted, c.n.Finished, c.n.Discarded, c.backlogLocked(), c.spilled, c.deferredLocked(), c.inflight.Len())
	}
	owned := 0
	for _, s := range c.subs {
		owned += s.inflight
	}
	if owned != c.inflight.Len() {
		return fmt.Errorf("channel %s: %d in flight, but its consumers count %d", c.name, c.inflight.Len(), owned)
	}
	return nil
}
