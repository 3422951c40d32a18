package wal

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"brokerd/diskqueue/vfs"
)

type vfsFile = vfs.File

// Commit returns nil once the record that was appended at that offset, and every one before it, is at the level. Else it
// returns why that record will never be. Commits share writes and syncs; one that is alone costs one write.
func (l *Log) Commit(at Offset, level Level) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == Written {
		l.awaitCompanyLocked()
	}
	for {
		if done, err := l.resultLocked(at, level); done {
			return err
		}
		switch {
		case level == Synced && l.syncs.busy && l.aheadLocked(at):
			l.writeRoundLocked()
		case level == Synced && l.syncs.busy:
			l.syncs.wait(at.Before(l.target))
		case level == Synced:
			l.syncRoundLocked()
		case l.writes.busy:
			l.writes.wait(at.Before(l.taken))
		default:
			l.writeRoundLocked()
		}
	}
}

// When a commit of level Written lets others append first: the write is small, so that they would cost more than it, and this has
// been of use lately. One of companyProbe commits finds that out.
const (
	companyBytes = 4 << 10
	companyProbe = 64
)

// awaitCompanyLocked lets goroutines that are about to append do so before the write, so that they share it. Without it those that
// were woken together write one after the other, as each write is over before the next one is run.
func (l *Log) awaitCompanyLocked() {
	if l.writes.busy || l.pending.count.bytes >= companyBytes {
		return
	}
	l.lone++
	if l.company == 0 && l.lone%companyProbe != 0 {
		return
	}
	next := l.next
	l.mu.Unlock()
	runtime.Gosched()
	l.mu.Lock()
	if l.next != next {
		l.company = companyProbe
	} else if l.company > 0 {
		l.company--
	}
}

// aheadBytes is how many pending bytes are written while a sync runs that does not carry them. To copy fewer to the system takes so little time that
// it is better shared with what else comes before the next sync.
const aheadBytes = 32 << 10

// aheadLocked reports whether a record that has to wait for a sync in progress is to be written meanwhile, so that the next one has less to do.
func (l *Log) aheadLocked(at Offset) bool {
	return l.pending.count.bytes >= aheadBytes && !at.Before(l.taken) && !l.writes.busy && !l.syncFollows
}

// resultLocked says whether it is decided what becomes of a record, and what.
func (l *Log) resultLocked(at Offset, level Level) (done bool, err error) {
	for _, f := range slices.Backward(l.failures) {
		if !at.Before(f.to) {
			break
		}
		if !at.Before(f.from) && level >= f.level {
			return true, f.err
		}
	}
	reached := l.written
	if level == Synced {
		reached = l.synced
	}
	switch {
	case at.Before(reached):
		return true, nil
	case l.err != nil:
		return true, l.err
	case l.ended:
		return true, ErrClosed
	case !at.Before(l.next):
		return true, fmt.Errorf("%v: %w", at, ErrOffset)
	}
	return false, nil
}

// writeRoundLocked writes what is pending. It unlocks mu meanwhile.
func (l *Log) writeRoundLocked() {
	l.writes.enter()
	l.writePendingLocked()
	l.writes.leave()
}

// writePendingLocked takes the pending batch and writes it, within a round of writes.
func (l *Log) writePendingLocked() {
	l.writes.take()
	b := l.pending
	if l.err != nil || len(b.parts) == 0 {
		return
	}
	l.pending, l.idle = l.idle, nil
	l.taken = l.next
	l.mu.Unlock()
	end, done, err := l.writeBatch(b)
	l.mu.Lock()
	l.writtenLocked(b, end, done, err)
	b.reset()
	l.idle = b
}

// writtenLocked accounts for a batch of which done parts are written, up to end.
func (l *Log) writtenLocked(b *batch, end Offset, done int, err writeError) {
	wrote := count{}
	for _, p := range b.parts[:done] {
		wrote.records += p.count.records
		wrote.bytes += p.count.bytes
	}
	if done > 0 {
		l.written = end
		l.toSync.records += wrote.records
		l.toSync.bytes += wrote.bytes
		l.stats.Writes += uint64(done)
		l.stats.Bytes += uint64(wrote.bytes)
		l.stats.WriteGroups.add(wrote.records)
	}
	switch {
	case err.fatal != nil:
		l.failLocked(err.fatal)
		l.lost.Add(uint64(b.count.records - wrote.records))
	case err.begin != nil:
		l.trouble = err.begin
		l.scarcerLocked(err.begin)
		l.lost.Add(uint64(b.count.records - wrote.records))
		l.dropLocked(Offset{File: b.parts[done].file})
	default:
		l.trouble = nil
	}
	if !l.syncFollows {
		l.armSyncLocked()
	}
}

// writeError is why a batch was not written whole.
type writeError struct {
	begin error // a file could not be begun; nothing of it was written
	fatal error // a write failed
}

// writeBatch writes a batch within a round of writes and returns how many parts are written, and where the last one ends.
func (l *Log) writeBatch(b *batch) (end Offset, done int, err writeError) {
	for i, p := range b.parts {
		if p.begin > 0 {
			if err := l.begin(p); err != (writeError{}) {
				return end, i, err
			}
		}
		at := Offset{File: p.file, Offset: p.off}
		for data := range b.pieces(i) {
			l.writeCalls.Begin()
			_, err := l.current.file.WriteAt(data, at.Offset)
			l.writeCalls.End()
			if err != nil {
				return end, i, writeError{fatal: fmt.Errorf("write %d bytes to the log at %v: %w", len(data), at, err)}
			}
			at.Offset += int64(len(data))
		}
		end = at
	}
	return end, len(b.parts), writeError{}
}

// begin makes the file that a part begins with the one that is written to, within a round of writes.
func (l *Log) begin(p part) writeError {
	defer l.o.Disk.Waited("begin a file of the log").Done()
	err := l.lease(p.file)
	var f *logFile
	if err == nil {
		f, err = l.openNew(p.file, p.begin)
		if noRoom(err) && l.o.Room != nil && l.o.Room() {
			f, err = l.openNew(p.file, p.begin)
		}
	}
	if err != nil {
		return writeError{begin: fmt.Errorf("begin log file %d: %w", p.file, err)}
	}
	l.mu.Lock()
	l.adoptLocked(f)
	l.mu.Unlock()
	return writeError{}
}

// failLocked makes a failed write or sync final. What is pending is lost.
func (l *Log) failLocked(err error) {
	if l.err == nil {
		l.err = err
	}
	l.lost.Add(uint64(l.pending.count.records))
	l.pending.reset()
	l.writes.wakeAll()
	l.syncs.wakeAll()
}

// dropLocked gives up everything that was appended from an offset on, the beginning of a file that could not be made, and
// has the log go on where it was before.
func (l *Log) dropLocked(from Offset) {
	l.lost.Add(uint64(l.pending.count.records))
	l.pending.reset()
	l.loseLocked(failure{from: from, to: Offset{File: l.number}, err: l.trouble})
	l.next, l.room = l.written, 0
	if l.current != nil && l.current.number == l.written.File {
		l.room = l.current.size
	}
	l.writes.wakeAll()
	l.syncs.wakeAll()
}

// loseLocked remembers a range of lost records.
func (l *Log) loseLocked(f failure) {
	if !f.from.Before(f.to) {
		return
	}
	if n := len(l.failures); n > 0 {
		last := &l.failures[n-1]
		if last.to == f.from && last.level == f.level {
			last.to, last.err = f.to, f.err
			return
		}
	}
	if len(l.failures) == maxFailures {
		a, b := l.failures[0], l.failures[1]
		l.failures[1] = failure{from: a.from, to: b.to, level: min(a.level, b.level), err: b.err}
		l.failures = slices.Delete(l.failures, 0, 1)
	}
	l.failures = append(l.failures, f)
}

// syncRoundLocked writes what is pending and syncs what is written. It unlocks mu meanwhile.
func (l *Log) syncRoundLocked() {
	l.syncs.enter()
	l.gatherLocked()
	l.syncFollows = true
	l.writeRoundLocked()
	l.syncFollows = false
	l.syncWrittenLocked()
	l.syncs.leave()
}

// gatherLocked lets those who shared the last round, and have just been woken by it, join this one as well: else one would
// be synced alone and the others only after it.
func (l *Log) gatherLocked() {
	for range 3 {
		if l.syncs.joined() >= l.syncs.last-1 {
			return
		}
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
}

// syncWrittenLocked syncs what is written, within a round of syncs.
func (l *Log) syncWrittenLocked() {
	l.syncs.take()
	if l.err != nil || l.synced == l.written {
		return
	}
	l.target = l.written
	l.syncing = append(l.syncing[:0], l.unsynced...)
	names, since, taking := l.newNames, l.namesSince, l.toSync
	l.newNames = false
	l.inSync = taking
	select {
	case <-l.syncNow: // what asked for is being synced
	default:
	}
	l.mu.Unlock()
	began := time.Now()
	err := l.syncFiles(names, l.syncing)
	if err == nil && names {
		err = l.namesLost(since)
	}
	took := time.Since(began)
	l.mu.Lock()
	l.stats.SyncTime += took
	l.stats.SyncTimes.add(took)
	l.inSync = count{}
	if err != nil {
		l.unsafe = true
		l.lost.Add(uint64(l.toSync.records)) // a power cut may take them, and no sync will ever say that it cannot
		l.failLocked(fmt.Errorf("sync the log: %w", err))
		return
	}
	l.synced = l.target
	l.enterLocked(l.target.File)
	if taking.records > 0 {
		l.markDue = true
		l.armFlushLocked()
	}
	l.toSync.records -= taking.records
	l.toSync.bytes -= taking.bytes
	l.stats.Syncs++
	l.wantPreparedLocked()
	l.stats.SyncGroups.add(taking.records)
	l.closeSyncedLocked()
}

// enterLocked tells that a file's name and first records are synced.
func (l *Log) enterLocked(number uint64) {
	if l.o.Named != nil && number > l.entered {
		l.entered = number
		l.o.Named(number)
	}
}

// ErrReplaced is a file of the log that somebody has removed or replaced while it was written to.
var ErrReplaced = errors.New("a file of the log was removed or replaced by somebody else")

// namesEvery is how often files are looked for by their names, at most: to walk along a path takes 2 to 3 us, of 60 that a small publish costs with its
// sync.
const namesEvery = time.Millisecond

// syncFiles syncs the folder, if it has new names, and files. Those must still have their names: what is written to a file that was removed is gone with
// this process. That a file is removed, or its name given to another one, is seen by each sync; that it is moved away, within namesEvery.
func (l *Log) syncFiles(names bool, files []*logFile) error {
	l.syncCalls.Begin()
	defer l.syncCalls.End()
	if names {
		if err := l.syncDir(); err != nil {
			return err
		}
	}
	byName := time.Since(l.looked) >= namesEvery
	for _, f := range files {
		if err := f.file.Sync(); err != nil {
			return err
		}
		switch is, err := l.isThere(f, byName); {
		case err != nil:
			return err
		case !is:
			return fmt.Errorf("%s: %w", f.path, ErrReplaced)
		}
	}
	if byName {
		l.looked = time.Now()
	}
	return nil
}

// errNames is names that a sync of the folder was for which failed. The system may take them for written since, so that no later sync writes them.
var errNames = errors.New("the names of the log's files could not be synced")

// syncDir makes the names in the folder durable, but for those that an earlier call was for that has failed: see namesLost.
func (l *Log) syncDir() error {
	err := l.o.FS.SyncDir(l.o.Dir)
	if err != nil {
		l.FolderFailed()
	}
	return err
}

// FolderFailed tells the log that a sync of its folder has failed, also when it was somebody else's: of the names that no sync has proven before, none proves
// anything any more.
func (l *Log) FolderFailed() {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.unsynced); n > 0 && l.unsynced[n-1].number > l.synced.File && l.doubtful == 0 {
		l.doubtful = l.synced.File + 1
	}
}

// namesLost returns errNames when a sync of the folder has failed since as many had, whoever it was that synced it.
func (l *Log) namesLost(since uint64) error {
	if l.failed.Load() != since {
		return errNames
	}
	return nil
}

// isThere reports whether a file can be found again.
func (l *Log) isThere(f *logFile, byName bool) (bool, error) {
	if !byName {
		if n, err := f.file.Links(); !errors.Is(err, errors.ErrUnsupported) {
			return n > 0, err
		}
	}
	return l.o.FS.Is(f.path, f.file)
}

// closeSyncedLocked closes the files that are synced and not written to any more. It unlocks mu meanwhile.
func (l *Log) closeSyncedLocked() {
	n := 0
	for n < len(l.unsynced) && l.unsynced[n].number < l.synced.File {
		n++
	}
	if n == 0 {
		return
	}
	l.syncing = append(l.syncing[:0], l.unsynced[:n]...)
	l.unsynced = slices.Delete(l.unsynced, 0, n)
	l.mu.Unlock()
	l.syncCalls.Begin() // whoever is synced next waits for it
	l.closeFiles(l.syncing)
	l.syncCalls.End()
	l.mu.Lock()
}

// closeFiles closes files whose content does not depend on it.
func (l *Log) closeFiles(files []*logFile) {
	for _, f := range files {
		if err := f.file.Close(); err != nil {
			l.o.Log.Warn("closing a log file", "file", f.number, "error", err)
		}
		f.file = nil
	}
}
