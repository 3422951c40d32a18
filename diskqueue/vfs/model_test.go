package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"brokerd/diskqueue/vfs"
)

// outcome is what a caller can tell errors apart by.
func outcome(err error) string {
	for _, known := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, io.EOF, syscall.EXDEV, syscall.EISDIR, syscall.ENOTDIR} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return "another error"
	}
	return "ok"
}

// twins does the same with both file systems and compares what comes back.
type twins struct {
	t      *rapid.T
	base   string // of the real one
	sys    [2]vfs.FS
	opened map[string][2]vfs.File
}

func (w *twins) paths(name string) [2]string {
	return [2]string{filepath.Join(w.base, name), filepath.Join("/", name)}
}

func (w *twins) both(what string, do func(i int) (any, error)) bool {
	var values [2]any
	var errs [2]error
	for i := range 2 {
		values[i], errs[i] = do(i)
	}
	if outcome(errs[0]) != outcome(errs[1]) {
		w.t.Fatalf("%s: the system says %v, Mem %v", what, errs[0], errs[1])
	}
	a, isBytes := values[0].([]byte)
	if isBytes && !bytes.Equal(a, values[1].([]byte)) {
		w.t.Fatalf("%s: %d and %d bytes differ", what, len(a), len(values[1].([]byte)))
	}
	if b, ok := values[0].([]string); ok && !slices.Equal(b, values[1].([]string)) {
		w.t.Fatalf("%s: %q and %q", what, b, values[1])
	}
	if b, ok := values[0].(int64); ok && b != values[1].(int64) {
		w.t.Fatalf("%s: %d and %d", what, b, values[1])
	}
	return errs[0] == nil
}

func (w *twins) open(what, name string, open func(vfs.FS, string) (vfs.File, error)) {
	if _, already := w.opened[name]; already {
		return
	}
	var pair [2]vfs.File
	if w.both(what+" "+name, func(i int) (_ any, err error) {
		pair[i], err = open(w.sys[i], w.paths(name)[i])
		return nil, err
	}) {
		w.opened[name] = pair
	}
}

func (w *twins) named(what string, f func(vfs.FS, string) (any, error)) func(*rapid.T) {
	return func(t *rapid.T) {
		name := anyName.Draw(t, "name")
		w.both(what+" "+name, func(i int) (any, error) { return f(w.sys[i], w.paths(name)[i]) })
	}
}

func (w *twins) withFile(t *rapid.T, what string, f func(vfs.File) (any, error)) {
	names := make([]string, 0, len(w.opened))
	for name := range w.opened {
		names = append(names, name)
	}
	if len(names) == 0 {
		t.Skip()
	}
	slices.Sort(names)
	name := rapid.SampledFrom(names).Draw(t, "file")
	w.both(what+" "+name, func(i int) (any, error) { return f(w.opened[name][i]) })
}

var anyName = rapid.SampledFrom([]string{"a", "b", "dir/a", "dir/b", "dir/sub/c", "missing/a", "dir", "dir/sub", "a/b"})

// TestMemBehavesLikeTheSystem does random operations on a temporary folder and on a Mem; answers and contents must agree.
func TestMemBehavesLikeTheSystem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, err := os.MkdirTemp("", "vfs")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(base)
		w := &twins{t: t, base: base, sys: [2]vfs.FS{vfs.OS(), vfs.NewMem()}, opened: map[string][2]vfs.File{}}
		defer func() {
			for _, pair := range w.opened {
				pair[0].Close()
			}
		}()
		t.Repeat(w.actions())
	})
}

func (w *twins) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"create":    func(t *rapid.T) { w.open("create", anyName.Draw(t, "name"), vfs.FS.Create) },
		"open":      func(t *rapid.T) { w.open("open", anyName.Draw(t, "name"), readable) },
		"openWrite": func(t *rapid.T) { w.open("openWrite", anyName.Draw(t, "name"), vfs.FS.OpenWrite) },
		"remove":    w.named("remove", func(f vfs.FS, name string) (any, error) { return nil, f.Remove(name) }),
		"mkdir": func(t *rapid.T) { // the names of folders only, since Rename is not promised for those
			name := rapid.SampledFrom([]string{"dir", "dir/sub"}).Draw(t, "name")
			w.both("mkdir "+name, func(i int) (any, error) { return nil, w.sys[i].MkdirAll(w.paths(name)[i]) })
		},
		"list": w.named("list", func(f vfs.FS, name string) (any, error) { return f.List(name) }),
		"size": w.named("size", func(f vfs.FS, name string) (any, error) { return f.Size(name) }),
		"rename": func(t *rapid.T) {
			file := rapid.SampledFrom([]string{"a", "b", "dir/a", "dir/b", "missing/a"})
			from, to := file.Draw(t, "from"), file.Draw(t, "to")
			w.both("rename "+from+" "+to, func(i int) (any, error) {
				return nil, w.sys[i].Rename(w.paths(from)[i], w.paths(to)[i])
			})
		},
		"link": func(t *rapid.T) {
			file := rapid.SampledFrom([]string{"a", "b", "dir/a", "dir/b", "missing/a"})
			from, to := file.Draw(t, "from"), file.Draw(t, "to")
			w.both("link "+from+" "+to, func(i int) (any, error) {
				return nil, w.sys[i].Link(w.paths(from)[i], w.paths(to)[i])
			})
		},
		"is": func(t *rapid.T) {
			name, i := anyName.Draw(t, "name"), 0
			w.withFile(t, "is "+name, func(f vfs.File) (any, error) {
				same, err := w.sys[i].Is(w.paths(name)[i], f)
				i++
				if same {
					return int64(1), err
				}
				return int64(0), err
			})
		},
		"linked": func(t *rapid.T) {
			w.withFile(t, "linked", func(f vfs.File) (any, error) {
				n, err := f.Links()
				return int64(n), err
			})
		},
		"write out": func(t *rapid.T) {
			off, n := rapid.Int64Range(0, 3000).Draw(t, "off"), rapid.Int64Range(0, 3000).Draw(t, "n")
			w.withFile(t, "write out", func(f vfs.File) (any, error) { return nil, f.WriteOut(off, n) })
		},
		"forget": func(t *rapid.T) { w.withFile(t, "forget", func(f vfs.File) (any, error) { return nil, f.Forget() }) },
		"read": func(t *rapid.T) {
			off, n := rapid.Int64Range(0, 3000).Draw(t, "off"), rapid.IntRange(0, 3000).Draw(t, "n")
			w.withFile(t, "read", func(f vfs.File) (any, error) {
				p := make([]byte, n)
				got, err := f.ReadAt(p, off)
				return p[:got], err
			})
		},
		"write": func(t *rapid.T) {
			off, p := rapid.Int64Range(0, 2000).Draw(t, "off"), fill(rapid.Byte().Draw(t, "byte"), rapid.IntRange(1, 1200).Draw(t, "n"))
			w.withFile(t, "write", func(f vfs.File) (any, error) {
				n, err := f.WriteAt(p, off)
				return int64(n), err
			})
		},
		"truncate": func(t *rapid.T) {
			size := rapid.Int64Range(0, 3000).Draw(t, "size")
			w.withFile(t, "truncate", func(f vfs.File) (any, error) { return nil, f.Truncate(size) })
		},
		"preallocate": func(t *rapid.T) {
			size := rapid.Int64Range(1, 3000).Draw(t, "size")
			w.withFile(t, "preallocate", func(f vfs.File) (any, error) { return nil, f.Preallocate(size) })
		},
		"sync":     func(t *rapid.T) { w.withFile(t, "sync", func(f vfs.File) (any, error) { return nil, f.Sync() }) },
		"fileSize": func(t *rapid.T) { w.withFile(t, "size", func(f vfs.File) (any, error) { return f.Size() }) },
		"close": func(t *rapid.T) {
			var closed vfs.File
			w.withFile(t, "close", func(f vfs.File) (any, error) { closed = f; return nil, f.Close() })
			for name, pair := range w.opened {
				if pair[1] == closed {
					delete(w.opened, name)
				}
			}
		},
	}
}

// readable opens for reading what is a file: folders can be opened on the real file system, which nobody asks for.
func readable(f vfs.FS, name string) (vfs.File, error) {
	if _, err := f.Size(name); err != nil {
		return nil, err
	}
	return f.Open(name)
}

func TestOSSyncsAndMeasures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	sys := vfs.OS()
	if err := sys.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	f, err := sys.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Preallocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != 1<<20 {
		t.Fatalf("size %d, %v after preallocating a MiB", size, err)
	}
	if _, err := f.WriteAt([]byte("x"), 5); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := sys.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	space, err := sys.Free(dir)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	if err == nil && (space.Free == 0 || space.Free > space.Total) {
		t.Errorf("%d bytes free of %d", space.Free, space.Total)
	}
}
