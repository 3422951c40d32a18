package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Held returns the operating system's file system with a folder that is open in the place of the name that it was opened by: what is moved there,
// mounted over it or put in its place later is not touched, and files go on being made in the folder itself, wherever that is meanwhile. Errors have the names
// that were asked for. Where the system cannot be asked for that, it is OS.
func Held(name string, folder *os.File) FS {
	if path := PathOf(name, folder); path != name {
		return heldFS{name: filepath.Clean(name), path: path}
	}
	return OS()
}

// PathOf returns a path of a folder that is open which goes on leading to it whatever its name comes to stand for, as long as it is open; name where the
// system has none.
func PathOf(name string, folder *os.File) string {
	path := pathOf(folder)
	if path == "" {
		return name
	}
	there, err := os.Stat(path)
	if err != nil {
		return name
	}
	if own, err := folder.Stat(); err != nil || !os.SameFile(own, there) {
		return name
	}
	return path
}

// Moved reports whether a name does not stand for a folder any more that is open: it was moved, or something else is in its place.
func Moved(name string, folder *os.File) bool {
	own, err := folder.Stat()
	if err != nil {
		return false // nothing is known
	}
	there, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(own, there)
}

type heldFS struct {
	osFS
	name, path string
}

// at returns the path that leads to what a name below the folder's stands for.
func (h heldFS) at(name string) string {
	switch rest, below := strings.CutPrefix(filepath.Clean(name), h.name+string(filepath.Separator)); {
	case below:
		return filepath.Join(h.path, rest)
	case rest == h.name:
		return h.path
	case h.name == "." && filepath.IsLocal(rest):
		return filepath.Join(h.path, rest)
	}
	return name
}

// named gives an error the names that were asked for.
func (h heldFS) named(err error) error { return Named(err, h.path, h.name) }

// Named gives an error of a call on something below a path the name that people know that by.
func Named(err error, path, name string) error {
	if err == nil || err == io.EOF {
		return err
	}
	back := func(full string) string {
		if rest, below := strings.CutPrefix(full, path); below {
			return filepath.Join(name, rest)
		}
		return full
	}
	var one *fs.PathError
	var two *os.LinkError
	switch {
	case errors.As(err, &one):
		one.Path = back(one.Path)
	case errors.As(err, &two):
		two.Old, two.New = back(two.Old), back(two.New)
	}
	return err
}

// file returns what was opened.
func (h heldFS) file(f File, err error) (File, error) {
	if err != nil {
		return nil, h.named(err)
	}
	return heldFile{f.(osFile), &h}, nil
}

func (h heldFS) Create(name string) (File, error) { return h.file(h.osFS.Create(h.at(name))) }

func (h heldFS) Open(name string) (File, error) { return h.file(h.osFS.Open(h.at(name))) }

func (h heldFS) OpenWrite(name string) (File, error) { return h.file(h.osFS.OpenWrite(h.at(name))) }

func (h heldFS) Remove(name string) error { return h.named(h.osFS.Remove(h.at(name))) }

func (h heldFS) Rename(from, to string) error { return h.named(h.osFS.Rename(h.at(from), h.at(to))) }

func (h heldFS) Link(from, to string) error { return h.named(h.osFS.Link(h.at(from), h.at(to))) }

func (h heldFS) MkdirAll(dir string) error { return h.named(h.osFS.MkdirAll(h.at(dir))) }

func (h heldFS) List(dir string) ([]string, error) {
	names, err := h.osFS.List(h.at(dir))
	return names, h.named(err)
}

func (h heldFS) Size(name string) (int64, error) {
	n, err := h.osFS.Size(h.at(name))
	return n, h.named(err)
}

func (h heldFS) Is(name string, f File) (bool, error) {
	own, ok := f.(heldFile)
	if !ok {
		return false, nil
	}
	is, err := h.osFS.Is(h.at(name), own.osFile)
	return is, h.named(err)
}

func (h heldFS) SyncDir(dir string) error { return h.named(h.osFS.SyncDir(h.at(dir))) }

func (h heldFS) Free(dir string) (Space, error) {
	space, err := h.osFS.Free(h.at(dir))
	return space, h.named(err)
}

// heldFile is a file that was opened below such a folder.
type heldFile struct {
	osFile
	h *heldFS
}

func (f heldFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.osFile.ReadAt(p, off)
	return n, f.h.named(err)
}

func (f heldFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.osFile.WriteAt(p, off)
	return n, f.h.named(err)
}

func (f heldFile) Size() (int64, error) {
	n, err := f.osFile.Size()
	return n, f.h.named(err)
}

func (f heldFile) Sync() error { return f.h.named(f.osFile.Sync()) }

func (f heldFile) WriteOut(off, n int64) error { return f.h.named(f.osFile.WriteOut(off, n)) }

func (f heldFile) Links() (int, error) {
	n, err := f.osFile.Links()
	return n, f.h.named(err)
}

func (f heldFile) Truncate(size int64) error { return f.h.named(f.osFile.Truncate(size)) }

func (f heldFile) Preallocate(size int64) error { return f.h.named(f.osFile.Preallocate(size)) }

func (f heldFile) Forget() error { return f.h.named(f.osFile.Forget()) }

func (f heldFile) Close() error { return f.h.named(f.osFile.Close()) }
