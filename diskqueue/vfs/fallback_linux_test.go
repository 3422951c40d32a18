package vfs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWithoutNewCalls: where the system, or the file system, does not know what is asked for usually, other calls say and do the same.
func TestWithoutNewCalls(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	f, state, err := openPlain(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	own := state.Sys().(*syscall.Stat_t)
	for name, want := range map[string]bool{path: true, other: false} {
		if is, err := isNamedByStat(name, own); is != want || err != nil {
			t.Errorf("%s stands for the file: %v, %v", name, is, err)
		}
	}
	if n, err := linksByStat(f); n != 1 || err != nil {
		t.Errorf("%d names, %v", n, err)
	}
	for _, size := range []int64{1000, 10} { // it is never made shorter
		if err := grow(f, size); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() != 1000 {
		t.Errorf("the file has grown to %d bytes, %v", info.Size(), err)
	}
}
