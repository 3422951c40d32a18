//go:build race

package storage

// With the race detector there are fewer runs of the models, which it makes seven times slower: nearly all of a run is one goroutine at a time. make test
// has the others without it.
const (
	usualCrashes = 25
	failingStep  = 6
)
