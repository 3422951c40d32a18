//go:build unix

package httpapi

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAPipeThatNobodyReadsIsNoAuditLog: it is refused, and not waited for.
func TestAPipeThatNobodyReadsIsNoAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckAudit(path); err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Errorf("judged: %v", err)
	}
	if f, err := OpenAudit(path); f != nil || err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Errorf("opened: %v, %v", f, err)
	}
}
