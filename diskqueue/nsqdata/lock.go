package nsqdata

import (
	"errors"
	"fmt"
	"os"

	"brokerd/diskqueue/vfs"
)

// ErrLocked tells that the data folder belongs to another process.
var ErrLocked = errors.New("another process (a broker or an nsqd) holds it")

// Lock is the exclusive hold of a data folder. The system lets go of it when the process ends, however it ends.
type Lock struct{ dir *os.File }

// LockDir takes the lock on dir, which must exist, without waiting for it. A folder that another process holds is an error
// that wraps ErrLocked. On systems without such locks it only opens the folder.
func LockDir(dir string) (*Lock, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("failed to lock data-path: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err == nil {
		err = flock(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to lock data-path: folder %q: %w", dir, err), f.Close())
	}
	return &Lock{dir: f}, nil
}

// Path returns a path of the locked folder that goes on leading to it when it is moved, or something else put in its place. It is its name
// where the system has none.
func (l *Lock) Path() string { return vfs.PathOf(l.dir.Name(), l.dir) }

// FS returns the file system with the locked folder under its name, whatever is there later. See vfs.Held.
func (l *Lock) FS() vfs.FS { return vfs.Held(l.dir.Name(), l.dir) }

// Moved reports whether the folder's name does not stand for it any more.
func (l *Lock) Moved() bool { return vfs.Moved(l.dir.Name(), l.dir) }

// Unlock gives the folder back.
func (l *Lock) Unlock() error { return l.dir.Close() }
