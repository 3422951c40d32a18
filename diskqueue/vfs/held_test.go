package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// held returns a file system with a new folder, which is at a name that is returned too.
func held(t *testing.T, name string) (FS, *os.File) {
	t.Helper()
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return Held(name, folder), folder
}

func content(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, filepath.Clean(dir)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func write(t *testing.T, fs FS, name, text string) File {
	t.Helper()
	f, err := fs.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAHeldFolderIsUsedWhereverItIs: it is moved, and another one put in its place; files are made, renamed, linked, looked for and removed in the
// one that is held, by the old names.
func TestAHeldFolderIsUsedWhereverItIs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no path of this system leads to a folder that was moved")
	}
	root := t.TempDir()
	t.Chdir(root)
	for _, name := range []string{filepath.Join(root, "absolute"), "relative", "./dotted/", "."} {
		moved, now := filepath.Join(root, "moved"), name
		if name == "." {
			inner := filepath.Join(root, "current")
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Chdir(inner)
			now = inner
		}
		fs, folder := held(t, name)
		if err := fs.MkdirAll(filepath.Join(name, "journal")); err != nil {
			t.Fatal(err)
		}
		at := func(rest string) string { return filepath.Join(name, rest) }
		first := write(t, fs, at("journal/1"), "first")
		if Moved(name, folder) {
			t.Errorf("%s: not moved yet", name)
		}
		if err := os.Rename(now, moved); err != nil {
			t.Fatal(err)
		}
		if name != "." { // the name itself stands for it then
			if !Moved(name, folder) {
				t.Errorf("%s: nobody is there, and it was not moved", name)
			}
			if err := os.MkdirAll(filepath.Join(name, "journal"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at("journal/1"), []byte("another's"), 0o600); err != nil {
				t.Fatal(err)
			}
			if !Moved(name, folder) {
				t.Errorf("%s: another one is there, and it was not moved", name)
			}
		}
		if is, err := fs.Is(at("journal/1"), first); err != nil || !is {
			t.Errorf("%s: the file has its name: %v, %v", name, is, err)
		}
		if n, err := fs.Size(at("journal/1")); err != nil || n != 5 {
			t.Errorf("%s: size %d, %v", name, n, err)
		}
		second := write(t, fs, at("journal/2"), "second")
		for _, err := range []error{
			fs.Rename(at("journal/2"), at("journal/3")), fs.Link(at("journal/3"), at("4")), fs.Remove(at("journal/1")), fs.SyncDir(at("journal")), fs.SyncDir(name),
			fs.MkdirAll(at("segments/5")), fs.SyncDir(at("segments/5")), second.Sync(), second.Preallocate(1 << 16), second.Truncate(6), second.WriteOut(0, 6), second.Forget(),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if list, err := fs.List(at("journal")); err != nil || len(list) != 1 || list[0] != "3" {
			t.Errorf("%s: %q, %v", name, list, err)
		}
		if n, err := second.Links(); err != nil || n != 2 {
			t.Errorf("%s: %d links, %v", name, n, err)
		}
		if space, err := fs.Free(name); err != nil || space.Total == 0 {
			t.Errorf("%s: %v, %v", name, space, err)
		}
		if got := content(t, moved); got != "4 journal/3" {
			t.Errorf("%s: the folder has %q", name, got)
		}
		if name != "." {
			if got := content(t, now); got != "journal/1" {
				t.Errorf("%s: what was put in its place has %q", name, got)
			}
			if text, err := os.ReadFile(at("journal/1")); err != nil || string(text) != "another's" {
				t.Errorf("%s: it says %q, %v", name, text, err)
			}
		}
		for _, f := range []File{first, second} {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Chdir(root)
		for _, dir := range []string{moved, now} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestErrorsOfAHeldFolderHaveItsName: people know it by that, and not by what leads to it.
func TestErrorsOfAHeldFolderHaveItsName(t *testing.T) {
	name := filepath.Join(t.TempDir(), "data")
	fs, _ := held(t, name)
	at := func(rest string) string { return filepath.Join(name, rest) }
	f := write(t, fs, at("a"), "a")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, create := fs.Create(at("a"))
	_, open := fs.Open(at("none"))
	_, write := fs.OpenWrite(at("none"))
	_, list := fs.List(at("none"))
	_, size := fs.Size(at("none"))
	_, free := fs.Free(at("none"))
	_, read := f.ReadAt(make([]byte, 1), 0)
	_, written := f.WriteAt([]byte("a"), 0)
	_, links := f.Links()
	_, long := f.Size()
	for what, err := range map[string]error{
		"create": create, "open": open, "open to write": write, "remove": fs.Remove(at("none")), "rename": fs.Rename(at("none"), at("b")), "other folder": fs.Rename(at("a"), at("c/b")),
		"link": fs.Link(at("none"), at("b")), "make": fs.MkdirAll(at("a")), "list": list, "size": size, "free": free, "sync folder": fs.SyncDir(at("none")),
		"read": read, "write": written, "sync": f.Sync(), "truncate": f.Truncate(1), "allocate": f.Preallocate(1 << 20), "close": f.Close(), "links": links, "long": long,
		"write out": f.WriteOut(0, 1),
	} {
		if err == nil && (what == "write out" || what == "links") && runtime.GOOS != "linux" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "/proc") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if is, err := fs.Is(at("none"), f); err != nil || is {
		t.Errorf("a name that nothing has: %v, %v", is, err)
	}
	if is, err := OS().Is(at("a"), f); err != nil || is {
		t.Errorf("a file of another file system: %v, %v", is, err)
	}
	if err := Named(errors.New("else"), "/x", "/y"); err.Error() != "else" {
		t.Error(err)
	}
}
