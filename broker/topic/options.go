package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
)

// ErrFixedLevel is the refusal to move a topic between level memory and the levels that are kept in the log.
var ErrFixedLevel = errors.New("a topic cannot move between level memory and the levels disk and fsync while it exists")

// ErrEphemeral is the refusal of any other level than memory for a topic that is not kept at all.
var ErrEphemeral = errors.New("an ephemeral topic is always at level memory")

// ErrNoLog is the refusal of a publish that asks for more than level memory, of a topic that is at that level.
var ErrNoLog = errors.New("the topic is at level memory, which keeps nothing in the log")

// levels is when a durable topic's publishes are answered.
type levels struct {
	now atomic.Uint32 // a Level; atomic as publishers read it without a lock

	// Guarded by Topic.pub.
	set bool // somebody has chosen it for this topic: it is kept whatever the node's level becomes
}

func (l *levels) get() Level { return Level(l.now.Load()) }

// synced reports whether publishes are answered once the log is synced.
func (l *levels) synced() bool { return l.get() == Fsync }

// options is what the log keeps of a topic besides its messages, as JSON.
type options struct {
	Durability string   `json:"durability,omitempty"` // empty: what the node says
	Import     *Imports `json:"import,omitempty"`     // of a queue that is being taken over
}

// options returns what the log keeps of the topic's options. Topic.pub is held, or nobody knows the topic yet.
func (d *durable) options() json.RawMessage {
	o := options{Import: d.imports}
	if d.level.set {
		o.Durability = d.level.get().String()
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("topic: options that cannot be encoded: %v", err)) // they are strings and numbers
	}
	return b
}

// restoreOptions sets what the log has of the topic's options; what makes no sense there is as if it were not there.
func (d *durable) restoreOptions(raw json.RawMessage, otherwise Level) {
	d.level.now.Store(uint32(max(Disk, otherwise)))
	var o options
	if json.Unmarshal(raw, &o) != nil {
		return
	}
	d.imports = o.Import
	if l, err := ParseLevel(o.Durability); err == nil && l > Memory {
		d.level.now.Store(uint32(l))
		d.level.set = true
	}
}

// SetDurability sets the topic's level, from the next publish on and for good: it returns once that is synced. It fails with
// ErrFixedLevel, ErrEphemeral, ErrExiting, or the error of the log; the level is in force then, but may be forgotten by a crash.
func (t *Topic) SetDurability(l Level) error {
	d := t.d
	if d == nil || l == Memory {
		if t.Durability() == l {
			return nil
		}
		if t.ephemeral {
			return ErrEphemeral
		}
		return ErrFixedLevel
	}
	t.pub.Lock()
	if t.exiting.Load() {
		t.pub.Unlock()
		return ErrExiting
	}
	d.level.now.Store(uint32(l))
	d.level.set = true
	at := d.change(journal.Change{Op: journal.OpOptions, Options: d.options()})
	t.pub.Unlock()
	return t.syncTo(at)
}

// syncTo returns once the log is synced up to a record and with it.
func (t *Topic) syncTo(at journal.Position) error {
	err := t.d.log.Commit(at, true)
	t.registry.SetHealth(err)
	return err
}

// PublishAs is PublishDeferred for messages that ask for a level of their own. One that is below the topic's changes nothing.
// It fails with ErrNoLog when the topic has no log to give them more.
func (t *Topic) PublishAs(b *Batch, delay time.Duration, level Level) error {
	if t.d == nil && level > Memory {
		return ErrNoLog
	}
	if t.d == nil || b.n == 0 {
		return t.PublishDeferred(b, delay)
	}
	return t.publishDurable(b, max(0, delay), level == Fsync)
}

// Refuses reports whether an error of a publish says that the disk did not take the message, so that a later one may succeed:
// not that the broker stops, or that the topic cannot be.
func Refuses(err error) bool {
	for _, other := range []error{ErrExiting, ErrInvalidName, ErrTopicNotFound, ErrChannelNotFound, nsqdata.ErrClosed} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil
}
