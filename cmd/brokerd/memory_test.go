package main

import "testing"

func TestCollectionsArePacedByWhatIsAlive(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 800}, {4 << 20, 300}, {8 << 20, 100}, {garbage, 100}, {2 * garbage, 50}, {400 << 20, 16}, {8 << 30, 10}} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("with %d bytes alive GOGC is %d, wanted %d", c.live, got, c.want)
		}
	}
}
