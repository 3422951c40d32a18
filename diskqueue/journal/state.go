package journal

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"

	"brokerd/diskqueue/wal"
	"brokerd/protocol"
)

// Offset is a place in the log.
type Offset = wal.Offset

// Node is messages that were appended one behind the other, and where they are in the topic's segments.
type Node struct {
	First                Position
	Count                uint32
	File, Offset, Length uint32
}

// End returns the position behind the last message.
func (n *Node) End() Position { return n.First + Position(n.Count) }

// Channel is the state of one channel. Waiting is in order; Out was delivered or is deferred.
type Channel struct {
	ID        uint32   `json:"id"`
	Name      string   `json:"name"`
	Paused    bool     `json:"paused,omitempty"`
	After     Position `json:"after,omitempty"`     // the backlog was left up to here
	Offered   Position `json:"offered,omitempty"`   // of the last publish that it was given
	Inherited Position `json:"inherited,omitempty"` // the newest of the topic when its own backlog moved here last
	Counts    Counts   `json:"counts"`
	AsOf      Offset   `json:"as_of"` // records of the channel before this are in it

	Replay Position `json:"replay,omitempty"` // the last message of the last rewind
	Began  Position `json:"began,omitempty"`  // of earlier messages nobody knows whether the channel ever had them; 0: of none

	Options json.RawMessage `json:"options,omitempty"`

	Cancelled Ranges `json:"cancelled,omitempty"` // of what the topic keeps: a rewind passes over it

	Waiting []Range `json:"-"`
	Out     Outs    `json:"-"`

	unsure []Range // left the backlog by records that were lost: delivered, finished or still waiting
}

// Topic is the state of one topic.
type Topic struct {
	ID       uint32          `json:"id"`
	Name     string          `json:"name"`
	Paused   bool            `json:"paused,omitempty"`
	Options  json.RawMessage `json:"options,omitempty"`
	Next     Position        `json:"next"`            // of the next message
	Nodes    []Node          `json:"-"`               // of a checkpoint: what was in the topic's segments
	Files    []File          `json:"-"`               // of a checkpoint: files of segments that were only kept, in order
	Expiry   []Expiry        `json:"-"`               // of messages that have a time to live of their own, in no order
	Keys     Keys            `json:"-"`               // deduplication keys that it remembers
	Floor    Position        `json:"floor,omitempty"` // from here on messages are kept that are finished; 0: none are
	Stamp    int64           `json:"stamp,omitempty"` // of the newest message, where messages are kept
	Last     int64           `json:"last,omitempty"`  // stamp of the message before Next
	Rises    Position        `json:"rises,omitempty"` // from here on stamps do not fall; 0: nothing is known of them
	Unshared []Range         `json:"-"`               // of what is kept: void, or for one channel only; sorted, without overlaps
	AsOf     Offset          `json:"as_of"`           // records of the topic, publishes too, before this are in it
	Channels []*Channel      `json:"-"`               // the first is the topic's own backlog, with id 0
	Moved    bool            `json:"-"`               // Settle has moved that to the other channels, which no record says
	Dead     bool            `json:"-"`               // dead letters have come, by a record that was read
	Missing  []Range         `json:"-"`               // of which neither a Publish nor a Void was read

	stub bool // see State.Stub
}

// State is all topics.
type State struct {
	Topics  map[uint32]*Topic
	NextID  uint32              // greater than every topic's and channel's id ever used
	listed  uint32              // topics with lower ids that the checkpoint has not were deleted
	From    Offset              // of a checkpoint: no topic was made before this but those that are in it
	Time    int64               // that the log has said last, or that it was when the checkpoint was written, Unix nanoseconds; 0: not known
	Origins map[uint64]*Numbers // of a group of replicas: which publishes were taken, by start of a node; nil: none

	Stray int // records of topics or channels that are not there: deleted meanwhile

	stubs uint32            // channels of stubs so far
	moves map[uint32][]move // by the topic that messages went to, as far as they were read
}

// NewState returns the state of an empty node.
func NewState() *State { return &State{Topics: map[uint32]*Topic{}, NextID: 1} }

// Newest returns the newest time that is known, Unix nanoseconds, 0 for none.
func (s *State) Newest() int64 {
	at := s.Time
	for _, t := range s.Topics {
		at = max(at, t.Last, t.Stamp)
	}
	return at
}

// Apply carries out one record. A publish's frames are given to keep, a view of the record, with the head. Records that the
// state has already are passed over.
func (s *State) Apply(at Offset, kind Kind, b []byte, keep func(Publish, []byte)) error {
	switch kind {
	case KindPublish:
		return s.applyPublish(at, b, keep)
	case KindForgotten:
		return s.forgotten(b)
	case KindDelivered, KindFinished, KindDeferred, KindDiscarded, KindAside:
		return s.applyChannel(at, kind, b)
	case KindVoid:
		return s.void(at, b)
	case KindMoved:
		return s.moved(at, b, keep)
	case KindTime:
		now, err := ParseTime(b)
		if s.Time = max(s.Time, now); err == nil {
			s.keysNotAfter(now)
		}
		return err
	case KindBy, KindBack, KindConsumer:
		return nil // for people
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
		s.used(id)
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
		if t.stub && len(t.Channels) == 1 {
			return t.Channels // it had some, and nobody knows which
		}
		return t.Channels[1:]
	case Own:
		return t.Channels[:1]
	}
	if c := t.channel(only); c != nil {
		return []*Channel{c}
	}
	if t.stub {
		return t.targets(All) // it may be any
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
	if own := t.Channels[0]; p.Only == All && len(t.Channels) > 1 && own.holds() > 0 {
		t.Paused = false // nothing blocked the topic, and the record that says so was lost
		t.inherit()
		for _, c := range t.Channels[1:] {
			c.doubt() // which of them had it then, nobody knows: what they pass over may wait in them
		}
	}
	for _, c := range t.targets(p.Only) {
		c.publish(&p, frames)
	}
	if p.Expires != 0 {
		t.expires(Expiry{First: p.First, Count: uint32(p.Count), At: p.Expires})
	}
	if p.Keys != nil {
		t.remember(&p, frames)
	}
	t.stamps(p.First, frames)
	if p.Only != All && p.Only != Own {
		t.unshare(Range{p.First, p.Last()})
	}
	t.reach(p.First, p.Last())
}

// stamps notes when messages came.
func (t *Topic) stamps(pos Position, frames []byte) {
	eachFrame(frames, func(m protocol.MessageFrame) {
		at := m.Timestamp()
		if t.Floor > 0 {
			t.Stamp = max(t.Stamp, at)
		}
		if at < t.Last || t.Rises == 0 {
			t.Rises = pos
		}
		t.Last = at
		pos++
	})
}

// reach notes that all positions before first are accounted for, but for those that are missing, and goes on behind last.
func (t *Topic) reach(first, last Position) {
	if t.Next < first {
		t.Missing = append(t.Missing, Range{t.Next, first - 1})
	}
	t.Next = max(t.Next, last+1)
}

// passOver sees to it that no message gets a position that a channel has seen: its publish was lost, by a power cut that left what was
// written behind it.
func (t *Topic) passOver(seen Position) {
	if seen >= t.Next {
		t.reach(seen+1, seen)
	}
}

// publish gives the channel a publish, unless its snapshot has it.
func (c *Channel) publish(p *Publish, frames []byte) {
	if p.Last() <= c.Offered {
		return
	}
	c.Offered = p.Last()
	c.Counts.Accepted += uint64(p.Count)
	if p.Due != 0 {
		pos := p.First
		eachFrame(frames, func(m protocol.MessageFrame) {
			c.Out.Set(pos, Out{Due: p.Due, Attempts: m.Attempts() - 1})
			pos++
		})
		return
	}
	if k := len(c.Waiting) - 1; k >= 0 && c.Waiting[k].Last+1 == p.First {
		c.Waiting[k].Last = p.Last()
	} else {
		c.Waiting = append(c.Waiting, Range{p.First, p.Last()})
	}
}

// holds returns how many messages the channel has.
func (c *Channel) holds() (n uint64) {
	for _, ranges := range [][]Range{c.Waiting, c.unsure} {
		for _, r := range ranges {
			n += uint64(r.Len())
		}
	}
	return n + uint64(c.Out.Len())
}

// void takes back messages whose publish has failed: nobody was shown them.
func (s *State) void(at Offset, b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("%w: void of %d bytes", ErrRecord, len(b))
	}
	id := binary.BigEndian.Uint32(b)
	t := s.topic(id, at)
	return eachRun(b[4:], maxRuns, func(r Range) {
		s.comeBack(id, r) // also when the topic's snapshot has it: the other topic's may not
		if t == nil {
			return
		}
		for _, c := range t.Channels {
			c.Counts.Accepted -= c.cut(r)
		}
		t.Keys.Forget(r)
		t.unshare(r)
		t.reach(r.First, r.Last)
	})
}

// cut takes the messages of a range out of the channel and returns how many it had.
func (c *Channel) cut(r Range) uint64 {
	n, k := 0, 0
	c.Waiting, n = Cut(nil, c.Waiting, r.First, r.Last)
	c.unsure, k = Cut(nil, c.unsure, r.First, r.Last)
	n += k
	if c.Out.Len() > 0 {
		for pos := r.First; pos <= r.Last; pos++ {
			if c.Out.Delete(pos) {
				n++
			}
		}
	}
	return uint64(n)
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
		s.used(topicID, channelID)
		return nil
	}
	gone := kind == KindDiscarded && len(rest) > 0 && Reason(rest[0]) == Cancelled
	if gone && channelID == 0 { // also when the snapshot of the topic's own backlog has it: that of the topic may not
		if err := eachRun(rest[1:], maxRuns, s.Topics[topicID].unshare); err != nil {
			return err
		}
	}
	if at.Before(c.AsOf) {
		return nil
	}
	if gone {
		if err := s.Topics[topicID].cancelled(c, rest[1:]); err != nil {
			return err
		}
	}
	switch kind {
	case KindDeferred:
		return eachDeferral(rest, func(pos Position, due int64) {
			if o, ok := c.Out.Get(pos); ok {
				o.Due = due
				c.Out.Set(pos, o)
			}
		})
	case KindFinished:
		return eachPosition(rest, func(pos Position) {
			if c.leave(pos) {
				c.Counts.Finished++
			}
		})
	case KindDiscarded:
		return c.discard(rest)
	case KindAside:
		return c.aside(rest)
	}
	if len(rest) < 8 {
		return fmt.Errorf("%w: delivered, %d bytes", ErrRecord, len(b))
	}
	c.follow(Position(binary.BigEndian.Uint64(rest)))
	return eachPosition(rest[8:], c.delivered)
}

func (c *Channel) discard(b []byte) error {
	if len(b) < 1 || b[0] == 0 || int(b[0]) >= Reasons {
		return fmt.Errorf("%w: discarded for a reason that is not known", ErrRecord)
	}
	n := &c.Counts.Discarded[b[0]]
	if why := Reason(b[0]); why == Expired || why == Cancelled || why == Skipped || why == ByHand {
		return c.takeAnywhere(b[1:], n)
	}
	return eachPosition(b[1:], func(pos Position) {
		if c.leave(pos) {
			*n++
		}
	})
}

func eachPosition(runs []byte, f func(Position)) error {
	return eachRun(runs, maxRuns, func(r Range) {
		for pos := r.First; pos <= r.Last; pos++ {
			f(pos)
		}
	})
}

// doubt sets aside all that waits: it was there, or it is what other channels had, by records that were lost.
func (c *Channel) doubt() {
	for _, r := range c.Waiting {
		c.unsure = AddRange(c.unsure, r)
	}
	c.Waiting = nil
}

func byFirst(a, b Range) int { return cmp.Compare(a.First, b.First) }

// follow sets aside what has left the backlog by records that were lost: nobody knows whether it is finished.
func (c *Channel) follow(after Position) {
	if after <= c.After {
		return
	}
	for len(c.Waiting) > 0 && c.Waiting[0].First <= after {
		r := c.Waiting[0]
		c.unsure = AddRange(c.unsure, Range{r.First, min(r.Last, after)}) // which a rewind may have left behind others
		if r.Last > after {
			c.Waiting[0].First = after + 1
			break
		}
		c.Waiting = c.Waiting[1:]
	}
	c.After = after
}

// NextAttempt returns the number of the delivery behind so many. It stops at the highest that a frame has room for.
func NextAttempt(attempts uint16) uint16 {
	if attempts == math.MaxUint16 {
		return attempts
	}
	return attempts + 1
}

func (c *Channel) delivered(pos Position) {
	o, ok := c.Out.Get(pos)
	if !ok && !c.sure(pos) && !c.pass(pos) {
		return // it was emptied or finished
	}
	o.Attempts = NextAttempt(o.Attempts)
	if o.Due > 0 {
		o.Due = -o.Due
	}
	c.Out.Set(pos, o)
}

// leave takes a message out for good and reports whether the channel had it.
func (c *Channel) leave(pos Position) bool {
	// If it waits its delivery was lost, and perhaps others; or it left without one.
	return c.Out.Delete(pos) || c.sure(pos) || c.pass(pos)
}

// pass moves behind a message that waits, and reports whether it did wait. What waits leaves in order, but for what a lost record has taken
// out: what is passed over has left by another record, which is about to come when it could not be read, or waits still.
func (c *Channel) pass(pos Position) bool {
	if pos <= c.After {
		return false
	}
	c.follow(pos - 1)
	c.After = pos
	if len(c.Waiting) == 0 || pos < c.Waiting[0].First {
		return false
	}
	c.Waiting[0].First = pos + 1
	if c.Waiting[0].First > c.Waiting[0].Last {
		c.Waiting = c.Waiting[1:]
	}
	return true
}

// sure takes out a message that was set aside, and reports whether it was.
func (c *Channel) sure(pos Position) bool {
	i := sort.Search(len(c.unsure), func(i int) bool { return c.unsure[i].Last >= pos })
	if i == len(c.unsure) || c.unsure[i].First > pos {
		return false
	}
	r := c.unsure[i]
	parts := make([]Range, 0, 2)
	if r.First < pos {
		parts = append(parts, Range{r.First, pos - 1})
	}
	if pos < r.Last {
		parts = append(parts, Range{pos + 1, r.Last})
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
			t.passOver(max(c.After, c.Offered, c.Inherited))
			for _, r := range c.unsure {
				unsure += uint64(r.Len())
			}
			c.Waiting = append(c.unsure, c.Waiting...)
			c.unsure = nil
			c.sort()
		}
		if own := t.Channels[0]; !t.Paused && len(t.Channels) > 1 && own.holds() > 0 {
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
			s.Topics[c.Topic] = &Topic{ID: c.Topic, Name: c.Name, Options: c.Options, Next: 1, Channels: []*Channel{newChannel(0, "")}}
		}
		return
	}
	switch c.Op {
	case OpEmpty:
		s.empty(at, c)
		return
	case OpRewind:
		s.rewind(at, c)
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
		if ch := t.channel(c.Channel); ch != nil && t.stub { // a list has named it
			ch.rewind(t, c.Next, c.Runs)
		} else if ch == nil {
			t.Channels = slices.DeleteFunc(t.Channels, func(other *Channel) bool { return other.Name == c.Name && other.ID != 0 })
			made := newChannel(c.Channel, c.Name)
			made.Offered, made.Began = t.Next-1, t.Next
			made.rewind(t, c.Next, c.Runs)
			t.Channels = append(t.Channels, made)
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
		if ch := t.channel(c.Channel); c.Channel == 0 {
			t.Options = c.Options
		} else if ch != nil {
			ch.Options = c.Options
		}
	case OpFloor:
		t.floor(c.Next)
	case OpSkip:
		t.Next, t.Options = max(t.Next, c.Next), c.Options
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
		s.forgetMoves(ch)
		ch.Counts.Discarded[Emptied] += ch.holds()
		ch.Waiting, ch.unsure, ch.Out = nil, nil, Outs{}
	}
}
