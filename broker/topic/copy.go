package topic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Copy is a replicated topic as a replica has it, whoever leads: what was committed, as far as that is known here. It is only looked at, a part at a time: who
// applies what is committed waits for some thousand messages at most. Its methods are safe for concurrent use.
type Copy struct {
	s        *Standby
	registry *Registry
	number   uint32
	name     string
}

// CopyOf returns a topic of a standby by its number, nil when it is not there: not yet, or not any more.
func (r *Registry) CopyOf(s *Standby, number uint32) *Copy {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.state.Topics[number]
	if t == nil {
		return nil
	}
	return &Copy{s: s, registry: r, number: number, name: t.Name}
}

// Name returns the topic's name.
func (c *Copy) Name() string { return c.name }

// Number returns what Topic.Number does of the topic where it is led.
func (c *Copy) Number() uint32 { return c.number }

// Kept returns what the topic keeps of what is finished: nothing.
func (c *Copy) Kept() Kept { return Kept{} }

// ErrCopyGone is a topic that is not there any more.
var ErrCopyGone = errors.New("the topic was deleted meanwhile")

// Shown returns the position of the last message that is known to be committed.
func (c *Copy) Shown() (last Position) {
	last, _ = c.last()
	return last
}

func (c *Copy) last() (last Position, err error) {
	err = c.look(func(t *journal.Topic) { last = t.Next - 1 })
	return last, err
}

// look calls f with the topic, which it must not keep. It fails with ErrCopyGone.
func (c *Copy) look(f func(*journal.Topic)) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	t := c.s.state.Topics[c.number]
	if t == nil {
		return ErrCopyGone
	}
	f(t)
	return nil
}

// LookFrom has a look begin at a place, as Topic.LookFrom does. It reads for an id.
func (c *Copy) LookFrom(p Place, o *Look) error { return p.beginLook(c, o) }

// Browse is Topic.Browse.
func (c *Copy) Browse(ctx context.Context, o Look) (Looked, error) {
	return c.browse(ctx, o, needed)
}

// needed is the copyPick of all that somebody still has.
func needed(t *journal.Topic, in backlog.Range) ([]backlog.Range, []copyOut, error) {
	return t.NeededIn(in), nil, nil
}

// HasAt is Topic.HasAt.
func (c *Copy) HasAt(ctx context.Context, pos Position, id protocol.MessageID) (bool, error) {
	seen, err := c.Browse(ctx, Look{From: pos, Limit: 1})
	return err == nil && len(seen.Messages) == 1 && seen.Messages[0].Pos == pos && seen.Messages[0].ID == id, err
}

// copyOut is a message of a channel that is out.
type copyOut struct {
	pos Position
	journal.Out
}

// copyPick returns which messages of a range are looked at, and what is known of those that are out. The standby is locked.
type copyPick func(t *journal.Topic, in backlog.Range) (need []backlog.Range, outs []copyOut, err error)

// copyPart is a part of a topic: where messages from a position on are, and which of them are looked at.
type copyPart struct {
	blocks  []*block // pinned
	batches []loggedBatch
	need    []backlog.Range
	outs    []copyOut
	next    Position // where the next part begins, if there is one
}

// Bounds of a part.
const (
	copyBlocks  = 4
	copyBatches = 256
	copyBytes   = 1 << 20 // of what is in memory
)

// part returns the part that begins with a position, of what is not behind another one. Its blocks are to be let go of with unpin.
func (c *Copy) part(from, last Position, pick copyPick) (p copyPart, err error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	t := c.s.state.Topics[c.number]
	if t == nil {
		return p, ErrCopyGone
	}
	p.next = last + 1
	if of := c.s.bodies[c.number]; of != nil {
		i := sort.Search(len(of.blocks), func(i int) bool { return of.blocks[i].end > from })
		k := min(i+copyBlocks, len(of.blocks))
		p.blocks = slices.Clone(of.blocks[i:k])
		switch {
		case k < len(of.blocks):
			p.next = min(p.next, of.blocks[k].first)
		case k == i:
			p.next = min(p.next, p.takeBatches(of.batches, from))
		case len(of.batches) > 0:
			p.next = min(p.next, of.batches[0].First)
		}
	}
	p.need, p.outs, err = pick(t, backlog.Range{First: from, Last: p.next - 1})
	if err != nil {
		return copyPart{}, err
	}
	p.blocks = slices.DeleteFunc(p.blocks, func(b *block) bool { return len(within(p.need, b.first, b.end)) == 0 })
	for _, b := range p.blocks {
		b.pins++
	}
	return p, nil
}

// takeBatches takes what is in memory from a position on, and returns the position of what it leaves.
func (p *copyPart) takeBatches(list []loggedBatch, from Position) (next Position) {
	i := sort.Search(len(list), func(i int) bool { return list[i].Last() >= from })
	k, size := i, 0
	for ; k < len(list) && k-i < copyBatches && size < copyBytes; k++ {
		size += len(list[k].frames)
	}
	p.batches = slices.Clone(list[i:k]) // messages are never changed
	if k < len(list) {
		return list[k].First
	}
	return ^Position(0)
}

// each calls f with the publishes of a part, in order, until it returns false, which each reports.
func (p *copyPart) each(s *Standby, f func(*loggedBatch) bool) (more bool, err error) {
	for _, b := range p.blocks {
		more := true
		err := s.publishes(b.topic, b, func(l loggedBatch) error {
			if more = more && f(&l); !more {
				return errEnough
			}
			return nil
		})
		switch {
		case !more:
			return false, nil
		case errors.Is(err, errBlock):
			s.broken(b, err) // as for who leads: nobody is to be served from here any more
			return false, err
		case err != nil:
			return false, err
		}
	}
	for i := range p.batches {
		if !f(&p.batches[i]) {
			return false, nil
		}
	}
	return true, nil
}

// errEnough ends a walk.
var errEnough = errors.New("it has seen enough")

// browse looks through the copy for those messages that pick returns.
func (c *Copy) browse(ctx context.Context, o Look, pick copyPick) (Looked, error) {
	last, err := c.last()
	if err != nil {
		return Looked{}, err
	}
	b := browser{registry: c.registry, name: c.name, look: o, last: last, complete: func(*Message) {}}
	defer b.count()
	for from := max(o.From, 1); from <= last; {
		p, err := c.part(from, last, pick)
		if err != nil {
			return Looked{}, err
		}
		more, err := b.part(ctx, c.s, &p)
		c.s.unpin(p.blocks)
		if err != nil {
			return Looked{}, err
		}
		if !more {
			return Looked{Messages: b.list, Next: b.next}, nil
		}
		from = p.next
	}
	return Looked{Messages: b.list, Next: max(o.From, last+1), End: true}, nil
}

// part looks through a part of a copy, and reports whether there may be more behind it.
func (b *browser) part(ctx context.Context, s *Standby, p *copyPart) (more bool, err error) {
	if len(p.need) == 0 {
		return true, ctx.Err()
	}
	outs := p.outs
	b.complete = func(m *Message) { // they come in order
		for len(outs) > 0 && outs[0].pos < m.Pos {
			outs = outs[1:]
		}
		if len(outs) > 0 && outs[0].pos == m.Pos {
			m.Attempts = outs[0].Attempts
		}
	}
	began := time.Now()
	more, err = p.each(s, func(l *loggedBatch) bool {
		need := within(p.need, l.First, l.Last()+1)
		if len(need) == 0 {
			return true
		}
		if b.full() || b.spent() {
			b.next = need[0].First
			return false
		}
		b.scanned += int64(len(l.frames))
		return b.publish(l, need)
	})
	if err == nil && more {
		b.rest(began)
	}
	return more, cmp.Or(err, ctx.Err())
}

// publish looks through one publish, and reports whether it has come to its end.
func (b *browser) publish(l *loggedBatch, need []backlog.Range) bool {
	beside := besideOf(l.Properties)
	for rest, pos := l.frames, l.First; len(rest) > 0 && len(need) > 0; pos++ {
		f := protocol.FirstMessage(rest)
		rest = rest[len(f):]
		if need[0].Last < pos {
			need = need[1:]
		}
		switch {
		case len(need) == 0 || pos < need[0].First, f.Timestamp() < b.look.Since:
			continue
		case len(b.look.Contains) > 0 && !bytes.Contains(f.Body(), b.look.Contains):
			continue
		case b.full():
			b.next = pos
			return false
		}
		b.take(f, pos, findBeside(beside, pos-l.First), sumAt(l.Sums, l.First, pos))
	}
	return true
}

// FindMessage is Topic.FindMessage. It looks through messages one after the other.
func (c *Copy) FindMessage(id protocol.MessageID) (found Position, err error) {
	last, err := c.last()
	left := searchBytes
	if err != nil {
		return 0, err
	}
	for from := Position(1); from <= last && found == 0; {
		p, err := c.part(from, last, needed)
		if err != nil {
			return 0, err
		}
		_, err = p.each(c.s, func(l *loggedBatch) bool {
			left -= len(l.frames)
			pos := l.First
			for rest := l.frames; len(rest) > 0; pos++ {
				f := protocol.FirstMessage(rest)
				rest = rest[len(f):]
				if f.MustID() == id && journal.Holds(p.need, pos) {
					found = pos
				}
			}
			return found == 0 && left > 0
		})
		c.s.unpin(p.blocks)
		switch {
		case err != nil:
			return 0, err
		case found == 0 && left <= 0:
			return 0, ErrUnsure
		}
		from = p.next
	}
	if found == 0 {
		return 0, ErrNotDeferred
	}
	return found, nil
}

// Locate is Topic.Locate, as far as a replica that follows knows: not who has a message in flight, nor whether it was given back since, nor what became of
// a dead letter.
func (c *Copy) Locate(ctx context.Context, pos Position, o Look) (l Located, err error) {
	seen, err := c.Browse(ctx, Look{From: pos, Limit: 1, Body: o.Body})
	switch {
	case err != nil:
		return l, err
	case len(seen.Messages) == 0 || seen.Messages[0].Pos != pos:
		return l, ErrNoMessage
	}
	l.Message = seen.Messages[0]
	now := c.registry.stamp()
	err = c.look(func(t *journal.Topic) {
		of := c.s.bodies[c.number]
		l.OnDisk = of != nil && pos <= of.spilled
		for _, in := range t.Channels {
			on := locateIn(in, pos, now)
			if in.ID == 0 && !on.held() {
				continue
			}
			l.Channels = append(l.Channels, on)
		}
	})
	slices.SortFunc(l.Channels, func(a, b OnChannel) int { return cmp.Compare(a.Channel, b.Channel) }) // the topic's own, which has no name, first
	return l, err
}

// locateIn returns what a channel has of a message.
func locateIn(c *journal.Channel, pos Position, now int64) OnChannel {
	on := OnChannel{Channel: c.Name, Found: channel.Found{State: Finished}}
	at := backlog.Range{First: pos, Last: pos}
	c.Out.EachIn(at, func(_ Position, out journal.Out) {
		on.Attempts = out.Attempts
		switch stateOf(out, now) {
		case Deferred:
			on.State, on.Due = Deferred, time.Unix(0, out.Due)
		case Waiting:
			on.State = Waiting
		default:
			on.State = InFlight
		}
	})
	switch {
	case on.State != Finished:
	case len(c.WaitingIn(at)) > 0:
		on.State = Waiting
		for _, r := range c.Waiting {
			if r.First >= pos {
				break
			}
			on.Ahead += int(min(r.Last+1, pos) - r.First)
		}
	case pos < c.Began:
		on.State = Unknown
	}
	return on
}

// stateOf returns what a message that is out is, as far as records say: one that was delivered and not finished may be in flight, or have been given back.
func stateOf(o journal.Out, now int64) State {
	switch {
	case o.DeferredAt(now):
		return Deferred
	case o.Due > 0, o.Attempts == 0: // it is due, or stands aside
		return Waiting
	}
	return InFlight
}
