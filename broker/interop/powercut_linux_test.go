package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"brokerd/cmd/cmdtest"
)

// volume is an ext4 file system in an image file, mounted through a loop device.
type volume struct {
	image, dir string
	mounted    bool
}

// newVolume makes and mounts a file system of some MiB. The test is skipped, with the reason, where that is not possible.
func newVolume(t *testing.T, mib int64) *volume {
	t.Helper()
	cmdtest.NeedRoot(t)
	home := t.TempDir()
	v := &volume{image: filepath.Join(home, "image"), dir: filepath.Join(home, "mounted")}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.image, mib<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", v.image).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: mkfs.ext4: %v %s", err, out)
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
	if out, err := exec.Command("mount", "-o", "loop", v.image, v.dir).CombinedOutput(); err != nil {
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

// TestPowerCutsLoseNothingAtFsync cuts the power of a file system of its own at random moments, under stock producers and a
// stock consumer. What was acknowledged at level fsync must all be finished in the end.
func TestPowerCutsLoseNothingAtFsync(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 256)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--durability=fsync", "--mem-queue-size=200",
		"--sync-timeout=500ms")
	b.Start(t)
	b.Create(t, topic, channel)
	l := newLedger()
	l.forget = time.Second // what consumers say is synced within the timeout, but nobody waits for it
	l.begin(t, b.TCP)
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(rows, ledgerColumns)
	n := max(1, rounds(t)/2)
	for round := 1; round <= n; round++ {
		cmdtest.Eventually(t, "messages come again", 20*time.Second, l.flows())
		life := time.Duration(100+rand.IntN(900)) * time.Millisecond
		<-time.After(life) // a random moment is what is tested
		l.powerCut(func() {
			if err := v.cut(); err != nil {
				t.Skipf("NOT RUN: the power of this file system cannot be cut: %v", err)
			}
			b.Kill(t)
		})
		if err := v.unmount(); err != nil {
			t.Fatal(err)
		}
		if err := v.mount(); err != nil {
			t.Fatal(err)
		}
		down := time.Now()
		b.Start(t)
		l.up(time.Now())
		l.row(rows, round, life, time.Since(down))
	}
	l.settle(t)
	l.row(rows, n+1, 0, 0)
	rows.Flush()
	t.Logf("power cuts; the last line is the end, without one\n%s", &table)
	l.expectNothingLost(t, b)
	b.Stop(t)
}
