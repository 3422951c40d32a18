package vfs

import (
	"bytes"
	"errors"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestBriefWritesEndWhenOneHasWaited: a write that the system has made wait is the last one, for a while, of which the scheduler is
// not told.
func TestBriefWritesEndWhenOneHasWaited(t *testing.T) {
	var b brief
	for n, want := range map[int]bool{1: true, briefBytes: true, briefBytes + 1: false} {
		if got := b.may(n); got != want {
			t.Errorf("may(%d) is %v", n, got)
		}
	}
	b.took(briefTime)
	if !b.may(1) {
		t.Error("a write that was quick enough counts as one that has waited")
	}
	b.took(briefTime + 1)
	for i := range waryWrites {
		if b.may(1) {
			t.Fatalf("write %d after one that has waited is made without telling", i+1)
		}
	}
	for range 2 {
		if !b.may(1) {
			t.Error("one slow write is never forgotten")
		}
	}
}

// TestWriteAt: short and long writes bring the same bytes to the file, and the same errors.
func TestWriteAt(t *testing.T) {
	fs, name := OS(), filepath.Join(t.TempDir(), "f")
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, n := range []int{0, 1, 4096, briefBytes, briefBytes + 1, 3} {
		part := bytes.Repeat([]byte{byte(n)}, n)
		if got, err := f.WriteAt(part, int64(len(want))); got != n || err != nil {
			t.Fatalf("WriteAt of %d bytes: %d, %v", n, got, err)
		}
		want = append(want, part...)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds something else, %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), -1); err == nil {
		t.Error("a negative offset is accepted")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	readOnly, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readOnly.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("writing a file that is open for reading: %v", err)
	}
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		return // no /dev/full
	}
	full, err := fs.OpenWrite("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := full.WriteAt([]byte("x"), 0); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing to a full disk: %d, %v", n, err)
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
}
