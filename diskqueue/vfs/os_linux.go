package vfs

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"

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

func writeOut(f *os.File, off, n int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	for {
		err := unix.SyncFileRange(int(f.Fd()), off, n, all)
		runtime.KeepAlive(f)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // a filter of system calls, or a file system
			return nil
		default:
			return err
		}
	}
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

// isNamed reports whether a name stands for a file that was opened. It is asked with each sync, and so it does not ask for times: since Linux
// 6.13 file systems give a file whose times were looked at new ones with the very next write (Documentation/filesystems/multigrain-ts.rst),
// else only with each tick, and times that are new are written with the next sync.
func isNamed(name string, opened fs.FileInfo) (bool, error) {
	own, ok := opened.Sys().(*syscall.Stat_t)
	if !ok {
		return false, errors.ErrUnsupported
	}
	var named unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_INO, &named)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 4.11, or a filter of system calls that does not know it
		return isNamedByStat(name, own)
	}
	return err == nil && own.Dev == unix.Mkdev(named.Dev_major, named.Dev_minor) && own.Ino == named.Ino, err
}

func isNamedByStat(name string, own *syscall.Stat_t) (bool, error) {
	var named unix.Stat_t
	err := unix.Stat(name, &named)
	return err == nil && own.Dev == named.Dev && own.Ino == named.Ino, err
}

func links(f *os.File) (int, error) {
	var own unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_NLINK, &own)
	runtime.KeepAlive(f)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // as isNamed
		return linksByStat(f)
	}
	return int(own.Nlink), err
}

func forget(f *os.File) error {
	err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	runtime.KeepAlive(f)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return nil // there is no such memory
	}
	return err
}

func free(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	return Space{Free: s.Bavail * uint64(s.Bsize), Total: s.Blocks * uint64(s.Bsize)}, nil
}
