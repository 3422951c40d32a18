package cmdtest

import (
	"context"
	"testing"
	"time"

	"brokerd/cmd/child"
)

// Eventually asks again until the answer is yes, and fails the test when that takes too long.
func Eventually(t testing.TB, what string, within time.Duration, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
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
