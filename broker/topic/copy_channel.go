package topic

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"time"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// CopyChannel is a channel of a Copy, or the topic's own backlog.
type CopyChannel struct {
	copy   *Copy
	number uint32
	name   string
}

// Channel returns a channel by its name, the topic's own backlog for none, nil when there is no such.
func (c *Copy) Channel(name string) (found *CopyChannel) {
	_ = c.look(func(t *journal.Topic) {
		for _, in := range t.Channels {
			if in.Name == name {
				found = &CopyChannel{c, in.ID, name}
			}
		}
	})
	return found
}

// Name returns the channel's name.
func (c *CopyChannel) Name() string { return c.name }

// of returns the channel's state, nil when it is not there any more. The standby is locked.
func (c *CopyChannel) of(t *journal.Topic) *journal.Channel {
	for _, in := range t.Channels {
		if in.ID == c.number {
			return in
		}
	}
	return nil
}

// BrowseWaiting is Channel.BrowseWaiting.
func (c *CopyChannel) BrowseWaiting(ctx context.Context, o Look) (Looked, error) {
	return c.browse(ctx, o, Waiting)
}

// BrowseInFlight is Channel.BrowseInFlight as far as a replica that follows knows: what was delivered and is not finished. Some of it may have been given back.
func (c *CopyChannel) BrowseInFlight(ctx context.Context, o Look) (Looked, error) {
	return c.browse(ctx, o, InFlight)
}

// browse looks through what the channel has in one state.
func (c *CopyChannel) browse(ctx context.Context, o Look, state State) (Looked, error) {
	now := c.copy.registry.stamp()
	return c.copy.browse(ctx, o, func(t *journal.Topic, in backlog.Range) (need []backlog.Range, outs []copyOut, err error) {
		channel := c.of(t)
		if channel == nil {
			return nil, nil, ErrChannelNotFound
		}
		if state == Waiting {
			need = channel.WaitingIn(in)
		}
		channel.Out.EachIn(in, func(pos Position, out journal.Out) {
			if stateOf(out, now) == state {
				need = append(need, backlog.Range{First: pos, Last: pos})
				outs = append(outs, copyOut{pos, out})
			}
		})
		return journal.Merge(need), outs, nil
	})
}

// BrowseDeferred is Channel.BrowseDeferred.
func (c *CopyChannel) BrowseDeferred(ctx context.Context, from DueMark, o Look) (list []Message, next DueMark, err error) {
	return browseDeferred(ctx, c.copy.registry, from, o, c.eachDeferred)
}

// Deferred is Channel.Deferred.
func (c *CopyChannel) Deferred(ctx context.Context, from DueMark, limit int) (list []Scheduled, next DueMark, err error) {
	next, end, err := c.eachDeferred(ctx, from, limit, func(m *Scheduled, _ protocol.MessageFrame) bool {
		list = append(list, *m)
		return true
	})
	if end {
		next = DueMark{}
	}
	return list, next, err
}

// CountDeferred returns how many messages are deferred.
func (c *CopyChannel) CountDeferred() (n int, err error) {
	now := c.copy.registry.stamp()
	err = c.eachOut(context.Background(), func(_ Position, out journal.Out) {
		if stateOf(out, now) == Deferred {
			n++
		}
	})
	return n, err
}

// copySome is how many messages that are out are looked at without letting others have the standby.
const copySome = 1 << 15

// eachOut calls f with all messages of the channel that are out, in order, a part at a time.
func (c *CopyChannel) eachOut(ctx context.Context, f func(Position, journal.Out)) error {
	for next := Position(1); next > 0; {
		gone := false
		err := c.copy.look(func(t *journal.Topic) {
			if channel := c.of(t); channel != nil {
				next = channel.Out.EachSome(next, copySome, f)
			} else {
				gone = true
			}
		})
		switch {
		case err != nil:
			return err
		case gone:
			return ErrChannelNotFound
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	return nil
}

// mark returns where a deferred message stands in the order of DueMark.
func (o *copyOut) mark(shift int64) DueMark { return DueMark{At: o.Due + shift, Key: uint64(o.pos)} }

func (m DueMark) compare(o DueMark) int {
	return cmp.Or(cmp.Compare(m.At, o.At), cmp.Compare(m.Key, o.Key))
}

// eachDeferred is Channel.eachDeferred.
func (c *CopyChannel) eachDeferred(ctx context.Context, from DueMark, limit int, f func(*Scheduled, protocol.MessageFrame) bool) (next DueMark, end bool, err error) {
	r := c.copy.registry
	now := r.stamp()
	shift := r.MarkAt(time.Unix(0, 0)).At
	first, err := c.firstDue(ctx, from, limit, now, shift)
	if err != nil {
		return from, false, err
	}
	l := copyLoader{c: c.copy}
	next = from
	for i := range first {
		m := &first[i]
		frame, err := l.load(m.pos)
		switch {
		case err != nil:
			return next, false, err
		case ctx.Err() != nil:
			return next, false, ctx.Err()
		}
		if frame != nil && !f(&Scheduled{ID: frame.MustID(), Position: m.pos, Due: time.Unix(0, m.Due), Attempts: m.Attempts,
			Age: time.Duration(max(0, now-frame.Timestamp())), Size: len(frame) - protocol.MessageOverhead}, frame) {
			return next, false, nil
		}
		next = m.mark(shift)
	}
	return next, len(first) < limit, nil
}

// firstDue returns the first messages that are deferred and due behind a mark, in the order in which they are due.
func (c *CopyChannel) firstDue(ctx context.Context, from DueMark, limit int, now, shift int64) (first []copyOut, err error) {
	cut := func() {
		slices.SortFunc(first, func(a, b copyOut) int { return a.mark(shift).compare(b.mark(shift)) })
		first = first[:min(limit, len(first))]
	}
	err = c.eachOut(ctx, func(pos Position, out journal.Out) {
		m := copyOut{pos, out}
		if stateOf(out, now) != Deferred || m.mark(shift).compare(from) <= 0 {
			return
		}
		if first = append(first, m); len(first) >= 2*limit+deferredPart {
			cut()
		}
	})
	cut()
	return first, err
}

// copyLoader reads single messages. It keeps the block that it has read last.
type copyLoader struct {
	c    *Copy
	list []loggedBatch
}

// load returns a message, nil when it is not there any more.
func (l *copyLoader) load(pos Position) (protocol.MessageFrame, error) {
	if f := frameOf(l.list, pos); f != nil {
		return f, nil
	}
	one := func(_ *journal.Topic, in backlog.Range) ([]backlog.Range, []copyOut, error) {
		return []backlog.Range{in}, nil, nil
	}
	p, err := l.c.part(pos, pos, one)
	if err != nil {
		return nil, err
	}
	defer l.c.s.unpin(p.blocks)
	l.list = l.list[:0]
	_, err = p.each(l.c.s, func(b *loggedBatch) bool {
		l.list = append(l.list, *b)
		return true
	})
	return frameOf(l.list, pos), err
}

// frameOf returns a message of some publishes, nil when it is in none.
func frameOf(list []loggedBatch, pos Position) protocol.MessageFrame {
	i := sort.Search(len(list), func(i int) bool { return list[i].Last() >= pos })
	if i == len(list) || pos < list[i].First {
		return nil
	}
	rest := list[i].frames
	for n := list[i].First; n < pos; n++ {
		rest = rest[len(protocol.FirstMessage(rest)):]
	}
	return protocol.FirstMessage(rest)
}
