package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

const (
	// page is how much of a file is given up at least where the disk does not give it back, in bytes.
	page = 4096
	// pages is how many of them are read at once, and tried again when that fails: by itself none is, as there may be thousands.
	pages = 64
)

// copySuffix marks the copy of a file of segments before it has its name.
const copySuffix = ".tmp"

// replaceUnreadable has each file of segments of which the disk does not give back some pages replaced by a copy with zeros there, for a repair. What was in
// those pages is damage then, which costs their messages; left as they are, the next start would wait for the disk to give them back, for good. The
// original goes to set-aside/.
func (k *Engine) replaceUnreadable() error {
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		dir := segments{k}.dir(id)
		err = errors.Join(err, k.endCopies(dir), eachName(k.o.FS, dir, func(name string) error {
			if _, is := segment.FileNumber(name); !is {
				return nil
			}
			if err := k.replaceIfUnreadable(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("replacing %s, of which the disk does not give back some: %w", filepath.Join(dir, name), err)
			}
			return nil
		}))
	}
	return err
}

// endCopies removes copies over which an earlier repair has ended. Where the original could only be renamed, and was, the copy is whole and takes its name.
func (k *Engine) endCopies(dir string) error {
	names, err := list(k.o.FS, dir)
	for _, name := range names {
		of, is := strings.CutSuffix(name, copySuffix)
		if _, seg := segment.FileNumber(of); !is || !seg {
			continue
		}
		copied := filepath.Join(dir, name)
		if slices.Contains(names, of) || !slices.Contains(names, of+asideSuffix) {
			err = errors.Join(err, k.o.FS.Remove(copied))
			continue
		}
		err = errors.Join(err, k.o.FS.Rename(copied, filepath.Join(dir, of)), k.o.FS.SyncDir(dir))
	}
	return err
}

func (k *Engine) replaceIfUnreadable(path string) error {
	if all, err := readable(k.o.FS, path); all || err != nil {
		return err
	}
	copied := path + copySuffix
	lost, err := copyReadable(k.o.FS, path, copied)
	if err == nil && lost > 0 {
		k.opened.Unreadable = append(k.opened.Unreadable, fmt.Sprintf("%d bytes of %s, which the disk does not give back", lost, path))
		return k.aside.replace(path, copied)
	}
	if removed := k.o.FS.Remove(copied); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed) // it takes room, which may be what lacks
	}
	return err
}

// readable reports whether the disk gives back all of a file.
func readable(files vfs.FS, path string) (all bool, err error) {
	f, err := files.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() // read only
	err = eachPart(f, func(p []byte, at int64) error { return vfs.Retry(func() error { return readPart(f, p, at) }) })
	if refused(err) {
		return false, nil
	}
	return err == nil, err
}

// copyReadable copies a file, with zeros in place of pages that the disk does not give back, of which it returns how many bytes they have.
func copyReadable(files vfs.FS, path, copied string) (lost int64, err error) {
	f, err := files.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // read only
	to, err := files.Create(copied)
	if err != nil {
		return 0, err
	}
	err = eachPart(f, func(part []byte, at int64) error {
		err := vfs.Retry(func() error { return readPart(f, part, at) })
		for off := 0; refused(err) && off < len(part); off += page {
			p := part[off:min(off+page, len(part))]
			switch one := readPart(f, p, at+int64(off)); {
			case refused(one):
				clear(p)
				lost += int64(len(p))
			case one != nil:
				err = one
			}
		}
		if err != nil && !refused(err) {
			return err
		}
		_, err = to.WriteAt(part, at)
		return err
	})
	if err == nil {
		err = to.Sync()
	}
	return lost, errors.Join(err, to.Close())
}

// eachPart calls do with room for some pages of a file, one part behind the other.
func eachPart(f vfs.File, do func(p []byte, at int64) error) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, pages*page)
	for at := int64(0); at < size; at += int64(len(b)) {
		if err := do(b[:min(int64(len(b)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// refused reports whether an error is what the disk, or the system, has said to a read. All that it may say counts, as in package segment.
func refused(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func readPart(f vfs.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) && errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
