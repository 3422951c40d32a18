package backlog

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// madvPopulateWrite is MADV_POPULATE_WRITE of Linux 5.14.
const madvPopulateWrite = 23

// noPopulate is set by the first refusal: an older kernel, or one with larger pages.
var noPopulate atomic.Bool

// populate has the system provide all pages of mem, which begins a page, at once. Memory that is written to for the first time
// otherwise costs a page fault for each, of which most is not the page but the detour.
func populate(mem []byte) {
	if noPopulate.Load() {
		return
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(len(mem)), madvPopulateWrite)
	if errno != 0 {
		noPopulate.Store(true)
	}
}
