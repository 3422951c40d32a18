package topic

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
)

// errGone is a channel that exits; who asked for it by name asks again.
var errGone = errors.New("channel is exiting")

// Channel is what one group of consumers still has to get of a topic: a machine, the lock that guards it, and what its topic's store
// knows of it.
type Channel struct {
	topic *Topic
	name  string // empty for a topic's own backlog
	born  uint64 // differs from that of every other channel
	id    uint32 // in the node's log; 0 for a topic's own backlog

	paused   atomic.Bool
	reading  atomic.Bool                     // lookCold runs
	set      atomic.Pointer[policy.Set]      // options that were set for it; set under Topic.pub
	disk     atomic.Pointer[nsqdata.Queue]   // nil until it overflows; set under Topic.pub
	latency  atomic.Pointer[LatencyObserver] // nil until a message is finished
	lostSum  atomic.Bool                     // it was told that its sum does not add up
	unsaved  atomic.Int64                    // messages that the final save has yet to write
	room     chan struct{}                   // tells the publisher that asked with wantRoom
	sweepPos int                             // place in the sweeper's heap; the sweeper's

	mu sync.Mutex // guards what follows
	machine
	armed   int64    // deadline that the sweeper knows
	records *records // where the log's records are made, nil until there is one
	logged  Position // the log says that the backlog was left up to here
	began   Position // of earlier messages nobody knows whether the channel ever had them; 0: of none
	quiet   *quiet   // for idle_delete; nil until it is looked at

	counted *countedAhead // nil unless there was much to count

	redrive *redrive // of dead letters that go back to the channel, the last one; nil: none ever did

	waitingBytes, flyingBytes int // of bodies, as the node's account has them
}

func newChannel(t *Topic, name string, ephemeral bool) *Channel {
	c := &Channel{topic: t, name: name, born: t.registry.born.Add(1), armed: math.MaxInt64, sweepPos: -1}
	c.rules, c.bound = &t.registry.rules, t.registry.cfg.MemQueueSize
	c.ephemeral = ephemeral || t.ephemeral && name == ""
	if c.bound == 0 && !c.onDiskAllowed() {
		c.bound = ephemeralBound
	}
	return c
}

// queueName returns the name of its overflow on disk.
func (c *Channel) queueName() string {
	if c.name == "" {
		return nsqdata.TopicQueueName(c.topic.name)
	}
	return nsqdata.ChannelQueueName(c.topic.name, c.name)
}

// enter takes the lock and tells the machine what it must know of the moment but the time; exit gives it up.
func (c *Channel) enter() {
	c.mu.Lock()
	r := c.topic.registry
	at := &c.at // field by field: it is long, and this is done for every batch
	at.now, at.stamp, at.final, at.over, at.jumps = 0, 0, false, nil, nil
	at.crowded, at.flooded, at.shown, at.held = r.memory.crowded(), r.memory.flooded(), c.topic.store.shown(), c.held()
	at.disk, at.limits = c.diskDepth(), r.limits.Load()
	if c.policy != nil {
		c.at.final = c.topic.deadLetters.Load()
	}
	if c.rules.topology {
		c.at.now = c.topic.registry.now()
	}
}

// enterNow is enter with the time.
func (c *Channel) enterNow() {
	c.enter()
	c.at.now = c.topic.registry.now()
	c.at.stamp = c.topic.registry.stampOf(c.at.now)
	if c.at.floor = 0; c.topic.d != nil {
		c.at.floor = c.topic.d.retain.from()
	}
	if e := c.topic.expiries.Load(); e != nil {
		c.at.over = e.look(c.at.now)
	}
	if c.policy != nil {
		c.at.jumps = c.topic.registry.jumps.Load()
	}
}

// exit sees to what the machine has left: what is to be kept, and what it asks for.
func (c *Channel) exit() {
	if c.keep.any() {
		if c.order != nil {
			c.turnsLeft()
		}
		c.topic.store.note(c, c.keep)
		c.keep.reset()
	}
	if c.asks != (asks{}) {
		c.grant()
	}
	if waiting, flying := c.mem.Bytes(), c.inflight.Bytes(); waiting != c.waitingBytes || flying != c.flyingBytes {
		c.topic.registry.memory.add(int64(waiting-c.waitingBytes), int64(flying-c.flyingBytes))
		c.waitingBytes, c.flyingBytes = waiting, flying
	}
	c.mu.Unlock()
}

// recheckDelay is how soon a channel is looked at again that somebody does not come to, or whose messages could not be read just now.
const recheckDelay = 100 * time.Millisecond

func (c *Channel) grant() {
	if c.asks.bury {
		c.burying()
	}
	at, ok := int64(math.MaxInt64), false
	if c.asks.deadline {
		at, ok = c.deadline()
		at, ok = c.deadlineOfAge(at, ok)
	}
	if c.asks.recheck {
		if soon := c.topic.registry.now() + int64(recheckDelay); !ok || soon < at {
			at, ok = soon, true
		}
	}
	if c.asks.room {
		select {
		case c.room <- struct{}{}:
		default: // it knows already
		}
	}
	c.asks = asks{}
	if ok && at < c.armed && !c.exiting {
		c.armed = at
		c.topic.registry.sweep.arm(c, at)
	}
}

// expire brings back what is due, for the sweeper, which has forgotten the channel.
func (c *Channel) expire(now int64) {
	c.enterNow()
	c.at.now = now
	c.armed = math.MaxInt64
	c.machine.expire(sweepBatch)
	c.forsakeStalled()
	c.lookAround()
	c.asks.deadline = true
	c.nudge()
	c.exit()
	if e := c.topic.expiries.Load(); e != nil && c == c.topic.own && e.nextSweep() <= now {
		c.topic.sweepExpired()
	}
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

// SetPaused stops or resumes the delivery. Timeouts and what consumers answer go on. It fails with ErrNotLeader.
func (c *Channel) SetPaused(paused bool) error {
	if c.paused.Swap(paused) == paused {
		return c.topic.store.settle() // who was first may wait for it still
	}
	c.changed(journal.Change{Op: journal.OpPause, Paused: paused})
	c.enter()
	for _, s := range c.subs {
		if paused {
			s.owner.Wake() // for what it has taken and not sent: no more company is to come
		} else {
			c.settle(s, nil)
		}
	}
	c.exit()
	err := c.topic.store.settle()
	c.topic.registry.changed()
	return err
}

// restorePause is SetPaused of a channel that nobody knows yet.
func (c *Channel) restorePause(paused bool) {
	if c.paused.Swap(paused) != paused {
		c.changed(journal.Change{Op: journal.OpPause, Paused: paused})
	}
}

// changed tells the store of a change of the channel, unless it is not kept.
func (c *Channel) changed(change journal.Change) {
	if !c.ephemeral {
		change.Channel = c.id
		c.topic.store.change(change)
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
	c.enter()
	defer c.exit()
	if !c.machine.offer(at, count) {
		return false
	}
	if c.policy != nil {
		c.machine.makeRoom()
	}
	c.wake(min(count, c.visible()), later)
	return true
}

// wantRoom returns what tells when count messages may fit into memory, or nil when it is not worth waiting.
func (c *Channel) wantRoom(count int) <-chan struct{} {
	c.enter()
	defer c.exit()
	if c.room == nil {
		c.room = make(chan struct{}, 1)
	}
	select {
	case <-c.room:
	default:
	}
	if !c.wantsRoom(count) {
		return nil
	}
	return c.room
}

// Empty drops all messages: waiting, deferred, in flight and on disk.
func (c *Channel) Empty() error {
	c.topic.pub.Lock()
	err := c.empty()
	c.topic.pub.Unlock()
	return errors.Join(err, c.topic.store.settle())
}

// empty is Empty with Topic.pub held.
func (c *Channel) empty() error {
	err := c.topic.store.empty(c) // first: what a consumer has just read from there is dropped with the rest
	c.enter()
	c.topic.store.release(c)
	c.clear(journal.Emptied)
	c.changed(journal.Change{Op: journal.OpEmpty})
	c.exit()
	return err
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
	c.enter()
	c.topic.store.release(c)
	c.clear(journal.Deleted)
	subs := slices.Clone(c.subs) // they leave while they are closed
	c.exit()
	c.topic.registry.sweep.forget(c)
	for _, s := range subs {
		s.owner.Close()
	}
	if q := c.disk.Swap(nil); q != nil {
		return q.Delete()
	}
	return nil
}

// fill brings the next messages into memory. The caller has set filling and holds no lock. It reports whether there were any.
func (c *Channel) fill() bool { return c.topic.store.fill(c) }

// observe reports how long finished messages took since they were accepted.
func (c *Channel) observe(accepted []int64) {
	p := c.latency.Load()
	if p == nil {
		o := c.topic.registry.cfg.Latency()
		if !c.latency.CompareAndSwap(nil, &o) {
			p = c.latency.Load()
		} else {
			p = &o
		}
	}
	now := time.Now().UnixNano()
	for _, at := range accepted {
		(*p).Observe(now - at)
	}
}
