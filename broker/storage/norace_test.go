//go:build !race

package storage

const (
	usualCrashes = 200 // seeds of TestCrash
	failingStep  = 1   // each so many-th operation, byte or seed is tried of those that tests go through
)
