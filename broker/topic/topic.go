package topic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Topic is one sequence of messages and the channels that read it.
type Topic struct {
	registry  *Registry
	name      string
	ephemeral bool
	own       *Channel   // holds the messages while no channel may get them
	alone     []*Channel // own, as a list
	store     store
	d         *logStore // the same, nil at level memory: for what only a log has
	led       *Led      // of the group of replicas that the topic is in; nil: it is in none

	yields atomic.Pointer[yielding] // not nil: it is to give way to a replicated one; set under Registry.mu

	exiting  atomic.Bool   // it is being deleted, or the broker stops
	deleted  atomic.Bool   // it is being deleted
	messages atomic.Uint64 // accepted
	bytes    atomic.Uint64 // of their bodies
	refused  atomic.Uint64 // because of a bound

	duplicates atomic.Uint64 // messages that were not stored, as their deduplication key had been seen
	forgotten  atomic.Uint64 // such keys that were forgotten early
	remembered atomic.Int64  // such keys
	unkept     atomic.Uint64 // messages that were answered at once, and then refused by the disk
	uses       atomic.Uint64 // channels and consumers that ever came, and consumers that left

	// channels is sorted by name and never changed, only replaced, under pub; atomic so that readers never wait for a disk.
	channels atomic.Pointer[[]*Channel]
	paused   atomic.Bool              // set under pub
	expiries atomic.Pointer[expiries] // nil until a message has a time to live of its own; set under pub
	chosen   atomic.Bool              // at level memory: somebody has chosen that for this topic

	set    atomic.Pointer[policy.Set]    // options that were set for it; set under pub
	policy atomic.Pointer[policy.Policy] // what holds for it, as own has it too; nil: all defaults

	deadLetters atomic.Bool // messages that other topics gave up have come here; set under pub, and kept in the log

	pub      sync.Mutex // guards what follows, and the order of messages
	learning bool       // its channels are not known yet
	active   bool       // published to since the last trim
	quiet    quiet      // for idle_delete
}

// newTopic returns a topic with what its queue on disk holds. It gives nothing to its channels while it is learning.
func newTopic(r *Registry, name string, learning bool, level Level) (*Topic, error) {
	t := r.makeTopic(name, learning, level)
	err := t.store.adopt(t.own)
	t.own.measure()
	return t, err
}

// makeTopic returns a topic that holds nothing.
func (r *Registry) makeTopic(name string, learning bool, level Level) *Topic {
	t := &Topic{registry: r, name: name, ephemeral: protocol.IsEphemeral(name), learning: learning}
	t.store = &memoryStore{topic: t}
	if level > Memory && !t.ephemeral {
		t.d = newLogStore(t, r.lastID.Add(1))
		t.d.levels.now.Store(uint32(level))
		t.store = t.d
	}
	t.setOwn(newChannel(t, "", t.ephemeral))
	t.channels.Store(new([]*Channel))
	t.applyOptionsLocked()
	return t
}

func (t *Topic) setOwn(c *Channel) { t.own, t.alone = c, []*Channel{c} }

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// Ephemeral reports whether the topic is not kept on disk and goes with its last channel.
func (t *Topic) Ephemeral() bool { return t.ephemeral }

// Exiting reports whether the topic is being deleted or the broker stops.
func (t *Topic) Exiting() bool { return t.exiting.Load() }

// Paused reports whether messages stay in the topic instead of moving to its channels.
func (t *Topic) Paused() bool { return t.paused.Load() }

// Channels returns all channels, sorted by name. The slice must not be changed.
func (t *Topic) Channels() []*Channel { return *t.channels.Load() }

// LookupChannel returns the channel of that name, nil when there is none.
func (t *Topic) LookupChannel(name string) *Channel {
	list := t.Channels()
	if i, ok := find(list, name); ok {
		return list[i]
	}
	return nil
}

func find(list []*Channel, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(c *Channel, name string) int { return strings.Compare(c.name, name) })
}

// Channel returns the channel of that name and makes it when there is none; the first one gets all that has waited in the
// topic. It fails with ErrInvalidName or ErrExiting.
func (t *Topic) Channel(name string) (*Channel, error) {
	if c := t.LookupChannel(name); c != nil {
		return c, nil
	}
	if p := t.policy.Load(); p.Retains() && p.ChannelStart != "" && t.d != nil {
		place, err := ParsePlace(p.ChannelStart, time.Now())
		if err != nil {
			return nil, err // it was parsed before
		}
		if c, _, _, err := t.channelAt(name, place); !errors.Is(err, ErrKeepsNothing) { // it will, in a moment
			return c, err
		}
	}
	c, _, err := t.makeChannel(name, 0, nil)
	return c, err
}

// makeChannel makes a channel when there is none of that name; with at it gets what is kept from a position on, which at says.
func (t *Topic) makeChannel(name string, from Position, at *Moved) (*Channel, bool, error) {
	if !protocol.ValidName(name) {
		return nil, false, fmt.Errorf("channel %q: %w", name, ErrInvalidName)
	}
	if err := t.registry.takesNewcomers(); err != nil {
		return nil, false, err
	}
	c, made, err := t.addChannelAt(name, true, from, at)
	if made {
		err = t.store.settle()
		t.registry.log.Info("channel created", "topic", t.name, "channel", name)
		t.unheeded()
		t.registry.changed()
	}
	return c, made, err
}

// addChannel makes a channel when there is none of that name; limited says that it is held to --max-channels.
func (t *Topic) addChannel(name string, limited bool) (c *Channel, made bool, err error) {
	return t.addChannelAt(name, limited, 0, nil)
}

// addChannelAt is addChannel of one that begins at a place, unless at is nil.
func (t *Topic) addChannelAt(name string, limited bool, from Position, at *Moved) (c *Channel, made bool, err error) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.exiting.Load() {
		return nil, false, t.gone()
	}
	list := t.Channels()
	i, ok := find(list, name)
	if ok {
		return list[i], false, nil
	}
	if limited {
		if err := t.roomForChannelLocked(); err != nil {
			return nil, false, err
		}
	}
	change := journal.Change{Op: journal.OpCreateChannel, Name: name}
	c = newChannel(t, name, protocol.IsEphemeral(name))
	if at != nil {
		if change, err = t.beginAtLocked(c, change, from, at); err != nil {
			return nil, false, err
		}
	}
	if err := t.store.adopt(c); err != nil {
		return nil, false, err
	}
	if t.d != nil {
		c.machine.SetOffered(t.d.next - 1) // what was published before is not offered to it
		c.began = t.d.next
		if at != nil && at.first > 0 {
			c.began = min(c.began, at.first)
		}
	}
	c.changed(change)
	t.uses.Add(1)
	t.applyOptionsTo(c)
	list = slices.Insert(slices.Clone(list), i, c)
	t.channels.Store(&list)
	t.releaseLocked()
	return c, true, nil
}

// Subscribe adds a consumer to the channel of that name, which is made when there is none.
func (t *Topic) Subscribe(channel string, o SubscribeOptions) (*Subscription, error) {
	if err := t.registry.takesNewcomers(); err != nil {
		return nil, err
	}
	for {
		c, err := t.Channel(channel)
		if err != nil {
			return nil, err
		}
		s, err := c.subscribe(o)
		if !errors.Is(err, errGone) {
			return s, err
		}
		// It went between the two steps, as an ephemeral channel does with its last consumer. See to it that this is done.
		if t.exiting.Load() {
			return nil, t.gone()
		}
		if err := t.retire(c); err != nil {
			return nil, err
		}
	}
}

// DeleteChannel closes the channel's consumers and drops every message and file of it. It fails with ErrChannelNotFound.
func (t *Topic) DeleteChannel(name string) error {
	c := t.LookupChannel(name)
	if c == nil || !c.beginExit() {
		return fmt.Errorf("%w: %q", ErrChannelNotFound, name)
	}
	return t.dropChannel(c)
}

// dropChannel finishes what beginExit has begun.
func (t *Topic) dropChannel(c *Channel) error {
	return t.dropped(c, t.retire(c))
}

// dropped sees to what is left to do once a channel is off the list; err is what that has come to.
func (t *Topic) dropped(c *Channel, err error) error {
	err = errors.Join(err, t.store.settle())
	t.registry.log.Info("channel deleted", "topic", t.name, "channel", c.name)
	t.registry.changed()
	if len(t.Channels()) == 0 && t.ephemeral && !t.exiting.Load() {
		if err := t.registry.DeleteTopic(t.name); err != nil && !errors.Is(err, ErrTopicNotFound) {
			return err
		}
	}
	return err
}

// retire takes a channel that exits off the list and destroys it, unless that is done already. Both are one step, as the next
// channel of that name opens the same queue on disk. A topic that exits sees to its channels itself.
func (t *Topic) retire(c *Channel) error {
	t.pub.Lock()
	defer t.pub.Unlock()
	return t.retireLocked(c)
}

func (t *Topic) retireLocked(c *Channel) error {
	list := t.Channels()
	i := slices.Index(list, c)
	if i < 0 || t.exiting.Load() {
		return nil
	}
	list = slices.Delete(slices.Clone(list), i, i+1)
	t.channels.Store(&list)
	c.changed(journal.Change{Op: journal.OpDeleteChannel})
	return c.destroy()
}

// destroy ends all channels and removes every file. Nothing is published any more.
func (t *Topic) destroy() error {
	t.pub.Lock()
	defer t.pub.Unlock()
	var errs []error
	for _, c := range t.Channels() {
		c.beginExit()
		errs = append(errs, c.destroy())
	}
	t.channels.Store(new([]*Channel))
	t.own.beginExit()
	errs = append(errs, t.own.destroy())
	return errors.Join(append(errs, t.store.destroy())...)
}

// SetPaused stops or resumes the way from the topic to its channels. What they have already is still delivered. It fails with ErrNotLeader.
func (t *Topic) SetPaused(paused bool) error {
	t.pub.Lock()
	changed := t.paused.Swap(paused) != paused
	if changed {
		t.store.change(journal.Change{Op: journal.OpPause, Paused: paused})
	}
	t.releaseLocked()
	t.pub.Unlock()
	err := t.store.settle()
	if changed {
		t.registry.changed()
	}
	return err
}

// restorePause is SetPaused of a topic that nobody knows yet.
func (t *Topic) restorePause(paused bool) {
	if t.paused.Swap(paused) != paused {
		t.store.change(journal.Change{Op: journal.OpPause, Paused: paused})
	}
}

// Empty drops what waits in the topic itself, not what its channels have.
func (t *Topic) Empty() error {
	t.pub.Lock()
	err := t.own.empty()
	t.pub.Unlock()
	return errors.Join(err, t.store.settle())
}

// learn asks the lookups for the channels of a new topic, while its messages wait.
func (t *Topic) learn() {
	r := t.registry
	r.spawn(func() {
		for _, name := range r.cfg.Learn(r.ctx, t.name) {
			if protocol.IsEphemeral(name) {
				continue
			}
			if _, err := t.Channel(name); err != nil {
				r.log.Warn("channel known to a lookup was not made", "topic", t.name, "channel", name, "error", err)
			}
		}
		t.pub.Lock()
		t.learning = false
		t.releaseLocked()
		t.pub.Unlock()
		_ = t.store.settle() // it fails for no topic of the node's log
	})
}

// blockedLocked reports whether messages must stay in the topic.
func (t *Topic) blockedLocked() bool {
	return t.paused.Load() || t.learning || len(t.Channels()) == 0
}

// releaseLocked moves the topic's own backlog to its channels when nothing blocks that.
func (t *Topic) releaseLocked() {
	if !t.blockedLocked() && !t.exiting.Load() {
		t.store.inherit()
	}
}

// Publish accepts all messages of the batch and resets it. It fails with ErrExiting, ErrDraining, or with the error of the disk; then,
// at level memory, channels that had room may have got the messages all the same, and the batch may be empty.
func (t *Topic) Publish(b *Batch) error { return t.publish(b, 0, false) }

// PublishDeferred is Publish for messages that must not be delivered before delay, 0 or more, has passed.
func (t *Topic) PublishDeferred(b *Batch, delay time.Duration) error {
	return t.publish(b, delay, false)
}

func (t *Topic) publish(b *Batch, delay time.Duration, sync bool) error {
	switch {
	case b.n == 0:
		return nil
	case t.registry.noPublishes.Load():
		return ErrDraining
	}
	if b.TTL > 0 {
		if err := t.TakesTTL(); err != nil {
			return err
		}
	}
	err := t.store.publish(b, max(0, delay), sync)
	if to := t.registry.cfg.Trace; to != nil && err == nil && b.receipt.Count > 0 {
		to.Published(t.name, b.first, b.receipt.Count, b.stamped)
	}
	return err
}

func (t *Topic) accept(b *Batch) {
	t.messages.Add(uint64(b.n))
	t.bytes.Add(uint64(b.bodies))
	b.Reset()
}

// targetsLocked returns who gets what is published.
func (t *Topic) targetsLocked() []*Channel {
	if t.blockedLocked() {
		return t.alone
	}
	return t.Channels()
}

// save writes down what memory alone has of a topic that nobody publishes to or consumes any more.
func (t *Topic) save() error {
	t.pub.Lock()
	defer t.pub.Unlock()
	t.exiting.Store(true)
	for _, c := range t.Channels() {
		c.beginExit()
	}
	return t.store.save()
}
