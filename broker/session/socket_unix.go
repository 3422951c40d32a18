//go:build unix && !linux

package session

import "syscall"

// receive reads what a non-blocking socket has.
func receive(fd uintptr, p []byte) (n int, errno syscall.Errno) {
	n, err := syscall.Read(int(fd), p)
	return n, errnoOf(err)
}

// send writes as much as a non-blocking socket takes.
func send(fd uintptr, p []byte) (n int, errno syscall.Errno) {
	n, err := syscall.Write(int(fd), p)
	return n, errnoOf(err)
}

func errnoOf(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	if err != nil {
		return syscall.EIO
	}
	return 0
}
