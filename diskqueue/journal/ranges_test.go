package journal

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHoldsFindsWhatIsInRanges: of any sorted ranges, as Merge and AddRange leave them, it says what a look at each of them says.
func TestHoldsFindsWhatIsInRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var list []Range
		for range rng.IntN(6) {
			first := 1 + Position(rng.IntN(40))
			list = AddRange(list, Range{first, first + Position(rng.IntN(5))})
		}
		for pos := range Position(50) {
			want := slices.ContainsFunc(list, func(r Range) bool { return r.First <= pos && pos <= r.Last })
			if got := Holds(list, pos); got != want {
				t.Fatalf("%d in %v: %v", pos, list, got)
			}
		}
	}
}
