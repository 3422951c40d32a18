package topic

import (
	"encoding/json"
	"time"

	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
)

// store is where a topic's messages are, and who is told what becomes of them. There are two: memory with queues on disk behind it,
// and the node's log with segments. (A third, of a topic that follows another broker's, has its place here.) What a method may hold
// on to is said as: under pub, Topic.pub is held; under mu, Channel.mu is; else no lock is.
type store interface {
	// level says when a publish is answered.
	level() Level

	// publish accepts a batch and resets it, deferred when delay is above 0. It returns once the messages are as safe as the level
	// says, synced when sync is true, and shown; or fails, and nobody is ever shown them.
	publish(b *Batch, delay time.Duration, sync bool) error
	// inherit moves the topic's own backlog to its channels; under pub.
	inherit()
	// change writes a change of the topic or of a channel down; under pub or mu. settle returns once the last one is; it fails with
	// ErrNotLeader only.
	change(c journal.Change)
	settle() error
	// options returns what is kept of the topic's options, nil when nothing is; under pub.
	options() json.RawMessage

	// adopt gives a new channel what an earlier life has left, and its number; under pub, or nobody knows the topic yet.
	adopt(c *Channel) error
	// shown returns up to which position messages may be given out; under mu.
	shown() Position
	// note is told what has become of a channel's messages; under mu.
	note(c *Channel, e *channel.Effects)
	// release lets go of all that a channel holds and is about to drop; under mu.
	release(c *Channel)
	// empty drops what the channel has on disk and in no memory; under pub.
	empty(c *Channel) error
	// fill brings the next messages into memory and reports whether there is something to deliver. The caller has set filling.
	fill(c *Channel) bool

	// save writes down what memory alone has; the end, under pub.
	save() error
	// trim gives back what the topic holds although nothing has happened to it for a while; under pub.
	trim()
	// destroy removes what is left of a topic whose channels are gone; under pub.
	destroy() error
}
