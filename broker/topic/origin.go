package topic

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Publishes of replicated topics are taken once. A node counts its own, for each group, and sends again what is unanswered when another node
// leads: Batch.From says which one it is. What was taken stands in the records, so that each later leader knows it; of this reign, whose
// records need not be committed yet, the leader remembers it here.

// origins are the publishes that a group's leader knows to be taken, by start of a node. Its methods are safe for concurrent use.
type origins struct {
	mu   sync.Mutex // guards what follows
	list map[uint64]*origin
}

// origin is those of one start of a node.
type origin struct {
	taken   *journal.Numbers
	pending map[uint64]*taken // of this reign, as long as somebody may ask for them
	low     uint64            // none of pending is lower
	heard   time.Time
}

// taken is a publish of this reign.
type taken struct {
	at      journal.Offset // of its record; none: it is not appended yet
	receipt Receipt
}

// ErrTwice is a publish that is sent again while the same one is being taken.
var ErrTwice = errors.New("the same publish is being taken: it can be repeated")

// ErrOver is a publish for whose outcome its node waits no more.
var ErrOver = errors.New("nobody waits for what becomes of this publish any more")

// errRefusedBefore is a publish that was refused, and whose refusal has not come to who sent it: others that were to come behind it are there.
var errRefusedBefore = errors.New("it was refused before, and what came behind it was taken")

// newOrigins returns what a group has taken before a reign. All are heard of now, as nobody knows better.
func newOrigins(before map[uint64]*journal.Numbers) *origins {
	o := &origins{list: map[uint64]*origin{}}
	for id, n := range before {
		o.list[id] = &origin{taken: n, pending: map[uint64]*taken{}, heard: time.Now()}
	}
	return o
}

// begin notes that a publish is about to be taken. It returns the first one, again true, when that was done before.
func (o *origins) begin(from journal.Origin, inOrder bool) (first taken, again bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.list[from.ID]
	if x == nil {
		x = &origin{taken: new(journal.Numbers), pending: map[uint64]*taken{}}
		o.list[from.ID] = x
	}
	x.heard = time.Now()
	x.raise(from.Low)
	switch before := x.pending[from.Number]; {
	case x.taken.Over(from.Number):
		return first, false, ErrOver
	case before != nil && before.at == lostOffset:
		return first, false, ErrTwice
	case before != nil:
		return *before, true, nil
	case x.taken.Has(from.Number):
		return first, true, nil
	case inOrder && x.taken.Last() > from.Number:
		return first, false, errRefusedBefore
	}
	x.taken.Take(from)
	x.pending[from.Number] = new(taken)
	return first, false, nil
}

// raise forgets what nobody asks for any more.
func (x *origin) raise(low uint64) {
	x.taken.Raise(low)
	if low-min(low, x.low) > uint64(len(x.pending)) {
		maps.DeleteFunc(x.pending, func(n uint64, _ *taken) bool { return n < low })
		x.low = low
	}
	for ; x.low < low; x.low++ {
		delete(x.pending, x.low)
	}
}

// end notes where the record of a publish is that begin has let through, or that it was not taken.
func (o *origins) end(from journal.Origin, at journal.Offset, r Receipt, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.list[from.ID]
	switch {
	case x == nil || x.taken.Over(from.Number):
	case err != nil:
		x.taken.Drop(from.Number)
		delete(x.pending, from.Number)
	default:
		x.pending[from.Number] = &taken{at, r}
	}
}

// silent forgets the origins that were not heard of since a time, and says so by records: before anything of them is appended that comes later.
func (o *origins) silent(since time.Time, reign Reign) (ids []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, x := range o.list {
		if x.heard.Before(since) {
			ids = append(ids, id)
			delete(o.list, id)
		}
	}
	slices.Sort(ids)
	for some := range slices.Chunk(ids, 1<<12) {
		reign.Append(journal.KindForgotten, journal.AppendForgotten(nil, some), nil)
	}
	return ids
}

// lostOffset is where no record is.
var lostOffset = journal.Offset{}

// ForgetOrigins forgets whose publishes were taken where nothing was heard of a node under that name since a time. It returns how many.
func (l *Led) ForgetOrigins(since time.Time) int {
	return len(l.origins.silent(since, l.reign))
}

// Topic returns a topic by its number in the group, nil when this broker does not serve it.
func (l *Led) Topic(number uint32) *Topic {
	l.mu.Lock()
	t := l.topics[number]
	l.mu.Unlock()
	if t == nil || l.registry.Lookup(t.name) != t {
		return nil
	}
	return t
}

// Barred returns why a topic of the group is not served by this broker although it leads it: nil when it is, or is about to be, or is not there.
func (l *Led) Barred(number uint32) error {
	l.mu.Lock()
	t := l.topics[number]
	l.mu.Unlock()
	if t == nil {
		return nil
	}
	switch other := l.registry.Lookup(t.name); {
	case other == nil || other == t || other.exiting.Load():
		return nil
	case other.led == nil:
		return other.inTheWay()
	case other.led != l:
		return errTwice
	}
	return nil
}

// Begun is a publish of a replicated topic that was appended to its group's log, and need not be committed yet.
type Begun struct {
	topic *Topic
	later *Wakes
	again bool // it was taken before, and is shown by who took it first; count 0 then
	appended
	receipt Receipt
	stamp   int64 // Unix nanoseconds
	traced  bool  // the tracer is to be told by Await
}

// Begin appends a publish of a replicated topic. It waits for room at most, and returns the errors of Publish, but for draining: who publishes
// is at another broker. The batch is empty after nil, unless Again, and as it was else. Await, which is to be called then, says what becomes of it.
func (t *Topic) Begin(b *Batch, delay time.Duration) (p Begun, err error) {
	if t.led == nil {
		return p, fmt.Errorf("%w: topic %s", ErrNotReplicated, t.name)
	}
	p, err = t.d.beginReplicated(b, delay)
	p.traced = true
	return p, err
}

// ErrNotReplicated is a publish that is meant for a replicated topic, when there is none of that name any more.
var ErrNotReplicated = errors.New("the topic is not replicated")

// Await returns nil once the publish is committed, and shown. With ErrNotLeader nobody knows what becomes of it.
func (p *Begun) Await() error {
	t := p.topic
	if p.at != lostOffset || !p.again {
		if err := t.d.log.Commit(p.at, true); err != nil {
			return err
		}
	}
	if !p.again {
		t.show(&p.appended, false, p.later)
		if to := t.registry.cfg.Trace; to != nil && p.traced {
			to.Published(t.name, p.receipt.ID, p.receipt.Count, p.stamp)
		}
	}
	return nil
}

// AwaitOwn returns nil once the publish is as safe on this broker as the topic's level says, or committed. When another broker leads then it may be
// gone all the same. Await is to be called as well.
func (p *Begun) AwaitOwn() error {
	if p.again && p.at == lostOffset {
		return nil
	}
	return p.topic.led.reign.CommitOwn(p.at)
}

// Again reports whether the publish was taken before.
func (p *Begun) Again() bool { return p.again }

// Frames returns the frames of the messages, for BatchOf, as a copy; none of a publish that was taken before.
func (p *Begun) Frames() (frames []byte, count int) {
	return bytes.Clone(p.extent.Frames()), p.count
}

// Safe reports whether Await would wait for nothing.
func (p *Begun) Safe() bool {
	return p.again && p.at == lostOffset || p.topic.led.reign.Safe(p.at)
}

// Receipt says what the messages have become. Of a publish that an earlier leader has taken nothing is known: its Count is 0.
func (p *Begun) Receipt() Receipt { return p.receipt }

// BatchOf returns the batch of frames that another broker has put together, which it keeps.
func BatchOf(frames []byte, count int) (Batch, error) {
	b := Batch{frames: frames}
	for rest := frames; len(rest) > 0; b.n++ {
		kind, _, size, err := protocol.ParseFrame(rest, len(rest))
		if err != nil || kind != protocol.FrameMessage || size <= protocol.MessageOverhead {
			return Batch{}, fmt.Errorf("%w: message %d of %d", errFrames, b.n, count)
		}
		b.bodies += size - protocol.MessageOverhead
		rest = rest[size:]
	}
	if b.n != count || count == 0 {
		return Batch{}, fmt.Errorf("%w: %d messages, %d were announced", errFrames, b.n, count)
	}
	return b, nil
}

var errFrames = errors.New("a publish of another broker that cannot be read")

// Frames gives the frames of the messages away, for BatchOf: the batch is as after a Reset.
func (b *Batch) Frames() (frames []byte, count int) {
	frames, count = b.frames, b.n
	b.frames = nil
	b.Reset()
	return frames, count
}

// SetReceipt says what the messages of the last publish have become, which was carried out elsewhere.
func (b *Batch) SetReceipt(r Receipt) { b.receipt = r }
