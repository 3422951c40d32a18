package wal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"brokerd/diskqueue/vfs"
)

// Open opens a folder's log, or makes an empty one, and changes nothing in it before Start. It hands every record from Need.From on that
// can be read to replay, in order; the data is a view that is good until replay returns. An error from replay, one of the disk that
// stays, ErrMissing and ErrVersion end Open; damage does not, it is in the report.
//
// Open syncs what it has read, and writes once more, as it is, what no mark says to be synced, so that what was replayed counts as synced: an
// earlier process may have been told that it cannot be, and no sync makes up for that. When that fails, the log is as after any failed
// sync (see Err), and one record counts as lost (see Stats): a power cut may take back what was replayed, until the caller has written
// it down elsewhere. It appends to no file that is there; the first record begins another one.
func Open(o Options, replay func(Entry) error) (*Log, Report, error) {
	if err := o.normalize(); err != nil {
		return nil, Report{}, err
	}
	r := &reader{fs: o.FS, dir: o.Dir, need: o.Need, replay: replay}
	if err := r.read(); err != nil {
		return nil, r.report, err
	}
	l := newLog(o, r)
	for _, d := range r.report.Damage {
		l.o.Log.Warn("the log could not be read whole", "file", d.File, "offset", d.At, "bytes", d.Length,
			"what", d.What, "unsynced", d.Unsynced)
	}
	l.sortSpares(r.spares)
	if err := l.syncRead(&r.report); err != nil {
		l.err, l.unsafe, l.synced = fmt.Errorf("sync the log that was read: %w", err), true, Offset{}
		l.lost.Add(1)
		l.o.Log.Error("the log cannot be written", "error", l.err)
	} else {
		l.since = r.soundFrom(l.since)
	}
	return l, r.report, nil
}

// newLog returns a log that goes on behind what was read.
func newLog(o Options, r *reader) *Log {
	end, number := r.report.End, max(o.Next, r.highest+1)
	l := &Log{
		o: o, since: number, number: number, limit: number,
		stop:      make(chan struct{}),
		flushKick: make(chan struct{}, 1), flushNow: make(chan struct{}, 1),
		syncKick: make(chan struct{}, 1), syncNow: make(chan struct{}, 1),
		prepareKick: make(chan struct{}, 1),
		pending:     new(batch), idle: new(batch),
		next: end, written: end, synced: end, taken: end, target: end,
		writeCalls: o.Disk.Slot("write the log"), syncCalls: o.Disk.Slot("sync the log"),
	}
	if o.Lease == nil {
		l.limit = math.MaxUint64
	}
	l.folder.Store(r.folder)
	l.writes.init(&l.mu)
	l.syncs.init(&l.mu)
	for _, f := range r.files {
		l.live = append(l.live, &logFile{number: f.number, path: fileName(o.Dir, f.number, extLive), size: f.size, damaged: f.damaged})
	}
	return l
}

// sortSpares keeps those spare files that can be used.
func (l *Log) sortSpares(names []string) {
	for _, name := range names {
		size, err := l.o.FS.Size(name)
		if err == nil && size == l.o.FileSize && len(l.spares) < l.o.SpareFiles {
			l.spares = append(l.spares, name)
		} else {
			l.useless = append(l.useless, name)
		}
	}
}

// syncRead makes what was read durable, since those who built on it are told that it is. What no mark says to be so is written anew: an earlier
// process may have been told that it could not be synced.
func (l *Log) syncRead(read *Report) error {
	for _, f := range l.live {
		if f.number < l.o.From.File {
			continue
		}
		end := int64(math.MaxInt64)
		if f.number == read.End.File {
			end = read.End.Offset // behind it is room
		}
		if err := vfs.SyncAnew(l.o.FS, f.path, read.provenTo(f.number), end); err != nil {
			return err
		}
	}
	if len(l.live) == 0 {
		return nil
	}
	err := l.o.FS.SyncDir(l.o.Dir)
	if err != nil {
		l.doubtful = l.o.Seen + 1
	}
	return err
}

// provenTo returns up to which byte of a file marks say that it was synced.
func (r *Report) provenTo(file uint64) (to int64) {
	for _, m := range r.marks {
		switch {
		case file < m.since || m.upTo.File < file:
		case m.upTo.File > file:
			return math.MaxInt64
		default:
			to = max(to, m.upTo.Offset)
		}
	}
	return to
}

// Recover brings a log back that failed. It begins a new file and proves by a write and a sync that it works; then
// Err is nil and appending goes on. What the failure has cost stays lost: Commit keeps answering so. It returns nil at once
// when the log has not failed, and otherwise why it still cannot be used.
func (l *Log) Recover() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncs.enter()
	l.writes.enter()
	l.syncs.take()
	l.writes.take()
	defer l.syncs.leave()
	defer l.writes.leave()
	if l.closed {
		return ErrClosed
	}
	if l.err == nil {
		return nil
	}
	if !l.unsafe {
		if err := l.syncLeftLocked(); err != nil {
			return fmt.Errorf("recover the log: %w", err)
		}
	}
	f, err := l.provenLocked()
	if err != nil {
		return fmt.Errorf("recover the log: %w", err)
	}
	l.resumeLocked(f)
	return nil
}

// syncLeftLocked syncs, for the first and only time, what was written before a write failed. It unlocks mu meanwhile.
func (l *Log) syncLeftLocked() error {
	files, names, since := slices.Clone(l.unsynced), l.newNames, l.namesSince
	l.mu.Unlock()
	err := l.syncFiles(true, files)
	if err == nil && names {
		err = l.namesLost(since)
	}
	l.mu.Lock()
	l.unsafe = err != nil
	if err == nil {
		l.synced = l.written
		l.enterLocked(l.synced.File)
	}
	return err
}

// provenLocked returns a new file that was written to and synced. It unlocks mu meanwhile.
func (l *Log) provenLocked() (f *logFile, err error) {
	number, h := l.number, header{number: l.number, prev: l.written, size: l.sizeLocked(), folder: l.o.Folder}
	if l.doubtful > 0 {
		h.unproven = uint32(min(number-l.doubtful, math.MaxUint32))
	}
	l.number++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.scarcerLocked(err)
	}()
	defer l.o.Disk.Call("try the log again in", l.o.Dir).Done() // publishes are refused
	if err := l.lease(number); err != nil {
		return nil, err
	}
	f, err = l.openNew(number, h.size)
	if err != nil {
		return nil, err
	}
	if _, err = f.file.WriteAt(h.append(nil), 0); err == nil {
		err = l.syncFiles(true, []*logFile{f})
	}
	if err == nil {
		err = l.namesLost(f.since)
	}
	if err != nil {
		l.discard(f, f.file)
		return nil, err
	}
	return f, nil
}

// resumeLocked has the log go on in a proven file.
func (l *Log) resumeLocked(f *logFile) {
	l.loseLocked(failure{from: l.synced, to: l.written, level: Synced, err: l.err})
	l.loseLocked(failure{from: l.written, to: Offset{File: f.number}, level: Written, err: l.err})
	old := l.unsynced
	l.unsynced = nil
	l.adoptLocked(f)
	l.newNames = false
	at := Offset{File: f.number, Offset: fileHeaderSize}
	l.next, l.written, l.synced, l.taken, l.target = at, at, at, at, at
	l.enterLocked(f.number)
	l.doubtful = 0 // the file's header says so
	l.room, l.toSync = f.size, count{}
	if l.unsafe {
		l.since = f.number // no mark may ever say that what came before is synced
	}
	l.err, l.trouble, l.unsafe = nil, nil, false
	l.mu.Unlock()
	l.closeFiles(old)
	l.mu.Lock()
}

// Abandon closes a log that was not started, and writes nothing: what was appended is forgotten.
func (l *Log) Abandon() error {
	l.mu.Lock()
	l.closed, l.ended = true, true
	l.pending.reset()
	files := l.unsynced
	l.unsynced, l.current = nil, nil
	l.mu.Unlock()
	l.closeFiles(files)
	return nil
}

// Close writes and syncs what was appended, ends the goroutines and closes the log. It returns why something could not be
// made durable.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.loops.Wait()

	l.mu.Lock()
	l.syncs.enter()
	l.writeRoundLocked()
	l.syncWrittenLocked()
	if l.markDue && l.err == nil {
		l.appendMarkLocked()
		l.writeRoundLocked()
		l.syncWrittenLocked() // End is where a power cut leaves it from now on
	}
	l.ended = true
	files := l.unsynced
	l.unsynced, l.current = nil, nil
	l.syncs.leave()
	l.writes.wakeAll()
	l.syncs.wakeAll()
	err := cmp.Or(l.err, l.trouble)
	l.mu.Unlock()
	l.closeFiles(files)
	if err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}
