package topic

import (
	"errors"
	"fmt"
	"time"

	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/protocol"
)

// BoundError is the refusal of a publish because of max_depth or max_bytes. It is no fault of the disk: a later publish may succeed.
type BoundError struct {
	Option  string // max_depth or max_bytes
	Topic   string
	Channel string        // that holds the most; empty: the topic itself
	Held    int64         // messages, or bytes of their bodies
	Bound   int64         // of the same
	Oldest  time.Duration // age of what waits for longest there; 0: not known
	Room    int           // how many of the messages, the first ones, could have been taken
	Stuck   bool          // what is held are dead letters that their topic does not take
}

func (e *BoundError) Error() string {
	where := "topic " + e.Topic
	if e.Channel != "" {
		where = "channel " + e.Topic + "/" + e.Channel
	}
	what := "messages"
	if e.Option == "max_bytes" {
		what = "bytes"
	}
	if e.Stuck {
		what += " that wait for their dead letter topic"
	}
	if e.Held < 0 {
		return fmt.Sprintf("%s %d of topic %s is less than the message has", e.Option, e.Bound, e.Topic)
	}
	text := fmt.Sprintf("%s %d is reached: %s holds %d %s", e.Option, e.Bound, where, e.Held, what)
	if e.Oldest > 0 {
		text += fmt.Sprintf(", the oldest for %s", e.Oldest.Round(time.Second))
	}
	return text
}

// makeRoom brings the channel within its bounds. Nothing is locked but perhaps Topic.pub; with spilled it is, and what is in the queue on
// disk goes too.
func (c *Channel) makeRoom(spilled bool) {
	for more := true; more; {
		c.enterNow()
		more = c.machine.MakeRoom()
		c.exit()
	}
	for spilled && c.dropSpilled() {
	}
}

// dropSpilled drops messages of the queue on disk while the channel is over its bounds, and reports whether there may be more to drop.
func (c *Channel) dropSpilled() (more bool) {
	q := c.disk.Load()
	c.enterNow()
	n := c.machine.SpilledToDrop(fillMessages)
	c.exit()
	if n == 0 || q == nil {
		return false
	}
	size := 0
	taken, err := q.Take(n, fillBytes, func(record []byte) { size += protocol.FrameHeaderSize + len(record) })
	c.enterNow()
	c.machine.DropSpilled(taken, size)
	c.exit()
	if err != nil {
		c.topic.registry.log.Error("dropping the oldest of an overflow", "queue", c.queueName(), "error", err)
	}
	return taken > 0 && err == nil
}

// measure counts the bytes that the channel holds, of what is on disk by averages. Topic.pub is held, or nobody knows the topic yet.
func (c *Channel) measure() {
	c.enter()
	defer c.exit()
	records, size := int64(0), int64(0)
	if q := c.disk.Load(); q != nil {
		records, size = q.Held()
		size += records * int64(protocol.FrameHeaderSize)
	}
	var sizeOf func(inflight.Snapshot) int64
	if d := c.topic.d; d != nil {
		sizeOf = d.sizeOf
	}
	c.machine.Measure(int(records), size, sizeOf)
}

// refusedLocked is roomLocked for a publish: what is refused is counted. Topic.pub is held.
func (t *Topic) refusedLocked(b *Batch) error {
	err := t.roomLocked(b)
	if err != nil {
		t.refused.Add(uint64(b.n))
	}
	return err
}

// roomLocked returns why the messages cannot be taken because of the topic's bounds, nil when they can. Topic.pub is held.
func (t *Topic) roomLocked(b *Batch) error {
	p := t.policy.Load()
	if !p.Bounded() {
		return nil
	}
	if size := int64(b.largest()); p.MaxBytes > 0 && size > p.MaxBytes {
		return &BoundError{Option: "max_bytes", Topic: t.name, Held: -1, Bound: p.MaxBytes, Room: b.notOver(p.MaxBytes)}
	}
	if p.Overflow == policy.DropOldest {
		return nil
	}
	depth, size := t.fullestLocked(p)
	err := depth
	room := b.n
	if p.Overflow == policy.ToDeadLetter && !t.blockedLocked() && !t.deadLetters.Load() { // what is too much moves, unless that is stuck
		if p.MaxDepth > 0 && depth.Held >= p.MaxDepth {
			return &depth
		}
		if p.MaxBytes > 0 && size.Held >= p.MaxBytes {
			return &size
		}
		return nil
	}
	if p.MaxDepth > 0 {
		room = int(min(int64(room), max(0, p.MaxDepth-depth.Held)))
	}
	if p.MaxBytes > 0 {
		if fit := b.within(p.MaxBytes - size.Held); fit < room {
			room, err = fit, size
		}
	}
	if room >= b.n {
		return nil
	}
	err.Room = room
	return &err
}

// ownRoom returns why a channel that makes room by itself has none for messages that are not to drive out others, nil when it has.
func (c *Channel) ownRoom(b *Batch) error {
	c.enter()
	defer c.exit()
	p, full := c.machine.Policy(), c.machine.Fullness()
	if !full.Drops {
		return nil
	}
	err := &BoundError{Option: "max_depth", Topic: c.topic.name, Channel: c.name, Bound: p.MaxDepth, Held: int64(full.Messages), Room: b.n}
	if p.MaxDepth > 0 {
		err.Room = int(min(int64(b.n), max(0, p.MaxDepth-err.Held)))
	}
	if room := p.MaxBytes - full.Bytes; p.MaxBytes > 0 && b.within(room) < err.Room {
		err.Option, err.Bound, err.Held, err.Room = "max_bytes", p.MaxBytes, full.Bytes, b.within(room)
	}
	if err.Room >= b.n {
		return nil
	}
	return err
}

// fullestLocked returns how full the topic is, in messages and in bytes: what waits in itself, and the channel that holds the most of those
// that make no room themselves, or of dead letters that their topic does not take.
func (t *Topic) fullestLocked(p *policy.Policy) (depth, size BoundError) {
	depth = BoundError{Option: "max_depth", Topic: t.name, Bound: p.MaxDepth}
	size = BoundError{Option: "max_bytes", Topic: t.name, Bound: p.MaxBytes}
	own := t.own.fullness()
	depth.Held, size.Held = int64(own.Messages), own.Bytes
	depth.Oldest, size.Oldest = t.age(own.Oldest), t.age(own.Oldest)
	var most, bytes int64
	for _, c := range t.Channels() {
		full := c.fullness()
		stuck := full.Drops && p.Overflow == policy.ToDeadLetter
		if full.Drops && (!stuck || full.Letters == 0) {
			continue
		}
		if stuck {
			full.Bytes = int64(float64(full.Bytes) * float64(full.Letters) / float64(full.Messages))
			full.Messages, full.Oldest = full.Letters, 0
		}
		if n := int64(full.Messages); n > most {
			most, depth.Channel, depth.Oldest, depth.Stuck = n, c.name, t.age(full.Oldest), stuck
		}
		if full.Bytes > bytes {
			bytes, size.Channel, size.Oldest, size.Stuck = full.Bytes, c.name, t.age(full.Oldest), stuck
		}
	}
	depth.Held += most
	size.Held += bytes
	return depth, size
}

// age returns how old a message is that was published at a time, 0 where that is not known.
func (t *Topic) age(published int64) time.Duration {
	if published == 0 {
		return 0
	}
	return time.Duration(t.registry.stampOf(t.registry.now()) - published)
}

func (c *Channel) fullness() channel.Fullness {
	c.enter()
	defer c.exit()
	return c.machine.Fullness()
}

// Bounded reports whether the topic may refuse publishes because of a bound of its options.
func (t *Topic) Bounded() bool { return t.policy.Load().Bounded() }

// Limited reports whether an error says that a bound was reached: of an option, or of the node.
func Limited(err error) bool {
	var bound *BoundError
	var node *NodeLimitError
	return errors.As(err, &bound) || errors.As(err, &node)
}

// sizeOf returns the size of the frames of messages of which only the places are known: of those that are not in memory what the messages
// of their nodes have on average.
func (d *logStore) sizeOf(list inflight.Snapshot) (size int64) {
	var of *stored
	known := map[*stored][]int{} // of nodes in memory: the sizes of their messages
	for m := range list.All() {
		if of == nil || !of.has(m.Pos) {
			of = d.table.holder(m.Pos)
		}
		if of == nil {
			continue
		}
		sizes, looked := known[of]
		if !looked {
			frames := of.node.Frames()
			for off := 0; off < len(frames); off += sizes[len(sizes)-1] {
				sizes = append(sizes, len(protocol.FirstMessage(frames[off:])))
			}
			known[of] = sizes
		}
		if i := int(m.Pos - of.first); i < len(sizes) {
			size += int64(sizes[i])
		} else {
			size += of.node.Average()
		}
	}
	return size
}
