package topic

import (
	"errors"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// ErrNotDeadLetters is the refusal to look into a topic that holds no dead letters.
var ErrNotDeadLetters = errors.New("only messages of dead letter topics can be looked at: no channel's dead letters have come to this topic")

// Message is what is seen of a message by somebody who does not take it.
type Message struct {
	Pos        Position
	ID         protocol.MessageID
	Time       int64 // when it came, Unix nanoseconds
	Body       []byte
	Properties []journal.Property
}

// IsDeadLetterTopic reports whether dead letters have ever come to the topic.
func (t *Topic) IsDeadLetterTopic() bool { return t.deadLetters.Load() }

// browseBytes is how many bytes of bodies Messages returns at most, but for one message.
const browseBytes = 4 << 20

// Messages returns messages of a dead letter topic that some channel, or the topic itself, still has, in order, from a position on: at most
// limit. next is where to go on, 0 at the end. Nothing changes. It fails with ErrNotDeadLetters, or as the disk cannot be read.
func (t *Topic) Messages(from Position, limit int) (list []Message, next Position, err error) {
	if t.d == nil || !t.IsDeadLetterTopic() {
		return nil, 0, ErrNotDeadLetters
	}
	size := 0
	err = t.walk(from, func(f protocol.MessageFrame, pos Position, beside []byte) bool {
		if len(list) == limit || size >= browseBytes {
			next = pos
			return false
		}
		properties, err := journal.ParseProperties(beside)
		if err != nil {
			t.registry.log.Error("properties of a message make no sense", "topic", t.name, "position", pos, "error", err)
		}
		list = append(list, Message{Pos: pos, ID: f.MustID(), Time: f.Timestamp(), Body: slices.Clone(f.Body()), Properties: properties})
		size += len(f)
		return true
	})
	return list, next, err
}

// walk calls f with every message from a position on that some channel, or the topic itself, has and that is shown, with what it has beside
// its body, until f returns false. Nothing is locked while it reads and calls.
func (t *Topic) walk(from Position, f func(m protocol.MessageFrame, pos Position, beside []byte) bool) error {
	for _, s := range t.d.table.each() {
		if Position(s.end.Load()) <= from {
			continue
		}
		need := within(t.neededIn([]*stored{s}), max(from, s.first), min(Position(s.end.Load()), t.d.shown()+1))
		if len(need) == 0 {
			continue
		}
		node, beside, err := t.look(s)
		if err != nil {
			return err
		}
		if !node.each(s, func(m protocol.MessageFrame, pos Position) bool {
			return !holdsPosition(need, pos) || f(m, pos, findBeside(beside, pos))
		}) {
			return nil
		}
	}
	return nil
}

// look returns the messages of a node and what they have beside their bodies.
func (t *Topic) look(s *stored) (node nodeFrames, beside []journal.Beside, err error) {
	if beside, err = t.besideOfNode(s); err != nil {
		return node, nil, err
	}
	t.pub.Lock()
	frames := s.node.Frames()
	t.pub.Unlock()
	if frames != nil {
		return nodeFrames{frames: frames}, beside, nil
	}
	node, err = t.load(s.node)
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
