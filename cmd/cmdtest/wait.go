package cmdtest

import (
	"context"
	"testing"
	"time"

	"brokerd/cmd/child"
)

// Patience is the least time that anything is waited for. It tells a test that hangs from one that goes on, and measures nothing: on a
// machine with other work a step takes many times as long as alone.
const Patience = 3 * time.Minute

// longestPause is how long Eventually waits before it asks again. To ask is work, for a browser much, and who has waited long can wait longer.
const longestPause = 100 * time.Millisecond

// Eventually asks again until the answer is yes, and fails the test when that takes longer than within, or than Patience when that is
// more.
func Eventually(t testing.TB, what string, within time.Duration, ask func() bool) {
	t.Helper()
	within = max(within, Patience)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for pause := 10 * time.Millisecond; !ask(); pause = min(pause*5/4, longestPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// FreeAddress returns a loopback address that nobody listens on, and that nobody else gets.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
