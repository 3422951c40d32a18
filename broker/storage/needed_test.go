package storage

import (
	"maps"
	"math/rand/v2"
	"testing"

	"brokerd/diskqueue/journal"
)

// TestNeededInGoneFiles: what is needed of files that are gone is what a look at each single message says, whoever needs it, once.
func TestNeededInGoneFiles(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		topic := &journal.Topic{}
		file := map[journal.Position]uint32{}
		gone := map[uint32]string{}
		for n := range uint32(5) {
			if rng.IntN(2) == 0 {
				gone[n] = "is missing"
			}
		}
		next := journal.Position(1)
		for range rng.IntN(30) {
			next += journal.Position(rng.IntN(5))
			n := journal.Node{First: next, Count: 1 + rng.Uint32N(8), File: rng.Uint32N(5)}
			topic.Nodes = append(topic.Nodes, n)
			for ; next < n.End(); next++ {
				file[next] = n.File
			}
		}
		need := map[journal.Position]bool{}
		for range 1 + rng.IntN(3) {
			c := &journal.Channel{}
			for first := journal.Position(1); first < next+10; {
				r := journal.Range{First: first + journal.Position(rng.IntN(20))}
				r.Last = r.First + journal.Position(rng.IntN(20))
				if first = r.Last + 2; rng.IntN(3) > 0 {
					continue
				}
				c.Waiting = append(c.Waiting, r)
				for pos := r.First; pos <= r.Last; pos++ {
					need[pos] = true
				}
			}
			for range rng.IntN(40) {
				pos := journal.Position(1 + rng.IntN(int(next)+10))
				c.Out.Set(pos, journal.Out{Attempts: 1})
				need[pos] = true
			}
			topic.Channels = append(topic.Channels, c)
		}
		want := map[uint32]int{}
		for pos := range need {
			if f, there := file[pos]; there && gone[f] != "" {
				want[f]++
			}
		}
		if got := neededIn(topic, gone); !maps.Equal(got, want) && len(got)+len(want) > 0 {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
	}
}
