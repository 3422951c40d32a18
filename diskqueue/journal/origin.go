package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Origin says which publish a record is: those of a start of a node are counted, by group, so that one that is sent again after a change of
// leader is known. Its zero value says nothing.
type Origin struct {
	ID     uint64 // of the start of the node: a random number, never 0
	Number uint64 // of the publish, from 1 on
	Low    uint64 // the lowest number for whose outcome the node still waits
}

// originSize is the size in bytes of an Origin in a Publish.
const originSize = 3 * 8

func appendOrigin(dst []byte, o Origin) []byte {
	for _, n := range [...]uint64{o.ID, o.Number, o.Low} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return dst
}

func parseOrigin(b []byte) (o Origin, rest []byte, err error) {
	if len(b) < originSize {
		return o, nil, fmt.Errorf("%w: publish without its origin", ErrRecord)
	}
	o = Origin{ID: binary.BigEndian.Uint64(b), Number: binary.BigEndian.Uint64(b[8:]), Low: binary.BigEndian.Uint64(b[16:])}
	if o.ID == 0 || o.Number == 0 || o.Low > o.Number {
		return o, nil, fmt.Errorf("%w: publish %d of origin %x, which waits from %d on", ErrRecord, o.Number, o.ID, o.Low)
	}
	return o, b[originSize:], nil
}

// Numbers are which publishes of an origin were taken. The last one is not enough: one may be refused, and a later one taken. Its zero value
// has none.
type Numbers struct {
	low   uint64  // nobody asks for lower ones any more
	taken []Range // of those that are not lower; sorted, without overlaps
}

// Has reports whether a number was taken.
func (n *Numbers) Has(number uint64) bool {
	for k := len(n.taken); k > 0; k-- { // most are asked for that are new
		if r := n.taken[k-1]; r.First <= Position(number) {
			return Position(number) <= r.Last
		}
	}
	return false
}

// Last returns the highest number that was taken, 0 for none.
func (n *Numbers) Last() uint64 {
	if len(n.taken) == 0 {
		return 0
	}
	return uint64(n.taken[len(n.taken)-1].Last)
}

// Over reports whether nobody waits any more for what becomes of a number.
func (n *Numbers) Over(number uint64) bool { return number < n.low }

// Take notes that the publish of an origin was taken.
func (n *Numbers) Take(o Origin) {
	n.Raise(o.Low)
	if o.Number >= n.low {
		n.taken = AddRange(n.taken, Range{Position(o.Number), Position(o.Number)})
	}
}

// Raise notes that nobody asks for numbers any more that are lower than one.
func (n *Numbers) Raise(low uint64) {
	if low <= n.low {
		return
	}
	n.low = low
	for len(n.taken) > 0 && n.taken[0].Last < Position(low) {
		n.taken = n.taken[1:]
	}
	if len(n.taken) > 0 {
		n.taken[0].First = max(n.taken[0].First, Position(low))
	}
}

// Drop notes that a number was not taken after all.
func (n *Numbers) Drop(number uint64) {
	n.taken, _ = Cut(nil, n.taken, Position(number), Position(number))
}

// Clone returns a copy.
func (n *Numbers) Clone() *Numbers { return &Numbers{low: n.low, taken: slices.Clone(n.taken)} }

// applyPublish carries out a Publish record.
func (s *State) applyPublish(at Offset, b []byte, keep func(Publish, []byte)) error {
	p, frames, err := ParsePublish(b)
	if err == nil {
		s.took(p.From)
		s.publish(at, p, frames, keep)
	}
	return err
}

// took notes the origin of a publish that is applied.
func (s *State) took(o Origin) {
	if o.ID == 0 {
		return
	}
	if s.Origins == nil {
		s.Origins = map[uint64]*Numbers{}
	}
	n := s.Origins[o.ID]
	if n == nil {
		n = new(Numbers)
		s.Origins[o.ID] = n
	}
	n.Take(o)
}

// KindForgotten says that origins are forgotten: their nodes have not been heard of for long under that name. It stands within entries of
// groups of topics, and nowhere else.
const KindForgotten Kind = 21

// AppendForgotten appends a Forgotten record.
func AppendForgotten(dst []byte, origins []uint64) []byte {
	for _, id := range origins {
		dst = binary.BigEndian.AppendUint64(dst, id)
	}
	return dst
}

// forgotten applies a Forgotten record.
func (s *State) forgotten(b []byte) error {
	if len(b) == 0 || len(b)%8 != 0 {
		return fmt.Errorf("%w: forgotten origins, %d bytes", ErrRecord, len(b))
	}
	for ; len(b) > 0; b = b[8:] {
		delete(s.Origins, binary.BigEndian.Uint64(b))
	}
	return nil
}

// Origins adds what a group remembers of publishes, behind the Head.
func (w *Writer) Origins(all map[uint64]*Numbers) {
	for _, id := range sortedKeys(all) {
		n := all[id]
		w.begin(kindOrigin)
		w.buf = binary.BigEndian.AppendUint64(w.buf, id)
		w.buf = binary.BigEndian.AppendUint64(w.buf, n.low)
		for _, r := range n.taken {
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.First))
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.Last))
		}
	}
}

// origin reads an origin of a checkpoint.
func (r *reader) origin(b []byte) error {
	id := binary.BigEndian.Uint64(b)
	if id == 0 || r.state.Origins[id] != nil {
		return fmt.Errorf("%w: origin %x", ErrRecord, id)
	}
	if r.state.Origins == nil {
		r.state.Origins = map[uint64]*Numbers{}
	}
	n := &Numbers{low: binary.BigEndian.Uint64(b[8:]), taken: readRanges(nil, b[16:])}
	next := Position(n.low)
	for _, taken := range n.taken {
		if taken.First < next || taken.Last < taken.First || taken.Last == math.MaxUint64 {
			return fmt.Errorf("%w: numbers %v of origin %x", ErrRecord, taken, id)
		}
		next = taken.Last + 2 // else they were one range
	}
	r.state.Origins[id] = n
	return nil
}
