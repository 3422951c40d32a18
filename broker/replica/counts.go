package replica

import (
	"slices"
	"sync"
	"time"

	"brokerd/diskqueue/wal"
)

// Tally counts what a replica does, also one that is ended and begins again: what is counted never falls. Its zero value is ready; its methods are
// safe for concurrent use.
type Tally struct {
	mu     sync.Mutex
	counts Counts // guarded by mu
}

// Counts returns what was counted.
func (t *Tally) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

func (t *Tally) elected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Elections++
}

func (t *Tally) committed(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Commits.add(took)
}

// Counts are what a replica has counted.
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
