package journal

import (
	"errors"
	"slices"
	"testing"
)

// FuzzAside: whatever a record Aside holds, it is applied or ErrRecord; each message of it that waited is out then and was never delivered, and the
// channel has as many as before.
func FuzzAside(f *testing.F) {
	var runs Runs
	runs.Begin(1, 2)
	for _, pos := range []Position{0x400, 0x401, 0x4fe, 0x10, 0x600} {
		runs.Add(pos)
	}
	f.Add(slices.Clone(runs.Record()))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := goldenState()
		c := s.Topics[1].channel(2)
		if c == nil || len(c.Waiting) == 0 {
			t.Fatal("the golden state has nothing that waits on channel 2")
		}
		held, outs, waited := c.holds(), map[Position]Out{}, slices.Clone(c.Waiting)
		c.Out.Each(func(pos Position, o Out) { outs[pos] = o })
		if err := s.Apply(Offset{File: 9}, KindAside, b, nil); err != nil && !errors.Is(err, ErrRecord) {
			t.Fatal(err)
		}
		if c.holds() != held {
			t.Errorf("the channel has %d messages and had %d", c.holds(), held)
		}
		c.Out.Each(func(pos Position, o Out) {
			old, was := outs[pos]
			from := slices.ContainsFunc(waited, func(r Range) bool { return r.First <= pos && pos <= r.Last })
			if was && !from && o != old || !was && (!from || o != Out{}) {
				t.Errorf("message %d is out as %+v; it was %+v, %v", pos, o, old, was)
			}
		})
	})
}
