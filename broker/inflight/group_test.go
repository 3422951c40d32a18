package inflight

import (
	"testing"

	"brokerd/protocol"

	"pgregory.net/rapid"
)

// Groups of several sets, that may have the same ids, say of every range whether one of its ids is in flight.
func TestGroupsKnowEveryRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var groups Groups
		there := map[protocol.MessageID]bool{}
		for range rapid.IntRange(1, 3).Draw(t, "sets") {
			var s Set[string]
			lane := s.AcquireLane(10)
			for _, id := range rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 30).Draw(t, "in flight") {
				s.Add(protocol.MessageID(id), nil, 1, "ann", lane, 0)
			}
			for _, id := range rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 30).Draw(t, "finished") {
				_, _ = s.Remove(protocol.MessageID(id), "ann") // most are not there
			}
			s.Each(func(id protocol.MessageID, _ uint16) { there[id] = true })
			groups = s.Groups(groups)
		}
		groups.Sort()
		for first := range protocol.MessageID(62) {
			want := false
			for last := first; last < 62; last++ {
				want = want || there[last]
				if got := groups.Any(first, last); got != want {
					t.Fatalf("from %d to %d: %v, want %v, of %v", first, last, got, want, there)
				}
			}
		}
	})
}
