//go:build unix

package grant

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAPipeIsNoTokenFile: nobody waits for one to be written to, neither at the start nor when it takes the place of the file.
func TestAPipeIsNoTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if _, err := Add(path, "app", Grants{{scopes: Read, patterns: []string{"*"}}}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if changed, err := f.Refresh(); changed || err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("in the place of the file: %v, %v", changed, err)
	}
	if f.Table().tokens["app"] == nil {
		t.Error("the last good table is gone")
	}
	if err := Check(path); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("at the start: %v", err)
	}
}
