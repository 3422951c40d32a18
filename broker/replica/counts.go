package replica

import (
	"slices"
	"time"

	"brokerd/diskqueue/wal"
)

// Counts are what a replica has counted since it began.
type Counts struct {
	Elections uint64 // reigns of whomever that it has heard of
	Commits   Times  // of entries of this replica's own reigns, from their first record until they were committed
}

// Times counts how often something took how long: up to each of wal.SyncBounds, and longer.
type Times struct {
	Counts wal.SyncTimes
	Sum    time.Duration
}

func (t *Times) add(took time.Duration) {
	i, _ := slices.BinarySearch(wal.SyncBounds[:], took)
	t.Counts[i]++
	t.Sum += took
}

// Add adds what another one has counted.
func (t *Times) Add(other Times) {
	for i, n := range other.Counts {
		t.Counts[i] += n
	}
	t.Sum += other.Sum
}
