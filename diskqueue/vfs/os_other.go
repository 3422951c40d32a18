//go:build !linux && !darwin && !freebsd && !dragonfly

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// SyncDir makes the names in a folder durable. On Windows, where a folder cannot be synced, it does nothing.
func (osFS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return syncDir(dir)
}

func syncData(f *os.File) error { return f.Sync() }

func writeOut(*os.File, int64, int64) error { return nil }

func allocate(f *os.File, size int64) error { return grow(f, size) }

func isNamed(name string, opened fs.FileInfo) (bool, error) { return isSame(name, opened) }

func links(*os.File) (int, error) { return 0, errors.ErrUnsupported }

func forget(*os.File) error { return nil }

func free(string) (Space, error) { return Space{}, errors.ErrUnsupported }
