package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"brokerd/diskqueue/vfs"
)

// asideFolder is where files go that nobody knows, or that are damaged and not needed any more. Nobody looks into it but people.
// It is not called lost+found, as where the data folder is a file system of its own that exists and is root's.
const asideFolder = "set-aside"

// asideSuffix marks what could not be moved, as it is on another file system.
const asideSuffix = ".set-aside"

// IsAside reports whether a file of a data folder was put aside.
func IsAside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	return err == nil && (first == asideFolder || filepath.Ext(path) == asideSuffix || filepath.Ext(path) == ".bad")
}

// aside moves files to where they do no harm.
type aside struct {
	fs    vfs.FS
	dir   string       // the data folder
	files atomic.Int64 // that are there
}

// put moves a file of the data folder aside, under the same path there. A crash leaves it in one place, or in both.
func (a *aside) put(path string) error {
	linked, err := a.link(path)
	if err == nil && !linked {
		return a.rename(path)
	}
	if err == nil {
		err = a.fs.Remove(path)
	}
	if err == nil {
		err = a.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("putting %s aside: %w", path, err)
	}
	a.files.Add(1)
	return nil
}

// replace puts a file aside and gives its name to another one beside it. Where links are known the name is never without a file.
func (a *aside) replace(path, by string) error {
	linked, err := a.link(path)
	if err == nil && !linked {
		err = a.rename(path)
	}
	if err == nil {
		err = a.fs.Rename(by, path)
	}
	if err == nil {
		err = a.fs.SyncDir(filepath.Dir(path))
	}
	if err == nil && linked {
		a.files.Add(1)
	}
	return err
}

// link gives a file a second name aside, and makes it durable; false: that cannot be had.
func (a *aside) link(path string) (linked bool, err error) {
	rel, err := filepath.Rel(a.dir, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return false, fmt.Errorf("it is not in %s", a.dir)
	}
	to := filepath.Join(a.dir, asideFolder, rel)
	if err := a.fs.MkdirAll(filepath.Dir(to)); err != nil {
		return false, err
	}
	for n, free := 1, to; ; n++ {
		err = a.fs.Link(path, free)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			free = fmt.Sprintf("%s.%d", to, n)
			continue
		}
		break
	}
	if err != nil { // on a file system of its own, or on one that knows no links
		return false, nil
	}
	return true, a.fs.SyncDir(filepath.Dir(to))
}

// rename puts a file aside where it is, under a name that is free: nothing else gives any while this runs.
func (a *aside) rename(path string) error {
	names, err := list(a.fs, filepath.Dir(path))
	to := path + asideSuffix
	for n := 1; slices.Contains(names, filepath.Base(to)); n++ {
		to = fmt.Sprintf("%s.%d%s", path, n, asideSuffix)
	}
	if err == nil {
		err = a.fs.Rename(path, to)
	}
	if err == nil {
		err = a.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("putting %s aside: %w", path, err)
	}
	a.files.Add(1)
	return nil
}

// putAll moves all files of a folder aside, and removes it.
func (a *aside) putAll(dir string) error {
	names, err := list(a.fs, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, asideSuffix) {
			continue
		}
		if err := a.put(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if names, err = list(a.fs, dir); err != nil || len(names) > 0 {
		return err
	}
	if err := a.fs.Remove(dir); err != nil {
		return fmt.Errorf("putting %s aside: %w", dir, err)
	}
	return a.fs.SyncDir(filepath.Dir(dir))
}

// count looks how many files are aside.
func (a *aside) count() {
	a.files.Store(int64(countFiles(a.fs, filepath.Join(a.dir, asideFolder))))
}

func countFiles(files vfs.FS, dir string) (n int) {
	names, err := list(files, dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := files.Size(path); err == nil {
			n++
		} else {
			n += countFiles(files, path)
		}
	}
	return n
}

// note writes a text for people beside what is set aside.
func (a *aside) note(name, text string) error {
	dir := filepath.Join(a.dir, asideFolder)
	if err := a.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("writing a note: %w", err)
	}
	f, err := a.fs.Create(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("writing a note: %w", err)
	}
	_, err = f.WriteAt([]byte(text), 0)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = a.fs.SyncDir(dir)
	}
	return err
}
