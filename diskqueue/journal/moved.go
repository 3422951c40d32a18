package journal

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Moved is the head of a Moved record: messages leave one topic and are published in another, both or neither.
type Moved struct {
	Topic   uint32 // that they leave
	Channel uint32 // that they leave, 0 for the topic's own backlog, or Everywhere
	Why     Reason // they leave
	Runs    []byte // their positions there, as a Runs has them behind its head
}

// Everywhere is all channels of a topic, and its own backlog, that have a message.
const Everywhere uint32 = math.MaxUint32

// movedSize is the size in bytes of the head without the runs.
const movedSize = 4 + 4 + 1 + 4

// AppendMoved appends the head; that of the Publish, and the frames, follow it.
func AppendMoved(dst []byte, m Moved) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Topic)
	dst = binary.BigEndian.AppendUint32(dst, m.Channel)
	dst = append(dst, byte(m.Why))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Runs)))
	return append(dst, m.Runs...)
}

// ParseMoved returns the head and the Publish behind it, a view of the record. It checks all of it.
func ParseMoved(b []byte) (m Moved, p Publish, frames []byte, err error) {
	if len(b) < movedSize {
		return m, p, nil, fmt.Errorf("%w: moved of %d bytes", ErrRecord, len(b))
	}
	m = Moved{Topic: binary.BigEndian.Uint32(b), Channel: binary.BigEndian.Uint32(b[4:]), Why: Reason(b[8])}
	n := uint64(binary.BigEndian.Uint32(b[9:]))
	b = b[movedSize:]
	switch {
	case m.Why == 0 || m.Why >= reasons:
		return m, p, nil, fmt.Errorf("%w: moved for a reason that is not known", ErrRecord)
	case n > uint64(len(b)):
		return m, p, nil, fmt.Errorf("%w: moved with %d bytes of positions", ErrRecord, n)
	}
	m.Runs, b = b[:n:n], b[n:]
	left := 0
	if err := eachRun(m.Runs, maxRuns, func(r Range) { left += r.Len() }); err != nil {
		return m, p, nil, err
	}
	if p, frames, err = ParsePublish(b); err == nil && left != p.Count {
		err = fmt.Errorf("%w: %d messages are moved and %d published", ErrRecord, left, p.Count)
	}
	return m, p, frames, err
}

// move is messages that have left a channel for another topic, as long as it is not certain that they arrived there.
type move struct {
	to    Range // where they are
	from  *Channel
	why   Reason
	moved []outEntry
}

// moved takes messages out of one topic and publishes them in another. A channel whose snapshot does not have them any more, or a topic
// whose snapshot has them already, is passed over. See arrives for those that nobody knows.
func (s *State) moved(at Offset, b []byte, keep func(Publish, []byte)) error {
	m, p, frames, err := ParseMoved(b)
	if err != nil {
		return err
	}
	if !s.arrives(&p) {
		s.publish(at, p, nil, nil) // which notes the number
		return nil
	}
	if t := s.Topics[m.Topic]; t != nil {
		for _, c := range t.Channels {
			if (c.ID == m.Channel || m.Channel == Everywhere) && !at.Before(c.AsOf) {
				s.leaves(c, &m, &p)
			}
		}
	} else {
		s.Stray++
	}
	if t := s.Topics[p.Topic]; t != nil && m.Why == DeadLettered {
		t.Dead = true // also when the record that says so was lost
	}
	s.publish(at, p, frames, keep)
	return nil
}

// arrives reports whether what a record moves comes to somebody, or would have to one that was deleted. If the record that made the topic, or
// the channel, was lost, it does not: nothing is known of them, and what would be there stays where it was.
func (s *State) arrives(p *Publish) bool {
	t := s.Topics[p.Topic]
	switch {
	case t == nil:
		return p.Topic < s.listed
	case len(t.targets(p.Only)) > 0:
		return true
	}
	return p.Only != All && p.Only < s.listed
}

// leaves takes messages out of a channel, and remembers them in case that they did not arrive.
func (s *State) leaves(c *Channel, m *Moved, p *Publish) {
	gone := move{to: Range{p.First, p.Last()}, from: c, why: m.Why}
	_ = eachRun(m.Runs, maxRuns, func(r Range) { // it was parsed
		for pos := r.First; pos <= r.Last; pos++ {
			o, _ := c.Out.Get(pos)
			if c.cut(Range{pos, pos}) > 0 {
				gone.moved = append(gone.moved, outEntry{pos, o})
			}
		}
	})
	if len(gone.moved) == 0 {
		return
	}
	c.Counts.Discarded[m.Why] += uint64(len(gone.moved))
	if s.moves == nil {
		s.moves = map[uint32][]move{}
	}
	s.moves[p.Topic] = append(s.moves[p.Topic], gone)
}

// comeBack gives messages back to where they came from that did not arrive, as their publish has failed: they were not gone.
func (s *State) comeBack(topic uint32, void Range) {
	kept := s.moves[topic][:0]
	for _, m := range s.moves[topic] {
		if m.to.First > void.Last || m.to.Last < void.First {
			kept = append(kept, m)
			continue
		}
		for _, e := range m.moved {
			m.from.Out.Set(e.pos, e.Out)
		}
		m.from.Counts.Discarded[m.why] -= uint64(len(m.moved))
	}
	if s.moves != nil {
		s.moves[topic] = kept
	}
}

// forgetMoves says that a channel has dropped all that it had, what would come back too.
func (s *State) forgetMoves(c *Channel) {
	for topic, list := range s.moves {
		kept := list[:0]
		for _, m := range list {
			if m.from != c {
				kept = append(kept, m)
			}
		}
		s.moves[topic] = kept
	}
}
