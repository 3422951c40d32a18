// Package leaktest ends the tests of a package, which fail when a goroutine is left.
//
// It needs nothing of the project, so that tests of any room can be ended by it.
package leaktest
