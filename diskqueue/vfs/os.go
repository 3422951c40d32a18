package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

const (
	fileMode = 0o600
	dirMode  = 0o755
)

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (o osFS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (o osFS) Open(name string) (File, error) { return o.open(name, os.O_RDONLY) }

func (o osFS) OpenWrite(name string) (File, error) { return o.open(name, os.O_RDWR) }

func (o osFS) open(name string, flag int) (File, error) {
	f, state, err := openPlain(name, flag)
	if err != nil {
		return nil, err
	}
	return osFile{f, state}, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Rename(from, to string) error {
	if filepath.Dir(from) != filepath.Dir(to) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
	}
	return os.Rename(from, to)
}

func (osFS) Link(from, to string) error { return os.Link(from, to) }

func (osFS) Is(name string, f File) (bool, error) {
	own, ok := f.(osFile)
	if !ok {
		return false, nil
	}
	is, err := isNamed(name, own.state)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return is, nil
}

func (o osFS) MkdirAll(dir string) error { return mkdirAll(dir, isDir, mkdir, o.SyncDir) }

// mkdirAll is FS.MkdirAll. The name of a folder that is there is synced too: who made it may have failed before that, or ended.
func mkdirAll(dir string, isDir func(string) (bool, error), mkdir, syncDir func(string) error) error {
	there, err := isDir(dir)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if !there {
		if parent != dir {
			if err := mkdirAll(parent, isDir, mkdir, syncDir); err != nil {
				return err
			}
		}
		if err := mkdir(dir); err != nil {
			return err
		}
	}
	if err := syncDir(parent); err != nil && !unsyncable(err) {
		return err
	}
	return nil
}

// unsyncable reports whether nobody, or not this process, can sync a folder: what is above a data folder may be somebody else's, or of a file system
// that knows no such thing, as squashfs below a mount point.
func unsyncable(err error) bool {
	for _, no := range [...]error{fs.ErrPermission, syscall.EINVAL, syscall.EROFS, errors.ErrUnsupported} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// isDir reports whether a folder is there. What else is wrong with it is found when it is made.
func isDir(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return false, &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return err == nil, nil
}

func mkdir(dir string) error {
	err := os.Mkdir(dir, dirMode)
	if err != nil {
		if is, _ := isDir(dir); is { // another process was faster
			return nil
		}
	}
	return err
}

func (osFS) List(dir string) ([]string, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (osFS) Size(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, &fs.PathError{Op: "size", Path: name, Err: syscall.EISDIR}
	}
	return info.Size(), nil
}

func (osFS) Free(dir string) (Space, error) {
	space, err := free(dir)
	if err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return space, nil
}

// osFile is an *os.File whose Sync and Preallocate use the best that the system has. Every call is one that the scheduler is told
// of: any of them can wait for as long as the disk likes, fstat and close too, and then holds up nobody but its caller.
type osFile struct {
	*os.File
	state fs.FileInfo // when it was opened: which file it is does not change
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error {
	if err := syncData(f.File); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) WriteOut(off, n int64) error {
	if err := writeOut(f.File, off, n); err != nil {
		return &fs.PathError{Op: "write out", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Links() (int, error) {
	n, err := links(f.File)
	if err != nil {
		return 0, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return n, nil
}

func (f osFile) Preallocate(size int64) error {
	if err := allocate(f.File, size); err != nil {
		return &fs.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Forget() error {
	if err := forget(f.File); err != nil {
		return &fs.PathError{Op: "forget", Path: f.Name(), Err: err}
	}
	return nil
}

// grow is what allocate does where space cannot be reserved: it sets the size only.
func grow(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
