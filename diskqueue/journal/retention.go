package journal

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
)

// floor moves the position from which on the topic keeps messages although they are finished, 0 for none. What is below it is somebody's
// own, or goes.
func (t *Topic) floor(pos Position) {
	t.Floor = pos
	if pos == 0 {
		t.Unshared, t.Stamp = nil, 0
		return
	}
	t.Unshared = Above(t.Unshared, pos)
}

// unshare notes that messages are not for all channels: nobody else is given them by a rewind. Only what is kept matters.
func (t *Topic) unshare(r Range) {
	if t.Floor > 0 && r.Last >= t.Floor {
		t.Unshared = AddRange(t.Unshared, r)
	}
}

// cancelled notes that messages that a channel had deferred were dropped for good: a rewind passes over them. Only what is kept matters.
func (t *Topic) cancelled(c *Channel, runs []byte) error {
	return eachRun(runs, maxRuns, func(r Range) {
		if t.Floor > 0 && r.Last >= t.Floor {
			c.Cancelled = AddRange(c.Cancelled, Range{max(r.First, t.Floor), r.Last})
		}
	})
}

// Ranges are ranges of positions that stand in JSON as the runs of a record do.
type Ranges []Range

// MarshalJSON returns them as base64.
func (l Ranges) MarshalJSON() ([]byte, error) {
	var runs Runs
	runs.Begin(0, 0)
	for _, r := range l {
		runs.AddRange(r)
	}
	return json.Marshal(runs.Runs())
}

// UnmarshalJSON reads what MarshalJSON has written.
func (l *Ranges) UnmarshalJSON(b []byte) error {
	var runs []byte
	if err := json.Unmarshal(b, &runs); err != nil {
		return err
	}
	*l = nil
	return eachRun(runs, math.MaxInt64, func(r Range) { *l = AddRange(*l, r) })
}

// AddRange adds a range to sorted ranges without overlaps.
func AddRange(list []Range, r Range) []Range {
	i, _ := slices.BinarySearchFunc(list, r.First, func(a Range, pos Position) int {
		if a.Last+1 < pos {
			return -1
		}
		return 1
	})
	end := i // those from i on, before end, overlap or touch
	for ; end < len(list) && list[end].First <= r.Last+1; end++ {
		r = Range{min(r.First, list[end].First), max(r.Last, list[end].Last)}
	}
	if i == len(list) {
		return append(list, r)
	}
	return slices.Replace(list, i, end, r)
}

// Above returns the parts of sorted ranges that are not below a position.
func Above(list []Range, pos Position) []Range {
	i, _ := slices.BinarySearchFunc(list, pos, func(a Range, pos Position) int {
		if a.Last < pos {
			return -1
		}
		return 1
	})
	if list = list[i:]; len(list) == 0 {
		return nil
	}
	if list[0].First < pos {
		list = slices.Clone(list)
		list[0].First = pos
	}
	return list
}

// unshared writes the positions of a topic that are not for all channels.
func (w *Writer) unshared(list []Range) {
	for some := range slices.Chunk(list, maxOuts) {
		w.begin(kindUnshared)
		for _, r := range some {
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.First))
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.Last))
		}
	}
}

// readRanges appends the ranges of a record.
func readRanges(dst []Range, b []byte) []Range {
	for ; len(b) > 0; b = b[waitSize:] {
		dst = append(dst, Range{position(b), position(b[8:])})
	}
	return dst
}

// rewind has messages of a channel wait once more.
func (s *State) rewind(at Offset, c Change) {
	t := s.Topics[c.Topic]
	if t == nil {
		s.Stray++
		s.used(c.Topic)
		return
	}
	if ch := t.channel(c.Channel); ch != nil && !at.Before(ch.AsOf) {
		ch.rewind(t, c.Next, c.Runs)
	}
}

// rewind has messages wait, once each, whatever became of them. What waits before the first of them, from on, stays, and so does what is
// out and not among them: it is deferred, or on its way to a dead letter topic. What waits from there on and is not among them has left the
// backlog by records that were lost: nobody knows what it is.
func (c *Channel) rewind(t *Topic, from Position, runs []byte) {
	var list []Range
	if err := eachRun(runs, math.MaxInt64, func(r Range) { list = append(list, r) }); err != nil {
		return // it was written by this package
	}
	if !t.stub { // else nobody knows what there was
		list = t.read(list)
	}
	if len(list) == 0 {
		return
	}
	t.handOver(c, list)
	had := c.holds()
	left, _ := CutAll(Above(c.Waiting, from), list)
	c.Waiting, _ = Cut(nil, c.Waiting, from, math.MaxUint64)
	c.unsure, _ = CutAll(c.unsure, list)
	for _, r := range left {
		c.unsure = AddRange(c.unsure, r)
	}
	c.cutOut(list)
	c.Waiting = append(c.Waiting, list...)
	c.After = min(c.After, c.Waiting[0].First-1)
	c.Replay = list[len(list)-1].Last
	c.Began = min(c.Began, list[0].First)
	more := c.holds() - had
	c.Counts.Accepted += more
	c.Counts.Replayed += more
}

// read returns those of some messages of which a Publish was read: those of others were lost in front of this record, by a power cut.
func (t *Topic) read(list []Range) []Range {
	list, _ = Cut(nil, list, t.Next, math.MaxUint64)
	missing := slices.Clone(t.Missing)
	slices.SortFunc(missing, byFirst)
	list, _ = CutAll(list, missing)
	return list
}

// cutOut takes out what has left the backlog, of sorted ranges.
func (c *Channel) cutOut(list []Range) {
	var gone []Position
	i := 0
	c.Out.Each(func(pos Position, _ Out) {
		for i < len(list) && list[i].Last < pos {
			i++
		}
		if i < len(list) && list[i].First <= pos {
			gone = append(gone, pos)
		}
	})
	for _, pos := range gone {
		c.Out.Delete(pos)
	}
}
