package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"brokerd/diskqueue/vfs"
)

// DefaultFileSize is what Options.FileSize means when it is 0, in bytes.
const DefaultFileSize = 16 << 20

// maxUnsynced is how many files may wait for Sync, each with its descriptor, before Append syncs the oldest itself, so that whoever
// appends waits for the disk: as many as are filled while the node's log grows to where there is a checkpoint in any case.
const maxUnsynced = 64

// Options says where a store is and how it is kept.
type Options struct {
	FS       vfs.FS
	Dir      string       // the store's own; it is made with the first file
	FileSize int64        // bytes up to which a file is filled; 0 is DefaultFileSize, more than 4 GiB - 1 is that
	Log      *slog.Logger // nil logs nothing

	// Folder and Topic say whom the files belong to: others are left alone. Zeros: whoever it is.
	Folder [8]byte
	Topic  uint32
	// Name of that topic is written into each file, for a repair of a folder in which nothing else says it; empty: it is not.
	Name string
	// Aside puts a file away in which there is damage and of which nothing else is needed; nil: it is renamed to .bad.
	Aside func(path string) error
	// Remove removes a file of which nothing is needed; nil: the file system does.
	Remove func(path string) error
	// Whole are files that are needed as a whole and, as the caller has seen, have the sizes in bytes that they had: they are not looked into. See
	// Store.Join.
	Whole map[uint32]int64
	// AcceptLoss takes for damage what the disk cannot read; else that is an error.
	AcceptLoss bool
}

func (s *Store) owner() owner { return owner{s.o.Folder, s.o.Topic} }

func (o Options) withDefaults() Options {
	if o.FileSize <= 0 {
		o.FileSize = DefaultFileSize
	}
	o.FileSize = min(o.FileSize, maxFile)
	if o.Remove == nil {
		o.Remove = o.FS.Remove
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is the overflow of one topic. See the package comment for which methods may be called beside each other.
type Store struct {
	o Options // set at construction

	// Owned by whoever holds the caller's lock.
	active   *file // the one appended to; nil before the first Append, and after one that failed
	last     uint32
	unsynced []*file // written since they were last synced, oldest first
	doubtful []*file // a sync failed
	dirDirty bool    // names changed since the last SyncDir
	folder   bool    // is there, and durable
	syncing  bool    // between BeginSync and EndSync
	scratch  []byte

	bytes atomic.Int64 // read without any lock

	mu      sync.Mutex
	files   map[uint32]*file // guarded by mu; written by the holder of the caller's lock, who may read it without
	readers []*reader        // guarded by mu; the one used last comes last
	closed  bool             // guarded by mu; written like files
}

// Open looks for what is in the folder, which need not exist, and changes nothing in it. It returns the blocks in the order
// of their first messages, and what cannot be read. An error means that nothing can be said, such as when a file cannot be
// opened.
func Open(o Options) (*Store, []Block, []Damage, error) {
	s := &Store{o: o.withDefaults(), files: make(map[uint32]*file)}
	names, err := s.o.FS.List(s.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, fmt.Errorf("segments: %w", err)
	}
	var unseen []uint32
	for _, name := range names {
		number, bad, ok := parseFileName(name)
		if !ok {
			continue
		}
		s.last = max(s.last, number)
		if !bad && !s.adoptWhole(number) {
			unseen = append(unseen, number)
		}
	}
	found, err := s.scanAll(unseen)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("segments: %w", err)
	}
	var blocks []Block
	var damage []Damage
	for i, number := range unseen {
		if found[i].torn > 0 {
			s.o.Log.Info("segment file ends in an append that was not finished", "file", s.path(number), "bytes", found[i].torn)
		}
		s.adopt(number, found[i])
		blocks = append(blocks, found[i].blocks...)
		damage = append(damage, found[i].damage...)
	}
	slices.SortFunc(blocks, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Ref.File, b.Ref.File), cmp.Compare(a.Ref.Offset, b.Ref.Offset))
	})
	return s, blocks, damage, nil
}

// adopt enters a file that was there before.
func (s *Store) adopt(number uint32, found scanned) {
	f := &file{number: number, size: found.size, live: len(found.blocks), foreign: found.foreign, found: true, torn: found.torn}
	f.damaged.Store(len(found.damage) > 0)
	for _, b := range found.blocks {
		f.blocks = append(f.blocks, entry{offset: b.Ref.Offset, length: b.Ref.Length})
	}
	f.synced = len(f.blocks)
	s.files[number] = f
	s.bytes.Add(found.size)
}

func (s *Store) path(number uint32) string { return filepath.Join(s.o.Dir, FileName(number)) }

// Bytes returns the size of all files that blocks may be read from.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// Sizes returns the sizes in bytes of the files that are known here, by their numbers.
func (s *Store) Sizes() map[uint32]int64 {
	sizes := make(map[uint32]int64, len(s.files))
	for n, f := range s.files {
		if !f.foreign {
			sizes[n] = f.size
		}
	}
	return sizes
}

// FileSize returns up to how many bytes a file is filled.
func (s *Store) FileSize() int64 { return s.o.FileSize }

// Seal ends appending to a file, if it is the one: the next block begins another.
func (s *Store) Seal(file uint32) error {
	if f := s.active; f != nil && f.number == file {
		return s.seal(f)
	}
	return nil
}

// SyncFiles makes blocks durable that Open has found, by the files and the offsets that the first of them have: an earlier process may have written
// them and not synced. What cannot be made so is in doubt, as behind a Sync that has failed.
func (s *Store) SyncFiles(from map[uint32]uint32) {
	if len(from) == 0 {
		return
	}
	for n, offset := range from {
		if err := vfs.SyncAnew(s.o.FS, s.path(n), int64(offset), maxFile); err != nil {
			s.suspectFrom(n, offset, fmt.Errorf("segments: sync: %w", err))
		}
	}
	if err := s.o.FS.SyncDir(s.o.Dir); err != nil { // whether their names are durable is not known, and no later sync proves it
		for n, offset := range from {
			s.suspectFrom(n, offset, fmt.Errorf("segments: sync folder: %w", err))
		}
	}
}

// suspectFrom keeps the error of a failed sync with the blocks of a file from one on.
func (s *Store) suspectFrom(number, offset uint32, err error) {
	if f := s.files[number]; f != nil {
		f.synced, _ = f.find(offset)
		s.suspect(f, err)
	}
}

// Drop gives up a block that nobody needs any more. With the last block of a file that is no longer appended to the file
// goes, or is renamed if there is damage in it; an error is about that only, and Release will try again. A block that was
// dropped before is ErrGone.
func (s *Store) Drop(ref Ref) error {
	f := s.files[ref.File]
	if f == nil || !f.drop(ref) {
		return fmt.Errorf("%w: %v", ErrGone, ref)
	}
	if f.live > 0 || f == s.active {
		return nil
	}
	return s.giveUp(f)
}

// Forgo says that a block will be dropped, so that a sync which fails leaves it in no doubt: whoever drops it may have to wait for a sync first.
func (s *Store) Forgo(ref Ref) {
	f := s.files[ref.File]
	if f == nil || f.whole || ref.Whole() {
		return
	}
	if i, found := f.find(ref.Offset); found {
		f.blocks[i].forgone = true
	}
}

// Keep sees to it that the file of a block is put aside and not removed once no block of it is needed: nobody knows what the block
// is for.
func (s *Store) Keep(ref Ref) { s.noteDamage(ref.File) }

// giveUp removes a file without a block that is needed, or puts it aside.
func (s *Store) giveUp(f *file) error {
	var err error
	switch {
	case f.damaged.Load() && s.o.Aside != nil:
		err = s.o.Aside(s.path(f.number))
	case f.damaged.Load():
		err = s.o.FS.Rename(s.path(f.number), s.path(f.number)+badSuffix)
	default:
		err = s.o.Remove(s.path(f.number))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("segments: %w", err)
		s.suspectFresh(err) // it may be of a sync of the folder
		return err
	}
	s.dirDirty = true
	s.forget(f)
	return nil
}

// forget takes a file out of the tables.
func (s *Store) forget(f *file) {
	s.mu.Lock()
	delete(s.files, f.number)
	idle := s.evictLocked(func(r *reader) bool { return r.number == f.number })
	s.mu.Unlock()
	closeAll(idle)
	same := func(other *file) bool { return other == f }
	s.unsynced = slices.DeleteFunc(s.unsynced, same)
	s.doubtful = slices.DeleteFunc(s.doubtful, same)
	f.closeWriter()
	s.bytes.Add(-f.size)
}

// Release syncs what is not synced, gives up files that nobody needs, also the one that was appended to, and closes all
// descriptors and buffers. The store can be used on; it opens what it needs. Between BeginSync and EndSync it does nothing.
func (s *Store) Release() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.syncing:
		return nil
	}
	if f := s.active; f != nil && f.live == 0 {
		s.active = nil
	}
	errs := []error{s.sweep(), s.Sync()}
	for _, f := range s.files {
		f.closeWriter()
	}
	s.scratch = nil
	s.mu.Lock()
	idle := s.evictLocked(func(*reader) bool { return true })
	s.mu.Unlock()
	closeAll(idle)
	return errors.Join(errs...)
}

// sweep gives up every file that has no block that is needed and is not appended to.
func (s *Store) sweep() error {
	var errs []error
	for _, f := range s.files {
		if f.live == 0 && f != s.active && !f.foreign {
			errs = append(errs, s.giveUp(f))
		}
	}
	return errors.Join(errs...)
}

// Close is Release for good.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	err := s.Release()
	s.shut()
	return err
}

func (s *Store) shut() {
	s.mu.Lock()
	s.closed = true
	idle := s.evictLocked(func(*reader) bool { return true })
	s.mu.Unlock()
	closeAll(idle)
}

// RemoveAll closes the store and removes all its files, also those that were put aside, and its folder unless somebody
// else's file is in it. It goes on where something cannot be removed, and may be called again.
func (s *Store) RemoveAll() error {
	s.active = nil
	foreign := map[string]bool{}
	for _, f := range s.files {
		foreign[FileName(f.number)] = f.foreign
		s.forget(f)
	}
	s.shut()
	names, err := s.o.FS.List(s.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	others := 0
	for _, name := range names {
		if _, _, ours := parseFileName(name); !ours || foreign[name] {
			others++
		} else if err := s.o.FS.Remove(filepath.Join(s.o.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	switch err := errors.Join(errs...); {
	case err != nil:
		return fmt.Errorf("segments: remove all: %w", err)
	case others > 0:
		return s.o.FS.SyncDir(s.o.Dir)
	}
	if err := s.o.FS.Remove(s.o.Dir); err != nil {
		return fmt.Errorf("segments: remove all: %w", err)
	}
	return s.o.FS.SyncDir(filepath.Dir(s.o.Dir))
}
