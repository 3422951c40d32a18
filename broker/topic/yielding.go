package topic

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Topics of this broker alone that have the name of a replicated one. From when the broker knows of that they take no publishes: those wait for the
// replicated one. What they hold is consumed, and what channels they have is made there too, before they go: both were answered OK.

// ErrYields is a topic of this broker alone, as one that is replicated has its name: who was about to use it is to use that one.
var ErrYields = fmt.Errorf("%w: a topic of this broker alone has its name, and gives way", ErrElsewhere)

// ErrUnpassed is a topic that cannot give way, as it has a channel that is not known to be made in the replicated one.
var ErrUnpassed = errors.New("a channel of it is not made in the replicated topic yet")

// yielding is what a topic knows that is to give way.
type yielding struct {
	mu     sync.Mutex // guards what follows; nothing is locked under it
	passed map[string]bool
}

// SetReplicated says whether a replicated topic has a name, or none has any more. It waits for nothing.
func (r *Registry) SetReplicated(name string, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !is {
		delete(r.replicated, name)
	} else {
		if r.replicated == nil {
			r.replicated = map[string]bool{}
		}
		r.replicated[name] = true
	}
	if t := r.topics[name]; t != nil {
		r.markLocked(t)
	}
}

// markLocked notes whether a topic is to give way. Registry.mu is held, so that none comes beside SetReplicated that it does not find.
func (r *Registry) markLocked(t *Topic) {
	switch is := t.led == nil && r.replicated[t.name]; {
	case !is && t.led == nil && t.yields.Swap(nil) != nil:
		r.yieldingNow.Add(-1)
	case is && t.yields.CompareAndSwap(nil, &yielding{passed: map[string]bool{}}):
		r.yieldingNow.Add(1)
		if r.cfg.Yields != nil {
			r.cfg.Yields()
		}
	}
}

// unmarkLocked notes that a topic is not in the registry any more. Registry.mu is held.
func (r *Registry) unmarkLocked(t *Topic) {
	if t != nil && t.led == nil && t.yields.Load() != nil {
		r.yieldingNow.Add(-1)
	}
}

// Yielding returns the names of topics that are to give way.
func (r *Registry) Yielding() (names []string) {
	if r.yieldingNow.Load() == 0 {
		return nil
	}
	for _, t := range r.unsorted() {
		if t.Yields() {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return names
}

// Yields reports whether the topic is of this broker alone, and is to give way to a replicated one.
func (t *Topic) Yields() bool { return t.yields.Load() != nil }

// GivesWay reports whether it does so as soon as its channels are passed on: it holds nothing, so that nobody has to use it any more.
func (t *Topic) GivesWay() bool {
	return t.Yields() && t.inTheWay() == nil
}

// gone returns why nothing new may come to the topic, nil when it may.
func (t *Topic) gone() error {
	switch {
	case t.Yields():
		return ErrYields
	case t.exiting.Load():
		return ErrExiting
	}
	return nil
}

// Unpassed returns the channels of a topic that yields which the replicated one may lack. Ephemeral ones go with their consumers.
func (t *Topic) Unpassed() []string {
	if y := t.yields.Load(); y != nil {
		return t.lacking(y.has)
	}
	return nil
}

func (y *yielding) has(channel string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.passed[channel]
}

// lacking returns the channels of the topic, without ephemeral ones, that something does not have.
func (t *Topic) lacking(has func(channel string) bool) (names []string) {
	for _, c := range t.Channels() {
		if !c.ephemeral && !has(c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// Pass has the channels made in the replicated topic that this may lack, each by make.
func (t *Topic) Pass(make func(channel string) error) error {
	y := t.yields.Load() // of the replicated topic of now: another one of the name may come meanwhile
	if y == nil {
		return nil
	}
	for _, name := range t.lacking(y.has) {
		if err := make(name); err != nil {
			return fmt.Errorf("channel %s: %w", name, err)
		}
		y.mu.Lock()
		y.passed[name] = true
		y.mu.Unlock()
	}
	return nil
}

// Yield removes a topic that is to give way. It fails with ErrInTheWay when that holds messages, with ErrUnpassed when it has channels that were not
// passed on.
func (r *Registry) Yield(name string) error {
	t := r.Lookup(name)
	if t == nil {
		return nil
	}
	y := t.yields.Load()
	if y == nil {
		return nil
	}
	r.create.Lock()
	unlock := sync.OnceFunc(r.create.Unlock)
	defer unlock()
	old, err := r.yield(name, y.has)
	if err != nil || old == nil {
		return err
	}
	r.mu.Lock()
	r.unmarkLocked(old)
	delete(r.topics, name)
	r.mu.Unlock()
	if old.d != nil { // else one that is made of the name, when no other has it any more, has the same files
		unlock()
	}
	return r.gaveWay(old)
}

// InTheWay returns ErrInTheWay when a topic that is not replicated holds messages, so that none that is can have its name here.
func (r *Registry) InTheWay(name string) error {
	t := r.Lookup(name)
	if t == nil || t.led != nil {
		return nil
	}
	return t.inTheWay()
}

func (t *Topic) inTheWay() error {
	t.pub.Lock()
	defer t.pub.Unlock()
	return t.inTheWayLocked()
}

// inTheWayLocked returns ErrInTheWay when the topic of this broker alone holds messages: what it keeps may be read again, and nobody has said that it is
// not to be.
func (t *Topic) inTheWayLocked() error {
	if n := t.holding(); n > 0 {
		return fmt.Errorf("%w: %d of them", ErrInTheWay, n)
	}
	if t.keepsSome() {
		return fmt.Errorf("%w: those that it keeps, as retain_time or retain_bytes says", ErrInTheWay)
	}
	return nil
}

// yield returns the topic that is to give way, which exits from now on, nil when there is none; has says which channels the replicated one has.
// Registry.create is held.
func (r *Registry) yield(name string, has func(channel string) bool) (*Topic, error) {
	t := r.Lookup(name)
	if t == nil || t.led != nil {
		return nil, nil
	}
	t.pub.Lock()
	defer t.pub.Unlock()
	if err := t.inTheWayLocked(); err != nil {
		return nil, err
	}
	if left := t.lacking(has); len(left) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrUnpassed, left[0])
	}
	if !t.exiting.CompareAndSwap(false, true) {
		return nil, ErrExiting
	}
	t.deleted.Store(true)
	return t, nil
}

// gaveWay removes what is left of a topic that gave way.
func (r *Registry) gaveWay(t *Topic) error {
	if t == nil {
		return nil
	}
	r.log.Info("a topic that held nothing gives way to the replicated one of its name", "topic", t.name)
	err := t.destroy()
	r.changed()
	return err
}

// adopt makes the channels in a topic that is led, and not served yet, that one of this broker alone has which is to give way to it.
func (r *Registry) adopt(t *Topic) error {
	old := r.Lookup(t.name)
	if old == nil || old.led != nil {
		return nil
	}
	left := old.lacking(t.hasChannel)
	for _, name := range left {
		if _, _, err := t.addChannel(name, false); err != nil {
			return err
		}
		r.log.Info("channel created", "topic", t.name, "channel", name)
	}
	if len(left) == 0 {
		return nil
	}
	return t.store.settle()
}

func (t *Topic) hasChannel(name string) bool { return t.LookupChannel(name) != nil }
