package broker

import (
	"errors"
	"testing"
)

// TestConnectionsLeaveDescriptors: of all there are a quarter stays for files, 256 at most, and an eighth of the rest for the other kind; one that leaves
// makes room.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	for _, c := range []struct{ limit, first, other int }{
		{256, 168, 24}, {1024, 672, 96}, {1 << 20, 917_280, 131_040},
	} {
		d := &descriptors{limit: int64(c.limit)}
		unbounded := func() (all, perAddress int) { return 0, 0 }
		first, other := newGate(unbounded, d), newGate(unbounded, d)
		fill := func(g *gate) (n int) {
			for g.enter("") == nil {
				n++
			}
			return n
		}
		if a, b := fill(first), fill(other); a != c.first || b != c.other {
			t.Errorf("limit %d: %d and %d, want %d and %d", c.limit, a, b, c.first, c.other)
		}
		first.leave("")
		if n := fill(other); n != 1 {
			t.Errorf("limit %d: %d more once one has left", c.limit, n)
		}
		var out *outOfDescriptors
		if err := first.enter(""); !errors.As(err, &out) {
			t.Errorf("limit %d: %v", c.limit, err)
		}
	}
	d := &descriptors{}
	g := newGate(func() (all, perAddress int) { return 0, 0 }, d)
	for range 10_000 {
		if err := g.enter(""); err != nil {
			t.Fatalf("where no limit is known: %v", err)
		}
	}
}
