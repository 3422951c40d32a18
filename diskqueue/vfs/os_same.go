//go:build !linux

package vfs

import "os"

// isSame is isNamed where nothing cheaper is known.
func isSame(name string, f *os.File) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(opened, named), err
}
