package journal

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	"brokerd/protocol"
)

// Offset is a place in the log; a later record has a greater one.
type Offset struct {
	File   uint64 `json:"file"`
	Offset int64  `json:"offset"`
}

// Before reports whether p is before q.
func (p Offset) Before(q Offset) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// Range is the messages of a topic with ids from First to Last.
type Range struct{ First, Last protocol.MessageID }

// String returns both ids.
func (r Range) String() string { return r.First.String() + " to " + r.Last.String() }

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
	ID      uint32             `json:"id"`
	Name    string             `json:"name"`
	Paused  bool               `json:"paused,omitempty"`
	After   protocol.MessageID `json:"after,omitempty"` // the backlog was left up to here
	AsOf    Offset             `json:"as_of"`           // records of the channel before this are in it
	Waiting []Range            `json:"-"`
	Out     Outs               `json:"-"`

	unsure []Range // left the backlog by records that were lost: delivered, finished or still waiting
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
	AsOf     Offset             `json:"as_of"` // records of the topic, publishes too, before this are in it
	Channels []*Channel         `json:"-"`     // the first is the topic's own backlog, with id 0
	Moved    bool               `json:"-"`     // Settle has moved that to the other channels, which no record says
}

// State is all topics.
type State struct {
	Topics map[uint32]*Topic
	NextID uint32 // greater than every topic's and channel's id ever used
	From   Offset // of a checkpoint: no topic was made before this but those that are in it
	Stray  int    // records of topics or channels that are not there: deleted meanwhile
}

// NewState returns the state of an empty node.
func NewState() *State { return &State{Topics: map[uint32]*Topic{}, NextID: 1} }

// Apply carries out one record. A publish's frames are given to keep, a view of the record, with the head. Records that the
// state has already are passed over.
func (s *State) Apply(at Offset, kind Kind, b []byte, keep func(Publish, []byte)) error {
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
func (s *State) topic(id uint32, at Offset) *Topic {
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

func (s *State) publish(at Offset, p Publish, frames []byte, keep func(Publish, []byte)) {
	if keep != nil && s.Topics[p.Topic] != nil {
		keep(p, frames)
	}
	t := s.topic(p.Topic, at)
	if t == nil {
		return
	}
	if own := t.Channels[0]; p.Only == All && len(t.Channels) > 1 && len(own.Waiting)+own.Out.Len() > 0 {
		t.Paused = false // nothing blocked the topic, and the record that says so was lost
		t.inherit()
	}
	for _, c := range t.targets(p.Only) {
		if p.Due != 0 {
			eachFrame(frames, func(m protocol.MessageFrame) {
				c.Out.Set(m.MustID(), Out{Due: p.Due, Attempts: m.Attempts() - 1})
			})
			continue
		}
		if k := len(c.Waiting) - 1; k >= 0 && c.Waiting[k].Last == t.Last && p.Seq == t.Seq {
			c.Waiting[k].Last = p.Last
		} else {
			c.Waiting = append(c.Waiting, Range{p.First, p.Last})
		}
	}
	t.Last, t.Seq = p.Last, p.Seq+uint64(p.Count)
}

func eachFrame(frames []byte, f func(protocol.MessageFrame)) {
	for len(frames) > 0 {
		m := protocol.FirstMessage(frames)
		f(m)
		frames = frames[len(m):]
	}
}

func (s *State) applyChannel(at Offset, kind Kind, b []byte) error {
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
	switch kind {
	case KindDeferred:
		return eachDeferral(rest, func(id protocol.MessageID, due int64) {
			if o, ok := c.Out.Get(id); ok {
				o.Due = due
				c.Out.Set(id, o)
			}
		})
	case KindFinished:
		return eachID(rest, c.finished)
	}
	if len(rest) < 8 {
		return fmt.Errorf("%w: delivered, %d bytes", ErrRecord, len(b))
	}
	c.follow(protocol.MessageID(binary.BigEndian.Uint64(rest)))
	return eachID(rest[8:], c.delivered)
}

func eachID(runs []byte, f func(protocol.MessageID)) error {
	return eachRun(runs, func(first protocol.MessageID, n uint64) {
		for id := first; id < first+protocol.MessageID(n); id++ {
			f(id)
		}
	})
}

// follow sets aside what has left the backlog by records that were lost: nobody knows whether it is finished.
func (c *Channel) follow(after protocol.MessageID) {
	if after <= c.After {
		return
	}
	for len(c.Waiting) > 0 && c.Waiting[0].First <= after {
		r := c.Waiting[0]
		c.unsure = append(c.unsure, Range{r.First, min(r.Last, after)})
		if r.Last > after {
			c.Waiting[0].First = after + 1
			break
		}
		c.Waiting = c.Waiting[1:]
	}
	c.After = after
}

func (c *Channel) delivered(id protocol.MessageID) {
	o, ok := c.Out.Get(id)
	if !ok && !c.pass(id) && !c.sure(id) {
		return // it was emptied or finished
	}
	o.Attempts++
	o.Due = 0
	c.Out.Set(id, o)
}

func (c *Channel) finished(id protocol.MessageID) {
	if c.Out.Delete(id) {
		return
	}
	c.follow(id - 1) // its delivery was lost, and perhaps others; or a sampled consumer has discarded it
	if !c.pass(id) {
		c.sure(id)
	}
}

// pass moves behind a message that waits, and reports whether it did wait. What waits leaves in order.
func (c *Channel) pass(id protocol.MessageID) bool {
	if id <= c.After {
		return false
	}
	c.After = id
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

// sure takes out a message that was set aside, and reports whether it was.
func (c *Channel) sure(id protocol.MessageID) bool {
	i := sort.Search(len(c.unsure), func(i int) bool { return c.unsure[i].Last >= id })
	if i == len(c.unsure) || c.unsure[i].First > id {
		return false
	}
	r := c.unsure[i]
	parts := make([]Range, 0, 2)
	if r.First < id {
		parts = append(parts, Range{r.First, id - 1})
	}
	if id < r.Last {
		parts = append(parts, Range{id + 1, r.Last})
	}
	c.unsure = slices.Replace(c.unsure, i, i+1, parts...)
	return true
}

// Settle ends the reading of records. What was set aside, because records were lost, waits again; of topics and channels of
// the same name the newest one stays, as the deletion of the other was lost; and what is in a topic's own backlog although
// nothing blocks it moves to its channels. It returns how many messages at most may come
// again although they were finished.
func (s *State) Settle() (unsure uint64) {
	newest := map[string]uint32{}
	for id, t := range s.Topics {
		newest[t.Name] = max(newest[t.Name], id)
	}
	for id, t := range s.Topics {
		if newest[t.Name] != id {
			delete(s.Topics, id)
			continue
		}
		for _, c := range t.Channels {
			for _, r := range c.unsure {
				unsure += uint64(r.Last-r.First) + 1
			}
			c.Waiting = append(c.unsure, c.Waiting...)
			c.unsure = nil
		}
		if own := t.Channels[0]; !t.Paused && len(t.Channels) > 1 && len(own.Waiting)+own.Out.Len() > 0 {
			t.inherit()
			t.Moved = true
		}
	}
	return unsure
}

func (s *State) change(at Offset, c Change) {
	s.NextID = max(s.NextID, c.Topic+1, c.Channel+1)
	if c.Op == OpCreateTopic {
		if s.Topics[c.Topic] == nil && !at.Before(s.From) {
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
			t.Channels = slices.DeleteFunc(t.Channels, func(other *Channel) bool { return other.Name == c.Name && other.ID != 0 })
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
	case OpSkip:
		t.Seq, t.Options = max(t.Seq, c.Seq), c.Options
	}
}

func newChannel(id uint32, name string) *Channel {
	return &Channel{ID: id, Name: name}
}

func (s *State) empty(at Offset, c Change) {
	t := s.Topics[c.Topic]
	if t == nil {
		return
	}
	if ch := t.channel(c.Channel); ch != nil && !at.Before(ch.AsOf) {
		ch.Waiting, ch.unsure, ch.Out = nil, nil, Outs{}
	}
}

// inherit moves the topic's own backlog to all its channels.
func (t *Topic) inherit() {
	own := t.Channels[0]
	if len(t.Channels) == 1 {
		return // the record of its channel was lost
	}
	for _, c := range t.Channels[1:] {
		c.Waiting = append(c.Waiting, own.Waiting...)
		own.Out.Each(c.Out.Set)
		if len(own.Waiting) > 0 && own.Waiting[0].First <= c.After { // the record of an earlier move was lost
			c.After = own.Waiting[0].First - 1
		}
		slices.SortFunc(c.Waiting, func(a, b Range) int { return cmp.Compare(a.First, b.First) }) // it was, but for that
	}
	own.Waiting, own.Out = nil, Outs{}
}
