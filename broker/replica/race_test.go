//go:build race

package replica

// usualSeeds is fewer with the race detector, which makes the one goroutine of the simulator fifteen times slower and
// finds nothing in it.
const usualSeeds = 30
