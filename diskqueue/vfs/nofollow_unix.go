//go:build unix

package vfs

import "syscall"

const (
	noFollow = syscall.O_NOFOLLOW
	nonBlock = syscall.O_NONBLOCK // so that a named pipe does not hold a start up
)
