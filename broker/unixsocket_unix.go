//go:build unix

package broker

import (
	"syscall"
)

// narrowSocket gives a socket its mode before it has a name, so that nobody gets in before the mode counts. Where a system
// cannot, the change of mode that follows has to do.
func narrowSocket(c syscall.RawConn, mode SocketMode) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
}
