package topic

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// errGoneNode is a message whose node is not there: its block was lost to damage.
var errGoneNode = errors.New("its block is not there")

// fill brings the next node that waits, and messages that are to be delivered again, into memory.
func (d *logStore) fill(c *Channel) bool {
	c.enter()
	f := c.machine.BeginFill()
	c.exit()
	if f.Cold != nil {
		node, err := d.topic.loadFor(f.Cold, f.First, f.Keyed)
		f.Node, f.Unread = node.toRead(), err != nil
	}
	var why map[Position]error
	f.Loaded, f.Lost, f.Later, why = d.topic.loadEach(f.Retries, !c.ephemeral)
	if f.Keyed {
		var later []inflight.Place
		f.Loaded, later = d.topic.loadKeys(f.Loaded)
		f.Later = append(f.Later, later...)
	}
	c.enter()
	ready := c.machine.EndFill(&f)
	c.exit()
	c.tellLost(f.Lost, why) // not before: a channel that was emptied meanwhile, or has gone, needed none of it
	return ready
}

// tellLost logs that messages that were to be delivered again were lost, and why each was.
func (c *Channel) tellLost(lost []inflight.Place, why map[Position]error) {
	for _, m := range lost {
		c.topic.registry.log.Error("a message that was to be delivered again was lost", "topic", c.topic.name, "channel", c.name, "position", m.Pos,
			"error", why[m.Pos])
	}
}

// nodeFrames is what can be read of a node.
type nodeFrames struct {
	of     backlog.Range // the positions that were looked for, where some of a node's were
	frames []byte
	runs   []backlog.Range // the positions that the frames have, nil when they are all of the node's
	sums   []uint32        // of the messages' keys, counted from the node's first position, where they were asked for
	read   bool            // they were read of the disk, into memory of who has asked
}

// toRead returns it as a channel takes it.
func (f *nodeFrames) toRead() channel.Read {
	return channel.Read{Of: f.of, Frames: f.frames, Runs: f.runs, Sums: f.sums}
}

// hasLeft reports whether nobody needs a node any more: then its block may go at any time. Who only looks has no pin on it.
func (t *Topic) hasLeft(s *stored) bool { return t.exiting.Load() || s.left() }

// inMemory returns the messages of a node that are in memory: of the one that is appended to, those that were when it was asked.
func (t *Topic) inMemory(n *backlog.Node) []byte {
	if !n.Closed() {
		t.pub.Lock()
		defer t.pub.Unlock()
	}
	return n.Frames()
}

// loadFor returns messages of a node that a queue has come to: that at a position, and others that are read with it; none when the node has left.
// With keyed it returns the sums of their keys too. It fails as loadNode.
func (t *Topic) loadFor(n *backlog.Node, pos Position, keyed bool) (node nodeFrames, err error) {
	s, err := t.piece(pos)
	if err != nil {
		return nodeFrames{}, err
	}
	if s == nil {
		return nodeFrames{of: backlog.Range{First: n.First(), Last: n.End() - 1}, runs: []backlog.Range{}}, nil
	}
	if node, err = t.loadNode(s); err == nil && keyed {
		node.sums, err = t.sumsOfNode(s)
	}
	node.of = backlog.Range{First: s.first, Last: Position(s.end.Load()) - 1}
	return node, err
}

// loadNode returns the messages of a node, none when it has left. What is damaged is logged; with an error it is to be tried again.
// Topic.pub is not held.
func (t *Topic) loadNode(s *stored) (nodeFrames, error) { return t.loadNodeInto(s, nil) }

// loadNodeInto is loadNode with memory for what is read of the disk, which is grown when it is too small.
func (t *Topic) loadNodeInto(s *stored, buf []byte) (nodeFrames, error) {
	if frames := t.inMemory(s.node); frames != nil {
		return nodeFrames{frames: frames}, nil
	}
	nothing := nodeFrames{runs: []backlog.Range{}}
	if !s.onDisk.Load() || s.left() {
		return nothing, nil
	}
	if s.held.Load() != nil {
		return t.loadHeld(s, buf)
	}
	block := s.at()
	frames, held, bad, err := t.d.segments.ReadHeld(block, buf)
	for errors.Is(err, segment.ErrGone) && s.at() != block { // it was written anew meanwhile
		block = s.at()
		frames, held, bad, err = t.d.segments.ReadHeld(block, buf)
	}
	if errors.Is(err, segment.ErrGone) {
		if s.rewritten() {
			node, err := t.loadNode(s.of.Load())
			return node.part(s), err
		}
		if !t.hasLeft(s) { // somebody has removed the file
			t.registry.log.Error("messages on disk are gone and were lost", "topic", t.name, "block", block.Ref.String(), "error", err)
		}
		return nothing, nil
	}
	if err != nil {
		if !errors.Is(err, segment.ErrClosed) || !t.hasLeft(s) {
			t.cannotRead(block.Ref, err)
		}
		return nothing, err
	}
	if len(bad) == 0 && block.Held == 0 {
		return nodeFrames{frames: frames, read: true}, nil
	}
	runs := heldRanges(block, held)
	for _, b := range bad {
		t.registry.log.Error("messages on disk are damaged and were lost", "topic", t.name, "block", block.Ref.String(), "damage", b)
		runs, _ = journal.Cut(nil, runs, Position(b.First), Position(b.First)+Position(b.Count)-1)
	}
	return nodeFrames{frames: frames, runs: runs, read: true}, nil
}

// complainEvery is how often it is logged that a topic's messages cannot be read: who waits for them tries again ten times a second.
const complainEvery = 10 * time.Second

// cannotRead logs that messages cannot be read now, unless it has done so lately.
func (t *Topic) cannotRead(where segment.Ref, err error) {
	now := max(t.registry.now(), 1)
	last := t.d.complained.Load()
	if last != 0 && now-last < int64(complainEvery) || !t.d.complained.CompareAndSwap(last, now) {
		t.d.leftOut.Add(1)
		return
	}
	args := []any{"topic", t.name, "block", where.String(), "error", err}
	if n := t.d.leftOut.Swap(0); n > 0 {
		args = append(args, "left_out", n)
	}
	t.registry.log.Error("reading messages from disk", args...)
}

// part returns what of the messages of a file that was written anew are in one of its pieces.
func (f nodeFrames) part(s *stored) nodeFrames {
	all := f.runs
	if of := s.of.Load(); all == nil {
		all = []backlog.Range{{First: of.first, Last: Position(of.end.Load()) - 1}}
	}
	frames, runs := pick(f.frames, all, []backlog.Range{{First: s.first, Last: Position(s.end.Load()) - 1}})
	return nodeFrames{frames: frames, runs: rangesOf(runs)}
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

// loadEach returns messages by their places. What cannot be read now is to be tried later; what is damaged or not there is lost, and why says of
// each of those what is wrong. With together those of a node that are many are read with one look at the disk and share its memory.
func (t *Topic) loadEach(list []inflight.Place, together bool) (loaded []channel.Retry, lost, later []inflight.Place, why map[Position]error) {
	l := loader{topic: t}
	loaded = make([]channel.Retry, 0, len(list))
	for len(list) > 0 {
		n := 0
		if together {
			n = l.many(list)
		}
		for _, m := range list[:max(n, 1)] {
			var f protocol.MessageFrame
			var err error
			if n > 0 {
				f, err = l.view(m)
			} else {
				f, err = l.load(m)
			}
			switch {
			case err == nil:
				loaded = append(loaded, channel.Retry{Frame: f, Pos: m.Pos, Turn: uint64(m.At), Attempts: m.Attempts, Shared: n > 0})
			case errors.Is(err, errGoneNode) || errors.Is(err, segment.ErrDamaged):
				if lost = append(lost, m); why == nil {
					why = map[Position]error{}
				}
				why[m.Pos] = err
			default:
				later = append(later, m)
			}
		}
		list = list[max(n, 1):]
	}
	return loaded, lost, later, why
}

// worthwhile is how many bytes of a block are read for each message that is wanted of it, rather than each by itself.
const worthwhile = 16 << 10

// many returns how many of some messages, from the first on, are in one node on disk, which it has read then; 0 when they are too few for
// that, or the node is in memory.
func (l *loader) many(list []inflight.Place) (n int) {
	s, err := l.topic.piece(list[0].Pos)
	if err != nil || s == nil || !s.onDisk.Load() || s.node.InMemory() {
		return 0
	}
	for n < len(list) && s.has(list[n].Pos) {
		n++
	}
	if s.diskBytes() > n*worthwhile || l.read(s) != nil {
		return 0
	}
	return n
}

// read reads a node, if it was not the last one.
func (l *loader) read(s *stored) (err error) {
	if s == l.node {
		return nil
	}
	if l.nodeFrames, err = l.topic.loadNode(s); err != nil {
		l.node = nil
		return err
	}
	l.node = s
	if l.runs == nil && s.node.Closed() && s.offsets.Load() == nil {
		s.learn(l.frames)
	}
	return nil
}

// view returns a message of the node that was read, in the memory of that.
func (l *loader) view(m inflight.Place) (protocol.MessageFrame, error) {
	if l.runs == nil && l.node.locate(&m) && int(m.Off) < len(l.frames) {
		return protocol.FirstMessage(l.frames[m.Off:]), nil
	}
	return l.find(l.node.first, m.Pos)
}

func (l *loader) load(m inflight.Place) (protocol.MessageFrame, error) {
	s, err := l.topic.piece(m.Pos)
	if s == nil {
		return nil, cmp.Or(err, errGoneNode)
	}
	if s.locate(&m) {
		if f := s.node.Frame(int(m.Off)); f != nil {
			return f, nil
		}
		if s.held.Load() != nil {
			if f := l.topic.frameHeld(s, m.Off, m.Pos); f != nil {
				return f, nil
			}
		} else if at := s.at(); at.Held == 0 { // else offsets are of the block that it was before
			f, err := l.topic.d.segments.ReadFrame(at.Ref, m.Off, uint64(m.Pos), nil)
			if !errors.Is(err, segment.ErrGone) {
				return f, err
			}
		}
	}
	if err := l.read(s); err != nil { // a block that has gone too: it may have been written anew
		return nil, err
	}
	f, err := l.find(s.first, m.Pos)
	return slices.Clone(f), err // or it would keep all the others
}

// pinEach adds to the pins of messages' nodes.
func (t *Topic) pinEach(list iter.Seq[inflight.Place], by int64) {
	var p pins
	for m := range list {
		p.add(&t.d.table, m.Pos, by)
	}
	p.flush()
}
