package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"brokerd/diskqueue/vfs"
)

// FileName is the manifest's name in the data folder.
const FileName = "manifest"

// Read returns the folder's manifest, false when there is none. What is damaged is read twice, the second time from the disk.
func Read(files vfs.FS, dir string) (m Manifest, found bool, err error) {
	name := filepath.Join(dir, FileName)
	err = vfs.ReadTwice(files, name, func(b []byte) error {
		m, err = Parse(b)
		return err
	}, func(err error) bool { return errors.Is(err, ErrDamaged) })
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, false, nil
	}
	if err != nil {
		return Manifest{}, true, fmt.Errorf("reading %s: %w", name, err)
	}
	return m, true, nil
}

// Write replaces the folder's manifest. After an error the old or the new one is there.
func Write(files vfs.FS, dir string, m *Manifest) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	name := filepath.Join(dir, FileName)
	if err := write(files, name, m.Append(nil)); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := files.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := files.SyncDir(dir); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

// write makes the file beside the name, and syncs it.
func write(files vfs.FS, name string, content []byte) error {
	if err := files.Remove(name + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.Create(name + ".tmp")
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
