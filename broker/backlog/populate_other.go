//go:build !linux

package backlog

// populate does nothing: pages come as they are written to.
func populate([]byte) {}
