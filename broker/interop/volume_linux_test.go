package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"brokerd/cmd/cmdtest"
)

// volume is a file system in an image file, mounted through a loop device.
type volume struct {
	kind       string
	image, dir string
	mounted    bool
}

// newVolume makes and mounts a file system of some MiB: kind is ext4 or btrfs. The test is skipped, with the reason, where that is
// not possible.
func newVolume(t *testing.T, kind string, mib int64) *volume {
	t.Helper()
	cmdtest.NeedRoot(t)
	home := t.TempDir()
	v := &volume{kind: kind, image: filepath.Join(home, "image"), dir: filepath.Join(home, "mounted")}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.image, mib<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs."+kind, "-q", v.image).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: mkfs.%s: %v %s", kind, err, out)
	}
	if err := v.mount(); err != nil {
		t.Skipf("NOT RUN: no loop devices can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if v.mounted {
			cmdtest.Unmount(t, v.dir)
		}
	})
	return v
}

func (v *volume) mount() error {
	options := "loop"
	if v.kind == "btrfs" {
		options += ",commit=1" // seconds: what is removed counts against a quota until then
	}
	if out, err := exec.Command("mount", "-o", options, v.image, v.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	v.mounted = true
	return nil
}

func (v *volume) unmount() error {
	if !v.mounted {
		return nil
	}
	v.mounted = false
	if out, err := exec.Command("umount", v.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("umount: %w: %s", err, out)
	}
	return nil
}

// cut stops all writes to the device at once, as a power cut does: what was not synced, the file system's own journal included,
// stays unwritten for good.
func (v *volume) cut() error {
	d, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	const shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN, _IOR('X', 125, u32)
	noLogFlush := uint32(2)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), shutdown, uintptr(unsafe.Pointer(&noLogFlush))); errno != 0 {
		return fmt.Errorf("EXT4_IOC_SHUTDOWN: %w", errno)
	}
	return nil
}

// powerCut cuts the power of a broker and of its disk at the same moment. The broker is halted first, in the midst of what it does and
// with syncs in progress, so that it says nothing any more behind the cut; what it has acknowledged before counts, also what its
// clients read only later.
//
// The other order, in which a broker lives on for some milliseconds, would hold it to answers that no power cut lets out, and to a lie:
// ext4 under EXT4_IOC_SHUTDOWN may tell an fdatasync in progress of success when the blocks that were written have just become part of
// the file. A program that only writes 3,200 bytes at a time into a file of fallocate, and syncs, sees that in 1 of 120 cuts.
func (v *volume) powerCut(t *testing.T, b *cmdtest.Process) {
	t.Helper()
	b.Halt(t)
	if err := v.cut(); err != nil {
		t.Skipf("NOT RUN: the power of this file system cannot be cut: %v", err)
	}
	b.Kill(t)
	if err := errors.Join(v.unmount(), v.mount()); err != nil {
		t.Fatal(err)
	}
}

// freeze has every write to the file system wait until thaw, as a disk does that hangs. What is written and not synced is synced
// first.
func (v *volume) freeze() error { return v.control(0xc0045877) } // FIFREEZE, _IOWR('X', 119, int)

// thaw lets writes go on. A file system that is not frozen is an error.
func (v *volume) thaw() error { return v.control(0xc0045878) } // FITHAW, _IOWR('X', 120, int)

func (v *volume) control(request uintptr) error {
	d, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), request, 0); errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", request, errno)
	}
	return nil
}
