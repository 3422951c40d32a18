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

// fillAbsent is how many messages that are to be delivered again are brought into memory at once.
const fillAbsent = 256

// errGoneNode is a message whose node is not there: its block was lost to damage.
var errGoneNode = errors.New("its block is not there")

// filling is what one look at the disk is to bring, and brings.
type filling struct {
	cold   *backlog.Node
	absent []inflight.Shelved
	epoch  int

	node        nodeFrames // of cold
	unread      bool       // it could not be read now
	loaded      []retry    // of absent
	lost, later []inflight.Shelved
}

// fillDurable brings the next node that waits, and messages that are to be delivered again, into memory. The caller has set filling
// and holds no lock. It reports whether there is something to deliver now.
func (c *Channel) fillDurable() bool {
	f := c.beginFill()
	if f.cold != nil {
		var err error
		f.node, err = c.topic.load(f.cold)
		f.unread = err != nil
	}
	f.loaded, f.lost, f.later = c.topic.loadEach(f.absent)
	return c.endFill(&f)
}

// endFill puts what was brought where it belongs, unless the channel was emptied meanwhile.
func (c *Channel) endFill(f *filling) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filling = false
	if c.epoch == f.epoch {
		c.loading = nil
		if f.cold != nil && !f.unread {
			c.mem.Supply(f.cold, f.node.frames, f.node.runs)
		}
		for _, r := range f.loaded {
			c.loaded.push(r)
		}
		c.absent.PushFront(f.later)
		c.loseLocked(f.lost, nil)
	}
	ready := c.deliverableLocked()
	if ready {
		c.wakeLocked(c.visibleLocked(), nil)
	}
	return ready
}

func (c *Channel) beginFill() (f filling) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shownFreshLocked() {
		f.cold = c.coldLocked()
	}
	for c.absent.Len() > 0 && c.loaded.len()+len(f.absent) < fillAbsent {
		f.absent = append(f.absent, c.absent.Pop())
	}
	c.loading = f.absent
	f.epoch = c.epoch
	return f
}

// loseLocked books messages that could not be read: out of those that had left the backlog, and out of the backlog.
func (c *Channel) loseLocked(out []inflight.Shelved, waiting []backlog.Range) {
	n := len(out)
	for _, r := range waiting {
		n += r.Len()
	}
	if n == 0 {
		return
	}
	c.n.Discarded[journal.Unreadable] += uint64(n)
	var p pins
	for _, m := range out {
		p.add(&c.topic.d.table, m.Pos, -1)
	}
	p.flush()
	if !c.logged() {
		return
	}
	var r journal.Runs
	r.BeginDiscarded(c.topic.d.id, c.id, journal.Unreadable)
	for _, m := range out {
		r.Add(m.Pos)
	}
	for _, lost := range waiting {
		r.AddRange(lost)
	}
	c.logRunsLocked(journal.KindDiscarded, &r)
}

// coldLocked returns the node that must be brought into memory before the next message that waits can be taken, nil when there is none.
// It may find that nothing waits any more, as messages were lost.
func (c *Channel) coldLocked() *backlog.Node {
	n := c.mem.Cold()
	if lost := c.mem.Lost(); lost != nil {
		c.loseLocked(nil, lost)
	}
	return n
}

// nodeFrames is what can be read of a node.
type nodeFrames struct {
	frames []byte
	runs   []backlog.Range // the positions that the frames have, nil when they are all of the node's
}

// load returns the messages of a node. What is damaged is logged; with an error it is to be tried again.
func (t *Topic) load(n *backlog.Node) (nodeFrames, error) {
	if frames := n.Frames(); frames != nil {
		return nodeFrames{frames: frames}, nil
	}
	nothing := nodeFrames{runs: []backlog.Range{}}
	s := t.d.table.holder(n.First())
	if s == nil || !s.onDisk.Load() {
		return nothing, nil
	}
	block := s.at()
	frames, bad, err := t.d.store.Read(block, nil)
	if errors.Is(err, segment.ErrGone) && s.at() == block { // somebody has removed the file
		t.registry.log.Error("messages on disk are gone and were lost", "topic", t.name, "block", block.Ref.String(), "error", err)
		return nothing, nil
	}
	if err != nil {
		t.registry.log.Error("reading messages from disk", "topic", t.name, "block", block.Ref.String(), "error", err)
		return nothing, err
	}
	if len(bad) == 0 {
		return nodeFrames{frames: frames}, nil
	}
	runs := []backlog.Range{{First: n.First(), Last: n.End() - 1}}
	for _, b := range bad {
		t.registry.log.Error("messages on disk are damaged and were lost", "topic", t.name, "block", block.Ref.String(), "damage", b)
		runs, _ = journal.Cut(nil, runs, Position(b.First), Position(b.First)+Position(b.Count)-1)
	}
	return nodeFrames{frames, runs}, nil
}

// find returns one message, errGoneNode when it is not there.
func (f nodeFrames) find(first, pos Position) (protocol.MessageFrame, error) {
	before := 0
	if f.runs == nil {
		before = int(pos - first)
	} else {
		i := slices.IndexFunc(f.runs, func(r backlog.Range) bool { return r.First <= pos && pos <= r.Last })
		if i < 0 {
			return nil, fmt.Errorf("message %d: %w", pos, errGoneNode)
		}
		for _, r := range f.runs[:i] {
			before += r.Len()
		}
		before += int(pos - f.runs[i].First)
	}
	rest := f.frames
	for ; before > 0 && len(rest) > 0; before-- {
		rest = rest[len(protocol.FirstMessage(rest)):]
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("message %d: %w", pos, errGoneNode)
	}
	return protocol.FirstMessage(rest), nil
}

// loader reads single messages; those of one node that follow each other read it once.
type loader struct {
	topic *Topic
	node  *stored
	nodeFrames
}

// loadEach returns messages by their places. What cannot be read now is to be tried later; what is damaged is lost.
func (t *Topic) loadEach(list []inflight.Shelved) (loaded []retry, lost, later []inflight.Shelved) {
	l := loader{topic: t}
	for _, m := range list {
		f, err := l.load(m)
		switch {
		case err == nil:
			loaded = append(loaded, retry{frame: f, pos: m.Pos, turn: uint64(m.At), attempts: m.Attempts})
		case errors.Is(err, errGoneNode) || errors.Is(err, segment.ErrDamaged):
			lost = append(lost, m)
			t.registry.log.Error("a message that was to be delivered again was lost", "topic", t.name, "position", m.Pos, "error", err)
		default:
			later = append(later, m)
		}
	}
	return loaded, lost, later
}

func (l *loader) load(m inflight.Shelved) (protocol.MessageFrame, error) {
	s := l.topic.d.table.holder(m.Pos)
	if s == nil {
		return nil, errGoneNode
	}
	if s.locate(&m) {
		if f := s.node.Frame(int(m.Off)); f != nil {
			return f, nil
		}
		return l.topic.d.store.ReadFrame(s.at().Ref, m.Off, uint64(m.Pos), nil)
	}
	if s != l.node {
		var err error
		if l.nodeFrames, err = l.topic.load(s.node); err != nil {
			l.node = nil
			return nil, err
		}
		l.node = s
		if l.runs == nil {
			s.learn(l.frames)
		}
	}
	f, err := l.find(s.first, m.Pos)
	return slices.Clone(f), err // or it would keep all the others
}

// pinEach adds to the pins of messages' nodes.
func (t *Topic) pinEach(list iter.Seq[inflight.Shelved], by int64) {
	var p pins
	for m := range list {
		p.add(&t.d.table, m.Pos, by)
	}
	p.flush()
}

// logged reports whether what happens on the channel is written to the log.
func (c *Channel) logged() bool { return c.topic.d != nil && !c.ephemeral }

// logRunsLocked writes positions that were collected.
func (c *Channel) logRunsLocked(kind journal.Kind, r *journal.Runs) {
	b := r.Record()
	if b == nil {
		return
	}
	c.topic.d.log.Append(kind, b, nil)
	if kind != journal.KindFinished {
		c.told = max(c.told, c.mem.After())
	}
}

// deliverableLocked reports whether a message can be taken at once.
func (c *Channel) deliverableLocked() bool {
	return c.retries.len()+c.loaded.len() > 0 || c.freshLocked()
}

// freshLocked reports whether a message that was never delivered is in memory.
func (c *Channel) freshLocked() bool {
	if c.topic.d == nil {
		return c.mem.Len() > 0
	}
	return c.shownFreshLocked() && c.coldLocked() == nil && c.shownFreshLocked()
}

// shownFreshLocked reports whether the next message that was never delivered may be.
func (c *Channel) shownFreshLocked() bool {
	first := c.mem.First()
	return first > 0 && first <= c.shownLocked()
}

// fillableLocked reports whether there is something to bring into memory.
func (c *Channel) fillableLocked() bool {
	if c.topic.d == nil {
		return c.mem.Len() == 0 && c.diskDepth() > 0
	}
	return c.absent.Len() > 0 && c.loaded.len() < fillAbsent || c.shownFreshLocked() && c.coldLocked() != nil
}

// fillFirstLocked reports whether something should be brought into memory although there is something to deliver: its turn has come.
func (c *Channel) fillFirstLocked() bool {
	return c.absent.Len() > 0 && c.loaded.len() == 0 && uint64(c.absent.First().At) <= c.taken
}

// workLocked reports whether a consumer that is woken would find something to do.
func (c *Channel) workLocked() bool {
	return c.deliverableLocked() || !c.filling && c.fillableLocked()
}
