package vfs

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in a folder durable.
func (osFS) SyncDir(dir string) error { return syncDir(dir) }

// syncData spares the times of the file, which Sync would write as well.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		runtime.KeepAlive(f)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// writeBrief writes as much of p as the system takes at once, without telling the scheduler. Errors are for the next try to find.
func writeBrief(f *os.File, p []byte, off int64) (n int) {
	if unsafe.Sizeof(uintptr(0)) < 8 {
		return 0 // the offset would be two parameters
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_PWRITE64, f.Fd(), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		uintptr(off), 0, 0)
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0
	}
	return int(r)
}

func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		runtime.KeepAlive(f)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return grow(f, size)
		default:
			return err
		}
	}
}

func free(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	return Space{Free: s.Bavail * uint64(s.Bsize), Total: s.Blocks * uint64(s.Bsize)}, nil
}
