package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// openNew makes a file, of a spare one if there is, and opens it. What fails leaves nothing behind that matters.
func (l *Log) openNew(number uint64, size int64) (*logFile, error) {
	l.mu.Lock()
	spare := ""
	if n := len(l.spares); n > 0 && size == l.o.FileSize {
		spare = l.spares[n-1]
		l.spares = l.spares[:n-1]
	}
	l.mu.Unlock()
	f := &logFile{number: number, path: fileName(l.o.Dir, number, extLive), size: size, since: l.failed.Load()}
	if spare == "" {
		return f, l.create(f)
	}
	err := l.overwrite(f, spare)
	if err == nil {
		return f, nil
	}
	if made := l.create(f); made != nil { // then the file may be good still
		l.mu.Lock()
		l.spares = append(l.spares, spare)
		l.mu.Unlock()
		return nil, errors.Join(err, made)
	}
	l.o.Log.Warn("a spare log file is of no use", "file", spare, "error", errors.Join(err, l.removeSpare(spare)))
	return f, nil
}

// removeSpare removes a file that was to be overwritten, unless it is gone. What is no file is somebody else's.
func (l *Log) removeSpare(name string) error {
	file, err := l.o.FS.Open(name)
	if err == nil {
		err = errors.Join(file.Close(), l.o.FS.Remove(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (l *Log) create(f *logFile) error {
	file, err := l.createFile(f.path)
	if err != nil {
		return err
	}
	if err := file.Preallocate(f.size); err != nil {
		l.discard(f, file)
		return err
	}
	f.file = file
	return nil
}

// createFile creates a file, and before the first one the folder.
func (l *Log) createFile(name string) (vfsFile, error) {
	if !l.folder.Load() {
		if err := l.o.FS.MkdirAll(l.o.Dir); err != nil {
			return nil, err
		}
		l.folder.Store(true)
	}
	return l.o.FS.Create(name)
}

// discard removes a file that holds nothing. If that fails, Release will try again.
func (l *Log) discard(f *logFile, file vfsFile) {
	file.Close() // nothing in it is needed
	if err := l.o.FS.Remove(f.path); err != nil {
		l.o.Log.Warn("removing a log file that could not be used", "file", f.number, "error", err)
		f.size = 0 // of no use as a spare one: it may not be preallocated
		l.mu.Lock()
		l.live = append(l.live, f)
		l.mu.Unlock()
	}
}

// errShared is a spare file that has another name too: a power cut has left the one that it had, or got, where renames can be torn, or it is in somebody's
// copy that shares files.
var errShared = errors.New("the file has another name, too")

func (l *Log) overwrite(f *logFile, spare string) error {
	file, err := l.o.FS.OpenWrite(spare)
	if err != nil {
		return err
	}
	n, err := file.Links()
	switch {
	case errors.Is(err, errors.ErrUnsupported): // a system that does not say
		err = nil
	case n > 1:
		err = errShared
	}
	if err == nil {
		err = l.o.FS.Rename(spare, f.path)
	}
	if err != nil {
		file.Close() // nothing was written
		return err
	}
	f.file = file
	return nil
}

// adoptLocked makes a new file the one that is written to.
func (l *Log) adoptLocked(f *logFile) {
	l.live = append(l.live, f)
	l.unsynced = append(l.unsynced, f)
	l.current = f
	if l.roundsHere >= busyFile {
		l.busy++
	}
	l.roundsHere = 0
	if !l.newNames {
		l.newNames, l.namesSince = true, f.since
	}
}

// Release says that no record before an offset is needed any more. Files that lie wholly before it, and are synced, are
// kept to be overwritten: one, and one for each that was filled since the last Release with many syncs, which are cheaper there;
// at most SpareFiles. The others are removed, and damaged ones put aside. It waits for the disk. After an error it can be called again; the log itself goes on.
func (l *Log) Release(before Offset) error { return l.Recycle(before, 0) }

// Recycle is Release for a time in which the log goes on to be filled fast, so that writing over files pays although syncs are few:
// it keeps so many of them at least, however many SpareFiles says.
func (l *Log) Recycle(before Offset, files int) error {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	l.mu.Lock()
	keep := max(min(l.busy+1, l.o.SpareFiles), files)
	l.busy = 0
	l.mu.Unlock()
	for {
		f, spare := l.releasable(before, keep)
		if f == nil {
			return l.trimSpares(keep)
		}
		if err := l.release(f, spare); err != nil {
			return fmt.Errorf("release log file %d: %w", f.number, err)
		}
	}
}

// releasable returns the oldest file if it can go, and whether it is to be kept as a spare one.
func (l *Log) releasable(before Offset, keep int) (f *logFile, spare bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.live) < 2 {
		return nil, false
	}
	f = l.live[0]
	if f.number >= min(before.File, l.synced.File) || len(l.unsynced) > 0 && f.number >= l.unsynced[0].number {
		return nil, false
	}
	return f, f.size == l.o.FileSize && len(l.spares) < keep
}

// Shed removes the files that are kept to be overwritten: their room is needed otherwise.
func (l *Log) Shed() error {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	return l.trimSpares(0)
}

// trimSpares removes spare files beyond a number.
func (l *Log) trimSpares(keep int) error {
	for {
		l.mu.Lock()
		n := len(l.spares)
		if l.closed || n <= max(keep, 0) {
			l.mu.Unlock()
			return nil
		}
		name := l.spares[0]
		l.spares = slices.Delete(l.spares, 0, 1)
		l.mu.Unlock()
		call := l.o.Disk.Call("remove", name)
		err := l.o.FS.Remove(name)
		call.Done()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.mu.Lock()
			l.spares = append(l.spares, name)
			l.mu.Unlock()
			return fmt.Errorf("remove a spare log file: %w", err)
		}
	}
}

// release takes one file out of the log. The folder is synced before the next one goes, so that a power cut never leaves
// an older file without a younger one, and before it is overwritten, so that its name never shows another's content.
func (l *Log) release(f *logFile, spare bool) error {
	defer l.o.Disk.Call("let go of", f.path).Done()
	since := l.failed.Load()
	if !f.gone {
		var err error
		switch {
		case f.damaged && l.o.Aside != nil:
			err = l.o.Aside(f.path)
		case f.damaged:
			err = l.o.FS.Rename(f.path, fileName(l.o.Dir, f.number, extBad))
		case spare:
			f.spare = fileName(l.o.Dir, f.number, extSpare)
			err = l.o.FS.Rename(f.path, f.spare)
		default:
			err = l.o.FS.Remove(f.path)
		}
		if err != nil {
			f.spare = ""
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody has removed it, or an earlier attempt whose error said otherwise
			if f.damaged { // the error may be of a sync
				l.FolderFailed()
			}
			return err
		}
		f.gone = true
	}
	err := l.syncDir()
	if err == nil && f.spare != "" {
		err = l.namesLost(since)
	}
	if err != nil {
		l.takeBack(f)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = slices.Delete(l.live, 0, 1)
	l.scarce = 0
	if f.spare != "" {
		l.spares = append(l.spares, f.spare)
	}
	return nil
}

// takeBack gives a file that was renamed its name back, so that the next try renames it anew: the sync for which it was renamed has failed, and another one would
// say nothing of it. A file that does not get it back is never written over, as the name that is durable may be the old one.
func (l *Log) takeBack(f *logFile) {
	if f.spare != "" {
		f.gone = l.o.FS.Rename(f.spare, f.path) != nil
		f.spare = ""
	}
}
