package topic

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// fillAbsent is how many messages that are due are brought into memory at once.
const fillAbsent = 256

// errGoneNode is a message whose node is not there: its block was lost to damage.
var errGoneNode = errors.New("its block is not there")

// fillDurable brings the next node that waits, and messages that are due, into memory. The caller has set filling and holds no
// lock. It reports whether there is something to deliver now.
func (c *Channel) fillDurable() bool {
	cold, absent, epoch := c.beginFill()
	var frames []byte
	var damaged bool
	var err error
	if cold != nil {
		frames, damaged, err = c.topic.load(cold)
	}
	loaded, lost, later := c.topic.loadEach(absent)
	return c.endFill(absent, epoch, func() {
		c.topic.pin(slices.Values(later))
		if cold != nil && err == nil {
			c.mem.Supply(cold, frames, damaged)
			c.mem.Cold()
		}
		for _, r := range loaded {
			c.retries.push(r)
		}
		for _, m := range later {
			c.absent.Push(m)
		}
		c.n.discarded += uint64(lost + c.mem.Lost())
	})
}

func (c *Channel) beginFill() (cold *backlog.Node, absent []inflight.Shelved, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mem.Len() > 0 {
		cold = c.mem.Cold()
	}
	for c.absent.Len() > 0 && c.retries.len()+len(absent) < fillAbsent {
		m := c.absent.Pop()
		absent = append(absent, m)
		if c.loading == nil {
			c.loading = map[msgID]uint16{}
		}
		c.loading[m.ID] = m.Attempts
	}
	return cold, absent, c.epoch
}

// endFill puts what was brought where it belongs, unless the channel was emptied meanwhile.
func (c *Channel) endFill(absent []inflight.Shelved, epoch int, put func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filling = false
	clear(c.loading)
	if c.epoch == epoch {
		put()
	}
	c.topic.unpin(slices.Values(absent)) // last, see unpinned
	ready := c.deliverableLocked()
	if ready {
		c.wakeLocked(c.backlogLocked(), nil)
	}
	return ready
}

// load returns the frames of a node. damaged says that some could not be read; they are logged.
func (t *Topic) load(n *backlog.Node) (frames []byte, damaged bool, err error) {
	if frames := n.Frames(); frames != nil {
		return frames, false, nil
	}
	s := t.d.table.find(n.First())
	if s == nil || !s.onDisk.Load() {
		return nil, true, nil
	}
	block := s.at()
	frames, bad, err := t.d.store.Read(block, nil)
	if errors.Is(err, segment.ErrGone) && s.at() == block { // somebody has removed the file
		t.registry.log.Error("messages on disk are gone and were lost", "topic", t.name, "block", block.Ref.String(), "error", err)
		return nil, true, nil
	}
	if err != nil {
		t.registry.log.Error("reading messages from disk", "topic", t.name, "block", block.Ref.String(), "error", err)
		return nil, false, err
	}
	for _, b := range bad {
		t.registry.log.Error("messages on disk are damaged and were lost", "topic", t.name, "block", block.Ref.String(), "damage", b)
	}
	return frames, len(bad) > 0, nil
}

// loadEach returns messages by their places. What cannot be read now is to be tried later; what is damaged is lost.
func (t *Topic) loadEach(list []inflight.Shelved) (loaded []retry, lost int, later []inflight.Shelved) {
	var node *stored
	var frames []byte
	for _, m := range list {
		var f protocol.MessageFrame
		var err error
		s := t.d.table.holder(m.ID)
		switch {
		case s == nil:
			err = errGoneNode
		case m.Off != unknown || s.locate(&m) && m.Off != unknown:
			if f = s.node.Frame(int(m.Off)); f == nil {
				f, err = t.d.store.ReadFrame(s.at().Ref, m.Off, s.node.Seq()+uint64(m.Index), nil)
			}
		default:
			if s != node {
				node = s
				var damaged bool
				if frames, damaged, err = t.load(s.node); err != nil {
					node = nil
				} else if !damaged {
					s.learn(frames)
				}
			}
			if err == nil {
				f, err = frameOf(frames, m.ID)
				f = slices.Clone(f) // or it would keep all the others
			}
		}
		switch {
		case err == nil:
			loaded = append(loaded, retry{f, m.Attempts})
		case errors.Is(err, errGoneNode) || errors.Is(err, segment.ErrDamaged):
			lost++
			t.registry.log.Error("a deferred message was lost", "topic", t.name, "id", m.ID.String(), "error", err)
		default:
			later = append(later, m)
		}
	}
	return loaded, lost, later
}

// frameOf returns the message of that id out of whole frames.
func frameOf(frames []byte, id protocol.MessageID) (protocol.MessageFrame, error) {
	off := backlog.Find(frames, id)
	if off < len(frames) {
		if f := protocol.FirstMessage(frames[off:]); f.Has(id) {
			return f, nil
		}
	}
	return nil, fmt.Errorf("message %s: %w", id, errGoneNode)
}

// unpin says that the bodies of messages are no longer needed through their places.
func (t *Topic) unpin(list iter.Seq[inflight.Shelved]) {
	for m := range list {
		if s := t.d.table.holder(m.ID); s != nil {
			s.pins.Add(-1)
		}
	}
}

// pin is the opposite of unpin.
func (t *Topic) pin(list iter.Seq[inflight.Shelved]) {
	for m := range list {
		if s := t.d.table.holder(m.ID); s != nil {
			s.pins.Add(1)
		}
	}
}

// logged reports whether what happens on the channel is written to the log.
func (c *Channel) logged() bool { return c.topic.d != nil && !c.ephemeral }

// logRunsLocked writes ids that were collected.
func (c *Channel) logRunsLocked(kind journal.Kind, r *journal.Runs) {
	b := r.Record()
	if b == nil {
		return
	}
	c.topic.d.log.Append(kind, b, nil)
	if kind == journal.KindDelivered {
		c.told = max(c.told, c.mem.After())
	}
}

// deliverableLocked reports whether a message can be taken at once.
func (c *Channel) deliverableLocked() bool { return c.retries.len() > 0 || c.freshLocked() }

// freshLocked reports whether a message that was never delivered is in memory.
func (c *Channel) freshLocked() bool {
	if c.mem.Len() == 0 {
		return false
	}
	return c.topic.d == nil || c.mem.Cold() == nil && c.mem.Len() > 0
}

// fillableLocked reports whether there is something to bring into memory.
func (c *Channel) fillableLocked() bool {
	if c.topic.d == nil {
		return c.mem.Len() == 0 && c.diskDepth() > 0
	}
	return c.absent.Len() > 0 && c.retries.len() < fillAbsent || c.mem.Len() > 0 && c.mem.Cold() != nil
}

// workLocked reports whether a consumer that is woken would find something to do.
func (c *Channel) workLocked() bool {
	return c.deliverableLocked() || !c.filling && c.fillableLocked()
}

// clearPlacesLocked drops what is known by its place only.
func (c *Channel) clearPlacesLocked() {
	if c.topic.d == nil {
		return
	}
	c.topic.unpin(c.shelf.All())
	c.shelf.Clear()
	c.topic.unpin(c.absent.All())
	c.absent.Clear()
	clear(c.loading)
}
