package vfs

import (
	"cmp"
	"path/filepath"
	"slices"
	"sync"
)

// Op is a set of kinds of operations.
type Op uint32

// The operations, of the file system and then of files.
const (
	OpCreate Op = 1 << iota
	OpOpen
	OpOpenWrite
	OpRemove
	OpRename
	OpMkdir
	OpList
	OpSize
	OpSyncDir
	OpFree
	OpRead
	OpWrite
	OpSync // WriteOut, too
	OpTruncate
	OpPreallocate
	OpLink
	OpForget
	OpStat // Is, and Size of an open file
	OpLinks
	OpClose

	// OpChange is every operation that changes what is stored or makes it durable.
	OpChange = OpCreate | OpRemove | OpRename | OpMkdir | OpSyncDir | OpWrite | OpSync | OpTruncate | OpPreallocate | OpLink
)

// Rule makes operations fail.
type Rule struct {
	Ops   Op     // which kinds
	Path  string // pattern of filepath.Match for the last part of the name, a renamed file's old one; empty is any
	Skip  int    // fitting operations that succeed first
	Times int    // fitting operations that fail then; 0 is all
	Err   error  // what they return
	Short int    // bytes that a failing write still writes
	Done  bool   // what fails is done all the same: all but reads, what opens a file that exists, and syncing the names of folders that are made
	Clean bool   // a failing sync counts for the system as done, as on Linux: no later one makes durable what it was for; of a folder, none of the same life
	Flip  bool   // reads do not fail: one byte of what they return is wrong
}

// Faulty passes every operation on to another file system, but for those that fail by its rules.
type Faulty struct {
	fs FS

	mu      sync.Mutex
	rules   []Rule
	observe func(Op, string)
}

// NewFaulty wraps a file system. The first rule that fits and is not used up decides.
func NewFaulty(fs FS, rules ...Rule) *Faulty {
	f := &Faulty{fs: fs}
	f.SetRules(rules...)
	return f
}

// SetRules replaces the rules; without any, nothing fails any more.
func (f *Faulty) SetRules(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.Clone(rules)
}

// Observe has a function called before every operation, by the goroutine that does it and under no lock.
func (f *Faulty) Observe(before func(op Op, name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observe = before
}

// check says whether an operation fails, and by which rule.
func (f *Faulty) check(op Op, name string) (by Rule, err error) {
	f.mu.Lock()
	observe := f.observe
	f.mu.Unlock()
	if observe != nil {
		observe(op, name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		r := &f.rules[i]
		if r.Ops&op == 0 || r.Times < 0 {
			continue
		}
		if r.Path != "" {
			if fits, _ := filepath.Match(r.Path, filepath.Base(name)); !fits {
				continue
			}
		}
		if r.Skip > 0 {
			r.Skip--
			continue
		}
		if r.Times == 1 {
			r.Times = -1 // used up
		} else if r.Times > 1 {
			r.Times--
		}
		if r.Flip {
			return *r, nil
		}
		return *r, pathError("faulty", name, r.Err)
	}
	return Rule{}, nil
}

// does carries out an operation unless it fails, and if it fails but is done all the same.
func (f *Faulty) does(op Op, name string, do func() error) error {
	by, err := f.check(op, name)
	if err == nil || by.Done {
		return cmp.Or(err, do())
	}
	return err
}

// Create makes a new file.
func (f *Faulty) Create(name string) (File, error) {
	return f.open(OpCreate, name, f.fs.Create)
}

// Open opens a file for reading.
func (f *Faulty) Open(name string) (File, error) {
	return f.open(OpOpen, name, f.fs.Open)
}

// OpenWrite opens a file that exists for reading and writing.
func (f *Faulty) OpenWrite(name string) (File, error) {
	return f.open(OpOpenWrite, name, f.fs.OpenWrite)
}

func (f *Faulty) open(op Op, name string, open func(string) (File, error)) (File, error) {
	if by, err := f.check(op, name); err != nil {
		if by.Done && op == OpCreate {
			if file, doneErr := open(name); doneErr == nil {
				_ = file.Close() // nobody hears of it
			}
		}
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Remove removes a file or an empty folder.
func (f *Faulty) Remove(name string) error {
	return f.does(OpRemove, name, func() error { return f.fs.Remove(name) })
}

// Rename gives a file another name in the same folder.
func (f *Faulty) Rename(from, to string) error {
	return f.does(OpRename, from, func() error { return f.fs.Rename(from, to) })
}

// Link gives a file one more name.
func (f *Faulty) Link(from, to string) error {
	return f.does(OpLink, from, func() error { return f.fs.Link(from, to) })
}

// Is reports whether a name still stands for an open file.
func (f *Faulty) Is(name string, file File) (bool, error) {
	if _, err := f.check(OpStat, name); err != nil {
		return false, err
	}
	if own, ok := file.(*faultyFile); ok {
		file = own.File
	}
	return f.fs.Is(name, file)
}

// MkdirAll makes a folder and those above it, durably.
func (f *Faulty) MkdirAll(dir string) error {
	by, err := f.check(OpMkdir, dir)
	if m, can := f.fs.(interface{ makeUnsynced(string) error }); can && err != nil && by.Done {
		return cmp.Or(err, m.makeUnsynced(dir))
	}
	if err == nil || by.Done {
		return cmp.Or(err, f.fs.MkdirAll(dir))
	}
	return err
}

// List returns the names in a folder.
func (f *Faulty) List(dir string) ([]string, error) {
	if _, err := f.check(OpList, dir); err != nil {
		return nil, err
	}
	return f.fs.List(dir)
}

// Size returns a file's size in bytes.
func (f *Faulty) Size(name string) (int64, error) {
	if _, err := f.check(OpSize, name); err != nil {
		return 0, err
	}
	return f.fs.Size(name)
}

// SyncDir makes the names in a folder durable.
func (f *Faulty) SyncDir(dir string) error {
	by, err := f.check(OpSyncDir, dir)
	if lossy, can := f.fs.(interface{ loseNames(string) }); can && err != nil && by.Clean {
		lossy.loseNames(dir)
		return err
	}
	if err == nil || by.Done {
		return cmp.Or(err, f.fs.SyncDir(dir))
	}
	return err
}

// Free says how much space there is.
func (f *Faulty) Free(dir string) (Space, error) {
	if _, err := f.check(OpFree, dir); err != nil {
		return Space{}, err
	}
	return f.fs.Free(dir)
}

// faultyFile is an open file of a Faulty. What fails to be closed is closed.
type faultyFile struct {
	File
	fs   *Faulty
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	by, err := f.fs.check(OpRead, f.name)
	if err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, off)
	if by.Flip && n > 0 {
		p[int(uint64(off)*2654435761%uint64(n))] ^= 1 << (off % 8)
	}
	return n, err
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if by, err := f.fs.check(OpWrite, f.name); err != nil {
		if by.Done {
			by.Short = len(p)
		}
		n, writeErr := f.File.WriteAt(p[:min(by.Short, len(p))], off)
		if writeErr != nil {
			err = writeErr
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Sync() error {
	by, err := f.fs.check(OpSync, f.name)
	if lossy, can := f.File.(interface{ loseDirty() }); can && err != nil && by.Clean {
		lossy.loseDirty()
		return err
	}
	if err == nil || by.Done {
		return cmp.Or(err, f.File.Sync())
	}
	return err
}

func (f *faultyFile) WriteOut(off, n int64) error {
	if _, err := f.fs.check(OpSync, f.name); err != nil {
		return err
	}
	return f.File.WriteOut(off, n)
}

func (f *faultyFile) Size() (int64, error) {
	if _, err := f.fs.check(OpStat, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Links() (int, error) {
	if _, err := f.fs.check(OpLinks, f.name); err != nil {
		return 0, err
	}
	return f.File.Links()
}

func (f *faultyFile) Close() error {
	_, err := f.fs.check(OpClose, f.name)
	return cmp.Or(err, f.File.Close())
}

func (f *faultyFile) Forget() error {
	return f.fs.does(OpForget, f.name, func() error { return f.File.Forget() })
}

func (f *faultyFile) Truncate(size int64) error {
	return f.fs.does(OpTruncate, f.name, func() error { return f.File.Truncate(size) })
}

func (f *faultyFile) Preallocate(size int64) error {
	return f.fs.does(OpPreallocate, f.name, func() error { return f.File.Preallocate(size) })
}
