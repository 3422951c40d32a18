package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// page is how much of a file is given up at least where the disk does not give it back, in bytes.
const page = 4096

// replaceUnreadable has each file of segments of which the disk does not give back some pages replaced by a copy with zeros there, for a repair. What was in
// those pages is damage then, which costs their messages; left as they are, the next start would wait for the disk to give them back, for good. The
// original goes to set-aside/.
func (k *Engine) replaceUnreadable() error {
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		dir := segments{k}.dir(id)
		err = errors.Join(err, eachName(k.o.FS, dir, func(name string) error {
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

func (k *Engine) replaceIfUnreadable(path string) error {
	f, err := k.o.FS.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	bad, err := eachPage(f, func([]byte, int64) error { return nil })
	if err != nil || bad == 0 {
		return err
	}
	k.opened.Unreadable = append(k.opened.Unreadable, fmt.Sprintf("%d pages of %d bytes of %s, which the disk does not give back", bad, page, path))
	copied := path + ".tmp"
	if err := k.o.FS.Remove(copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := k.o.FS.Create(copied)
	if err != nil {
		return err
	}
	_, err = eachPage(f, func(b []byte, at int64) error {
		_, err := to.WriteAt(b, at)
		return err
	})
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	if err := k.aside.put(path); err != nil {
		return err
	}
	if err := k.o.FS.Rename(copied, path); err != nil {
		return err
	}
	return k.o.FS.SyncDir(filepath.Dir(path))
}

// eachPage calls use with all of a file, in order, with zeros in place of pages that the disk does not give back, of which it returns how many there are.
func eachPage(f vfs.File, use func(b []byte, at int64) error) (bad int, err error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	b := make([]byte, 64*page)
	for at := int64(0); at < size; at += int64(len(b)) {
		part := b[:min(int64(len(b)), size-at)]
		if err := readPart(f, part, at); err == nil {
			if err = use(part, at); err != nil {
				return bad, err
			}
			continue
		}
		for off := 0; off < len(part); off += page { // one of them, and the others as they are
			p := part[off:min(off+page, len(part))]
			switch err := vfs.Retry(func() error { return readPart(f, p, at+int64(off)) }); {
			case errors.Is(err, syscall.EIO):
				clear(p)
				bad++
			case err != nil:
				return bad, err
			}
		}
		if err := use(part, at); err != nil {
			return bad, err
		}
	}
	return bad, nil
}

func readPart(f vfs.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) && errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
