package nsqdata

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-diskqueue"

	"brokerd/diskqueue/vfs"
)

// How long Take waits for a record that is known to be there, before it looks whether it really is. go-diskqueue reads one
// record ahead; it needs microseconds from one to the next, and longer only while it syncs.
const (
	patience     = 2 * time.Millisecond
	settleRounds = 5  // looks at a queue that says it is empty before it is believed
	settleLimit  = 50 // looks at all
)

// ErrClosed is returned once a queue is closed or deleted.
var ErrClosed = errors.New("disk queue is closed")

// LogFunc takes log lines; level is DEBUG, INFO, WARNING or ERROR. It is called from several goroutines.
type LogFunc func(level string, format string, args ...any)

// QueueOptions are nsqd's settings of a disk queue.
type QueueOptions struct {
	Dir             string        // the data folder, which must exist; empty is the current folder
	MaxBytesPerFile int64         // bytes; a record that does not fit begins the next file
	MinMsgSize      int32         // bytes of a record, its header included; RecordHeaderSize in a broker
	MaxMsgSize      int32         // bytes of a record, its header included
	SyncEvery       int64         // records put or taken between two syncs; 0 syncs all the time
	SyncTimeout     time.Duration // a sync at least this often while there is something to sync; more than 0
	Logf            LogFunc       // nil: nothing is logged
}

func (o *QueueOptions) validate() error {
	switch {
	case o.MaxBytesPerFile <= 0:
		return fmt.Errorf("max bytes per file is %d, must be more than 0", o.MaxBytesPerFile)
	case o.MinMsgSize < 0 || o.MaxMsgSize < o.MinMsgSize:
		return fmt.Errorf("record size from %d to %d bytes is impossible", o.MinMsgSize, o.MaxMsgSize)
	case o.SyncEvery < 0:
		return fmt.Errorf("sync every is %d, must not be negative", o.SyncEvery)
	case o.SyncTimeout <= 0:
		return fmt.Errorf("sync timeout is %s, must be more than 0", o.SyncTimeout)
	}
	info, err := os.Stat(folder(o.Dir))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", o.Dir)
	}
	return err
}

// Queue is one disk queue: records first in, first out. Its methods are safe for concurrent use; only Depth, Undecodable and
// Lost never wait for the disk.
type Queue struct {
	// Set at construction.
	files queueFiles
	logf  LogFunc
	disk  diskqueue.Interface // owns its goroutine from Open to Close or Delete
	out   <-chan []byte

	take  sync.Mutex  // held by whoever takes, empties or closes
	timer *time.Timer // guarded by take

	put    sync.RWMutex // read: puts; write: whoever needs that no put is half-way
	closed bool         // written under take and put

	account struct { // what go-diskqueue holds; puts are added when they are done
		sync.Mutex
		records int64 // exact, or wrong by what a meta file or damage made of it
		bytes   int64 // lengths included; 0 exactly when there is no record, more than there is after damage
	}

	dropping bool // go-diskqueue's goroutine only: the file it complains of was read to its end

	undecodable atomic.Int64
	lost        atomic.Int64
}

// Open opens or creates the queue of this name and starts its goroutine, which Close or Delete ends.
func Open(name string, o QueueOptions) (*Queue, error) {
	if o.Logf == nil {
		o.Logf = func(string, string, ...any) {}
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("failed to open disk queue %s: %w", name, err)
	}
	q := &Queue{files: queueFiles{dir: o.Dir, name: name}, logf: o.Logf, timer: time.NewTimer(0)}
	r := repairer{queueFiles: q.files, minSize: o.MinMsgSize, maxSize: o.MaxMsgSize, logf: o.Logf}
	var err error
	if q.account.records, q.account.bytes, err = r.run(); err != nil {
		return nil, fmt.Errorf("failed to open disk queue %s: %w", name, err)
	}
	q.disk = diskqueue.New(name, queueFolder(o.Dir), o.MaxBytesPerFile, o.MinMsgSize, o.MaxMsgSize, o.SyncEvery, o.SyncTimeout, q.logDisk)
	q.out = q.disk.ReadChan()
	return q, nil
}

// Put appends a record. It returns when the record is written, which is not yet synced.
func (q *Queue) Put(record []byte) error {
	q.put.RLock()
	defer q.put.RUnlock()
	if q.closed {
		return ErrClosed
	}
	if err := q.disk.Put(record); err != nil {
		return fmt.Errorf("failed to write to disk queue %s: %w", q.files.name, err)
	}
	q.add(1, recordBytes(record))
	return nil
}

// Take removes up to maxRecords records, oldest first, and gives each to f, which may keep it and must not call the queue.
// It stops early once they make maxBytes, when that is more than 0: the last one may go beyond. It never waits for new
// records; with fewer than asked for there were no more. Records that are not messages are counted, logged and passed over.
func (q *Queue) Take(maxRecords, maxBytes int, f func(record []byte)) (int, error) {
	q.take.Lock()
	defer q.take.Unlock()
	if q.closed {
		return 0, ErrClosed
	}
	taken, size := 0, 0
	for taken < maxRecords && (maxBytes <= 0 || size < maxBytes) {
		record, ok := q.next()
		if !ok {
			break
		}
		q.add(-1, -recordBytes(record))
		if _, err := ParseRecord(record); err != nil {
			q.undecodable.Add(1)
			q.logf("ERROR", "disk queue %s: dropping a record of %d bytes: %s", q.files.name, len(record), err)
			continue
		}
		taken++
		size += len(record)
		f(record)
	}
	return taken, nil
}

// next receives the next record, when there is one. Callers hold take.
func (q *Queue) next() (record []byte, ok bool) {
	if q.unread() <= 0 {
		return nil, false
	}
	for range 2 { // most often it is there, or go-diskqueue has it after its turn
		select {
		case record = <-q.out:
			return record, true
		default:
			runtime.Gosched()
		}
	}
	if record, ok = q.receive(); ok {
		return record, true
	}
	return q.settle()
}

func (q *Queue) receive() (record []byte, ok bool) {
	q.timer.Reset(patience)
	select {
	case record = <-q.out:
		return record, true
	case <-q.timer.C:
		return nil, false
	}
}

// settle finds out whether a record that should be there is still to come, or was lost to damage; then it corrects the
// account. go-diskqueue answers Depth only between two turns of its loop, after whatever I/O it was in, and its depth is 0
// when it is at its end; it can be 0 elsewhere too, if the meta file of an unclean nsqd was too low, but then a record comes.
func (q *Queue) settle() (record []byte, ok bool) {
	q.put.Lock()
	defer q.put.Unlock()
	for ends, rounds := 0, 0; ends < settleRounds; rounds++ {
		if rounds == settleLimit {
			return nil, false // it still claims records: the next Take looks again
		}
		if q.disk.Depth() == 0 {
			ends++
		}
		if record, ok = q.receive(); ok {
			return record, true
		}
	}
	q.account.Lock()
	records, bytes := q.account.records, q.account.bytes
	q.account.records, q.account.bytes = 0, 0
	q.account.Unlock()
	q.lost.Add(max(0, records))
	q.logf("ERROR", "disk queue %s: %d records (%d bytes) that were counted cannot be read; their files end in .bad",
		q.files.name, records, bytes)
	return nil, false
}

// Depth returns the number of records: more than 0 whenever there is one. After an unclean stop of an nsqd, or damage, it is
// an estimate until the queue was empty once.
func (q *Queue) Depth() int64 {
	q.account.Lock()
	defer q.account.Unlock()
	if q.account.bytes <= 0 {
		return 0
	}
	return max(1, q.account.records)
}

// Held returns how many records there are, and their bytes without the lengths before them.
func (q *Queue) Held() (records, bytes int64) {
	q.account.Lock()
	defer q.account.Unlock()
	records = max(0, q.account.records)
	return records, max(0, q.account.bytes-lengthSize*records)
}

// Undecodable returns how many records were passed over because they were not messages.
func (q *Queue) Undecodable() int64 { return q.undecodable.Load() }

// Lost returns how many counted records could not be read because of damage. It is an estimate like Depth.
func (q *Queue) Lost() int64 { return q.lost.Load() }

// Empty removes all records and their files.
func (q *Queue) Empty() error {
	q.take.Lock()
	defer q.take.Unlock()
	q.put.Lock()
	defer q.put.Unlock()
	if q.closed {
		return ErrClosed
	}
	return q.emptyLocked()
}

func (q *Queue) emptyLocked() error {
	err := q.disk.Empty()
	q.account.Lock()
	q.account.records, q.account.bytes = 0, 0
	q.account.Unlock()
	if err != nil {
		return fmt.Errorf("failed to empty disk queue %s: %w", q.files.name, err)
	}
	return nil
}

// Close ends the queue's goroutine and leaves everything synced: the data first, since go-diskqueue closes its file before
// it writes the positions.
func (q *Queue) Close() error {
	q.take.Lock()
	defer q.take.Unlock()
	q.put.Lock()
	defer q.put.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.closed = true
	err := q.syncData()
	err = errors.Join(err, q.disk.Close(), syncPath(folder(q.files.dir)))
	if err != nil {
		return fmt.Errorf("failed to close disk queue %s: %w", q.files.name, err)
	}
	return nil
}

// syncData syncs the data files that may have been written since go-diskqueue last synced: those from the write position in
// the meta file on. Without a meta file nothing was synced and numbering began at 0 or where Empty left it.
func (q *Queue) syncData() error {
	r := repairer{queueFiles: q.files}
	var first int64
	if data, err := vfs.ReadPlain(q.files.meta()); err == nil {
		e, err := parseExtent(data)
		if err != nil {
			return err
		}
		first = e.write.file
	} else if n, last, err := r.span(); err != nil || last < 0 {
		return err
	} else {
		first = n
	}
	for n := first; ; n++ {
		if _, ok := q.files.size(n); !ok {
			return nil
		}
		if err := syncPath(q.files.data(n)); err != nil {
			return err
		}
	}
}

// Delete ends the queue's goroutine and removes its records and files. Damaged files that were put aside stay.
func (q *Queue) Delete() error {
	q.take.Lock()
	defer q.take.Unlock()
	q.put.Lock()
	defer q.put.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.closed = true
	err := errors.Join(q.emptyLocked(), q.disk.Delete())
	if e := os.Remove(q.files.meta()); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, syncPath(folder(q.files.dir))); err != nil {
		return fmt.Errorf("failed to delete disk queue %s: %w", q.files.name, err)
	}
	return nil
}

func (q *Queue) unread() int64 {
	q.account.Lock()
	defer q.account.Unlock()
	return q.account.bytes
}

// add counts records in or out. At the end of the queue a count that an earlier meta file made wrong becomes right.
func (q *Queue) add(records, bytes int64) {
	q.account.Lock()
	defer q.account.Unlock()
	q.account.records += records
	q.account.bytes += bytes
	if q.account.bytes == 0 {
		q.account.records = 0
	}
}

// recordBytes returns what a record takes in its file.
func recordBytes(record []byte) int64 { return int64(lengthSize + len(record)) }

// lengthSize is the bytes of the length before a record.
const lengthSize = 4
