package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// Order by key: each message may have a key, of which the sum is kept. Two keys with one sum share a turn: that costs that they are not
// delivered at the same time, and no order.

// KeySum returns what is kept of a key that orders messages, above 0: its CRC-32C. An empty text is no key: 0.
func KeySum(text []byte) uint32 {
	if len(text) == 0 {
		return 0
	}
	return max(crc32.Checksum(text, castagnoli), 1)
}

// sumSize is the size in bytes of a key's sum.
const sumSize = 4

// AppendSums appends the sums of messages' keys, as a Publish has them, and a block of segments.
func AppendSums(dst []byte, sums []uint32) []byte {
	for _, s := range sums {
		dst = binary.BigEndian.AppendUint32(dst, s)
	}
	return dst
}

// ParseSums appends the sums in b to dst. It fails with ErrRecord when they are not whole.
func ParseSums(dst []uint32, b []byte) ([]uint32, error) {
	if len(b)%sumSize != 0 {
		return dst, fmt.Errorf("%w: sums of keys in %d bytes", ErrRecord, len(b))
	}
	dst = slices.Grow(dst, len(b)/sumSize)
	for ; len(b) > 0; b = b[sumSize:] {
		dst = append(dst, binary.BigEndian.Uint32(b))
	}
	return dst, nil
}

// parseSums reads the sums of the messages' keys in a Publish and returns what is behind them.
func (p *Publish) parseSums(b []byte) (rest []byte, err error) {
	if p.Count > len(b)/sumSize {
		return nil, fmt.Errorf("%w: publish of %d messages without the sums of their keys", ErrRecord, p.Count)
	}
	n := p.Count * sumSize
	p.Sums, err = ParseSums(nil, b[:n])
	return b[n:], err
}

// aside takes messages out of what waits that are to wait for the turn of their key. They may be anywhere in it, as others of the same
// moment are delivered by a record behind this one. They are out, and were never delivered.
func (c *Channel) aside(runs []byte) error {
	var list []Range
	err := eachRun(runs, maxRuns, func(r Range) { list = AddRange(list, r) })
	for _, from := range [...]*[]Range{&c.Waiting, &c.unsure} {
		some := common(*from, list)
		if len(some) == 0 {
			continue
		}
		*from, _ = CutAll(*from, some)
		for _, r := range some {
			for pos := r.First; pos <= r.Last; pos++ {
				c.Out.Set(pos, Out{})
			}
		}
	}
	return err
}

// BackInLine has what is set aside, and was never delivered, wait again where it stood: of those before whom it stood aside a power cut may have
// taken the record by which they were delivered, and left the one by which it was set aside. Whoever delivers sets aside anew.
func (c *Channel) BackInLine() {
	var list []Range
	c.Out.Each(func(pos Position, o Out) {
		if o == (Out{}) {
			list = AddRange(list, Range{pos, pos})
		}
	})
	if len(list) == 0 {
		return
	}
	c.cutOut(list)
	c.Waiting = append(c.Waiting, list...)
	c.sort()
	k := 0
	for _, r := range c.Waiting[1:] {
		if last := &c.Waiting[k]; last.Last+1 == r.First {
			last.Last = r.Last
		} else {
			k++
			c.Waiting[k] = r
		}
	}
	c.Waiting = c.Waiting[:k+1]
	c.After = min(c.After, c.Waiting[0].First-1)
}

// common returns what two lists of sorted ranges have in common.
func common(a, b []Range) (both []Range) {
	for len(a) > 0 && len(b) > 0 {
		if r := (Range{max(a[0].First, b[0].First), min(a[0].Last, b[0].Last)}); r.First <= r.Last {
			both = append(both, r)
		}
		if a[0].Last < b[0].Last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}
