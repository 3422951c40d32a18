//go:build unix && !linux

package nowait

import "syscall"

// Receive reads what a non-blocking socket has.
func Receive(fd uintptr, p []byte) (n int, errno syscall.Errno) {
	n, err := syscall.Read(int(fd), p)
	return n, errnoOf(err)
}

// Send writes as much as a non-blocking socket takes.
func Send(fd uintptr, p []byte) (n int, errno syscall.Errno) {
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
