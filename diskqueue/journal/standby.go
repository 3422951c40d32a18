package journal

import (
	"io"
	"slices"
)

// Needed returns which messages some channel still has, sorted, without overlaps.
func (t *Topic) Needed() (list []Range) {
	for _, c := range t.Channels {
		list = append(append(list, c.Waiting...), c.unsure...)
		c.Out.Each(func(pos Position, _ Out) { list = appendPosition(list, pos) })
	}
	return joined(list)
}

// Unsure reports whether records of a channel are known of which others, that belong to them, are about to come: until then it is not known
// of some messages whether they wait. A checkpoint has no place for that.
func (s *State) Unsure() bool {
	for _, t := range s.Topics {
		if slices.ContainsFunc(t.Channels, func(c *Channel) bool { return len(c.unsure) > 0 }) {
			return true
		}
	}
	return false
}

// EndReign ends what one leader has appended, of which the last part may not have been committed, and lets the records of the next leader be
// applied: it is Settle, but for that. On all replicas it stands between the same two records.
func (s *State) EndReign() {
	s.Settle()
	for _, t := range s.Topics {
		t.Moved = false // all replicas have moved it, and need no record that says so
		for _, c := range t.Channels {
			if len(c.Waiting) > 0 {
				c.After = min(c.After, c.Waiting[0].First-1)
			}
		}
	}
}

// Write writes a checkpoint of all that the state has, without nodes, as of an offset, and returns its size. What is unsure waits there, as
// EndReign would leave it. There must be no deduplication key, and no message with a time to live of its own.
func (s *State) Write(dst io.Writer, at Offset) (size int64, err error) {
	w := NewWriter(dst)
	w.Head(s.NextID, at, s.Time)
	w.Origins(s.Origins)
	for _, id := range sortedKeys(s.Topics) {
		t := *s.Topics[id]
		t.AsOf = at
		w.Topic(&t)
		for _, c := range t.Channels {
			as := *c
			as.AsOf = at
			if len(c.unsure) > 0 {
				as.Waiting = slices.Clone(c.Waiting)
				for _, r := range c.unsure {
					as.Waiting = AddRange(as.Waiting, r)
				}
				as.After = min(c.After, as.Waiting[0].First-1)
			}
			w.Channel(&as)
			c.Out.Each(w.Out)
		}
	}
	return w.Finish()
}
