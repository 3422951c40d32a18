package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SocketMode is who may connect to the unix sockets, as the nine bits of a file; 0 is what the umask leaves.
type SocketMode uint32

// String returns the mode as it is given, empty for 0.
func (m SocketMode) String() string {
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(m))
}

// Set takes an octal number.
func (m *SocketMode) Set(text string) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || v == 0 || v > 0o777 {
		return errors.New("must be an octal number from 0001 to 0777, such as 0660")
	}
	*m = SocketMode(v)
	return nil
}

// isSocketPath reports whether an address is the path of a unix socket: whether it does not split as host:port.
func isSocketPath(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err != nil
}

// maxSocketPath is how many bytes of a path fit into a socket's address on every system.
const maxSocketPath = 103

// looksLikeAddress reports whether a path is what somebody writes who means an address: a port or an IP address alone.
func looksLikeAddress(path string) bool {
	_, notPort := strconv.ParseUint(path, 10, 16)
	_, notIP := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(path, "["), "]"))
	return notPort == nil || notIP == nil
}

// checkSocketPath says why path cannot be a socket's.
func checkSocketPath(flag, path string) error {
	if flag != "unix-socket" && looksLikeAddress(path) {
		return refuse(flag, "must be host:port such as :4150 or [::1]:4150, or the path of a unix socket; a path like this one is written with ./ before it", path)
	}
	if len(path) > maxSocketPath {
		return refuse(flag, fmt.Sprintf("must be at most %d bytes long as the path of a unix socket", maxSocketPath), path)
	}
	return nil
}

// isAbstract reports whether path is a name that Linux keeps without a file.
func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

// listenUnix listens on a unix socket. One that nobody listens on, as a process that was killed leaves behind, is replaced;
// anything else that has this name is left alone, and the error says what it is.
func listenUnix(ctx context.Context, path string, mode SocketMode) (net.Listener, error) {
	if !isAbstract(path) {
		if err := clearStale(ctx, path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	if mode != 0 {
		lc.Control = func(_, _ string, c syscall.RawConn) error { return narrowSocket(c, mode) }
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil || mode == 0 || isAbstract(path) {
		return l, err
	}
	if err := os.Chmod(path, fs.FileMode(mode)); err != nil { // the umask may have taken bits away
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// staleTimeout is how long somebody who listens has to be found out.
const staleTimeout = time.Second

// clearStale removes the socket at path if nobody listens on it. It returns nil when nothing is there any more.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something that is not a socket (%s), which is left alone", info.Mode())
	}
	conn, err := (&net.Dialer{Timeout: staleTimeout}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(errors.New("another process listens on it"), conn.Close())
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot find out whether somebody listens on it: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a socket that nobody listens on: %w", err)
	}
	return nil
}
