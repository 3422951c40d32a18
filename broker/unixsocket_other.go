//go:build !unix

package broker

import "syscall"

// narrowSocket does nothing: sockets have no mode here.
func narrowSocket(syscall.RawConn, SocketMode) error { return nil }
