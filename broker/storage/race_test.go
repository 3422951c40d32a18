//go:build race

package storage

// usualCrashes is fewer with the race detector, which makes a run, nearly all of it one goroutine at a time, seven times slower: make test has
// the others without it.
const usualCrashes = 25
