package topic

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
)

// errGone is a channel that exits; who asked for it by name asks again.
var errGone = errors.New("channel is exiting")

// Channel is what one group of consumers still has to get of a topic: a machine, the lock that guards it, and what its topic's store
// knows of it.
type Channel struct {
	topic     *Topic
	name      string // empty for a topic's own backlog
	born      uint64 // differs from that of every other channel
	id        uint32 // in the node's log; 0 for a topic's own backlog
	ephemeral bool   // not kept on disk, and goes with its last consumer

	paused   atomic.Bool
	reading  atomic.Bool                     // lookCold runs
	set      atomic.Pointer[policy.Set]      // options that were set for it; set under Topic.pub
	disk     atomic.Pointer[nsqdata.Queue]   // nil until it overflows; set under Topic.pub
	latency  atomic.Pointer[LatencyObserver] // nil until a message is finished
	lostSum  atomic.Bool                     // it was told that its sum does not add up
	unsaved  atomic.Int64                    // messages that the final save has yet to write
	room     chan struct{}                   // tells the publisher that asked with wantRoom
	sweepPos int                             // place in the sweeper's heap; the sweeper's

	mu      sync.Mutex // guards what follows
	machine channel.Machine
	armed   int64    // deadline that the sweeper knows
	records *records // where the log's records are made, nil until there is one
	logged  Position // the log says that the backlog was left up to here
	began   Position // of earlier messages nobody knows whether the channel ever had them; 0: of none
	quiet   *quiet   // for idle_delete; nil until it is looked at

	redrive *redrive // of dead letters that go back to the channel, the last one; nil: none ever did

	waitingBytes, flyingBytes int // of bodies, as the node's account has them
}

func newChannel(t *Topic, name string, ephemeral bool) *Channel {
	c := &Channel{topic: t, name: name, born: t.registry.born.Add(1), armed: math.MaxInt64, sweepPos: -1}
	c.ephemeral = ephemeral || t.ephemeral && name == ""
	bound := t.registry.cfg.MemQueueSize
	if bound == 0 && !c.onDiskAllowed() {
		bound = ephemeralBound
	}
	c.machine.Init(&t.registry.rules, bound, c.ephemeral)
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
	at := &c.machine.At // field by field: it is long, and this is done for every batch
	at.Now, at.Stamp, at.Final, at.Over, at.Jumps = 0, 0, false, nil, nil
	at.Crowded, at.Flooded, at.Shown, at.Held = r.memory.crowded(), r.memory.flooded(), c.topic.store.shown(), c.held()
	at.Disk, at.Limits = c.diskDepth(), &r.limits.Load().answers
	if c.machine.Policy() != nil {
		at.Final = c.topic.deadLetters.Load()
	}
	if r.rules.TopologyAware {
		at.Now = r.now()
	}
}

// enterNow is enter with the time.
func (c *Channel) enterNow() {
	c.enter()
	at := &c.machine.At
	at.Now = c.topic.registry.now()
	at.Stamp = c.topic.registry.stampOf(at.Now)
	if at.Floor = 0; c.topic.d != nil {
		at.Floor = c.topic.d.retain.from()
	}
	if e := c.topic.expiries.Load(); e != nil {
		at.Over = e.look(at.Now)
	}
	if c.machine.Policy() != nil {
		at.Jumps = c.topic.registry.jumps.Load()
	}
}

// exit sees to what the machine has left: what is to be kept, and what it asks for.
func (c *Channel) exit() {
	if e := c.machine.Left(); e.Any() {
		c.topic.store.note(c, e)
		e.Reset()
	}
	if c.machine.Asks != (channel.Asks{}) {
		c.grant()
	}
	if waiting, flying := c.machine.Bytes(); waiting != c.waitingBytes || flying != c.flyingBytes {
		c.topic.registry.memory.add(int64(waiting-c.waitingBytes), int64(flying-c.flyingBytes))
		c.waitingBytes, c.flyingBytes = waiting, flying
	}
	c.mu.Unlock()
}

// recheckDelay is how soon a channel is looked at again that somebody does not come to, or whose messages could not be read just now.
const recheckDelay = 100 * time.Millisecond

func (c *Channel) grant() {
	m := &c.machine
	if m.Asks.Bury {
		c.burying()
	}
	at, ok := int64(math.MaxInt64), false
	if m.Asks.Deadline {
		at, ok = c.sweptWith(m.Deadline())
	}
	if m.Asks.Recheck {
		if soon := c.topic.registry.now() + int64(recheckDelay); !ok || soon < at {
			at, ok = soon, true
		}
	}
	if m.Asks.Room {
		select {
		case c.room <- struct{}{}:
		default: // it knows already
		}
	}
	m.Asks = channel.Asks{}
	if ok && at < c.armed && !m.Exiting() {
		c.armed = at
		c.topic.registry.sweep.arm(c, at)
	}
}

// sweptWith returns the earlier of a deadline, if there is one, and of when the channels of the topic are to be swept, if this one stands for them.
func (c *Channel) sweptWith(at int64, ok bool) (int64, bool) {
	if e := c.topic.expiries.Load(); e != nil && c == c.topic.own {
		if next := e.nextSweep(); next < math.MaxInt64 && (!ok || next < at) {
			at, ok = next, true
		}
	}
	return at, ok
}

// expire brings back what is due, for the sweeper, which has forgotten the channel.
func (c *Channel) expire(now int64) {
	c.enterNow()
	c.machine.At.Now = now
	c.armed = math.MaxInt64
	if c.machine.Sweep(sweepBatch) {
		c.lookBeside()
	}
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
	c.machine.Resettle()
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
	list := make([]*Subscription, 0, len(c.machine.Consumers()))
	for _, s := range c.machine.Consumers() {
		list = append(list, s.Ref.(*Subscription))
	}
	return list
}

// offer gives the channel count messages that the topic has in memory, if it has room. Topic.pub is held.
func (c *Channel) offer(at backlog.Extent, count int, later *Wakes) bool {
	c.enter()
	defer c.exit()
	return c.machine.Offer(at, count, later)
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
	if !c.machine.WantsRoom(count) {
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
	c.machine.Clear(journal.Emptied)
	c.changed(journal.Change{Op: journal.OpEmpty})
	c.exit()
	return err
}

// beginExit refuses new consumers and reports whether this call was the first.
func (c *Channel) beginExit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Exit()
}

// destroy drops all messages and files and closes the consumers. Topic.pub is held and the channel exits.
func (c *Channel) destroy() error {
	c.enter()
	c.topic.store.release(c)
	c.machine.Clear(journal.Deleted)
	subs := slices.Clone(c.machine.Consumers()) // they leave while they are closed
	c.exit()
	c.topic.registry.sweep.forget(c)
	for _, s := range subs {
		s.Owner.Close()
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
