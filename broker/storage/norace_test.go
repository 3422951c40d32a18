//go:build !race

package storage

const usualCrashes = 200
