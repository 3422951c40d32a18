package journal

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// Expiry is messages that follow each other and are of no use any more from one time on.
type Expiry struct {
	First Position
	Count uint32
	At    int64 // Unix nanoseconds
}

// expires notes until when messages are of use. Those that follow each other and expire within a millisecond are one.
func (t *Topic) expires(e Expiry) {
	if k := len(t.Expiry) - 1; k >= 0 {
		last := &t.Expiry[k]
		near := e.At-last.At >= 0 && e.At-last.At < int64(time.Millisecond)
		if near && last.First+Position(last.Count) == e.First && last.Count <= math.MaxUint32-e.Count {
			last.Count += e.Count
			return
		}
	}
	t.Expiry = append(t.Expiry, e)
}

// takeAnywhere takes out messages wherever they are, unlike others that leave: their time is over, or they are cancelled, in another order
// than theirs, and nothing is said of those before them.
func (c *Channel) takeAnywhere(runs []byte, n *uint64) error {
	var gone []Range
	err := eachRun(runs, maxRuns, func(r Range) { gone = append(gone, r) })
	slices.SortFunc(gone, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for _, list := range [...]*[]Range{&c.Waiting, &c.unsure} {
		kept, cut := CutAll(*list, gone)
		*list = kept
		*n += uint64(cut)
	}
	if c.Out.Len() > 0 {
		for _, r := range gone {
			for pos := r.First; pos <= r.Last; pos++ {
				if c.Out.Delete(pos) {
					*n++
				}
			}
		}
	}
	return err
}

// CutAll returns what is left of sorted ranges without other sorted ranges, and how many positions those have taken out.
func CutAll(ranges, without []Range) (kept []Range, cut int) {
	kept = make([]Range, 0, len(ranges))
	for _, r := range ranges {
		for len(without) > 0 && without[0].Last < r.First {
			without = without[1:]
		}
		for _, w := range without {
			if w.First > r.Last {
				break
			}
			if first := max(w.First, r.First); first > r.First {
				kept = append(kept, Range{r.First, first - 1})
			}
			last := min(w.Last, r.Last)
			cut += Range{max(w.First, r.First), last}.Len()
			r.First = last + 1
			if r.First > r.Last {
				break
			}
		}
		if r.First <= r.Last {
			kept = append(kept, r)
		}
	}
	return kept, cut
}

// expirySize is the size in bytes of one in an Expiry record of a checkpoint.
const expirySize = 20

// Expiry adds messages of the last topic, before its channels.
func (w *Writer) Expiry(e Expiry) {
	if w.expiries == 0 || w.expiries == maxOuts {
		w.begin(kindExpiry)
	}
	w.expiries++
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(e.First))
	w.buf = binary.BigEndian.AppendUint32(w.buf, e.Count)
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(e.At))
}

func (t *Topic) readExpiry(b []byte) {
	for ; len(b) > 0; b = b[expirySize:] {
		t.Expiry = append(t.Expiry, Expiry{First: position(b), Count: binary.BigEndian.Uint32(b[8:]), At: int64(binary.BigEndian.Uint64(b[12:]))})
	}
}
