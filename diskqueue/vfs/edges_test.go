package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
)

// TestReadFullIsZerosBehindTheEndOnly: a file that ends early reads as zeros from there on, whatever the buffer held; an error of the disk is told, and
// is no zeros.
func TestReadFullIsZerosBehindTheEndOnly(t *testing.T) {
	mem := vfs.NewMem()
	f := write(t, mem, "/f", 0, []byte("content"))
	p := fill('x', 10)
	ok(t, vfs.ReadFull(f, p, 2))
	if want := "ntent\x00\x00\x00\x00\x00"; string(p) != want {
		t.Errorf("read %q, want %q", p, want)
	}
	for times := 1; times <= 3; times++ {
		synctest.Test(t, func(t *testing.T) {
			faulty := must(vfs.NewFaulty(mem, vfs.Rule{Ops: vfs.OpRead, Times: times, Err: syscall.EIO}).Open("/f"))(t)
			if err := vfs.ReadFull(faulty, make([]byte, 7), 0); errors.Is(err, syscall.EIO) != (times == 3) {
				t.Errorf("a read that fails %d times: %v", times, err)
			}
		})
	}
}

// TestSyncAnewOfManyPieces: what is written anew is neither more nor less than what was there, also where it is read in pieces of which the last is
// a short one.
func TestSyncAnewOfManyPieces(t *testing.T) {
	const piece = 1 << 20
	m := vfs.NewMem()
	want := bytes.Repeat([]byte("0123456789abcdef"), piece/8+1) // two pieces and 16 bytes
	ok(t, write(t, m, "/f", 0, want).Close())
	ok(t, vfs.SyncAnew(m, "/f", 0, 1<<30))
	if got := content(t, m, "/f"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes have become %d, or others", len(want), len(got))
	}
}

// TestNamesAreSorted: the system returns them as it likes.
func TestNamesAreSorted(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i*7919%50)), nil, 0o600))
	}
	if names := must(vfs.OS().List(dir))(t); len(names) != 50 || !slices.IsSorted(names) {
		t.Errorf("%d names: %v", len(names), names)
	}
}
