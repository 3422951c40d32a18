package wal

import "fmt"

// busyFile is how many rounds of syncs a file must have had for the next one to be prepared, or one to be kept: with fewer, a sync is so large that
// what it is spared would not pay for the zeros.
const busyFile = 64

// zeroChunk is how many bytes of zeros are written between two syncs while a file is prepared: those who commit meanwhile wait for no
// more than that.
const zeroChunk = 256 << 10

// zeroBytes are never written to: they take no memory, nor a page fault once they have been read.
var zeroBytes [zeroChunk]byte

// leaseAhead is how many numbers of files are left when more are asked for.
const leaseAhead = 500

// askLeaseLocked has more numbers leased in the background before they are used up.
func (l *Log) askLeaseLocked() {
	if l.o.Lease != nil && l.number+leaseAhead > l.limit {
		kick(l.prepareKick)
	}
}

// lease returns once a file may have that number. It waits for the disk if that was not asked for in time.
func (l *Log) lease(number uint64) error {
	l.leasing.Lock()
	defer l.leasing.Unlock()
	l.mu.Lock()
	have := number < l.limit
	l.mu.Unlock()
	if have {
		return nil
	}
	limit, err := l.o.Lease(number)
	if err != nil {
		return fmt.Errorf("lease numbers for files: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = max(l.limit, limit)
	return nil
}

// leaseMore leases numbers for as many files more as askLeaseLocked wants.
func (l *Log) leaseMore() {
	l.mu.Lock()
	number := l.number + leaseAhead
	have := number <= l.limit
	l.mu.Unlock()
	if have {
		return
	}
	if err := l.lease(number); err != nil { // who needs one tries again, and is told
		l.o.Log.Warn("leasing numbers for log files", "error", err)
	}
}

// prepareLoop leases numbers, and makes spare files of zeros when it is told to. Syncing what overwrites them costs two thirds of the time, and of the CPU,
// of a sync that has the file system make space part of the file.
func (l *Log) prepareLoop() {
	for {
		select {
		case <-l.stop:
			return
		case <-l.prepareKick:
			l.leaseMore()
			l.prepareAsked()
		}
	}
}

// wantPreparedLocked asks for a spare file when the one that is written to is synced often and will soon be full.
func (l *Log) wantPreparedLocked() {
	l.roundsHere++
	if l.roundsHere >= busyFile && l.written.Offset >= l.room-l.room/4 && l.room == l.o.FileSize {
		l.askPreparedLocked()
	}
}

func (l *Log) askPreparedLocked() {
	if len(l.spares) == 0 && l.o.SpareFiles > 0 && !l.preparing && !l.closed {
		l.preparing = true
		kick(l.prepareKick)
	}
}

// prepareAsked does so if a spare file was asked for.
func (l *Log) prepareAsked() {
	l.mu.Lock()
	asked := l.preparing
	l.mu.Unlock()
	if !asked {
		return
	}
	if err := l.prepare(); err != nil {
		l.o.Log.Warn("preparing a log file", "error", err)
	}
}

// prepare makes a spare file of zeros. What fails leaves nothing behind that matters: the log makes a file when it needs one.
func (l *Log) prepare() error {
	l.mu.Lock()
	number := l.number
	l.number++
	l.mu.Unlock()
	name := fileName(l.o.Dir, number, extSpare)
	done, err := false, l.lease(number)
	if err == nil {
		done, err = l.zeros(name)
	}
	l.mu.Lock()
	l.preparing = false
	if done {
		l.spares = append(l.spares, name)
	}
	l.mu.Unlock()
	return err
}

// zeros makes a file of zeros and reports whether it is whole, which it is not when the log is closed meanwhile.
func (l *Log) zeros(name string) (done bool, err error) {
	file, err := l.createFile(name)
	if err != nil {
		return false, err
	}
	err = file.Preallocate(l.o.FileSize)
	off := int64(0)
	for err == nil && off < l.o.FileSize && !l.stopping() {
		chunk := zeroBytes[:min(zeroChunk, l.o.FileSize-off)]
		call := l.o.Disk.Call("prepare", name)
		if _, err = file.WriteAt(chunk, off); err == nil {
			err = file.Sync()
		}
		call.Done()
		off += int64(len(chunk))
	}
	file.Close() // it is synced, or will be removed
	done = err == nil && off >= l.o.FileSize
	if !done {
		if removeErr := l.o.FS.Remove(name); err == nil {
			err = removeErr
		}
	}
	return done, err
}

func (l *Log) stopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}
