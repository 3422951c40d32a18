package nowait

import (
	"syscall"
	"unsafe"
)

// A read or write of a socket that must not wait takes microseconds. It is done without telling the scheduler, which would
// otherwise be ready to lend the processor to another thread meanwhile: that costs more than it brings.

// Receive reads what a non-blocking socket has, as read(2) does.
func Receive(fd uintptr, p []byte) (n int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		syscall.MSG_DONTWAIT, 0, 0)
	return int(r), errno
}

// Send writes as much as a non-blocking socket takes, as write(2) does.
func Send(fd uintptr, p []byte) (n int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	return int(r), errno
}
