//go:build unix

package cmdkit

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSettingsThatNeverEndAreRefused: without a bound this test does not end.
func TestSettingsThatNeverEndAreRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "a pipe that had nothing to say", "/dev/zero": "has more than 16777216 bytes"} {
		_, err := (Program{Name: "daemon"}).Resolve([]string{"--config=" + path}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--config must be a readable TOML file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
