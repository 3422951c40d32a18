package topic

import (
	"errors"
	"math"
	"time"
)

// quiet is since when nothing has happened to a channel, or to a topic: it is looked at from time to time.
type quiet struct {
	seen  uint64 // what activity was then
	since int64  // on the clock of all deadlines; 0: not looked at yet
}

// look takes note of what there is and returns for how long nothing has happened, in nanoseconds.
func (q *quiet) look(activity uint64, busy bool, now int64) int64 {
	if busy || q.since == 0 || q.seen != activity {
		*q = quiet{seen: activity, since: now}
	}
	return now - q.since
}

// How often it is looked for what nobody uses: eight times within the shortest idle_delete.
const (
	idleLooks   = 8
	minIdleLook = 10 * time.Millisecond
	maxIdleLook = 30 * time.Second
)

// watchIdle has the registry look for what nobody uses soon enough for an idle_delete of so long, 0 for none.
func (r *Registry) watchIdle(d time.Duration) {
	if d == 0 {
		return
	}
	at := r.now() + int64(min(max(d/idleLooks, minIdleLook), maxIdleLook))
	for {
		old := r.idleAt.Load()
		if old <= at {
			return
		}
		if r.idleAt.CompareAndSwap(old, at) {
			r.sweep.hurry()
			return
		}
	}
}

// deleteIdle deletes the topics and channels that nothing has used for as long as their idle_delete says.
func (r *Registry) deleteIdle() {
	for _, t := range r.unsorted() {
		if !t.watched() {
			continue
		}
		channels, unused := t.dropIdle()
		for _, gone := range channels {
			t.registry.log.Info("a channel that nothing has used is deleted", "topic", t.name, "channel", gone.c.name)
			r.note(t.dropped(gone.c, gone.err), t)
		}
		if unused {
			r.note(r.deleteUnused(t), t)
		}
	}
}

func (r *Registry) note(err error, t *Topic) {
	if err != nil && !errors.Is(err, ErrTopicNotFound) {
		r.log.Error("deleting what nothing has used", "topic", t.name, "error", err)
	}
}

// watched reports whether the topic or one of its channels has an idle_delete, and sees to it that they are looked at again.
func (t *Topic) watched() (some bool) {
	for _, c := range t.all() {
		if d := c.idleDelete(); d > 0 {
			t.registry.watchIdle(d)
			some = true
		}
	}
	return some
}

func (c *Channel) idleDelete() time.Duration {
	if p := c.Policy(); p != nil {
		return p.IdleDelete
	}
	return 0
}

// idleChannel is one that was taken off the list.
type idleChannel struct {
	c   *Channel
	err error // of removing its files
}

// dropIdle takes the channels off the list that nothing has used for long enough, and reports whether that is so of the topic itself. Nothing
// is published between the look and the end of a channel: what is accepted later finds it gone.
func (t *Topic) dropIdle() (channels []idleChannel, whole bool) {
	if !t.pub.TryLock() {
		return nil, false // somebody publishes, or does something else to it: at the next look
	}
	defer t.pub.Unlock()
	if t.exiting.Load() || t.registry.ctx.Err() != nil {
		return nil, false
	}
	waits := t.own.used() // in a topic that is paused, for its channels
	for _, c := range t.Channels() {
		if c.exitIdle(waits) {
			channels = append(channels, idleChannel{c, t.retireLocked(c)})
		}
	}
	return channels, t.unusedLocked()
}

// exitIdle refuses new consumers when nothing has used the channel for long enough, and reports whether it does. waits says that there are
// messages that it is to get.
func (c *Channel) exitIdle(waits bool) bool {
	c.enterNow()
	defer c.exit()
	m := &c.machine
	if m.Policy() == nil || m.Policy().IdleDelete == 0 || m.Exiting() {
		return false
	}
	used, activity := m.Used()
	if c.quiet == nil {
		c.quiet = new(quiet)
	}
	if c.quiet.look(activity, used || waits || c.topic.registry.halted(), m.At.Now) < int64(m.Policy().IdleDelete) {
		return false
	}
	return m.Exit()
}

// used reports whether the channel is in use.
func (c *Channel) used() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, _ := c.machine.Used()
	return now
}

// halted reports whether nobody can use anything, as the node drains or stops: then nothing is idle.
func (r *Registry) halted() bool {
	return r.noPublishes.Load() || r.noNewcomers.Load() || r.held.Load()
}

// unusedLocked reports whether nothing has used the topic for as long as its idle_delete says. Topic.pub is held. A topic for dead letters
// stays: it is empty when all goes well.
func (t *Topic) unusedLocked() bool {
	p := t.policy.Load()
	if p == nil || p.IdleDelete == 0 || t.learning || t.exiting.Load() {
		return false
	}
	busy := t.registry.halted() || t.keepsSome()
	for _, c := range t.all() {
		busy = busy || c.used()
	}
	return t.quiet.look(t.messages.Load()+t.uses.Load(), busy, t.registry.now()) >= int64(p.IdleDelete) && !t.registry.getsDeadLetters(t)
}

// getsDeadLetters reports whether a channel has its dead letters go to the topic.
func (r *Registry) getsDeadLetters(t *Topic) bool {
	for _, other := range r.unsorted() {
		for _, c := range other.Channels() {
			if p := c.Policy(); p != nil && p.DeadLetter == t.name {
				return true
			}
		}
	}
	return false
}

// deleteUnused deletes a topic unless it is used by now. Whoever publishes to it finds it gone, and makes it anew; at level memory once
// its files are removed.
func (r *Registry) deleteUnused(t *Topic) error {
	unlock := func() {}
	if t.d == nil {
		r.create.Lock()
		unlock = r.create.Unlock
	}
	defer unlock()
	if !r.forget(t) {
		return nil
	}
	r.log.Info("a topic that nothing has used is deleted", "topic", t.name)
	err := t.destroy()
	r.changed()
	return err
}

// forget takes an unused topic off the list; from then on it exits.
func (r *Registry) forget(t *Topic) bool {
	t.pub.Lock()
	defer t.pub.Unlock()
	if !t.unusedLocked() || !t.exiting.CompareAndSwap(false, true) {
		return false
	}
	t.deleted.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.topics[t.name] == t {
		r.unmarkLocked(t)
		delete(r.topics, t.name)
	}
	return true
}

// idleDue reports when it is to be looked next for what nobody uses, and starts that when it is time.
func (w *sweeper) idleDue(now int64) (next int64) {
	r := w.registry
	if next = r.idleAt.Load(); now < next || !w.idling.CompareAndSwap(false, true) {
		return max(next, now+int64(minIdleLook))
	}
	r.idleAt.Store(math.MaxInt64)
	if !r.spawn(func() {
		defer w.idling.Store(false)
		r.deleteIdle()
	}) {
		w.idling.Store(false)
	}
	return r.idleAt.Load()
}

// hurry has the sweeper look when its next turn is.
func (w *sweeper) hurry() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}
