//go:build !race

package replica

const (
	usualSeeds = 200
	detector   = false
)
