package appkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked tells that another process holds a file's lock.
var ErrLocked = errors.New("another process holds it")

// SyncFolder makes sure that the names in a folder are on disk.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReplaceFile gives a file new contents: after a crash, of the process or of the machine, it has the old or the new ones, whole.
func ReplaceFile(path string, contents []byte) error {
	beside := path + ".new"
	if err := writeSynced(beside, contents); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

func writeSynced(path string, contents []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// NoRoom reports whether err means that a disk, or what a user may have of it, is full.
func NoRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// LockFile takes the exclusive lock of f without waiting. The system lets go of it when f is closed and when the process ends,
// however it ends. The error wraps ErrLocked when another process holds it.
func LockFile(f *os.File) error {
	err := flock(f)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
	}
	return err
}
