package topic

import (
	"errors"
	"fmt"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
	"brokerd/protocol"
)

// What is read from disk at once.
const (
	fillMessages = 512
	fillBytes    = 256 << 10
)

// diskDepth returns how many messages the channel's queue on disk holds.
func (c *Channel) diskDepth() int64 {
	if q := c.disk.Load(); q != nil {
		return q.Depth()
	}
	return 0
}

// adopt opens the queue that an earlier life of the channel left on disk, if there is one.
func (m *memoryStore) adopt(c *Channel) error {
	if !c.onDiskAllowed() || !c.topic.registry.cfg.Queues.Exists(c.queueName()) {
		return nil
	}
	q, err := c.openQueue()
	if err != nil {
		return err
	}
	depth := q.Depth()
	if depth == 0 {
		return c.closeQueue()
	}
	c.machine.Spill(int(depth), 0)
	c.machine.Adopt(int(depth))
	return nil
}

// openQueue returns the channel's queue on disk. Topic.pub is held, or nobody knows the channel yet.
func (c *Channel) openQueue() (*nsqdata.Queue, error) {
	if q := c.disk.Load(); q != nil {
		return q, nil
	}
	q, err := c.topic.registry.cfg.Queues.Open(c.queueName())
	if err != nil {
		return nil, err
	}
	c.disk.Store(q)
	return q, nil
}

// closeQueue closes the queue on disk, if it is open; what is in it stays.
func (c *Channel) closeQueue() error {
	if q := c.disk.Swap(nil); q != nil {
		return q.Close()
	}
	return nil
}

// spill writes a batch to the channel's queue on disk. Topic.pub is held.
func (c *Channel) spill(b *Batch) error {
	c.topic.registry.spills.Begin()
	defer c.topic.registry.spills.End()
	q, err := c.openQueue()
	if err != nil {
		c.topic.registry.SetHealth(err)
		return err
	}
	// They are counted before they are written: a consumer may read them at once.
	c.mu.Lock()
	c.machine.Spill(b.n, len(b.frames))
	c.mu.Unlock()
	written := 0
	var record []byte
	err = b.each(func(f protocol.MessageFrame) error {
		record = appendRecord(record[:0], f, f.Attempts()-1)
		err := q.Put(record)
		if err == nil {
			written++
		}
		return err
	})
	c.topic.registry.SetHealth(err)
	c.enter()
	c.machine.EndSpill(written, b.n-written)
	c.exit()
	return err
}

// appendRecord appends what a queue on disk keeps of a message that was delivered attempts times.
func appendRecord(dst []byte, f protocol.MessageFrame, attempts uint16) []byte {
	dst = append(dst, make([]byte, protocol.FrameHeaderSize)...)[:len(dst)]
	at := len(dst)
	dst = append(dst, f...)
	protocol.MessageFrame(dst[at:]).SetAttempts(attempts)
	return append(dst[:at], dst[at+protocol.FrameHeaderSize:]...)
}

// appendFrame appends the frame of a message that was read from disk, ready for its next delivery. nsqdata has parsed the
// record before it gave it out.
func appendFrame(dst []byte, record []byte) []byte {
	dst = protocol.AppendFrame(dst, protocol.FrameMessage, record)
	f := protocol.MessageFrame(dst[len(dst)-protocol.FrameHeaderSize-len(record):])
	f.SetAttempts(journal.NextAttempt(f.Attempts()))
	return dst
}

// fill reads the next messages from disk into memory, in front of what follows there.
func (m *memoryStore) fill(c *Channel) bool {
	c.enter()
	f := c.machine.BeginFill()
	c.exit()
	var err error
	if q := c.disk.Load(); q != nil {
		f.Spilled, err = q.Take(fillMessages, fillBytes, func(record []byte) { f.Frames = appendFrame(f.Frames, record) })
	}
	c.enter()
	c.machine.EndFill(&f)
	c.exit()
	if err != nil && !errors.Is(err, nsqdata.ErrClosed) {
		m.topic.registry.log.Error("reading overflow from disk", "queue", c.queueName(), "error", err)
	}
	return f.Spilled > 0
}

// empty empties the channel's queue on disk.
func (m *memoryStore) empty(c *Channel) error {
	if q := c.disk.Load(); q != nil {
		if err := q.Empty(); err != nil {
			return fmt.Errorf("emptying the queue %s: %w", c.queueName(), err)
		}
	}
	return nil
}

// unspill moves messages from disk into the batch and reports whether there were any. It is for a topic's own backlog, which
// has no consumers. Topic.pub is held.
func (c *Channel) unspill(b *Batch) bool {
	q := c.disk.Load()
	if q == nil {
		return false
	}
	n, err := q.Take(fillMessages, fillBytes, func(record []byte) { b.frames = appendFrame(b.frames, record) })
	b.n = n
	c.mu.Lock()
	c.machine.MoveOn(n)
	c.mu.Unlock()
	if err == nil && n == 0 {
		err = c.closeQueue()
	}
	if err != nil {
		c.topic.registry.log.Error("reading overflow from disk", "queue", c.queueName(), "error", err)
	}
	return n > 0
}

// save writes all that the channel holds to its queue on disk and closes it. Nobody publishes or consumes any more.
func (c *Channel) save() error {
	if !c.onDiskAllowed() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.machine.InMemory()
	if left == 0 {
		return c.closeQueue()
	}
	c.unsaved.Store(int64(left))
	defer c.unsaved.Store(0)
	q, err := c.openQueue()
	if err != nil {
		return err
	}
	var errs []error
	var record []byte
	put := func(f protocol.MessageFrame, attempts uint16) {
		record = appendRecord(record[:0], f, attempts)
		if err := q.Put(record); err != nil && len(errs) == 0 {
			errs = append(errs, fmt.Errorf("queue %s: %w", c.queueName(), err))
		}
		c.unsaved.Add(-1)
	}
	c.machine.Unload(put)
	return errors.Join(append(errs, c.closeQueue())...)
}

// save writes what memory alone has to the queues on disk.
func (m *memoryStore) save() error {
	var errs []error
	for _, c := range m.topic.all() {
		errs = append(errs, c.save())
	}
	return errors.Join(errs...)
}
