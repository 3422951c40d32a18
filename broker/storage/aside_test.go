package storage

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// TestNothingThatIsAsideIsWrittenOver: files of one name that are put aside, or replaced, one after the other are all there, also where a file cannot have a
// second name.
func TestNothingThatIsAsideIsWrittenOver(t *testing.T) {
	for _, links := range []bool{true, false} {
		disk := vfs.NewFaulty(vfs.NewMem())
		if !links {
			disk.SetRules(vfs.Rule{Ops: vfs.OpLink, Err: syscall.EPERM})
		}
		a := aside{fs: disk, dir: "data"}
		path := filepath.Join("data", "topics", "file")
		want := map[string]bool{}
		for i := range 6 {
			text := fmt.Sprint("content ", i)
			want[text] = true
			write(t, disk, path, text)
			if i%2 == 0 {
				if err := a.put(path); err != nil {
					t.Fatal(err)
				}
				continue
			}
			write(t, disk, path+copySuffix, "a copy")
			if err := a.replace(path, path+copySuffix); err != nil {
				t.Fatal(err)
			}
			if got := read(t, disk, path); got != "a copy" {
				t.Errorf("links %v: replaced by %q", links, got)
			}
			if err := disk.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{filepath.Join("data", "topics"), filepath.Join("data", asideFolder, "topics")} {
			names, err := list(disk, dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				one := filepath.Join(dir, name)
				if !IsAside("data", one) || !strings.HasPrefix(name, "file") {
					t.Errorf("links %v: %s is there, and not aside", links, one)
				}
				delete(want, read(t, disk, one))
			}
		}
		if len(want) > 0 || a.files.Load() != 6 {
			t.Errorf("links %v: %d files are counted, and gone are %v", links, a.files.Load(), want)
		}
	}
}

func write(t *testing.T, files vfs.FS, path, text string) {
	t.Helper()
	if err := files.MkdirAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	f, err := files.Create(path)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, files vfs.FS, path string) string {
	t.Helper()
	b, err := vfs.ReadFile(files, path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
