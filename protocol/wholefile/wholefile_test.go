package wholefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileIsReadWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, n := range []int{0, 1, 1000, 100_000} {
		want := bytes.Repeat([]byte("x"), n)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); !bytes.Equal(got, want) || err != nil {
			t.Errorf("Read of %d bytes: %d, %v", n, len(got), err)
		}
		got, state, err := Regular(path, int64(n))
		if !bytes.Equal(got, want) || state.Size() != int64(n) || err != nil {
			t.Errorf("Regular of %d bytes: %d, %v", n, len(got), err)
		}
		if _, state, err := Regular(path, int64(n-1)); state == nil || err == nil || !strings.Contains(err.Error(), "has more than") {
			t.Errorf("Regular of %d bytes, of which one is over: %v", n, err)
		}
	}
	if err := os.Truncate(path, Most+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is too long: %v", err)
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil {
		t.Error("Read took a folder")
	}
	if _, state, err := Regular(dir, Most); state == nil || !errors.Is(err, ErrNotRegular) {
		t.Errorf("Regular of a folder: %v", err)
	}
	none := filepath.Join(dir, "none")
	if _, err := Read(none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) {
		t.Errorf("Read of what is not there: %v", err)
	}
	if _, state, err := Regular(none, Most); state != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Regular of what is not there: %v", err)
	}
}
