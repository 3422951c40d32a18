package vfs

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory for tests. It keeps, beside what was written, what was synced, so that CrashClone can show
// what a power cut may leave. Use NewMem.
type Mem struct {
	mu    sync.Mutex
	root  *memDir
	limit int64 // bytes of all files; 0 is without limit
	used  int64 // bytes of all files that have a name or are open
	style Style
	freed [][]byte // what was in files that are gone, the newest last
}

// Style is what a power cut does to a file system of which others are not capable: each is a real one's.
type Style struct {
	TornRenames bool // of a rename only the new name may be there: the file has both, as without a journal
	LostRenames bool // of a rename only the end of the old name may be there: the file has neither, and what had the new name has it still
	Stale       bool // where a file grew, what was not synced may show what files that are gone had, as with ext4's data=writeback
}

// SetStyle says of what kind the file system is, for this and for all clones.
func (m *Mem) SetStyle(s Style) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.style = s
}

// NewMem returns an empty file system.
func NewMem() *Mem { return &Mem{root: newMemDir()} }

// maxFreed is how many files that are gone are remembered.
const maxFreed = 16

// memDir is a folder: what is in it now, what a power cut is sure to leave, and what was done in between.
type memDir struct {
	entries map[string]any // *memDir or *memFile
	synced  map[string]any
	pending []dirChange    // since the last SyncDir, in order
	stuck   map[string]any // of names that the system takes for written and are not, since a sync failed: what they durably stand for, nil for nothing
	locked  bool           // nobody may change its names
}

// dirChange takes a name away, adds one, or does both at once.
type dirChange struct {
	remove string
	add    string
	node   any // what add names
}

func newMemDir() *memDir {
	return &memDir{entries: make(map[string]any), synced: make(map[string]any)}
}

func (d *memDir) change(c dirChange) {
	c.apply(d.entries)
	delete(d.stuck, c.remove)
	delete(d.stuck, c.add)
	d.pending = append(d.pending, c)
}

func (c dirChange) apply(entries map[string]any) {
	if c.remove != "" {
		delete(entries, c.remove)
	}
	if c.add != "" {
		entries[c.add] = c.node
	}
}

// SetLimit bounds the bytes of all files, 0 for no bound. Below what is used already nothing can be added.
func (m *Mem) SetLimit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = bytes
}

// Used returns the bytes of all files.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// roomLocked says how many of n more bytes fit.
func (m *Mem) roomLocked(n int64) int64 {
	if m.limit == 0 {
		return n
	}
	return max(0, min(n, m.limit-m.used))
}

func split(name string) []string {
	clean := strings.Trim(filepath.ToSlash(filepath.Clean(name)), "/")
	if clean == "." || clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// dirLocked walks to a folder.
func (m *Mem) dirLocked(parts []string) (*memDir, error) {
	d := m.root
	for _, part := range parts {
		switch node := d.entries[part].(type) {
		case *memDir:
			d = node
		case *memFile:
			return nil, syscall.ENOTDIR
		default:
			return nil, syscall.ENOENT
		}
	}
	return d, nil
}

// changeable is parentLocked for who will change a name: not everybody may.
func (m *Mem) changeable(name string) (*memDir, string, error) {
	d, base, err := m.parentLocked(name)
	if err == nil && d.locked {
		err = syscall.EACCES
	}
	return d, base, err
}

// Protect takes from everybody the right to write to a file, or to change the names in a folder, or gives it back. It is not forgotten.
func (m *Mem) Protect(name string, on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d, err := m.dirLocked(split(name)); err == nil {
		d.locked = on
		return nil
	}
	f, err := m.fileLocked(name)
	if err != nil {
		return pathError("chmod", name, err)
	}
	f.locked = on
	return nil
}

// Break has sectors of a file not be read any more, from that of a byte on and so many, until they are written to; 0: all can be read again.
func (m *Mem) Break(name string, off int64, sectors int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(name)
	if err != nil {
		return pathError("break", name, err)
	}
	if f.broken == nil || sectors == 0 {
		f.broken = make(map[int64]bool)
	}
	for i := range sectors {
		f.broken[off/sectorSize+int64(i)] = true
	}
	return nil
}

// parentLocked walks to the folder that holds name and returns it with the last part of the name.
func (m *Mem) parentLocked(name string) (*memDir, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", syscall.EISDIR
	}
	d, err := m.dirLocked(parts[:len(parts)-1])
	return d, parts[len(parts)-1], err
}

// fileLocked finds a file.
func (m *Mem) fileLocked(name string) (*memFile, error) {
	d, base, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	switch node := d.entries[base].(type) {
	case *memFile:
		return node, nil
	case *memDir:
		return nil, syscall.EISDIR
	default:
		return nil, syscall.ENOENT
	}
}

// Create makes a new file.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.changeable(name)
	if err != nil && d != nil && d.entries[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if _, taken := d.entries[base]; taken {
		return nil, pathError("open", name, syscall.EEXIST)
	}
	f := &memFile{names: 1, opened: 1}
	d.change(dirChange{add: base, node: f})
	return &memHandle{m: m, f: f, name: name, write: true}, nil
}

// Open opens a file for reading.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenWrite opens a file that exists for reading and writing.
func (m *Mem) OpenWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, write bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(name)
	if err == nil && write && f.locked {
		err = syscall.EACCES
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	f.opened++
	return &memHandle{m: m, f: f, name: name, write: write}, nil
}

// Remove removes a file or an empty folder.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.changeable(name)
	if err != nil && d != nil && d.entries[base] == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	switch node := d.entries[base].(type) {
	case *memDir:
		if len(node.entries) > 0 {
			return pathError("remove", name, syscall.ENOTEMPTY)
		}
	case *memFile:
		node.names--
		m.forgetLocked(node)
	default:
		return pathError("remove", name, syscall.ENOENT)
	}
	d.change(dirChange{remove: base})
	return nil
}

// forgetLocked gives a file's space back if nobody can reach it any more.
func (m *Mem) forgetLocked(f *memFile) {
	if f.names == 0 && f.opened == 0 {
		m.used -= int64(len(f.data))
		if m.style.Stale && len(f.data) > 0 {
			m.freed = append(m.freed[max(0, len(m.freed)+1-maxFreed):], f.data)
		}
	}
}

// Rename gives a file another name in the same folder.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.renameLocked(from, to); err != nil {
		return pathError("rename", from, err)
	}
	return nil
}

func (m *Mem) renameLocked(from, to string) error {
	if filepath.Dir(from) != filepath.Dir(to) {
		return syscall.EXDEV
	}
	f, err := m.fileLocked(from)
	if err != nil {
		return err
	}
	d, base, err := m.changeable(to)
	if err != nil {
		return err
	}
	switch node := d.entries[base].(type) {
	case *memDir:
		return syscall.EEXIST
	case *memFile:
		if node == f {
			return nil
		}
		node.names--
		m.forgetLocked(node)
	}
	d.change(dirChange{remove: filepath.Base(from), add: base, node: f})
	return nil
}

// Link gives a file one more name.
func (m *Mem) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(from)
	if err != nil {
		return pathError("link", from, err)
	}
	d, base, err := m.changeable(to)
	if err != nil {
		return pathError("link", to, err)
	}
	if d.entries[base] != nil {
		return pathError("link", to, syscall.EEXIST)
	}
	f.names++
	d.change(dirChange{add: base, node: f})
	return nil
}

// Is reports whether a name still stands for an open file.
func (m *Mem) Is(name string, f File) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, ok := f.(*memHandle)
	named, err := m.fileLocked(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
		return false, nil
	}
	if err != nil {
		return false, pathError("stat", name, err)
	}
	return ok && own.f == named, nil
}

// MkdirAll makes a folder and those above it, durably.
func (m *Mem) MkdirAll(dir string) error { return m.mkdirAll(dir, (*memDir).sync) }

// makeUnsynced is MkdirAll that fails at its end: the folder is there, its name was not synced.
func (m *Mem) makeUnsynced(dir string) error {
	if err := m.MkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	return m.mkdirAll(dir, func(*memDir) {})
}

func (m *Mem) mkdirAll(dir string, sync func(*memDir)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := mkdirAll(dir, func(dir string) (bool, error) {
		_, err := m.dirLocked(split(dir))
		if errors.Is(err, syscall.ENOENT) {
			return false, nil
		}
		return err == nil, err
	}, func(dir string) error {
		d, base, err := m.changeable(dir)
		if err == nil {
			d.change(dirChange{add: base, node: newMemDir()})
		}
		return err
	}, func(dir string) error {
		d, err := m.dirLocked(split(dir))
		if err == nil {
			sync(d)
		}
		return err
	})
	if err != nil {
		return pathError("mkdir", dir, err)
	}
	return nil
}

// List returns the names in a folder, sorted.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(split(dir))
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	return slices.Sorted(maps.Keys(d.entries)), nil
}

// Size returns a file's size in bytes.
func (m *Mem) Size(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(name)
	if err != nil {
		return 0, pathError("size", name, err)
	}
	return int64(len(f.data)), nil
}

// SyncDir makes the names in a folder durable.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(split(dir))
	if err != nil {
		return pathError("sync", dir, err)
	}
	d.sync()
	return nil
}

func (d *memDir) sync() {
	d.synced = maps.Clone(d.entries)
	d.pending = nil
	for name, durable := range d.stuck {
		if d.synced[name] = durable; durable == nil {
			delete(d.synced, name)
		}
	}
}

// loseNames is what a system may do when a sync of a folder fails: its names are as they are, and are not written any more.
func (m *Mem) loseNames(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(split(dir))
	if err != nil {
		return
	}
	for _, c := range d.pending {
		for _, name := range []string{c.remove, c.add} {
			if name != "" {
				d.stick(name)
			}
		}
	}
	d.pending = nil
}

// stick has a name durably stand for what it did when it was last synced, until it is changed again.
func (d *memDir) stick(name string) {
	if d.stuck == nil {
		d.stuck = make(map[string]any)
	}
	d.stuck[name] = d.synced[name]
}

// Free says how much of the limit is left; without a limit, of 1 TiB.
func (m *Mem) Free(dir string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.dirLocked(split(dir)); err != nil {
		return Space{}, pathError("statfs", dir, err)
	}
	total := m.limit
	if total == 0 {
		total = 1 << 40
	}
	return Space{Free: uint64(max(0, total-m.used)), Total: uint64(total)}, nil
}
