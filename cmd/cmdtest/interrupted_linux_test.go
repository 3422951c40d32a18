package cmdtest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestInterruptedRunsAreCleared: only the folders that nobody holds, and that were not made just now; what is mounted there is let go of.
func TestInterruptedRunsAreCleared(t *testing.T) {
	dir := t.TempDir()
	made := func(name string, age time.Duration) string {
		home := filepath.Join(dir, name)
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		touch(t, home)
		when := time.Now().Add(-age)
		if err := os.Chtimes(home, when, when); err != nil {
			t.Fatal(err)
		}
		return home
	}
	held, fresh, other := made(prefix+"1", time.Hour), made(prefix+"2", 0), made("mine", time.Hour)
	left, mounted := made(prefix+"3", time.Hour), made(prefix+"4", time.Hour)
	release, err := hold(held)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if os.Getuid() == 0 {
		t.Cleanup(func() { _ = syscall.Unmount(filepath.Join(mounted, "disk"), syscall.MNT_DETACH) }) // if that was not done
		mountOld(t, mounted)
	}
	clearOld(dir)
	for _, home := range []string{held, fresh, other} {
		if _, err := os.Stat(home); err != nil {
			t.Error(err)
		}
	}
	for _, home := range []string{left, mounted} {
		if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", home, err)
		}
	}
}

// mountOld mounts something in a folder and keeps the folder's age. Where that is not allowed there is nothing to let go of.
func mountOld(t *testing.T, home string) {
	t.Helper()
	info, err := os.Stat(home)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(home, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("nothing can be mounted here: %v", err)
	}
	if err := os.Chtimes(home, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestASmallDiskIsGoneWithItsTest(t *testing.T) {
	var disk string
	t.Run("uses it", func(t *testing.T) {
		disk = SmallDisk(t, 64)
		if err := os.WriteFile(filepath.Join(disk, "large"), make([]byte, 128<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("128 KiB on a disk of 64: %v", err)
		}
	})
	if disk == "" {
		t.Skip("NOT RUN: no file system can be mounted here")
	}
	if _, err := os.Stat(disk); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", disk, err)
	}
}
