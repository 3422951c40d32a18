//go:build unix

package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// TestWhatIsNoFileIsAnAnswer: a link, a folder or a pipe where a file should be is told at once and not waited for, however it is opened.
func TestWhatIsNoFileIsAnAnswer(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	ok(t, os.WriteFile(file, nil, 0o600))
	ok(t, os.Symlink(file, link))
	ok(t, syscall.Mkfifo(pipe, 0o600))
	for _, name := range []string{link, pipe, dir} {
		tries := 0
		err := vfs.Retry(func() error {
			tries++
			f, err := vfs.OS().Open(name)
			if err == nil {
				return f.Close()
			}
			return err
		})
		if !errors.Is(err, vfs.ErrNotPlain) || tries != 1 {
			t.Errorf("%s was opened %d times: %v", filepath.Base(name), tries, err)
		}
	}
	for _, name := range []string{link, dir} { // a pipe can be opened, and is then none
		if _, err := vfs.OS().OpenWrite(name); !errors.Is(err, vfs.ErrNotPlain) {
			t.Errorf("%s was opened for writing: %v", filepath.Base(name), err)
		}
	}
}
