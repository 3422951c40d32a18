//go:build unix

package wholefile

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNobodyIsWaitedFor: a pipe without a writer, a socket and what has no end are refused at once. Without that this test does not end.
func TestNobodyIsWaitedFor(t *testing.T) {
	t.Chdir(t.TempDir()) // names of sockets are short
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, err := Read("pipe"); !errors.Is(err, ErrNothing) {
		t.Errorf("Read of a pipe that nobody writes to: %v", err)
	}
	for _, name := range []string{"socket", "/dev/zero"} {
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Read of %s: %v", name, err)
		}
	}
	for _, name := range []string{"pipe", "socket", "/dev/zero"} {
		if _, state, err := Regular(name, 1000); state == nil || state.Mode().IsRegular() || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Regular of %s: %v", name, err)
		}
	}
	if text, err := Read(os.DevNull); len(text) != 0 || err != nil {
		t.Errorf("Read of %s: %q, %v", os.DevNull, text, err)
	}
}

// TestAShellsPipeIsRead: <(COMMAND) is one that is there already, whose writer comes to its end a little later. It can be read once.
func TestAShellsPipeIsRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join("/dev/fd", fmt.Sprint(r.Fd()))
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("setting = 1\n", 20_000) // more than a pipe holds
	written := make(chan error, 1)
	go func() {
		_, err := w.WriteString(want)
		written <- errors.Join(err, w.Close())
	}()
	if got, err := Read(path); string(got) != want || err != nil {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrNothing) {
		t.Errorf("once more: %v", err)
	}
}
