//go:build unix

package tlsfiles

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAPipeInThePlaceOfACertificateHangsNothing: the certificate from before is served, and one that is put there later is taken.
func TestAPipeInThePlaceOfACertificateHangsNothing(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var log bytes.Buffer
	issue(t, dir, 1)
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(cert, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := p.shown(); got != "1" {
			t.Errorf("serial %s is served", got)
		}
	}
	if n := strings.Count(log.String(), "is no regular file"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, &log)
	}
	if _, err := Load(cert, key, nil); err == nil {
		t.Error("a pipe that nobody writes to was taken for a certificate")
	}
	if _, err := Authorities(cert); err == nil {
		t.Error("a pipe that nobody writes to was taken for authorities")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	issue(t, dir, 2)
	if got := p.shown(); got != "2" {
		t.Errorf("serial %s is served once there is a good one again", got)
	}
}
