package topic

import (
	"errors"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// IsDeadLetterTopic reports whether dead letters have ever come to the topic.
func (t *Topic) IsDeadLetterTopic() bool { return t.deadLetters.Load() }

// walk calls f with every message from a position on that some channel, or the topic itself, has and that is shown, with what it has beside
// its body and the sum of its key, until f returns false. Nothing is locked while it reads and calls.
func (t *Topic) walk(from Position, f func(m protocol.MessageFrame, pos Position, beside []byte, sum uint32) bool) error {
	for _, s := range t.d.table.from(from) {
		end := min(Position(s.end.Load()), t.d.shown()+1) // before what is needed: what is withdrawn meanwhile is behind it
		need := within(t.neededIn([]*stored{s}), max(from, s.first), end)
		if len(need) == 0 {
			continue
		}
		pieces, err := t.pieces(s)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			if more, err := t.walkNode(p, need, f); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// walkNode is walk for the messages of one node that are in some ranges. It reports whether f wants more.
func (t *Topic) walkNode(s *stored, need []backlog.Range, f func(m protocol.MessageFrame, pos Position, beside []byte, sum uint32) bool) (more bool, err error) {
	if need = within(need, s.first, Position(s.end.Load())); len(need) == 0 {
		return true, nil
	}
	node, beside, err := t.look(s, nil)
	if err != nil {
		return false, err
	}
	return node.each(s, func(m protocol.MessageFrame, pos Position) bool {
		return !journal.Holds(need, pos) || f(m, pos, findBeside(beside, pos), sumAt(node.sums, s.first, pos))
	}), nil
}

// look returns the messages of a node, with the sums of their keys, and what they have beside their bodies; nothing when it has left.
// buf is memory for what is read of the disk.
func (t *Topic) look(s *stored, buf []byte) (node nodeFrames, beside []journal.Beside, err error) {
	node, beside, err = t.lookInto(s, buf)
	if errors.Is(err, segment.ErrClosed) && t.hasLeft(s) {
		return nodeFrames{}, nil, nil
	}
	return node, beside, err
}

func (t *Topic) lookInto(s *stored, buf []byte) (node nodeFrames, beside []journal.Beside, err error) {
	if beside, err = t.besideOfNode(s); err != nil {
		return node, nil, err
	}
	sums, err := t.sumsOfNode(s)
	if err != nil {
		return node, nil, err
	}
	node, err = t.loadNodeInto(s, buf)
	node.sums = sums
	return node, beside, err
}

// each calls f with every message of a node, until f returns false, which it reports.
func (n nodeFrames) each(s *stored, f func(protocol.MessageFrame, Position) bool) bool {
	runs := n.runs
	if runs == nil {
		runs = []backlog.Range{{First: s.first, Last: Position(s.end.Load()) - 1}}
	}
	rest := n.frames
	for _, r := range runs {
		for pos := r.First; pos <= r.Last && len(rest) > 0; pos++ {
			m := protocol.FirstMessage(rest)
			rest = rest[len(m):]
			if !f(m, pos) {
				return false
			}
		}
	}
	return true
}
