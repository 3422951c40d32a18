package cmdtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk mounts a file system of so many KiB, in memory, and returns its folder. It is gone at the end of the test. The test is
// skipped where that is not possible.
func SmallDisk(t testing.TB, kib int) string {
	t.Helper()
	NeedRoot(t)
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
		t.Skipf("NOT RUN: no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// NeedRoot skips the test where file systems cannot be mounted.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a file system of its own needs root")
	}
}

// Unmount lets go of a file system at the end of a test. One that is still used fails the test, and is gone all the same once
// nobody uses it any more.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Errorf("unmounting %s: %v", dir, errors.Join(err, syscall.Unmount(dir, syscall.MNT_DETACH)))
	}
}
