//go:build !race

package admin_test

// raceDetector says that everything takes ten times as long.
const raceDetector = false
