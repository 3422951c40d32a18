//go:build !linux

package vfs

import (
	"io/fs"
	"os"
)

// isSame is isNamed where nothing cheaper is known.
func isSame(name string, opened fs.FileInfo) (bool, error) {
	named, err := os.Stat(name)
	return err == nil && os.SameFile(opened, named), err
}
