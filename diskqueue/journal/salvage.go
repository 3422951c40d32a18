package journal

import (
	"cmp"
	"math"
	"slices"
)

// Stub adds a topic of which nothing but its number, its name and what a list of topics says is known, so that the records of a log
// that begins later find it. listed has its pause, options and channels, nil when the list does not name it. Channels without a number
// get one that no record has, until EndStubs.
func (s *State) Stub(id uint32, name string, listed *Topic) {
	t := &Topic{ID: id, Name: name, Next: 1, Channels: []*Channel{newChannel(0, "")}, stub: true}
	if listed != nil {
		t.Paused, t.Options = listed.Paused, listed.Options
		for _, l := range listed.Channels {
			c := newChannel(l.ID, l.Name)
			if c.Paused, c.Options = l.Paused, l.Options; c.ID == 0 {
				s.stubs++
				c.ID = Own - s.stubs
			}
			s.used(c.ID)
			t.Channels = append(t.Channels, c)
		}
	}
	s.Topics[id] = t
	s.used(id)
}

// EndStubs gives the channels of stubs numbers of their own, which are greater than all that any record has named.
func (s *State) EndStubs() {
	for _, t := range s.Topics {
		for _, c := range t.Channels {
			if c.ID != 0 && c.ID >= Own-s.stubs {
				c.ID = s.NextID
				s.NextID++
			}
		}
		t.stub = false
	}
	s.stubs = 0
}

// used sees to it that no topic or channel gets numbers that were given already, as a record says whose topic or channel is not known.
func (s *State) used(ids ...uint32) {
	for _, id := range ids {
		if id < Own-s.stubs {
			s.NextID = max(s.NextID, id+1)
		}
	}
}

// Unspoken returns those of some messages, in order, of which no record says anything.
func (t *Topic) Unspoken(of []Range) (list []Range) {
	for _, r := range of {
		for _, m := range append(slices.Clip(t.Missing), Range{t.Next, math.MaxUint64}) {
			if part := (Range{max(r.First, m.First), min(r.Last, m.Last)}); part.First <= part.Last {
				list = append(list, part)
			}
		}
	}
	return list
}

// Found gives the topic a node and messages in it, in order, of which no record says anything. They wait in every channel, in the
// topic's own backlog when there is none: whether they were finished before, or are not due yet, nobody knows.
func (t *Topic) Found(n Node, held []Range) {
	i, _ := slices.BinarySearchFunc(t.Nodes, n.First, func(other Node, first Position) int { return cmp.Compare(other.First, first) })
	t.Nodes = slices.Insert(t.Nodes, i, n)
	t.Missing, _ = Cut(nil, t.Missing, n.First, n.End()-1)
	t.reach(n.First, n.End()-1)
	targets := t.Channels[1:]
	if len(targets) == 0 {
		targets = t.Channels
	}
	for _, c := range targets {
		c.found(held)
	}
}

func (c *Channel) found(held []Range) {
	if len(held) == 0 {
		return
	}
	for _, r := range held {
		c.Counts.Accepted += uint64(r.Len())
	}
	c.Waiting = append(c.Waiting, held...)
	c.sort()
	c.After = min(c.After, held[0].First-1)
	c.Offered = max(c.Offered, held[len(held)-1].Last)
}

// sort puts what waits in order.
func (c *Channel) sort() {
	slices.SortFunc(c.Waiting, byFirst)
}
