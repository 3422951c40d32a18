package topic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// ErrNoBrowse is the refusal to show messages of a topic that has no place for them.
var ErrNoBrowse = errors.New("the topic is at level memory, where a message has no position: it must be at level disk or fsync to be looked at")

// Message is what is seen of a message by somebody who does not take it.
type Message struct {
	Pos        Position
	ID         protocol.MessageID
	Time       int64  // when it came, Unix nanoseconds
	Size       int    // of the body, bytes
	Body       []byte // as much of it as was asked for
	Properties []journal.Property
	Key        uint32 // the sum of its key, see journal.KeySum; 0: it has none

	// Of a channel.
	Attempts  uint16 // deliveries so far
	Client    string // that has it in flight
	Delivered time.Time
	Deadline  time.Time
	Due       time.Time
}

// Look says which messages are looked at, and how far.
type Look struct {
	From     Position  // not before
	Since    int64     // only what was stamped then or later, Unix nanoseconds; 0: all
	Limit    int       // messages, 1 or more
	Body     int       // bytes of each body; -1: all
	MaxBytes int       // of bodies together, but for one message; 0: all
	Contains []byte    // only messages whose bodies have it; empty: all
	Scan     int64     // bytes of messages that are looked through, about; 0: all
	Until    time.Time // no longer; zero: as long as it takes
}

// Looked is what was seen.
type Looked struct {
	Messages []Message // by position
	Next     Position  // where to go on
	End      bool      // there is no more now
}

// Browse returns messages of the topic, in order, that are kept or that some channel, or the topic itself, still has. Nothing changes, and nobody waits:
// disks are read under no lock. It fails with ErrNoBrowse, the error of the context, or as the disk cannot be read.
func (t *Topic) Browse(ctx context.Context, o Look) (Looked, error) {
	if t.d == nil {
		return Looked{}, ErrNoBrowse
	}
	return t.browse(ctx, o, t.d.shown(), t.keptIn, func(*Message) {})
}

// keptIn is neededIn without deferred messages whose publish has failed: those are dropped when they are due.
func (t *Topic) keptIn(nodes []*stored) []backlog.Range {
	needed := journal.Merge(append(t.keptOf(nodes), t.neededIn(nodes)...))
	var void []backlog.Range
	for _, c := range t.all() {
		c.mu.Lock()
		void = append(void, c.machine.Void()...)
		c.mu.Unlock()
	}
	if len(void) == 0 {
		return needed
	}
	kept, _ := journal.CutAll(needed, journal.Merge(void))
	return kept
}

// BrowseWaiting is Browse for what waits on a channel: never delivered, or to be delivered again.
func (c *Channel) BrowseWaiting(ctx context.Context, o Look) (Looked, error) {
	t := c.topic
	if t.d == nil || c.ephemeral {
		return Looked{}, ErrNoBrowse
	}
	last := t.d.shown() // before the ranges: what is withdrawn meanwhile is behind it
	c.enterNow()
	waiting := c.machine.Backlog()
	c.exit()
	ranges, attempts := waiting.From(o.From)
	return t.browse(ctx, o, last, func([]*stored) []journal.Range { return ranges }, func(m *Message) { m.Attempts = attempts(m.Pos) })
}

// BrowseInFlight is Browse for what consumers of a channel have and have not answered.
func (c *Channel) BrowseInFlight(ctx context.Context, o Look) (Looked, error) {
	t := c.topic
	if t.d == nil || c.ephemeral {
		return Looked{}, ErrNoBrowse
	}
	c.enterNow()
	list := c.machine.Flights(o.From)
	c.exit()
	slices.SortFunc(list, func(a, b channel.Flight) int { return cmp.Compare(a.Pos, b.Pos) })
	ranges := make([]backlog.Range, 0, len(list))
	for i := range list {
		ranges = append(ranges, backlog.Range{First: list[i].Pos, Last: list[i].Pos})
	}
	ranges = journal.Merge(ranges)
	return t.browse(ctx, o, t.d.shown(), func([]*stored) []backlog.Range { return ranges }, func(m *Message) {
		i, _ := slices.BinarySearchFunc(list, m.Pos, func(f channel.Flight, pos Position) int { return cmp.Compare(f.Pos, pos) })
		f := &list[i]
		m.Attempts, m.Client, m.Delivered, m.Deadline = f.Attempts, f.Client, f.Delivered, f.Deadline
	})
}

// deferredPart is how many deferred messages are looked for together.
const deferredPart = 256

// BrowseDeferred returns what is deferred on a channel, by when it is due, and the mark to go on from, its zero value at the end. Of the
// look neither From nor Since counts. It fails as Deferred does.
func (c *Channel) BrowseDeferred(ctx context.Context, from DueMark, o Look) (list []Message, next DueMark, err error) {
	return browseDeferred(ctx, c.topic.registry, from, o, c.eachDeferred)
}

// eachDue is Channel.eachDeferred, or what is in its place for a copy.
type eachDue func(ctx context.Context, from DueMark, limit int, f func(*Scheduled, protocol.MessageFrame) bool) (next DueMark, end bool, err error)

func browseDeferred(ctx context.Context, r *Registry, from DueMark, o Look, each eachDue) (list []Message, next DueMark, err error) {
	b := browser{registry: r, look: o}
	defer b.count()
	for next = from; ; {
		stopped, end, began := false, false, time.Now()
		next, end, err = each(ctx, next, deferredPart, func(s *Scheduled, f protocol.MessageFrame) bool {
			if stopped = b.full() || b.spent(); stopped {
				return false
			}
			b.scanned += int64(len(f))
			if len(o.Contains) > 0 && !bytes.Contains(f.Body(), o.Contains) {
				return true
			}
			m := seen(f, s.Position, o.Body)
			m.Attempts, m.Due = s.Attempts, s.Due
			b.list = append(b.list, m)
			b.size += len(m.Body)
			return true
		})
		switch {
		case err != nil:
			return nil, next, err
		case end:
			return b.list, DueMark{}, nil
		case stopped:
			return b.list, next, nil
		}
		b.rest(began)
	}
}

// seen returns what is seen of a message, with so many bytes of its body.
func seen(f protocol.MessageFrame, pos Position, body int) Message {
	b := f.Body()
	m := Message{Pos: pos, ID: f.MustID(), Time: f.Timestamp(), Size: len(b)}
	if body >= 0 && len(b) > body {
		b = b[:body]
	}
	m.Body = slices.Clone(b)
	return m
}

const (
	browseNodes = 32      // nodes of which is looked together who needs what
	browseRest  = 4 << 20 // bytes that are looked through without a rest
	browseYield = 4       // times as long as it works it rests while others write to the log
)

// browse looks through the topic's nodes, for those messages in them that need returns and that are not behind the last one that is shown;
// complete adds to each what else is known.
func (t *Topic) browse(ctx context.Context, o Look, last Position, need func([]*stored) []backlog.Range, complete func(*Message)) (out Looked, err error) {
	nodes := t.d.table.from(o.From)
	b := browser{registry: t.registry, name: t.name, topic: t, look: o, last: last, complete: complete}
	defer b.count()
	for part := range slices.Chunk(nodes, browseNodes) {
		if i := slices.IndexFunc(part, func(s *stored) bool { return s.first > last }); i >= 0 {
			part = part[:i]
		}
		if len(part) == 0 {
			break
		}
		needed := need(part)
		for _, s := range part {
			more, err := b.node(ctx, s, needed)
			if err != nil {
				return Looked{}, err
			}
			if !more {
				return Looked{Messages: b.list, Next: b.next}, nil
			}
		}
	}
	return Looked{Messages: b.list, Next: max(o.From, last+1), End: true}, nil
}

// browser is one look.
type browser struct {
	registry *Registry
	name     string // of the topic
	topic    *Topic // nil: it is not this broker's own
	look     Look
	last     Position // that is shown
	complete func(*Message)

	list    []Message
	size    int // of the bodies in it
	scanned int64
	next    Position // where it has ended
	buf     []byte   // for what is read of the disk
	seenEnd journal.Offset
}

// node looks through one node, in as many pieces as it has, and reports whether there may be more behind it.
func (b *browser) node(ctx context.Context, s *stored, needed []backlog.Range) (more bool, err error) {
	if !s.isFile() || len(within(needed, max(b.look.From, s.first), min(Position(s.end.Load()), b.last+1))) == 0 {
		return b.piece(ctx, s, needed)
	}
	pieces, err := b.topic.pieces(s)
	for _, p := range pieces {
		if more, err := b.piece(ctx, p, needed); err != nil || !more {
			return more, err
		}
	}
	return true, err
}

func (b *browser) piece(ctx context.Context, s *stored, needed []backlog.Range) (more bool, err error) {
	need := within(needed, max(b.look.From, s.first), min(Position(s.end.Load()), b.last+1))
	if len(need) == 0 {
		return true, nil
	}
	if b.full() || b.spent() {
		b.next = need[0].First
		return false, nil
	}
	began := time.Now()
	node, beside, err := b.topic.look(s, b.buf)
	if err != nil {
		return false, err
	}
	if node.read {
		b.buf = node.frames[:0] // of what is seen there are copies
	}
	b.scanned += int64(len(node.frames))
	whole := node.each(s, func(f protocol.MessageFrame, pos Position) bool {
		if !journal.Holds(need, pos) || f.Timestamp() < b.look.Since {
			return true
		}
		if len(b.look.Contains) > 0 && !bytes.Contains(f.Body(), b.look.Contains) {
			return true
		}
		if b.full() {
			b.next = pos
			return false
		}
		b.take(f, pos, findBeside(beside, pos), sumAt(node.sums, s.first, pos))
		return true
	})
	if whole {
		b.rest(began)
	}
	return whole, ctx.Err()
}

// rest waits for as long as it has worked since a time, and for longer while others write: who publishes and consumes comes first.
func (b *browser) rest(began time.Time) {
	if b.scanned < browseRest {
		return
	}
	pause := time.Since(began)
	if log := b.registry.cfg.Journal; log != nil {
		if end := log.End(); end != b.seenEnd {
			pause *= browseYield
			b.seenEnd = end
		}
	}
	time.Sleep(min(pause, 20*time.Millisecond))
}

// count notes one request.
func (b *browser) count() {
	b.registry.browsed.requests.Add(1)
	b.registry.browsed.bytes.Add(uint64(b.scanned))
}

func (b *browser) full() bool {
	return len(b.list) == b.look.Limit || b.look.MaxBytes > 0 && b.size >= b.look.MaxBytes
}

// spent reports whether enough was looked through.
func (b *browser) spent() bool {
	o := &b.look
	return b.scanned > 0 && (o.Scan > 0 && b.scanned >= o.Scan || !o.Until.IsZero() && time.Now().After(o.Until))
}

func (b *browser) take(f protocol.MessageFrame, pos Position, beside []byte, sum uint32) {
	m := seen(f, pos, b.look.Body)
	m.Key = sum
	var err error
	if m.Properties, err = journal.ParseProperties(beside); err != nil {
		b.registry.log.Error("properties of a message make no sense", "topic", b.name, "position", pos, "error", err)
	}
	b.complete(&m)
	b.list = append(b.list, m)
	b.size += len(m.Body)
}

// Shown returns the position of the last message that consumers may get, 0 at level memory.
func (t *Topic) Shown() Position {
	if t.d == nil {
		return 0
	}
	return t.d.shown()
}

// Number returns a number by which the topic is told from one of the same name that was there before; 0 at level memory.
func (t *Topic) Number() uint32 {
	if t.d == nil {
		return 0
	}
	return t.d.id
}

// Browsed returns how many requests have looked at messages since the start, and through how many bytes of them.
func (r *Registry) Browsed() (requests, bytes uint64) {
	return r.browsed.requests.Load(), r.browsed.bytes.Load()
}
