package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/protocol"
)

// FindID returns the position of a message by its id, among those that something is deferred or in flight beside. Ids are in no order:
// nodes know the lowest and the highest one they have, and those that do not, as they are of an earlier life, are read. It fails with
// ErrNotDeferred when there is none, and with ErrUnsure when it has read much and not all.
func (t *Topic) FindID(id protocol.MessageID) (Position, error) {
	if t.d == nil {
		return 0, ErrNoPositions
	}
	return t.find(id, false)
}

// FindMessage is FindID among all messages that are there.
func (t *Topic) FindMessage(id protocol.MessageID) (Position, error) {
	if t.d == nil {
		return 0, ErrNoPositions
	}
	return t.find(id, true)
}

// HasAt reports whether a message that is there has a position and an id. Who names a message by its position, which may be that of another one when
// the topic was deleted and made anew, makes sure by this. It fails as Browse does, and with ErrNoPositions.
func (t *Topic) HasAt(ctx context.Context, pos Position, id protocol.MessageID) (bool, error) {
	if t.d == nil {
		return false, ErrNoPositions
	}
	seen, err := t.Browse(ctx, Look{From: pos, Limit: 1})
	return err == nil && len(seen.Messages) == 1 && seen.Messages[0].Pos == pos && seen.Messages[0].ID == id, err
}

func (t *Topic) find(id protocol.MessageID, all bool) (Position, error) {
	s := idSearch{topic: t, id: id, all: all, left: searchBytes}
	known, unknown := s.nodes()
	for _, n := range known {
		if pos, ok, err := s.lookAll(n); ok || err != nil {
			return pos, err
		}
	}
	return s.learn(unknown)
}

// lookAll is look of a node, or of the pieces of one, in the order in which the id is likely to be there.
func (s *idSearch) lookAll(n idNode) (pos Position, ok bool, err error) {
	if !n.isFile() {
		return s.look(n)
	}
	list, err := s.topic.pieces(n.stored)
	if err != nil {
		return 0, false, err
	}
	known, unknown := s.sort(list)
	for _, p := range known { // another search has learnt what they have
		if pos, ok, err := s.look(p); ok || err != nil {
			return pos, ok, err
		}
	}
	if pos, err = s.learn(unknown); !errors.Is(err, ErrNotDeferred) {
		return pos, err == nil, err
	}
	s.topic.pub.Lock()
	defer s.topic.pub.Unlock()
	all := idSpan{}
	for _, p := range list {
		all.join(p.ids)
	}
	n.ids = all
	return 0, false, nil
}

// ErrUnsure is the answer of FindID when too much would have to be read to be sure.
var ErrUnsure = errors.New("the id was not found in what was read, and there is more: name the position in its place")

// searchBytes is how much FindID reads of nodes that nothing is known of.
const searchBytes = 256 << 20

type idSearch struct {
	topic *Topic
	id    protocol.MessageID
	all   bool // nodes, those too that nothing is deferred or in flight in
	left  int  // bytes that may still be read
}

// idNode is a node that may have a message with an id, and its messages where they are in memory.
type idNode struct {
	*stored
	frames []byte
}

// nodes returns those whose ids may be the one that is looked for, and those whose ids are not known.
func (s *idSearch) nodes() (known, unknown []idNode) {
	t := s.topic
	t.pub.Lock()
	defer t.pub.Unlock()
	list := t.d.table.each()
	if !s.all {
		list = slices.DeleteFunc(list, func(n *stored) bool { return n.pins.Load() == 0 })
	}
	return s.sortLocked(list)
}

// sort returns, of some nodes, those whose ids may be the one that is looked for, and those whose ids are not known.
func (s *idSearch) sort(list []*stored) (known, unknown []idNode) {
	s.topic.pub.Lock()
	defer s.topic.pub.Unlock()
	return s.sortLocked(list)
}

func (s *idSearch) sortLocked(list []*stored) (known, unknown []idNode) {
	for _, n := range list {
		switch {
		case n.ids == idSpan{}:
			unknown = append(unknown, idNode{n, n.node.Frames()})
		case n.ids.has(s.id):
			known = append(known, idNode{n, n.node.Frames()})
		}
	}
	return known, unknown
}

// look reads a node, and remembers which ids it has.
func (s *idSearch) look(n idNode) (pos Position, ok bool, err error) {
	f := nodeFrames{frames: n.frames}
	if f.frames == nil {
		s.left -= n.diskBytes()
		if f, err = s.topic.loadNode(n.stored); err != nil {
			return 0, false, fmt.Errorf("reading message ids: %w", err)
		}
	}
	pos, ok, span := f.findID(n.first, s.id)
	s.topic.pub.Lock()
	if n.ids == (idSpan{}) {
		n.ids = span
	}
	s.topic.pub.Unlock()
	return pos, ok, nil
}

// learn looks through nodes of an earlier life: first where the id would be if ids grew along the topic, as a broker's own do.
func (s *idSearch) learn(list []idNode) (Position, error) {
	span := func(n idNode) idSpan {
		s.topic.pub.Lock()
		defer s.topic.pub.Unlock()
		return n.ids
	}
	likely := idNode{}
	for part := list; len(part) > 0; {
		mid := len(part) / 2
		probe := part[mid] // of a file its first piece
		if probe.isFile() {
			pieces, err := s.topic.pieces(probe.stored)
			if err != nil {
				return 0, err
			}
			if len(pieces) > 0 {
				probe = idNode{pieces[0], nil}
			}
		}
		if pos, ok, err := s.look(probe); ok || err != nil {
			return pos, err
		}
		if s.id < span(probe).low {
			part = part[:mid]
		} else {
			likely, part = part[mid], part[mid+1:]
		}
	}
	if likely.stored != nil && likely.isFile() {
		if pos, ok, err := s.lookAll(likely); ok || err != nil {
			return pos, err
		}
	}
	for _, n := range list {
		if ids := span(n); ids != (idSpan{}) && !ids.has(s.id) { // another search may have learnt them meanwhile
			continue
		}
		if s.left <= 0 {
			return 0, ErrUnsure
		}
		if pos, ok, err := s.lookAll(n); ok || err != nil {
			return pos, err
		}
	}
	return 0, ErrNotDeferred
}

// findID returns the position of the message with an id, and which ids there are.
func (f nodeFrames) findID(first Position, id protocol.MessageID) (pos Position, ok bool, span idSpan) {
	runs := f.runs
	if runs == nil {
		runs = []backlog.Range{{First: first, Last: first + Position(len(f.frames))}} // more than there are
	}
	rest := f.frames
	for _, r := range runs {
		for at := r.First; at <= r.Last && len(rest) > 0; at++ {
			m := protocol.FirstMessage(rest)
			rest = rest[len(m):]
			span.add(m.MustID(), 1)
			if m.MustID() == id {
				pos, ok = at, true
			}
		}
	}
	return pos, ok, span
}

// idSpan is the lowest and the highest id of a node's messages; its zero value is that nobody knows.
type idSpan struct{ low, high protocol.MessageID }

// has reports whether an id may be one of those.
func (s idSpan) has(id protocol.MessageID) bool { return s.low <= id && id <= s.high }

// add takes in n ids that follow each other.
func (s *idSpan) add(first protocol.MessageID, n int) {
	last := first + protocol.MessageID(n) - 1
	if *s == (idSpan{}) {
		*s = idSpan{first, last}
		return
	}
	s.low, s.high = min(s.low, first), max(s.high, last)
}

// join takes in the ids of other messages.
func (s *idSpan) join(o idSpan) {
	switch {
	case o == idSpan{}:
	case *s == idSpan{}:
		*s = o
	default:
		s.low, s.high = min(s.low, o.low), max(s.high, o.high)
	}
}

// addBatch takes in a batch whose frames are where they belong: those that were not stamped have ids of their own.
func (s *idSpan) addBatch(b *Batch, frames []byte) {
	if b.first != 0 {
		s.add(b.first, b.n)
		return
	}
	for len(frames) > 0 {
		m := protocol.FirstMessage(frames)
		s.add(m.MustID(), 1)
		frames = frames[len(m):]
	}
}
