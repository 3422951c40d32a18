//go:build unix

package appkit

import (
	"strings"
	"testing"
)

// TestFilesWithoutEndAreRefused: they are not read until the machine has no memory left.
func TestFilesWithoutEndAreRefused(t *testing.T) {
	for _, flag := range []string{"--config", "--token-file"} {
		got := runCommand(hello(), nil, "--to=you", flag+"=/dev/zero")
		if got.code == 0 || !strings.Contains(got.stderr, flag) || !strings.Contains(got.stderr, "has more than 16777216 bytes") {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}
