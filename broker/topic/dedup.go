package topic

import (
	"errors"
	"strconv"
	"sync/atomic"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
	"brokerd/protocol/keyrule"
)

// Idempotent publish: a topic with the option dedup_window remembers the keys of the messages that it has accepted lately. A publish with
// such a key is answered as the first one was, and not stored. To look and to append is one step under Topic.pub, and the record of the
// publish has its keys, so that a restart knows the same. A key goes with the publish that it came with when that is withdrawn.

// Duplicate is a message of a publish that was not stored, as one with its deduplication key had been accepted before.
type Duplicate struct {
	Index    int      // in the publish, from 0
	Position Position // of the first one
}

// errFirstFailed is the refusal of a publish whose first copy was on its way to the disk, and did not get there.
var errFirstFailed = errors.New("the publish that had the same deduplication key failed just now, and nothing is stored: it can be repeated")

// Deduplicate gives the messages that were added since a mark a deduplication key each: that of the text or, of several messages of one
// publish, the text with /0, /1 and so on behind it.
func (b *Batch) Deduplicate(since Mark, topic, text string, several bool) {
	if !several {
		b.setKey(since.n, journal.NewKey(topic, []byte(text)))
		return
	}
	part := append(make([]byte, 0, len(text)+16), text...)
	part = append(part, '/')
	for i := since.n; i < b.n; i++ {
		b.setKey(i, journal.NewKey(topic, strconv.AppendInt(part, int64(i-since.n), 10)))
	}
}

func (b *Batch) setKey(i int, k journal.Key) {
	for len(b.keys) <= i {
		b.keys = append(b.keys, journal.Key{})
	}
	b.keys[i] = k
}

// takeKeys completes the deduplication keys of a batch by what a rule takes out of bodies, and reports whether there are any.
func (b *Batch) takeKeys(topic string, rule *keyrule.Rule) (some bool) {
	if rule == nil {
		return len(b.keys) > 0
	}
	i := 0
	for rest := b.frames; len(rest) > 0; i++ {
		f := protocol.FirstMessage(rest)
		rest = rest[len(f):]
		if i < len(b.keys) && b.keys[i] != (journal.Key{}) {
			some = true
			continue
		}
		if k := journal.NewKey(topic, rule.Key(f.Body())); k != (journal.Key{}) {
			b.setKey(i, k)
			some = true
		}
	}
	return some
}

// keysOf looks at what a publish asks for: when it is answered, and which deduplication keys it has. sync says that it asks for more than
// the topic's level.
func (d *logStore) keysOf(b *Batch, sync bool) (k keyed, err error) {
	t := d.topic
	p := t.policy.Load()
	if p == nil && b.Acks == policy.AcksUnsaid {
		return k, nil
	}
	acks, ok := p.Asked(b.Acks)
	if !ok {
		return k, ErrAcks
	}
	k.lax = acks == policy.AcksNone && !sync
	if p.Dedups() && b.takeKeys(t.name, p.DedupFrom) {
		k.on = true
		err = t.registry.need(journal.FeatureDedup)
	}
	return k, err
}

// repeated returns once a publish may be answered of which nothing was new: what it repeats is as safe as its level says, or synced when
// that is asked for; at once when it is lax. at is where the newest publish with keys is.
func (d *logStore) repeated(at journal.Offset, sync, lax bool) error {
	if lax || at == (journal.Offset{}) || !sync && !d.levels.synced() {
		return nil
	}
	err := d.log.Commit(at, true)
	d.topic.registry.SetHealth(err)
	return err
}

// keysKept says that a checkpoint, which is safe, has what records before a place say. That of a publish may be lost: its sync has failed, and
// no later one can say that it is there.
func (r *Registry) keysKept(before journal.Offset) {
	for _, t := range r.durable() {
		t.pub.Lock()
		if t.d.keyedAt.Before(before) {
			t.d.keyedAt = journal.Offset{}
		}
		t.pub.Unlock()
	}
}

// keyed is the part of a publish that is about deduplication keys.
type keyed struct {
	on         bool // there are some, and the topic looks at them
	lax        bool // the publish is answered at once
	duplicates []Duplicate
	added      int // keys that the topic remembers since
}

// doubt is a publish that others with its keys wait for, as it is not known to be safe yet.
type doubt struct {
	known  chan struct{} // closed once it is
	failed bool          // set before that
}

func (d *doubt) Error() string { return "the publish with the same deduplication key is not safe yet" }

// await returns errFirstFailed when the publish was withdrawn.
func (d *doubt) await() error {
	<-d.known
	if d.failed {
		return errFirstFailed
	}
	return nil
}

// doubtOf returns what the outcome of a publish is to be told to, nil when it is known already. A withdrawn one's keys are forgotten before.
func (w *watermark) doubtOf(pos Position) *doubt {
	if w.position() >= pos {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	low, high := 0, w.pending.Len()
	for low < high {
		if mid := (low + high) / 2; w.pending.At(mid).last < pos {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == w.pending.Len() {
		return nil
	}
	p := w.pending.At(low)
	if p.done {
		return nil
	}
	if p.doubt == nil {
		p.doubt = &doubt{known: make(chan struct{})}
	}
	return p.doubt
}

// window returns the seconds in which a message was accepted whose key counts at a time: from what is not older than the window, so that
// a key counts for the window and a second more at most, to what is as far ahead, if the clock has gone back.
func window(p *policy.Policy, now int64) (from, to uint32) {
	return journal.KeySecond(now - int64(p.DedupWindow)), journal.KeySecond(now + int64(p.DedupWindow))
}

// filterLocked returns the batch without messages whose keys the topic has seen, and notes the keys of the others, from the topic's next
// position on. It fails with a *doubt, and has done nothing, when the first copy of one is not safe yet. Topic.pub is held.
func (d *logStore) filterLocked(b *Batch, k *keyed, now int64) (*Batch, error) {
	k.duplicates, k.added = nil, 0
	p := d.topic.policy.Load()
	if !p.Dedups() { // not any more
		return b, nil
	}
	if d.keys == nil {
		d.keys = new(journal.Keys)
	}
	from, to := window(p, now)
	d.expireKeys(from, to, 2*len(b.keys)+spareKeys)
	at := journal.KeySecond(now)
	next := d.next
	for i, key := range b.keys {
		if i%warmKeys == 0 {
			d.keys.Warm(b.keys[i:])
		}
		if key == (journal.Key{}) {
			next++
			continue
		}
		first, seen := d.keys.FindOrAdd(key, from, to, next, at)
		if !seen {
			k.added++
			next++
			continue
		}
		if first < d.next && !k.lax {
			if w := d.watermark.doubtOf(first); w != nil {
				d.keys.DropNewest(k.added)
				return nil, w
			}
		}
		k.duplicates = append(k.duplicates, Duplicate{Index: i, Position: first})
	}
	if len(k.duplicates) == 0 {
		return b, nil
	}
	return b.without(k.duplicates), nil
}

// without returns a batch of its own with the messages that are no duplicates.
func (b *Batch) without(list []Duplicate) *Batch {
	out := &Batch{Due: b.Due, TTL: b.TTL, Acks: b.Acks}
	i := 0
	for rest := b.frames; len(rest) > 0; i++ {
		f := protocol.FirstMessage(rest)
		rest = rest[len(f):]
		if len(list) > 0 && list[0].Index == i {
			list = list[1:]
			continue
		}
		if out.frames == nil {
			out.frames = make([]byte, 0, len(rest)+len(f))
		}
		out.frames = append(out.frames, f...)
		out.n++
		out.bodies += len(f) - protocol.MessageOverhead
		if i < len(b.keys) {
			out.keys = append(out.keys, b.keys[i])
		}
		if i < len(b.sums) {
			out.sums = append(out.sums, b.sums[i])
		}
	}
	return out
}

// original returns how many of the first messages of a publish are the first n of those that were no duplicates, and the duplicates before
// the next one.
func (k *keyed) original(n int) int {
	for _, d := range k.duplicates {
		if d.Index > n {
			break
		}
		n++
	}
	return n
}

// newLocked returns the messages of a batch that are to be stored, which the topic has room for: all, or those that are no duplicates.
// Topic.pub is held.
func (d *logStore) newLocked(b *Batch, k *keyed, now int64) (m *Batch, err error) {
	t := d.topic
	m = b
	if k.on {
		if m, err = d.filterLocked(b, k, now); err != nil {
			return nil, err
		}
		if m.n == 0 {
			t.duplicates.Add(uint64(len(k.duplicates)))
			return m, nil
		}
	}
	if err := t.refusedLocked(m); err != nil {
		d.keys.DropNewest(k.added)
		var bound *BoundError
		if errors.As(err, &bound) {
			bound.Room = k.original(bound.Room)
		}
		return nil, err
	}
	if len(k.duplicates) > 0 {
		t.duplicates.Add(uint64(len(k.duplicates)))
	}
	return m, nil
}

// columnLocked sets what the record of a publish says of keys: those of all its messages, and from which position on the topic remembers
// them, which it holds to its limits. Topic.pub is held.
func (d *logStore) columnLocked(b *Batch, p *journal.Publish) {
	for len(b.keys) < b.n {
		b.keys = append(b.keys, journal.Key{})
	}
	most := maxKeys(d.topic.policy.Load())
	for n := 2*b.n + spareKeys; n > 0 && int64(d.keys.Len()) > most; n-- {
		if n%warmKeys == 0 || n == 2*b.n+spareKeys {
			d.keys.WarmOldest()
		}
		d.forgetOldest()
	}
	p.Keys, p.Since = b.keys, p.First
	if oldest, _, ok := d.keys.Oldest(); ok {
		p.Since = oldest
	}
	d.accountKeys()
}

// warmKeys is how many keys are looked up together.
const warmKeys = 64

// spareKeys is how many keys more than it brings a publish lets go at most, when there are too many or they are too old.
const spareKeys = 256

// expireKeys forgets keys that do not count any more, the oldest first, at most so many, and reports whether it has done with them.
func (d *logStore) expireKeys(from, to uint32, limit int) (done bool) {
	for ; limit > 0; limit-- {
		if _, at, ok := d.keys.Oldest(); !ok || at >= from && at <= to {
			return true
		}
		d.keys.DropOldest()
	}
	return false
}

// forgetOldest forgets a key that would still count.
func (d *logStore) forgetOldest() {
	if d.keys.DropOldest() {
		d.topic.forgotten.Add(1)
	}
}

// accountKeys tells the node how much memory the topic's keys take.
func (d *logStore) accountKeys() {
	d.topic.remembered.Store(int64(d.keys.Len()))
	if n := int64(d.keys.Bytes()); n != d.keyBytes {
		d.topic.registry.keys.grow(n - d.keyBytes)
		d.keyBytes = n
	}
}

// dropKeys forgets all keys.
func (d *logStore) dropKeys() {
	d.keys = nil
	d.accountKeys()
}

// applyDedup puts in force what the topic's options say of its keys. Topic.pub is held, or nobody knows the topic yet.
func (t *Topic) applyDedup(p *policy.Policy) {
	if t.d != nil && !p.Dedups() {
		t.d.dropKeys()
	}
}

// trimmedAtOnce is how many keys are forgotten while publishers wait.
const trimmedAtOnce = 1 << 12

// trimKeysLocked forgets keys that are too old or too many, some at a time, and reports whether it has done with them. Topic.pub is held.
func (t *Topic) trimKeysLocked() (done bool) {
	d, p := t.d, t.policy.Load()
	if d == nil {
		return true
	}
	if _, newest, ok := d.keys.Newest(); !ok || !p.Dedups() {
		return true
	} else if from, to := window(p, t.registry.stamp()); newest < from {
		d.keys = nil
		done = true
	} else {
		done = d.expireKeys(from, to, trimmedAtOnce)
	}
	for n := trimmedAtOnce; done && int64(d.keys.Len()) > maxKeys(p); n-- {
		if done = n > 0; done {
			d.forgetOldest()
		}
	}
	d.accountKeys()
	return done
}

// maxKeys returns how many keys a topic remembers.
func maxKeys(p *policy.Policy) int64 {
	if p.DedupMax > 0 {
		return p.DedupMax
	}
	return policy.DefaultDedupMax
}

// keyMemory is the memory that all topics' keys take.
type keyMemory struct {
	limit int64 // bytes; 0: none
	used  atomic.Int64
	full  func() // called beyond the limit; waits for nothing
}

func (m *keyMemory) grow(n int64) {
	if m.used.Add(n); n > 0 {
		m.look()
	}
}

// look sees to it that they take no more than they may.
func (m *keyMemory) look() {
	if m.limit > 0 && m.used.Load() > m.limit {
		m.full()
	}
}

// shrinkKeys has keys forgotten until they take less than they may, those of the topic that has the most of them first. One does it at a time,
// and nobody before Start: until then topics are made again, under no lock.
func (r *Registry) shrinkKeys() {
	if !r.started.Load() || !r.shrinking.CompareAndSwap(false, true) {
		return
	}
	if !r.spawn(func() {
		defer r.shrinking.Store(false)
		for r.keys.used.Load() > r.keys.limit-r.keys.limit/16 && r.ctx.Err() == nil && r.shrinkLargest() {
		}
	}) {
		r.shrinking.Store(false)
	}
}

// shrinkLargest has the topic whose keys take the most memory forget some, and reports whether there was one.
func (r *Registry) shrinkLargest() bool {
	var largest *Topic
	most := int64(0)
	for _, t := range r.durable() {
		if n := t.remembered.Load(); n > most {
			largest, most = t, n
		}
	}
	if largest == nil {
		return false
	}
	largest.pub.Lock()
	defer largest.pub.Unlock()
	for n := trimmedAtOnce; n > 0 && largest.d.keys.Len() > 0; n-- {
		largest.d.forgetOldest()
	}
	largest.d.accountKeys()
	return true
}

// keysUpTo returns the keys of messages up to a position, of which all is known that becomes of their publishes.
func (t *Topic) keysUpTo(last Position) journal.KeySnapshot {
	t.pub.Lock()
	defer t.pub.Unlock()
	return t.d.keys.Snapshot(last)
}

// keys gives a topic the keys of an earlier life, as its options count now.
func (b *builder) keys() {
	t := b.topic
	if t.d.retain.from() > 0 { // some may be of a clock that was set back, and the log has ended before it said so
		b.state.Keys.NotAfter(journal.KeySecond(t.registry.stamp()))
	}
	if keys := b.state.Keys; keys.Len() > 0 {
		t.d.keys, b.state.Keys = &keys, journal.Keys{}
	}
	t.applyDedup(t.policy.Load())
	for !t.trimKeysLocked() {
	}
	t.d.accountKeys()
}
