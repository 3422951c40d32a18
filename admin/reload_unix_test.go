//go:build unix

package admin_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"brokerd/admin"
	"brokerd/protocol/httpapi"
)

// TestAReloadThatWaitsForTheAuditLogKeepsNobodyWaiting: while an act cannot be written to the audit log of before, settings are answered,
// those of the reload.
func TestAReloadThatWaitsForTheAuditLogKeepsNobodyWaiting(t *testing.T) {
	acts := filepath.Join(t.TempDir(), "acts")
	if err := syscall.Mkfifo(acts, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(acts, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses, o.AuditLog = []string{"127.0.0.1:1"}, acts
		opts = *o
	})
	fill(t, acts)
	put, reloaded := make(chan int, 1), make(chan error, 1)
	go func() {
		status, _ := n.ask("PUT", "/config/log_level", "warn") // it is done, and the act does not go into the pipe
		put <- status
	}()
	level := func(want string) bool {
		_, body := n.ask("GET", "/config/log_level", "")
		return body == want
	}
	eventually(t, "the level is set", func() bool { return level("3") })
	opts.HTTPAddress, opts.AuditLog, opts.LogLevel = "127.0.0.1:0", "", "error"
	go func() { reloaded <- n.Reload(opts, httpapi.Origins{}) }()
	eventually(t, "the reload is in force", func() bool { return level("4") })
	select {
	case status := <-put:
		t.Errorf("the act was written: %d", status)
	default:
	}
	if err := pipe.Close(); err != nil { // nobody reads any more
		t.Error(err)
	}
	if status := <-put; status != 200 {
		t.Errorf("the act is answered with %d", status)
	}
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
}

// fill writes to a pipe until it is full.
func fill(t *testing.T, path string) {
	t.Helper()
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for err == nil {
		_, err = syscall.Write(fd, make([]byte, 1))
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
}
