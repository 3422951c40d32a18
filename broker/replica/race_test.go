//go:build race

package replica

// With the race detector the simulator runs few seeds: it is one goroutine, in which the detector finds nothing and which it makes
// fifteen times slower. make test runs it without the detector as well.
const (
	usualSeeds = 5
	detector   = true
)
