package topic

import (
	"slices"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Batch is messages on their way into a topic, already as the frames that consumers will get. Its zero value is empty and
// ready. It is not safe for concurrent use; its memory is reused after a publish.
type Batch struct {
	// Later, when it is not nil, is where Publish puts consumers that it has work for, once the messages are safe; those it has no
	// room for it wakes. The next Reset forgets it, and so does every publish that succeeds.
	Later *Wakes
	// Due is when the messages are to be delivered, nanoseconds since the Unix epoch; at once when that has passed. With it no delay is
	// looked at. 0: it is not said. The next Reset forgets it, and so does every publish that succeeds.
	Due int64

	// TTL is how long the messages are of use, from their publish on or, when they are deferred, from when they are due; 0: for good. The
	// next Reset forgets it.
	TTL time.Duration
	// Acks is when the publish is answered; unsaid: as the topic's option says. The next Reset forgets it.
	Acks Acks

	// From is whose publish it is, and which, of a replicated topic: one that was taken before is not taken again. The next Reset forgets it.
	From journal.Origin
	// InOrder says that of the publishes of From those with higher numbers were begun only once this one was taken or refused: if one of them was taken, and
	// this one was not, it was refused, and is again. The next Reset forgets it.
	InOrder bool
	// Receipts says that Receipt will be asked for. The next Reset forgets it.
	Receipts bool

	frames []byte
	n      int
	bodies int
	open   int              // where the message ends that was begun last
	beside []journal.Beside // of some messages, whose positions count from 0 here
	sums   []uint32         // of the keys that order the first messages; 0 where one has none
	keys   []journal.Key    // deduplication keys of the first messages; no key where one has none

	// Of the last stamp, for tracing; no Reset forgets them.
	first   protocol.MessageID
	stamped int64
	receipt Receipt
}

// maxKept is the memory in bytes that a batch keeps for its next use.
const maxKept = 64 << 10

// Len returns the number of messages.
func (b *Batch) Len() int { return b.n }

// Bytes returns the size of the bodies.
func (b *Batch) Bytes() int { return b.bodies }

// Reset empties the batch. Field by field: writing the whole of it would copy what stays, once for every publish.
func (b *Batch) Reset() {
	b.Later, b.Due, b.TTL, b.Acks, b.From, b.InOrder, b.Receipts = nil, 0, 0, 0, journal.Origin{}, false, false
	b.n, b.bodies, b.open, b.beside = 0, 0, 0, nil
	if b.frames = b.frames[:0]; cap(b.frames) > maxKept {
		b.frames = nil
	}
	if b.keys = b.keys[:0]; cap(b.keys) > maxKept/journal.KeySize {
		b.keys = nil
	}
	if b.sums = b.sums[:0]; cap(b.sums) > maxKept/4 {
		b.sums = nil
	}
}

// Release empties the batch and gives its memory back.
func (b *Batch) Release() { *b = Batch{} }

// Add copies one body in.
func (b *Batch) Add(body []byte) {
	b.Begin(len(body))
	b.frames = append(b.frames, body...)
}

// Begin opens a message whose body has size bytes, which Extend and Fill must bring before anything else is done. No more
// memory is set aside than twice what has arrived, unless Reserve has seen to it.
func (b *Batch) Begin(size int) {
	b.frames = protocol.AppendBlankMessage(b.frames, size)
	b.n++
	b.bodies += size
	b.open = len(b.frames) + size
}

// Extend appends a part of the body of the message that Begin opened.
func (b *Batch) Extend(part []byte) {
	if need := len(b.frames) + len(part); need > cap(b.frames) && b.open > maxKept {
		b.grow(need)
	}
	b.frames = append(b.frames, part...)
}

// Fill has read put the next part of the body of the message that Begin opened, 1 byte or more of it, where it belongs.
func (b *Batch) Fill(read func(part []byte) (n int, err error)) (n int, err error) {
	at := len(b.frames)
	if at == cap(b.frames) {
		b.grow(min(b.open, max(2*at, maxKept)))
	}
	n, err = read(b.frames[at:min(b.open, cap(b.frames))])
	b.frames = b.frames[:at+n]
	return n, err
}

// grow makes room for need bytes in all, or more when so many have arrived that more are to be expected soon.
func (b *Batch) grow(need int) {
	size := max(need, min(b.open, 2*len(b.frames)))
	b.frames = slices.Grow(b.frames, size-len(b.frames))
}

// Mark is a place in a batch to go back to.
type Mark struct{ frames, n, bodies int }

// Mark returns where the batch ends now.
func (b *Batch) Mark() Mark { return Mark{len(b.frames), b.n, b.bodies} }

// Rollback drops what was added since the mark was taken.
func (b *Batch) Rollback(m Mark) {
	b.frames, b.n, b.bodies = b.frames[:m.frames], m.n, m.bodies
	b.keys = b.keys[:min(len(b.keys), m.n)]
	b.sums = b.sums[:min(len(b.sums), m.n)]
}

// largest returns the size of the longest body.
func (b *Batch) largest() (size int) {
	for off := 0; off < len(b.frames); {
		f := protocol.FirstMessage(b.frames[off:])
		size = max(size, len(f)-protocol.MessageOverhead)
		off += len(f)
	}
	return size
}

// within returns how many of the first messages have bodies of no more than limit bytes in all.
func (b *Batch) within(limit int64) (n int) {
	for off := 0; off < len(b.frames); n++ {
		f := protocol.FirstMessage(b.frames[off:])
		if limit -= int64(len(f) - protocol.MessageOverhead); limit < 0 {
			break
		}
		off += len(f)
	}
	return n
}

// notOver returns how many messages come before the first whose body is longer than limit.
func (b *Batch) notOver(limit int64) (n int) {
	for off := 0; off < len(b.frames); n++ {
		f := protocol.FirstMessage(b.frames[off:])
		if int64(len(f)-protocol.MessageOverhead) > limit {
			break
		}
		off += len(f)
	}
	return n
}

// Keep drops all messages but the first n.
func (b *Batch) Keep(n int) {
	off := 0
	for range n {
		off += len(protocol.FirstMessage(b.frames[off:]))
	}
	b.frames, b.n, b.bodies = b.frames[:off], n, off-n*protocol.MessageOverhead
	b.keys = b.keys[:min(len(b.keys), n)]
	b.sums = b.sums[:min(len(b.sums), n)]
}

// Size returns the bytes that the batch takes in memory.
func (b *Batch) Size() int { return len(b.frames) }

// Reserve sets memory aside for n bytes in all.
func (b *Batch) Reserve(n int) {
	if n > cap(b.frames) {
		b.frames = slices.Grow(b.frames, n-len(b.frames))
	}
}

// Cap returns the bytes of memory that are set aside for the batch.
func (b *Batch) Cap() int { return cap(b.frames) }

// stamp sets what is known only when the broker accepts: the time, and the ids from first on.
func (b *Batch) stamp(now int64, first protocol.MessageID) {
	b.first, b.stamped = first, now
	for off := 0; off < len(b.frames); {
		f := protocol.FirstMessage(b.frames[off:])
		f.SetTimestamp(now)
		f.SetID(first)
		first++
		off += len(f)
	}
}

// each calls f with every frame, a view of the batch, until f fails.
func (b *Batch) each(f func(protocol.MessageFrame) error) error {
	for off := 0; off < len(b.frames); {
		m := protocol.FirstMessage(b.frames[off:])
		if err := f(m); err != nil {
			return err
		}
		off += len(m)
	}
	return nil
}
