//go:build darwin || freebsd || dragonfly

package vfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in a folder durable.
func (osFS) SyncDir(dir string) error { return syncDir(dir) }

func syncData(f *os.File) error { return f.Sync() }

func writeOut(*os.File, int64, int64) error { return nil }

func allocate(f *os.File, size int64) error { return grow(f, size) }

func isNamed(name string, opened fs.FileInfo) (bool, error) { return isSame(name, opened) }

func links(f *os.File) (int, error) { return linksByStat(f) }

func forget(*os.File) error { return nil }

func free(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	return Space{Free: uint64(max(s.Bavail, 0)) * uint64(s.Bsize), Total: uint64(s.Blocks) * uint64(s.Bsize)}, nil
}
