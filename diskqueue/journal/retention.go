package journal

import (
	"encoding/binary"
	"slices"
)

// floor moves the position from which on the topic keeps messages although they are finished, 0 for none. What is below it is somebody's
// own, or goes.
func (t *Topic) floor(pos Position) {
	t.Floor = pos
	if pos == 0 {
		t.Unshared = nil
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
