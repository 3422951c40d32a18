package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/channel"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/stall"
	"brokerd/protocol"
)

// Registry is the topics of one node.
type Registry struct {
	cfg                      Config
	log                      *slog.Logger
	ids                      *sequence
	start                    time.Time // origin of the clock of all deadlines
	sweep                    *sweeper
	noPublishes, noNewcomers atomic.Bool // see SetDraining

	limits   atomic.Pointer[limits]
	patterns atomic.Pointer[Patterns]      // see SetPatterns
	unheeded sync.Map                      // those, by text, of which the log has told that replicated topics do not heed them
	jumps    atomic.Pointer[channel.Jumps] // of the clock of stamps; nil: none
	skew     time.Duration                 // what tests set the clock of stamps by
	ahead    atomic.Int64                  // what stamps are more than times on that clock
	trust    trust                         // in that clock, for what is dropped by its age

	ctx  context.Context // ends when Close begins
	stop context.CancelFunc
	bg   sync.Mutex     // held while wg grows, and over stop; nothing is locked under it
	wg   sync.WaitGroup // goroutines that learn channels or move a topic's backlog
	end  sync.Once

	idleAt atomic.Int64 // when it is looked for what nobody uses

	started atomic.Bool // all that an earlier life has left is there
	held    atomic.Bool // nothing is delivered, see SetDelivery

	health  atomic.Pointer[error] // of the last write to disk
	failing chan struct{}         // it has failed
	lastID  atomic.Uint32         // of topics and channels in the log

	born atomic.Uint64 // channels that ever were, topics' own backlogs too

	consumers atomic.Uint64 // that ever were
	cuts      atomic.Uint64 // checkpoints that were begun

	onDisk  atomic.Int64 // nodes of durable topics in segments
	dropped atomic.Int64 // nodes that were there and may go

	space atomic.Pointer[error] // the disk is nearly full

	logWhole bool // Recover has read a log that was not new, and all of it

	configuring sync.Mutex // options are set for one topic or channel at a time; before remaking

	remaking sync.Mutex // one topic changes between level memory and the others at a time; before create

	spills *stall.Slot // writes to queues on disk

	rules  channel.Rules // of all channels
	memory memoryAccount

	keys      keyMemory // of deduplication
	shrinking atomic.Bool
	trailing  trailing

	browsed struct{ requests, bytes atomic.Uint64 } // by who only looks

	create  sync.Mutex   // one topic is made at a time, as its queue on disk may have to be opened; held over no write of the log
	mu      sync.RWMutex // guards what follows; nothing is locked under it
	topics  map[string]*Topic
	exiting bool

	replicated  map[string]bool // names that replicated topics have, as far as is known here
	yieldingNow atomic.Int64    // topics that are to give way to those
}

// NewRegistry returns an empty registry. Its sweeper runs from Start on.
func NewRegistry(cfg Config) *Registry {
	r := &Registry{cfg: cfg, log: cfg.Log, start: time.Now(), topics: map[string]*Topic{},
		failing: make(chan struct{}, 1), spills: cfg.Disk.Slot("write messages to a queue on disk")}
	r.ids = newSequence(cfg.NodeID, cfg.IDs, r.spawn, cfg.Disk)
	if r.memory.half = math.MaxInt64; cfg.MaxMemory > 0 {
		r.memory.half = cfg.MaxMemory / 2
	}
	r.keys.limit, r.keys.full = cfg.DedupMemory, r.shrinkKeys
	r.rules = channel.Rules{MemQueueSize: cfg.MemQueueSize, TopologyAware: cfg.TopologyAware, FreshID: r.ids.one, Random: rand.IntN}
	r.ahead.Store(r.start.UnixNano())
	r.patterns.Store(&cfg.Patterns)
	r.idleAt.Store(math.MaxInt64)
	r.SetLimits(Limits{MaxMsgTimeout: cfg.MaxMsgTimeout, MaxReqTimeout: cfg.MaxReqTimeout, MaxConsumers: cfg.MaxConsumers,
		MaxTopics: cfg.MaxTopics, MaxChannels: cfg.MaxChannels})
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.sweep = newSweeper(r)
	return r
}

// Start starts the sweeper, which Close stops, and has message ids reserved before the first publish needs one.
func (r *Registry) Start() {
	r.started.Store(true)
	r.keys.look()
	r.enforceAll()
	r.sweep.start()
	r.ids.reserveAhead()
}

// now returns the time in nanoseconds on the clock of all deadlines.
func (r *Registry) now() int64 { return int64(time.Since(r.start)) }

// clockSlack is how far the two clocks may be off before that is noted, in nanoseconds: each reading differs a little.
const clockSlack = int64(100 * time.Microsecond)

// stamp returns the time that new messages carry, in nanoseconds since the Unix epoch. Unlike now it follows a clock that is set.
func (r *Registry) stamp() int64 {
	t := time.Now()
	at := t.UnixNano() + int64(r.skew)
	ahead := at - int64(t.Sub(r.start))
	if was := r.ahead.Load(); ahead-was < -clockSlack || ahead-was > clockSlack {
		if r.ahead.CompareAndSwap(was, ahead) {
			r.jumped(at, ahead-was)
		}
	}
	return at
}

// stampOf returns the stamp of a time on the clock of deadlines, as it was when a message was last stamped: it reads no clock.
func (r *Registry) stampOf(now int64) int64 { return now + r.ahead.Load() }

// SetNode sets the number that stands in the top ten bits of message ids from now on, 0 to 1023: in a cluster no two nodes have the same.
func (r *Registry) SetNode(n int) { r.ids.node.Store(int64(n)) }

// NextID returns the first id number that is not used yet, for saving at a clean exit; ok is false when none was ever used.
func (r *Registry) NextID() (next uint64, ok bool) {
	return r.ids.next.Load(), r.ids.reserved.Load() > 0
}

// Health returns why messages cannot be kept now, nil when they can: that the disk does not answer, or what Failed says.
func (r *Registry) Health() error {
	if err := r.cfg.Disk.Err(); err != nil {
		return err
	}
	return r.Failed()
}

// Failed returns the error of the last write to disk, nil when it succeeded, or what SetSpace was told.
func (r *Registry) Failed() error {
	if p := r.space.Load(); p != nil {
		return *p
	}
	if p := r.health.Load(); p != nil {
		return *p
	}
	return nil
}

// SetHealth says how the last write to disk went.
func (r *Registry) SetHealth(err error) {
	if err == nil && r.health.Load() == nil {
		return
	}
	if err == nil {
		r.health.Store(nil)
		return
	}
	failed := err // only this moves to the heap
	r.health.Store(&failed)
	select {
	case r.failing <- struct{}{}:
	default:
	}
}

// need returns once the folder says that it uses a feature, see Config.Need. No lock is held: it may wait for the disk.
func (r *Registry) need(f journal.Feature) error {
	if r.cfg.Need == nil {
		return nil
	}
	err := r.cfg.Need(f)
	if err != nil {
		err = fmt.Errorf("naming the feature %s in the manifest: %w", f, err)
		r.SetHealth(err)
	}
	return err
}

// needOptions is need for options that are to be kept in the log; none need nothing.
func (r *Registry) needOptions(set *policy.Set, logged bool) error {
	if !logged || set.Raw() == nil {
		return nil
	}
	return r.need(journal.FeatureOptions)
}

// OnDisk returns the number of nodes of durable topics that are in segments.
func (r *Registry) OnDisk() int64 { return r.onDisk.Load() }

// Failing tells that a write to disk has failed.
func (r *Registry) Failing() <-chan struct{} { return r.failing }

// Topic returns the topic of that name and makes it when there is none. It fails with ErrInvalidName or ErrExiting.
func (r *Registry) Topic(name string) (*Topic, error) {
	if t := r.Lookup(name); t != nil {
		return t, nil
	}
	if err := r.takesNewcomers(); err != nil {
		return nil, err
	}
	return r.topicAt(name, r.levelOf(name))
}

// topicAt is Topic, at a level of its own when it is made.
func (r *Registry) topicAt(name string, level Level) (*Topic, error) {
	if r.cfg.Elsewhere != nil {
		if err := r.cfg.Elsewhere(name); err != nil {
			return nil, err
		}
	}
	learning := r.cfg.Learn != nil && (r.cfg.Alone == nil || !r.cfg.Alone())
	if err := r.needRetention(r.policyOfNew(name), level > Memory); err != nil {
		return nil, err
	}
	t, made, err := r.add(name, learning, level, true)
	if made {
		_ = t.store.settle() // it fails for no topic of the node's log
		r.log.Info("topic created", "topic", name)
		r.changed()
		if learning {
			t.learn()
		}
		if r.cfg.Made != nil {
			r.cfg.Made()
		}
	}
	return t, err
}

// add makes a topic when there is none of that name; limited says that it is held to --max-topics.
func (r *Registry) add(name string, learning bool, level Level, limited bool) (t *Topic, made bool, err error) {
	if !protocol.ValidName(name) {
		return nil, false, fmt.Errorf("topic %q: %w", name, ErrInvalidName)
	}
	r.create.Lock()
	defer r.create.Unlock()
	if t := r.Lookup(name); t != nil {
		return t, false, nil
	}
	if limited {
		if err := r.roomForTopic(); err != nil {
			return nil, false, err
		}
	}
	t, err = newTopic(r, name, learning, level)
	if err != nil {
		return nil, false, err
	}
	t.store.change(journal.Change{Op: journal.OpCreateTopic, Name: name, Options: t.store.options()})
	if limited { // else it is of an earlier life: at the first look
		t.retainLocked()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exiting {
		return nil, false, errors.Join(ErrExiting, t.own.closeQueue())
	}
	r.topics[name] = t
	r.markLocked(t)
	return t, true, nil
}

// Restore makes the topics and channels that were saved, with what their queues on disk hold. It goes before anything is
// published or subscribed, and after Recover.
func (r *Registry) Restore(m nsqdata.Metadata) error {
	for _, saved := range r.Unlogged(m).Topics {
		if err := r.restore(saved); err != nil {
			return fmt.Errorf("restoring topic %s: %w", saved.Name, err)
		}
	}
	return nil
}

// Unlogged returns what Restore makes of a list. Of a topic that this broker has kept in its log the log knows better, and
// more lately: it is left as Recover has made it, and not made when the log, read whole, does not have it, as it was deleted
// then. What nsqd has written adds to what the log has.
func (r *Registry) Unlogged(m nsqdata.Metadata) (rest nsqdata.Metadata) {
	for _, saved := range m.Topics {
		level, err := ParseLevel(saved.Durability)
		logged := err == nil && level > Memory
		if !logged || !r.logWhole && r.Lookup(saved.Name) == nil {
			rest.Topics = append(rest.Topics, saved)
		}
	}
	return rest
}

func (r *Registry) restore(saved nsqdata.TopicMeta) error {
	level, chosen := r.levelOf(saved.Name), saved.Durability == Memory.String()
	if chosen {
		level = Memory
	}
	t, _, err := r.add(saved.Name, true, level, false)
	if err != nil {
		return err
	}
	t.chosen.Store(chosen && t.d == nil)
	r.needSaved(&saved, t.d != nil)
	t.restoreSet(policy.Kept(decodeOptions(saved.Options)))
	for _, channel := range saved.Channels {
		c, _, err := t.addChannel(channel.Name, false)
		if err != nil {
			return fmt.Errorf("channel %s: %w", channel.Name, err)
		}
		c.restorePause(channel.Paused)
		c.restoreSet(policy.Kept(decodeOptions(channel.Options)))
	}
	t.restorePause(saved.Paused)
	t.pub.Lock()
	t.learning = false
	t.releaseLocked()
	t.pub.Unlock()
	return nil
}

// needSaved is needOptions for what a list of topics says. A start does not fail for it: the name is entered with the next manifest that can
// be written.
func (r *Registry) needSaved(saved *nsqdata.TopicMeta, logged bool) {
	sets := []json.RawMessage{saved.Options}
	for _, c := range saved.Channels {
		sets = append(sets, c.Options)
	}
	for _, set := range sets {
		if err := r.needOptions(policy.Kept(decodeOptions(set)), logged); err != nil {
			r.log.Error("options of a topic are kept before the folder says so", "topic", saved.Name, "error", err)
			return
		}
	}
}

// Metadata returns what Restore needs: the topics and channels that are not ephemeral.
func (r *Registry) Metadata() nsqdata.Metadata {
	var m nsqdata.Metadata
	closing := r.ctx.Err() != nil // then topics exit without being deleted
	for _, t := range r.Topics() {
		if t.ephemeral || t.led != nil || t.exiting.Load() && !closing {
			continue
		}
		saved := nsqdata.TopicMeta{Name: t.name, Paused: t.Paused(), Options: encodeOptions(t.set.Load().Raw())}
		if t.d != nil || t.chosen.Load() {
			saved.Durability = t.Durability().String()
		}
		if t.d != nil {
			saved.Number = t.d.id
		}
		for _, c := range t.Channels() {
			if !c.ephemeral {
				saved.Channels = append(saved.Channels, nsqdata.ChannelMeta{Name: c.name, Paused: c.Paused(), Number: c.id,
					Options: encodeOptions(c.set.Load().Raw())})
			}
		}
		m.Topics = append(m.Topics, saved)
	}
	return m
}

// Lookup returns the topic of that name, nil when there is none.
func (r *Registry) Lookup(name string) *Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.topics[name]
}

// LookupBytes is Lookup for a name that still stands in a read buffer.
func (r *Registry) LookupBytes(name []byte) *Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.topics[string(name)]
}

// Topics returns all topics, sorted by name.
func (r *Registry) Topics() []*Topic {
	list := r.unsorted()
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

func (r *Registry) unsorted() []*Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.AppendSeq(make([]*Topic, 0, len(r.topics)), maps.Values(r.topics))
}

// DeleteTopic closes the consumers of all its channels and drops every message and file of it. While that goes on publishes
// get ErrExiting; afterwards one makes the topic anew. It fails with ErrTopicNotFound.
func (r *Registry) DeleteTopic(name string) error {
	t := r.Lookup(name)
	if t != nil && t.led != nil {
		return fmt.Errorf("%w: delete it by itself, as the cluster decides that", ErrReplicated)
	}
	if t == nil || !t.exiting.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: %q", ErrTopicNotFound, name)
	}
	t.deleted.Store(true)
	err := t.destroy()
	r.mu.Lock()
	r.unmarkLocked(t)
	delete(r.topics, name)
	r.mu.Unlock()
	r.log.Info("topic deleted", "topic", name)
	r.changed()
	return err
}

// spawn runs f on a goroutine that Close waits for. Once Close has begun it does nothing and reports false.
func (r *Registry) spawn(f func()) bool {
	r.bg.Lock()
	defer r.bg.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	r.wg.Go(f)
	return true
}

func (r *Registry) changed() {
	if r.cfg.Changed != nil {
		r.cfg.Changed()
	}
}

// Close refuses new messages, stops what runs in the background, and saves every queue as NSQ does: what waits in memory, is
// in flight or deferred goes to the queues on disk. Consumers must be gone before. It returns what could not be saved.
// A second call does nothing.
func (r *Registry) Close() (err error) {
	r.end.Do(func() { err = r.close() })
	return err
}

func (r *Registry) close() error {
	r.mu.Lock()
	r.exiting = true
	r.mu.Unlock()
	r.bg.Lock()
	r.stop()
	r.bg.Unlock()
	r.sweep.close()
	r.wg.Wait()
	var errs []error
	for _, t := range r.Topics() {
		if err := t.save(); err != nil {
			errs = append(errs, fmt.Errorf("saving topic %s: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}
