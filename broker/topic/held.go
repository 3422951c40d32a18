package topic

import (
	"slices"
	"sync"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// A topic of a group of replicas has no segments: what its standby has on disk is read there. A node of which memory has nothing says which blocks of
// the standby have what is needed of it, and keeps them there. When they are written anew it takes the new ones in their place.

// evict drops from memory what the standby of the group has on disk, of some topics.
func (l *Led) evict(topics map[uint32]bool) {
	for _, t := range l.some(topics) {
		t.evictHeld()
	}
}

func (l *Led) some(topics map[uint32]bool) (list []*Topic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for number := range topics {
		if t := l.topics[number]; t != nil {
			list = append(list, t)
		}
	}
	return list
}

// Reclaim lets go of what nobody needs any more of what the topics hold on the disk of the group's standby.
func (l *Led) Reclaim() {
	for _, t := range l.list() {
		t.reclaim()
	}
	l.renew(l.standby.replaced())
}

// renew has nodes of some topics take blocks that were written anew.
func (l *Led) renew(topics map[uint32]bool) {
	for _, t := range l.some(topics) {
		t.renewHeld()
	}
}

// renewHeld has nodes take blocks of the standby that were written anew, with what somebody needs, in the place of those that they have.
func (t *Topic) renewHeld() {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() || t.lossyLocked() {
		return // what they have goes with them, or with the channels that may need it
	}
	standby := t.led.standby
	for _, s := range t.d.table.each() {
		held := s.holds()
		if !slices.ContainsFunc(held, func(b *block) bool { return b.freed.Load() }) {
			continue
		}
		some := standby.pin(t.d.id, s.first, Position(s.end.Load()), false)
		if some == nil {
			continue // nobody needs what is in it: it goes
		}
		s.held.Store(&some)
		s.offsets.Store(nil)
		standby.unpin(held)
	}
}

func (t *Topic) evictHeld() {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() {
		return
	}
	t.reclaimLocked()
	d := t.d
	all := t.lossyLocked()
	committed := d.watermark.position() // what lies behind it may be other messages, of another leader, in the standby
	if s := d.tail; s != nil && s.node.End() <= min(committed, t.led.standby.spilled(d.id))+1 {
		d.nodes.Close() // or very many topics would each keep one in memory
		d.tail = nil
	}
	for _, s := range d.table.each() {
		if s == d.tail || !s.node.Closed() || !s.node.InMemory() || s.node.End() > committed+1 {
			continue
		}
		held := t.led.standby.pin(d.id, s.first, s.node.End(), all)
		if held == nil {
			continue // it stays in memory, at most till the next time
		}
		s.held.Store(&held)
		t.setOnDisk(s)
		d.evictLocked(s)
	}
}

// lossyLocked reports whether the topic has channels that write no records: the standby may not have what they need.
func (t *Topic) lossyLocked() bool {
	for _, c := range t.Channels() {
		if c.ephemeral {
			return true
		}
	}
	return false
}

// letGoHeld lets go of what a node that has left holds in the standby. Topic.pub is held, or nobody knows the topic yet.
func (t *Topic) letGoHeld(s *stored) {
	if held := s.holds(); len(held) > 0 && !s.letGo {
		s.letGo = true
		t.led.standby.unpin(held)
	}
}

// holds returns the blocks of the standby that have what is needed of a node.
func (s *stored) holds() []*block {
	if held := s.held.Load(); held != nil {
		return *held
	}
	return nil
}

// letGoAll is letGoHeld of all nodes that are there: the topic goes. Topic.pub is held, or nobody knows the topic yet.
func (t *Topic) letGoAll() {
	for _, s := range t.d.table.each() {
		t.letGoHeld(s)
	}
}

// lastBlock is the block of a standby that was read last: nodes of memory and blocks of the disk do not begin at the same messages.
type lastBlock struct {
	mu     sync.Mutex // guards what follows
	of     *block
	frames []byte
	runs   []backlog.Range
}

// read returns the messages of a block, which are not to be changed, and their positions.
func (l *lastBlock) read(s *Standby, b *block) ([]byte, []backlog.Range, error) {
	l.mu.Lock()
	of, frames, runs := l.of, l.frames, l.runs
	l.mu.Unlock()
	if of == b {
		return frames, runs, nil
	}
	frames, runs, err := s.read(b, nil)
	if err != nil {
		return nil, nil, err
	}
	if runs == nil {
		runs = []backlog.Range{{First: b.first, Last: b.end - 1}}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of, l.frames, l.runs = b, frames, runs
	return frames, runs, nil
}

// passed forgets a block of which the last messages were asked for.
func (l *lastBlock) passed(b *block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == b {
		l.of, l.frames, l.runs = nil, nil, nil
	}
}

// alone returns the block that a node is, nil when it is in several, or in a part of one.
func (s *stored) alone() *block {
	if held := s.holds(); len(held) == 1 && held[0].covers(backlog.Range{First: s.first, Last: Position(s.end.Load()) - 1}) {
		return held[0]
	}
	return nil
}

// covers reports whether a block has messages of a range, and of no other positions.
func (b *block) covers(r backlog.Range) bool { return b.first == r.First && b.end == r.Last+1 }

// diskBytes returns how many bytes are read for a node that is on disk.
func (s *stored) diskBytes() (n int) {
	held := s.holds()
	if held == nil {
		return int(s.at().Ref.Length)
	}
	for _, b := range held {
		n += int(b.place.Load().Ref.Length)
	}
	return n
}

// loadHeld is loadNodeInto for a node whose messages the standby has.
func (t *Topic) loadHeld(s *stored, buf []byte) (nodeFrames, error) {
	for {
		held := s.held.Load()
		f, bad, err := t.readHeld(s, *held, buf)
		switch {
		case err == nil:
			return f, nil
		case s.held.Load() == held: // else they were written anew meanwhile
			return nodeFrames{runs: []backlog.Range{}}, t.unreadHeld(s, bad, err)
		}
	}
}

// readHeld reads messages of a node out of the blocks that it holds. With an error it returns the block that cannot be read.
func (t *Topic) readHeld(s *stored, held []*block, buf []byte) (f nodeFrames, bad *block, err error) {
	standby := t.led.standby
	within := []backlog.Range{{First: s.first, Last: Position(s.end.Load()) - 1}}
	if len(held) == 1 && held[0].covers(within[0]) {
		frames, runs, err := standby.read(held[0], buf)
		return nodeFrames{frames: frames, runs: runs, read: true}, held[0], err
	}
	f = nodeFrames{frames: buf[:0], read: true}
	for _, b := range held {
		frames, runs, err := t.led.last.read(standby, b)
		if err != nil {
			return f, b, err
		}
		some, got := pick(frames, runs, within)
		f.frames = append(f.frames, some...)
		for _, r := range rangesOf(got) {
			if k := len(f.runs) - 1; k >= 0 && f.runs[k].Last+1 == r.First {
				f.runs[k].Last = r.Last
				continue
			}
			f.runs = append(f.runs, r)
		}
		if within[0].Last >= b.end-1 {
			t.led.last.passed(b)
		}
	}
	if len(f.runs) == 1 && f.runs[0] == within[0] {
		f.runs = nil
	} else if f.runs == nil {
		f.runs = []backlog.Range{}
	}
	return f, nil, nil
}

// unreadHeld tells of a node with a block that cannot be read, which is to be tried again, unless the node has left: then there is nothing to read.
func (t *Topic) unreadHeld(s *stored, b *block, err error) error {
	if t.hasLeft(s) {
		return nil
	}
	t.led.standby.broken(b, err)
	t.cannotRead(b.place.Load().Ref, err)
	return err
}

// frameHeld returns one message of a node that is one block, if its place is known; nil: it is to be looked for.
func (t *Topic) frameHeld(s *stored, off uint32, pos Position) protocol.MessageFrame {
	b := s.alone()
	if b == nil || !b.whole() {
		return nil
	}
	f, err := b.store.ReadFrame(b.place.Load().Ref, off, uint64(pos), nil)
	if err != nil {
		return nil // reading all of it says why
	}
	return f
}

// sectionsHeld returns what the messages of a node have beside their bodies, and the sums of their keys, counted from the node's first position.
func (t *Topic) sectionsHeld(s *stored) (beside []journal.Beside, sums []uint32, err error) {
	for {
		held := s.held.Load()
		beside, sums, bad, err := t.readSectionsHeld(s, *held)
		switch {
		case err == nil:
			return beside, sums, nil
		case s.held.Load() == held: // else they were written anew meanwhile
			return nil, nil, t.unreadHeld(s, bad, err)
		}
	}
}

func (t *Topic) readSectionsHeld(s *stored, held []*block) (beside []journal.Beside, sums []uint32, bad *block, err error) {
	first, end := s.first, Position(s.end.Load())
	for _, b := range held {
		more, some, err := t.led.standby.sections(b)
		if err != nil {
			return nil, nil, b, err
		}
		for _, m := range more {
			if m.Pos >= first && m.Pos < end {
				beside = append(beside, m)
			}
		}
		if len(some) == 0 {
			continue
		}
		_, runs, err := t.led.last.read(t.led.standby, b)
		if err != nil {
			return nil, nil, b, err
		}
		if sums == nil {
			sums = make([]uint32, end-first)
		}
		for i, sum := range spread(some, b.first, int(b.end-b.first), runs) {
			if pos := b.first + Position(i); pos >= first && pos < end {
				sums[pos-first] = sum
			}
		}
	}
	return beside, sums, nil, nil
}
