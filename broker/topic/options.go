package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
)

// ErrHolds is the refusal to move a topic that holds messages between level memory and the levels that are kept in the log.
var ErrHolds = errors.New("a topic moves between level memory and the levels disk and fsync only while it holds no message")

// ErrUnpromised is the refusal of a level above memory on a node whose log can promise nothing.
var ErrUnpromised = errors.New("this broker can keep no topic above level memory")

// ErrNodeLog is the refusal of a level above memory on a node that keeps no log.
var ErrNodeLog = errors.New("this broker keeps no log, as neither its level nor that of any topic was above memory when it started")

// ErrEphemeral is the refusal of any other level than memory for a topic that is not kept at all.
var ErrEphemeral = errors.New("an ephemeral topic is always at level memory")

// ErrNoLog is the refusal of a publish that asks for more than level memory, of a topic that is at that level.
var ErrNoLog = errors.New("the topic is at level memory, which keeps nothing in the log")

// levels is when a durable topic's publishes are answered.
type levels struct {
	now atomic.Uint32 // a Level; atomic as publishers read it without a lock
	set atomic.Bool   // somebody has chosen it for this topic: it is kept whatever the node's level becomes; set under Topic.pub
}

func (l *levels) get() Level { return Level(l.now.Load()) }

// synced reports whether publishes are answered once the log is synced.
func (l *levels) synced() bool { return l.get() == Fsync }

// options is what the log keeps of a topic besides its messages and the options of its set, in one JSON object with these.
type options struct {
	Durability string   `json:"durability,omitempty"`   // empty: what the node says
	Import     *Imports `json:"import,omitempty"`       // of a queue that is being taken over
	Dead       bool     `json:"dead_letters,omitempty"` // messages that other topics gave up have come here
}

// options returns what the log keeps of the topic's options. Topic.pub is held, or nobody knows the topic yet.
func (d *logStore) options() json.RawMessage {
	all := maps.Clone(d.topic.set.Load().Raw())
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	o := options{Import: d.imports, Dead: d.topic.deadLetters.Load()}
	if d.levels.set.Load() {
		o.Durability = d.levels.get().String()
	}
	b, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err == nil {
		b, err = json.Marshal(all)
	}
	if err != nil {
		panic(fmt.Sprintf("topic: options that cannot be encoded: %v", err)) // they are strings and numbers
	}
	return b
}

// restoreOptions sets what the log has of the topic's options; what makes no sense there is as if it were not there.
func (d *logStore) restoreOptions(raw json.RawMessage, otherwise Level) {
	d.levels.now.Store(uint32(max(Disk, otherwise)))
	all := decodeOptions(raw)
	var o options
	if json.Unmarshal(all["durability"], &o.Durability) == nil {
		if l, err := ParseLevel(o.Durability); err == nil && l > Memory {
			d.levels.now.Store(uint32(l))
			d.levels.set.Store(true)
		}
	}
	if json.Unmarshal(all["import"], &o.Import) == nil {
		d.imports = o.Import
	}
	if json.Unmarshal(all["dead_letters"], &o.Dead) == nil {
		d.topic.deadLetters.Store(o.Dead)
	}
	d.topic.set.Store(policy.Kept(ownOptions(all)))
}

// ownOptions returns what is kept of a topic without what is in no set of its. It changes the map.
func ownOptions(all map[string]json.RawMessage) map[string]json.RawMessage {
	for _, name := range [...]string{"durability", "import", "dead_letters"} {
		delete(all, name)
	}
	return all
}

// SetDurability sets the topic's level, from the next publish on and for good: it returns once that is synced. Between memory
// and the other levels the topic is made anew, with its channels, under which their consumers are closed. It fails with
// ErrHolds, ErrNodeLog, ErrUnpromised, ErrEphemeral, ErrExiting, or the error of the log; with that the level is in force, but may be
// forgotten by a crash.
func (t *Topic) SetDurability(l Level) error {
	return t.SetOptions(map[string]json.RawMessage{durabilityOption: json.RawMessage(strconv.Quote(l.String()))})
}

// remake makes a topic that holds no message anew at another level, with options. Publishers wait, and find the new one. Other topics
// can be made while it waits for the disk.
func (r *Registry) remake(t *Topic, l Level, chosen bool, set *policy.Set) error {
	switch {
	case l > Memory && r.cfg.Journal == nil:
		return ErrNodeLog
	case l > Memory && r.cfg.Unpromised != nil:
		return fmt.Errorf("%w: %w", ErrUnpromised, r.cfg.Unpromised)
	}
	r.remaking.Lock()
	defer r.remaking.Unlock()
	fresh, err := r.replaceAlone(t, l, chosen, set)
	if err != nil {
		return err
	}
	if fresh.d != nil {
		err = fresh.syncTo(*fresh.d.changed.Swap(nil))
	} else {
		err = r.save() // before the log forgets the topic
	}
	err = errors.Join(err, r.leave(t, fresh))
	r.log.Info("topic made anew at another level", "topic", t.name, "level", l.String())
	r.changed()
	return err
}

// replaceAlone is replace while no topic is made.
func (r *Registry) replaceAlone(t *Topic, l Level, chosen bool, set *policy.Set) (*Topic, error) {
	r.create.Lock()
	defer r.create.Unlock()
	return r.replace(t, l, chosen, set)
}

// leave removes what is on disk of a topic that was replaced. Its queues in nsqd's layout, which are empty, have the names of those
// of a topic that was made meanwhile because the replacement was deleted: then they are that one's.
func (r *Registry) leave(t, fresh *Topic) error {
	if t.d != nil {
		return t.destroy()
	}
	r.create.Lock()
	defer r.create.Unlock()
	if now := r.Lookup(t.name); now == fresh || now == nil || now.d != nil {
		return t.destroy()
	}
	var errs []error
	for _, c := range t.all() {
		c.beginExit()
		errs = append(errs, c.closeQueue())
	}
	return errors.Join(errs...)
}

// replace puts an empty topic of the same channels in the place of one that holds nothing, which exits.
func (r *Registry) replace(t *Topic, l Level, chosen bool, set *policy.Set) (*Topic, error) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.exiting.Load() {
		return nil, ErrExiting
	}
	if n := t.holding(); n > 0 {
		return nil, fmt.Errorf("%w: it holds %d", ErrHolds, n)
	}
	fresh := r.makeTopic(t.name, false, l)
	fresh.set.Store(set)
	fresh.applyOptionsLocked()
	if fresh.d != nil {
		fresh.d.levels.set.Store(chosen)
		fresh.d.change(journal.Change{Op: journal.OpCreateTopic, Name: t.name, Options: fresh.d.options()})
		fresh.retainLocked()
	}
	fresh.chosen.Store(chosen && l == Memory)
	for _, c := range t.Channels() {
		made, _, err := fresh.addChannel(c.name, false)
		if err != nil {
			return nil, err
		}
		made.restorePause(c.Paused())
		made.restoreSet(c.set.Load())
	}
	fresh.restorePause(t.Paused())
	t.exiting.Store(true)
	t.deleted.Store(true)
	r.mu.Lock()
	r.unmarkLocked(t)
	r.topics[t.name] = fresh
	r.markLocked(fresh)
	r.mu.Unlock()
	return fresh, nil
}

// holding returns how many messages the topic and its channels have, each channel's counted. Topic.pub is held.
func (t *Topic) holding() (n uint64) {
	for _, c := range t.all() {
		c.mu.Lock()
		n += uint64(c.machine.Held())
		c.mu.Unlock()
	}
	return n
}

// syncTo returns once the log is synced up to a record and with it.
func (t *Topic) syncTo(at journal.Offset) error { return t.d.commit(at, true) }

// PublishAs is PublishDeferred for messages that ask for a level of their own. One that is below the topic's changes nothing.
// It fails with ErrNoLog when the topic has no log to give them more.
func (t *Topic) PublishAs(b *Batch, delay time.Duration, level Level) error {
	if t.d == nil && level > Memory {
		return ErrNoLog
	}
	return t.publish(b, delay, level == Fsync)
}

// Refuses reports whether an error of a publish says that the disk did not take the message, so that a later one may succeed:
// not that the broker stops, or that the topic cannot be.
func Refuses(err error) bool {
	for _, other := range []error{ErrExiting, ErrInvalidName, ErrTopicNotFound, ErrChannelNotFound, nsqdata.ErrClosed, ErrNoTTL, ErrLedTTL, ErrAcks} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil
}
