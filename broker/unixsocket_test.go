package broker_test

import (
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// leave makes the file of a unix socket that nobody listens on, as a killed process leaves it.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// socketFlags are the ways to have a unix socket.
var socketFlags = map[string]func(*broker.Options) *string{
	"tcp-address":  func(o *broker.Options) *string { return &o.TCPAddress },
	"http-address": func(o *broker.Options) *string { return &o.HTTPAddress },
	"unix-socket":  func(o *broker.Options) *string { return &o.UnixSocket },
}

// tryStart starts a broker and ends it again.
func tryStart(t *testing.T, o broker.Options) error {
	t.Helper()
	s, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		return err
	}
	if err := s.Start(t.Context()); err != nil {
		return err
	}
	return s.Shutdown(t.Context())
}

// TestStaleUnixSocketIsReplaced, whichever flag it belongs to, and is gone after an orderly end.
func TestStaleUnixSocketIsReplaced(t *testing.T) {
	t.Parallel()
	for flag, address := range socketFlags {
		t.Run(flag, func(t *testing.T) {
			o := options(t)
			*address(&o) = unixPath(t, "s")
			leave(t, *address(&o))
			if err := tryStart(t, o); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(*address(&o)); !os.IsNotExist(err) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

// TestOnlyStaleSocketsAreReplaced: files, folders, links and sockets with somebody behind them stay, and the start says why it
// cannot be.
func TestOnlyStaleSocketsAreReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  func(t *testing.T, path string)
		want string
	}{
		"a file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a socket (-rw-------)"},
		"a folder": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a socket (drwx------)"},
		"a link to a stale socket": {func(t *testing.T, path string) {
			leave(t, path+"t")
			if err := os.Symlink(path+"t", path); err != nil {
				t.Fatal(err)
			}
		}, "not a socket (L"},
		"a link to nothing": {func(t *testing.T, path string) {
			if err := os.Symlink(path+"t", path); err != nil {
				t.Fatal(err)
			}
		}, "not a socket (L"},
		"a pipe": {func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a socket (p"},
		"a socket that is listened on": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "another process listens on it"},
		"a socket for datagrams": {func(t *testing.T, path string) {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}, "cannot find out whether somebody listens on it"},
	} {
		for flag, address := range socketFlags {
			t.Run(name+"/"+flag, func(t *testing.T) {
				o := options(t)
				path := unixPath(t, "s")
				*address(&o) = path
				c.put(t, path)
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				err = tryStart(t, o)
				if err == nil || !strings.Contains(err.Error(), "--"+flag) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
				if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
					t.Errorf("it was replaced: %v", err)
				}
			})
		}
	}
}

// TestUnixSocketBesideTCP serves clients on both at once.
func TestUnixSocketBesideTCP(t *testing.T) {
	t.Parallel()
	path := unixPath(t, "s")
	n := start(t, func(o *broker.Options) { o.UnixSocket = path })
	local := prototest.Dial(t, "unix", path)
	local.Send("SUB t c\nRDY 1\n")
	local.Expect("OK")
	far := n.dial()
	far.Send(prototest.Pub("t", "x"))
	far.Expect("OK")
	local.ExpectMessage("x", 1)
	if port := port(n.TCPAddr()); port <= 0 {
		t.Errorf("the TCP port is %d", port)
	}
}

// TestUnixSocketMode: the mode is exactly what was asked for, whatever the umask, for each socket; without one the umask decides.
func TestUnixSocketMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	for _, c := range []struct{ mode, want fs.FileMode }{{0, 0o750}, {0o666, 0o666}, {0o600, 0o600}, {0o770, 0o770}} {
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "u"), filepath.Join(dir, "h")}
		n := start(t, func(o *broker.Options) {
			o.UnixSocket, o.HTTPAddress = paths[0], paths[1]
			o.UnixSocketMode = broker.SocketMode(c.mode)
		})
		for _, path := range paths {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != c.want {
				t.Errorf("asked for %o, got %o", c.mode, got)
			}
		}
		n.stop()
	}
}

// TestUnixSocketModeSaid: octal numbers as chmod takes them, and back.
func TestUnixSocketModeSaid(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0660": "0660", "660": "0660", "0o600": "0600", "1": "0001", "777": "0777", "0777": "0777",
		"0": "", "0000": "", "1000": "", "0800": "", "rw-rw----": "", "-1": "", "0x1f": "", "u=rw": "", " 660": "",
	} {
		var m broker.SocketMode
		err := m.Set(text)
		if (err == nil) != (want != "") || m.String() != want {
			t.Errorf("%q: %s, %v", text, m, err)
		}
	}
}

// TestUnixSocketPathTooLong: the error says so, not "invalid argument".
func TestUnixSocketPathTooLong(t *testing.T) {
	t.Parallel()
	for flag, address := range socketFlags {
		o := options(t)
		*address(&o) = "/tmp/" + strings.Repeat("x", 110)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--"+flag+" must be at most 103 bytes long") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
