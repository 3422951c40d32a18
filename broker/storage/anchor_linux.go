package storage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// canPoll says that pollNothing is there.
const canPoll = true

// pollNothing waits for 10 ms without telling the scheduler, so that its processor counts as busy. There is no file that it could
// wait for any longer, and the signal by which the runtime stops a goroutine ends it. It is a function that is called, as a loop
// without calls could not be stopped.
//
//go:noinline
func pollNothing() {
	wait := unix.Timespec{Nsec: 10e6}
	unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
}
