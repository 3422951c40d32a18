package segment

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"brokerd/diskqueue/vfs"
)

// Sync makes everything that was appended since the last Sync survive a power cut. Its error stays until no block that it
// left in doubt is needed: see Doubtful.
func (s *Store) Sync() error {
	y, err := s.BeginSync()
	if err != nil {
		return err
	}
	y.Run()
	return s.EndSync(y)
}

// Unsynced returns how many files wait for Sync.
func (s *Store) Unsynced() int { return len(s.unsynced) }

// Syncing is a Sync in three steps, of which the one that takes long needs no lock: BeginSync, Run, EndSync.
type Syncing struct {
	fs    vfs.FS
	dir   string // to be synced; empty when no name has changed
	err   error  // of that
	fresh []*file
	files []syncingFile
}

// syncingFile is a file that is being synced.
type syncingFile struct {
	f      *file
	w      vfs.File
	blocks int   // that it had when it began
	from   int64 // what was appended since it was synced begins here
	to     int64 // and ends here
	err    error
}

// beginsSync returns what there is to sync of a file.
func (f *file) beginsSync() syncingFile {
	y := syncingFile{f: f, w: f.w, blocks: len(f.blocks), to: f.size}
	if f.synced < len(f.blocks) {
		y.from = int64(f.blocks[f.synced].offset)
	}
	return y
}

// BeginSync begins to sync what was appended before it. Every method may be called before EndSync but Sync, BeginSync and Close.
func (s *Store) BeginSync() (*Syncing, error) {
	if s.closed {
		return nil, ErrClosed
	}
	y := &Syncing{fs: s.o.FS}
	for _, f := range s.unsynced {
		f.dirty, f.syncing = false, true
		y.files = append(y.files, f.beginsSync())
	}
	clear(s.unsynced)
	s.unsynced = s.unsynced[:0]
	if s.dirDirty {
		y.dir, s.dirDirty = s.o.Dir, false
		for _, f := range s.files {
			if f.fresh {
				y.fresh = append(y.fresh, f)
			}
		}
	}
	s.syncing = true
	return y, nil
}

// Run does the work. It needs no lock.
func (y *Syncing) Run() {
	for i := range y.files {
		if err := y.files[i].sync(); err != nil {
			y.files[i].err = fmt.Errorf("segments: sync: %w", err)
		}
	}
	if y.dir != "" {
		if err := y.fs.SyncDir(y.dir); err != nil {
			y.err = fmt.Errorf("segments: sync folder: %w", err)
		}
	}
}

// While a file is synced others wait for the disk too, who commits to the log above all: it is written out in parts, with a pause behind each that is as
// long as that took.
const (
	writeOutBytes = 1 << 20
	mostPause     = 10 * time.Millisecond
)

func (d *syncingFile) sync() error {
	for off := d.from; d.to-off > writeOutBytes; off += writeOutBytes {
		began := time.Now()
		if err := d.w.WriteOut(off, writeOutBytes); err != nil {
			return err
		}
		time.Sleep(min(time.Since(began), mostPause))
	}
	return d.w.Sync()
}

// EndSync takes in what Run has done, and returns what Sync returns.
func (s *Store) EndSync(y *Syncing) error {
	s.syncing = false
	for _, d := range y.files {
		d.f.syncing = false
		s.synced(d)
	}
	if y.err != nil {
		s.dirDirty = true
		s.suspectFresh(y.err)
	}
	for _, f := range y.fresh {
		f.fresh = false
	}
	if s.closed {
		return ErrClosed
	}
	return cmp.Or(s.doubt(), y.err)
}

// suspectFresh keeps the error of a failed sync of the folder with all files whose names no sync has proven, those that were made while it ran too: a later one
// proves nothing about a name that was there.
func (s *Store) suspectFresh(err error) {
	for _, f := range s.files {
		if f.fresh {
			f.fresh, f.synced = false, 0
			s.suspect(f, err)
		}
	}
}

// synced takes in the end of a file's sync, and closes it unless it is appended to.
func (s *Store) synced(d syncingFile) {
	f := d.f
	if s.files[f.number] != f {
		f.closeWriter()
		return
	}
	if d.err != nil {
		s.suspect(f, d.err)
	} else if f.doubt == nil {
		f.synced = d.blocks
	}
	if f != s.active && !f.dirty {
		f.closeWriter()
	}
}

// limitUnsynced bounds the descriptors that wait for Sync. A failure is Sync's to tell.
func (s *Store) limitUnsynced() {
	i := slices.IndexFunc(s.unsynced, func(f *file) bool { return !f.syncing })
	if len(s.unsynced) < maxUnsynced || i < 0 {
		return
	}
	f := s.unsynced[i]
	s.unsynced = slices.Delete(s.unsynced, i, i+1)
	f.dirty = false
	d := f.beginsSync()
	if err := f.w.Sync(); err != nil {
		d.err = fmt.Errorf("segments: sync: %w", err)
	}
	s.synced(d)
}

// suspect keeps a failed sync's error with its file, to which nothing more is appended.
func (s *Store) suspect(f *file, err error) {
	if f.doubt == nil {
		f.doubt = err
	}
	if !slices.Contains(s.doubtful, f) {
		s.doubtful = append(s.doubtful, f)
	}
	if f == s.active {
		s.active = nil
		if !f.dirty {
			f.closeWriter()
		}
	}
}

// doubt returns the error of a file with blocks in doubt, the oldest one's.
func (s *Store) doubt() error {
	s.doubtful = slices.DeleteFunc(s.doubtful, func(f *file) bool { return !f.hasLive(f.synced) })
	if len(s.doubtful) == 0 {
		return nil
	}
	return s.doubtful[0].doubt
}

// Doubtful returns the blocks that may not survive a power cut although Sync was called for them, and failed. They can be
// read; appended anew and dropped here they no longer make Sync fail.
func (s *Store) Doubtful() []Ref {
	var refs []Ref
	for _, f := range s.doubtful {
		for _, e := range f.blocks[f.synced:] {
			if !e.dropped() && !e.forgone {
				refs = append(refs, Ref{File: f.number, Offset: e.offset, Length: e.length})
			}
		}
	}
	return refs
}
