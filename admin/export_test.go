package admin

import (
	"testing"
	"time"
)

// Unhurried has servers that are made from now on wait for daemons as long as a busy machine may need.
func Unhurried() { patience, round = 2*time.Minute, 2*time.Minute }

// HoldSettings has who wants to read or change settings wait until release.
func (s *Server) HoldSettings() (release func()) {
	s.settings.mu.Lock()
	return s.settings.mu.Unlock
}

// Hurried has servers that a test makes go on without a daemon that hangs as soon as those of operators do.
func Hurried(t testing.TB) {
	before, until := patience, round
	patience, round = 120*time.Millisecond, time.Second
	t.Cleanup(func() { patience, round = before, until })
}
