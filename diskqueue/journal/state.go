package journal

import (
	"encoding/json"
	"fmt"

	"brokerd/protocol"
)

// Position is a place in the log; a later record has a greater one.
type Position struct {
	File   uint64 `json:"file"`
	Offset int64  `json:"offset"`
}

// Before reports whether p is before q.
func (p Position) Before(q Position) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// Range is the messages of a topic with ids from First to Last.
type Range struct{ First, Last protocol.MessageID }

// Out is a message that has left a channel's backlog and is not finished.
type Out struct {
	Due      int64 // Unix nanoseconds; 0 when it is not deferred
	Attempts uint16
}

// Node is messages that were appended one behind the other.
type Node struct {
	Seq         uint64
	Count       uint32
	First, Last protocol.MessageID
}

// Channel is the state of one channel. Waiting is in order; Out was delivered or is deferred.
type Channel struct {
	ID      uint32                     `json:"id"`
	Name    string                     `json:"name"`
	Paused  bool                       `json:"paused,omitempty"`
	AsOf    Position                   `json:"as_of"` // records of the channel before this are in it
	Waiting []Range                    `json:"-"`
	Out     map[protocol.MessageID]Out `json:"-"`
}

// Topic is the state of one topic.
type Topic struct {
	ID       uint32             `json:"id"`
	Name     string             `json:"name"`
	Paused   bool               `json:"paused,omitempty"`
	Options  json.RawMessage    `json:"options,omitempty"`
	Last     protocol.MessageID `json:"last"`  // id of the newest message
	Seq      uint64             `json:"seq"`   // sequence number of the next message
	Nodes    []Node             `json:"-"`     // of a checkpoint: what was in the topic's segments
	AsOf     Position           `json:"as_of"` // records of the topic, publishes too, before this are in it
	Channels []*Channel         `json:"-"`     // the first is the topic's own backlog, with id 0
}

// State is all topics.
type State struct {
	Topics map[uint32]*Topic
	NextID uint32 // greater than every topic's and channel's id ever used
	Stray  int    // records of topics or channels that are not there: deleted meanwhile
}

// NewState returns the state of an empty node.
func NewState() *State { return &State{Topics: map[uint32]*Topic{}, NextID: 1} }

// Apply carries out one record. A publish's frames are given to keep, a view of the record, with the head. Records that the
// state has already are passed over.
func (s *State) Apply(at Position, kind Kind, b []byte, keep func(Publish, []byte)) error {
	switch kind {
	case KindPublish:
		p, frames, err := ParsePublish(b)
		if err == nil {
			s.publish(at, p, frames, keep)
		}
		return err
	case KindDelivered, KindFinished, KindDeferred:
		return s.applyChannel(at, kind, b)
	case KindChange:
		var c Change
		if err := json.Unmarshal(b, &c); err != nil {
			return fmt.Errorf("%w: change: %w", ErrRecord, err)
		}
		s.change(at, c)
		return nil
	}
	return fmt.Errorf("%w: kind %d", ErrRecord, kind)
}

// topic returns the topic that a record is about, nil when the record has nothing to say any more.
func (s *State) topic(id uint32, at Position) *Topic {
	t := s.Topics[id]
	if t == nil {
		s.Stray++
		return nil
	}
	if at.Before(t.AsOf) {
		return nil
	}
	return t
}

func (t *Topic) channel(id uint32) *Channel {
	for _, c := range t.Channels {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// targets returns the channels that get a publish.
func (t *Topic) targets(only uint32) []*Channel {
	switch only {
	case All:
		return t.Channels[1:]
	case Own:
		return t.Channels[:1]
	}
	if c := t.channel(only); c != nil {
		return []*Channel{c}
	}
	return nil
}

func (s *State) publish(at Position, p Publish, frames []byte, keep func(Publish, []byte)) {
	if keep != nil && s.Topics[p.Topic] != nil {
		keep(p, frames)
	}
	t := s.topic(p.Topic, at)
	if t == nil {
		return
	}
	for _, c := range t.targets(p.Only) {
		if p.Due != 0 {
			eachFrame(frames, func(id protocol.MessageID) { c.Out[id] = Out{Due: p.Due} })
			continue
		}
		if k := len(c.Waiting) - 1; k >= 0 && c.Waiting[k].Last == t.Last {
			c.Waiting[k].Last = p.Last
		} else {
			c.Waiting = append(c.Waiting, Range{p.First, p.Last})
		}
	}
	t.Last, t.Seq = p.Last, p.Seq+uint64(p.Count)
}

func eachFrame(frames []byte, f func(protocol.MessageID)) {
	for len(frames) > 0 {
		m := protocol.FirstMessage(frames)
		id, _ := m.ID()
		f(id)
		frames = frames[len(m):]
	}
}

func (s *State) applyChannel(at Position, kind Kind, b []byte) error {
	topicID, channelID, rest, err := parseHead(b)
	if err != nil {
		return err
	}
	var c *Channel
	if t := s.Topics[topicID]; t != nil {
		c = t.channel(channelID)
	}
	if c == nil {
		s.Stray++
		return nil
	}
	if at.Before(c.AsOf) {
		return nil
	}
	if kind == KindDeferred {
		return eachDeferral(rest, func(id protocol.MessageID, due int64) {
			if o, ok := c.Out[id]; ok {
				o.Due = due
				c.Out[id] = o
			}
		})
	}
	return eachRun(rest, func(first protocol.MessageID, n uint64) {
		for id := first; id < first+protocol.MessageID(n); id++ {
			if kind == KindDelivered {
				c.delivered(id)
			} else {
				c.finished(id)
			}
		}
	})
}

func (c *Channel) delivered(id protocol.MessageID) {
	o, ok := c.Out[id]
	if !ok && !c.pass(id) {
		return // it was emptied or finished
	}
	o.Attempts++
	o.Due = 0
	c.Out[id] = o
}

func (c *Channel) finished(id protocol.MessageID) {
	if _, ok := c.Out[id]; ok {
		delete(c.Out, id)
		return
	}
	c.pass(id) // a sampled consumer discards what it does not get
}

// pass moves behind a message that waits, and reports whether it did wait. What waits leaves in order.
func (c *Channel) pass(id protocol.MessageID) bool {
	for len(c.Waiting) > 0 && c.Waiting[0].Last < id {
		c.Waiting = c.Waiting[1:]
	}
	if len(c.Waiting) == 0 || id < c.Waiting[0].First {
		return false
	}
	c.Waiting[0].First = id + 1
	if c.Waiting[0].First > c.Waiting[0].Last {
		c.Waiting = c.Waiting[1:]
	}
	return true
}

func (s *State) change(at Position, c Change) {
	s.NextID = max(s.NextID, c.Topic+1, c.Channel+1)
	if c.Op == OpCreateTopic {
		if s.Topics[c.Topic] == nil {
			s.Topics[c.Topic] = &Topic{ID: c.Topic, Name: c.Name, Options: c.Options, Channels: []*Channel{newChannel(0, "")}}
		}
		return
	}
	if c.Op == OpEmpty {
		s.empty(at, c)
		return
	}
	t := s.topic(c.Topic, at)
	if t == nil {
		return
	}
	switch c.Op {
	case OpDeleteTopic:
		delete(s.Topics, c.Topic)
	case OpCreateChannel:
		if t.channel(c.Channel) == nil {
			t.Channels = append(t.Channels, newChannel(c.Channel, c.Name))
		}
	case OpDeleteChannel:
		for i, ch := range t.Channels {
			if i > 0 && ch.ID == c.Channel {
				t.Channels = append(t.Channels[:i:i], t.Channels[i+1:]...)
				break
			}
		}
	case OpPause:
		if ch := t.channel(c.Channel); c.Channel != 0 && ch != nil {
			ch.Paused = c.Paused
		} else {
			t.Paused = c.Paused
		}
	case OpInherit:
		t.inherit()
	case OpOptions:
		t.Options = c.Options
	}
}

func newChannel(id uint32, name string) *Channel {
	return &Channel{ID: id, Name: name, Out: map[protocol.MessageID]Out{}}
}

func (s *State) empty(at Position, c Change) {
	t := s.Topics[c.Topic]
	if t == nil {
		return
	}
	if ch := t.channel(c.Channel); ch != nil && !at.Before(ch.AsOf) {
		ch.Waiting = nil
		clear(ch.Out)
	}
}

// inherit moves the topic's own backlog to all its channels.
func (t *Topic) inherit() {
	own := t.Channels[0]
	for _, c := range t.Channels[1:] {
		c.Waiting = append(c.Waiting, own.Waiting...) // what a channel still has is older
		for id, o := range own.Out {
			c.Out[id] = o
		}
	}
	own.Waiting = nil
	clear(own.Out)
}
