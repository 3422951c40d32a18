//go:build unix

package definitions

import (
	"os"
	"strings"
	"testing"
)

// TestWhatHasNoEndIsRefused: as a file, and as the input.
func TestWhatHasNoEndIsRefused(t *testing.T) {
	endless, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close() // it was only read
	for _, path := range []string{"/dev/zero", "-"} {
		if _, err := Read(path, endless); err == nil || !strings.Contains(err.Error(), "has more than 16777216 bytes") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
