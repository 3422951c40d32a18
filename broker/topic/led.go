package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Reign is the log of a group of replicas for as long as this broker leads it, in one term. Offsets in it are numbers of records. Commit
// returns once a record is committed. Once the lead is lost every Commit fails with ErrNotLeader, and what is appended goes Nowhere.
type Reign interface {
	Log
	// Leased reports whether messages may be delivered at this moment. Who was told that they may not is to be woken by Led.Resume.
	Leased() bool
	// Room returns nil when the group takes more messages; it may wait for that.
	Room() error
	// Safe reports whether a record is known to be committed. It waits for nothing.
	Safe(at journal.Offset) bool
	// Confirm returns once it is certain that this broker led at a moment after the call, and that all is applied that was committed before it. It fails with
	// ErrUnconfirmed.
	Confirm(context.Context) error
	// CommitOwn returns once a record is as safe on this broker as the group's level says, or committed. It fails as Commit does.
	CommitOwn(at journal.Offset) error
}

var (
	// ErrNotLeader is a change of a replicated topic whose broker does not lead the topic any more: it may have been made all the same.
	ErrNotLeader = errors.New("the broker does not lead the topic any more: it is not known whether this was done")
	// ErrElsewhere is a replicated topic that another broker leads.
	ErrElsewhere = errors.New("the topic is replicated, and this broker does not lead it")
	// ErrUnconfirmed is a replicated topic of which it is not certain that this broker leads it.
	ErrUnconfirmed = fmt.Errorf("%w, as far as is certain", ErrElsewhere)
	// ErrReplicated is what cannot be done with a replicated topic yet.
	ErrReplicated = errors.New("not with a replicated topic yet")
	// ErrLedKeys is a publish with keys to a replicated topic.
	ErrLedKeys = fmt.Errorf("%w: a key that orders messages, or by which they are deduplicated", ErrReplicated)
	// ErrNoRoom is a publish to a replicated topic that its leader has no room for at this moment, and may have later. The text says why.
	ErrNoRoom = errors.New("no room just now for a publish to a replicated topic")
	// ErrInTheWay is a topic of this broker alone that has the name of a replicated one, and holds messages.
	ErrInTheWay = errors.New("this broker has a topic of that name that is not replicated, and that holds messages")
)

// noRoom is ErrNoRoom for a reason, which it reads as.
type noRoom struct{ error }

func (e noRoom) Unwrap() error      { return e.error }
func (noRoom) Is(target error) bool { return target == ErrNoRoom }

// errTwice is a replicated topic while another group's of the same name is served.
var errTwice = errors.New("another group of replicas has a topic of that name, which is served")

// MostReplicated is how many bytes a publish to a replicated topic may have, with what belongs to its messages: it is one entry of a group.
const MostReplicated = 8 << 20

// Led is the topics of a group of replicas that this broker leads. They are in the registry as others are, but for those whose names are
// taken. Its methods are called one at a time.
type Led struct {
	registry *Registry
	reign    Reign
	standby  *Standby
	lastID   atomic.Uint32 // of channels
	origins  *origins      // whose publishes were taken
	last     lastBlock

	mu     sync.Mutex // guards what follows
	topics map[uint32]*Topic
}

// Lead makes live topics of a standby to which everything was applied that was committed before a reign. They are served from Serve on.
func (r *Registry) Lead(s *Standby, reign Reign) (*Led, error) {
	state, all, err := s.copy()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range all {
			s.unpin(c.blocks)
		}
	}()
	l := &Led{registry: r, reign: reign, standby: s, origins: newOrigins(state.Origins), topics: map[uint32]*Topic{}}
	l.lastID.Store(state.NextID)
	for id, t := range state.Topics {
		b := builder{registry: r, state: t, batches: all[id].batches, held: all[id].blocks, found: &blocks{}, complete: true, lost: map[string]int{}, led: l}
		err := b.build()
		if err != nil {
			b.topic.letGoAll()
			l.Drop()
			return nil, fmt.Errorf("topic %s: %w", t.Name, err)
		}
		l.topics[id] = b.topic
		for channel, n := range b.lost {
			l.Drop()
			return nil, fmt.Errorf("%w: topic %s lacks %d messages that channel %q has", ErrDrift, t.Name, n, channel)
		}
	}
	s.live.Store(l)
	return l, nil
}

// Serve puts topics into the registry that are not there yet. It returns why it cannot, by their names.
func (l *Led) Serve() map[string]error {
	var failed map[string]error
	for _, t := range l.list() {
		if l.registry.Lookup(t.name) == t {
			continue
		}
		if err := l.registry.serve(t); err != nil {
			if failed == nil {
				failed = map[string]error{}
			}
			failed[t.name] = err
		}
	}
	return failed
}

func (l *Led) list() (list []*Topic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics {
		list = append(list, t)
	}
	return list
}

// serve puts a topic that is led into the registry.
func (r *Registry) serve(t *Topic) error {
	if err := r.adopt(t); err != nil {
		return err
	}
	old, err := r.place(t)
	if err != nil {
		return err
	}
	r.changed()
	t.unheeded()
	return r.gaveWay(old)
}

// unheeded tells in the log, once for each, of patterns in the node's configuration that fit the topic or channels of it: they do not count, as those of
// other nodes may be others.
func (t *Topic) unheeded() {
	if t.led == nil {
		return
	}
	p := t.registry.patterns.Load()
	t.registry.unheededBy(t.name, p.Topics)
	for _, c := range t.Channels() {
		t.registry.unheededBy(t.name+"/"+c.name, p.Channels)
	}
}

func (r *Registry) unheededBy(name string, patterns []policy.Pattern) {
	for i := range patterns {
		if p := &patterns[i]; p.Fits(name) {
			if _, said := r.unheeded.LoadOrStore(p.Match, true); !said {
				r.log.Warn("options of the configuration do not count for replicated topics and their channels: set them over HTTP", "pattern", p.Match, "fits", name)
			}
		}
	}
}

func (r *Registry) place(t *Topic) (old *Topic, err error) {
	r.create.Lock() // none of its name is made meanwhile
	defer r.create.Unlock()
	if old, err = r.yield(t.name, t.hasChannel); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exiting {
		return nil, ErrExiting
	}
	if other := r.topics[t.name]; other != nil && other != old && other != t && !other.exiting.Load() {
		return nil, errTwice
	}
	r.unmarkLocked(old)
	r.topics[t.name] = t
	return old, nil
}

// Create makes a topic with a number that no other of the group ever has, and returns once that is committed.
func (l *Led) Create(number uint32, name string) error {
	r := l.registry
	t := r.makeTopic(name, false, Fsync)
	t.follow(l, number)
	at := t.d.append(journal.Change{Op: journal.OpCreateTopic, Name: name, Options: t.d.options()})
	if err := l.reign.Commit(at, true); err != nil {
		return err
	}
	l.mu.Lock()
	l.topics[number] = t
	l.mu.Unlock()
	r.log.Info("replicated topic created", "topic", name)
	return nil
}

// follow makes a topic that nobody knows yet one of a group.
func (t *Topic) follow(l *Led, number uint32) {
	t.led, t.d.id, t.d.log = l, number, l.reign
	t.d.levels.now.Store(uint32(Fsync))
	t.d.levels.set.Store(true)
	t.applyOptionsLocked()
}

// Delete deletes a topic and returns once that is committed.
func (l *Led) Delete(number uint32) error {
	l.mu.Lock()
	t := l.topics[number]
	l.mu.Unlock()
	if t == nil {
		return ErrTopicNotFound
	}
	t.exiting.Store(true)
	t.deleted.Store(true)
	err := t.destroy()
	l.registry.takeOut(t)
	if err != nil {
		return err
	}
	l.mu.Lock()
	delete(l.topics, number)
	l.mu.Unlock()
	t.pub.Lock()
	t.letGoAll()
	t.pub.Unlock()
	l.registry.log.Info("replicated topic deleted", "topic", t.name)
	return nil
}

// takeOut takes a topic out of the registry, unless another one has its name.
func (r *Registry) takeOut(t *Topic) {
	r.mu.Lock()
	there := r.topics[t.name] == t
	if there {
		delete(r.topics, t.name)
	}
	r.mu.Unlock()
	if there {
		r.changed()
	}
}

// Resume wakes consumers that were told that nothing may be delivered.
func (l *Led) Resume() {
	for _, t := range l.list() {
		for _, c := range t.Channels() {
			c.enter()
			c.machine.Resettle()
			c.exit()
		}
	}
}

// Drop forgets the topics: the lead is lost. Consumers that are no Mover are closed. Nothing is deleted.
func (l *Led) Drop() {
	l.standby.live.CompareAndSwap(l, nil)
	for _, t := range l.list() {
		l.registry.takeOut(t) // first: who finds that it exits asks for it anew
		t.exiting.Store(true)
		t.deleted.Store(true)
		t.letGo()
		t.vanish()
	}
}

// vanish lets go of all that a topic has in memory, and closes its consumers.
func (t *Topic) vanish() {
	t.pub.Lock()
	defer t.pub.Unlock()
	for _, c := range t.Channels() {
		c.beginExit()
		_ = c.destroy() // it has no queue on disk
	}
	t.channels.Store(new([]*Channel))
	t.own.beginExit()
	_ = t.own.destroy()
	t.d.addMemory(-t.d.memory.Load())
	t.registry.onDisk.Add(-t.d.onDisk.Swap(0))
	t.letGoAll()
}

// Led returns the topics of its group that this broker leads, nil when it is in none.
func (t *Topic) Led() *Led { return t.led }

// Replicated reports whether the topic is one of a group of replicas, which this broker leads.
func (t *Topic) Replicated() bool { return t.led != nil }

// unled reports whether nothing may be delivered as it is not certain that this broker still leads the topic.
func (t *Topic) unled() bool { return t.led != nil && !t.led.reign.Leased() }

// publishReplicated is publish of a topic of a group. When the lead is lost before the messages are committed nobody knows whether they are
// kept: they are neither shown nor withdrawn, and the topic goes. The batch has them again then, if it says whose they are: they can be sent to
// the next leader.
func (d *logStore) publishReplicated(b *Batch, delay time.Duration) error {
	from := b.From
	p, err := d.beginReplicated(b, delay)
	if err != nil {
		return err
	}
	switch err = p.Await(); {
	case p.again && err == nil:
		b.Reset()
	case p.again: // it still has them
	case err != nil && from.ID != 0:
		b.restore(&p.appended)
	}
	return err
}

// restore puts messages back whose publish has failed: what was appended of them is not touched.
func (b *Batch) restore(a *appended) {
	b.frames = append(b.frames[:0], a.extent.Frames()...)
	b.n, b.bodies = a.count, a.bodies
}

// beginReplicated appends a publish of a topic of a group. The batch is empty after nil, unless the publish was taken before: what has taken it may come to
// nothing yet.
func (d *logStore) beginReplicated(b *Batch, delay time.Duration) (p Begun, err error) {
	t := d.topic
	p.topic = t
	if err := t.registry.writable(); err != nil {
		return p, noRoom{err}
	}
	if n := len(b.frames); n > MostReplicated {
		return p, fmt.Errorf("%w: a publish of %d bytes, %d are allowed", ErrReplicated, n, MostReplicated)
	}
	from := b.From
	if from.ID != 0 { // before it may be refused: one that was taken before is not
		first, again, err := t.led.origins.begin(from, b.InOrder)
		if err != nil {
			return p, err
		}
		if again {
			p.again, p.at, p.receipt = true, first.at, first.receipt
			b.receipt = first.receipt
			return p, nil
		}
	}
	id := protocol.MessageID(0)
	if err = t.led.reign.Room(); err != nil && !errors.Is(err, ErrNotLeader) {
		err = noRoom{err}
	} else if err == nil {
		id, err = t.registry.ids.take(b.n)
	}
	p.later = b.Later
	if err == nil {
		p.appended, err = t.appendDurable(b, id, delay, &keyed{})
	}
	if err == nil {
		p.receipt, p.stamp = b.receipt, b.stamped
	}
	if from.ID != 0 {
		t.led.origins.end(from, p.at, p.receipt, err)
	}
	return p, err
}

// health says how a write to the node's log went; what becomes of a group's records says nothing of that.
func (d *logStore) health(err error) {
	if d.topic.led == nil {
		d.topic.registry.SetHealth(err)
	}
}

// LedNames returns the names of the replicated topics that this broker serves, sorted.
func (r *Registry) LedNames() (names []string) {
	for _, t := range r.unsorted() {
		if t.led != nil {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return names
}
