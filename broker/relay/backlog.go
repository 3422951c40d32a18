package relay

import "brokerd/protocol"

// backlog is messages that a client has of earlier places, and how long that counts. A message may be there more than once, as it is delivered again
// wherever the lead goes. Its zero value is empty.
type backlog struct {
	n     int // copies
	held  map[protocol.MessageID]copies
	first int64 // nothing is over before this
}

type copies struct {
	n     int
	until int64 // of all
}

func (b *backlog) add(id protocol.MessageID, until int64) {
	if b.held == nil {
		b.held = map[protocol.MessageID]copies{}
	}
	c := b.held[id]
	b.held[id] = copies{c.n + 1, max(c.until, until)}
	b.n++
	b.first = 0
}

// remove takes out one copy of a message, if there is one.
func (b *backlog) remove(id protocol.MessageID) {
	c, ok := b.held[id]
	switch {
	case !ok:
		return
	case c.n > 1:
		b.held[id] = copies{c.n - 1, c.until}
	default:
		delete(b.held, id)
	}
	b.n--
}

// expire takes out what counts no more.
func (b *backlog) expire(now int64) {
	if b.n == 0 || now < b.first {
		return
	}
	b.first = 0
	for id, c := range b.held {
		switch {
		case c.until <= now:
			delete(b.held, id)
			b.n -= c.n
		case b.first == 0 || c.until < b.first:
			b.first = c.until
		}
	}
}
