package wal

import (
	"hash/crc32"
	"iter"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/stall"
)

// Log is an open log. Its methods are safe for concurrent use; Start and Close are called once each.
type Log struct {
	o Options

	stop        chan struct{} // closed by Close
	flushKick   chan struct{} // wakes the flusher from idleness
	flushNow    chan struct{} // ends its wait early
	syncKick    chan struct{} // and so the syncer
	syncNow     chan struct{}
	prepareKick chan struct{} // asks for a spare file
	loops       sync.WaitGroup

	writeCalls, syncCalls *stall.Slot // of rounds of writes, and of syncs

	folder atomic.Bool   // it is there
	failed atomic.Uint64 // syncs of it that have failed: names that those were for are not durable, whatever later ones say
	lost   atomic.Uint64 // Stats.Lost; added to under mu

	releasing sync.Mutex // one Release at a time; before mu
	leasing   sync.Mutex // one Lease at a time; before mu

	mu       sync.Mutex
	writes   gate
	syncs    gate
	err      error     // the first failed write or sync, until Recover
	trouble  error     // why the last file could not be begun, until a write succeeds
	unsafe   bool      // err is of a sync
	closed   bool      // no more can be appended
	ended    bool      // nor written
	next     Offset    // where the next record goes
	room     int64     // size of the file that next is in; 0 when nothing more can go there
	number   uint64    // of the next file
	scarce   int       // how often its size is halved, as there was no room; none once a file was released
	limit    uint64    // below which numbers may be used
	since    uint64    // of the first file that marks speak of
	pending  *batch    // appended, not yet being written
	idle     *batch    // the other one; owned by the round of writes in progress
	taken    Offset    // end of what the last round of writes took
	written  Offset    // all before it is written, or lost
	target   Offset    // end of what the last round of syncs took
	synced   Offset    // all before it is synced, or lost
	entered  uint64    // the file that Options.Named was told last
	failures []failure // what was lost, in order

	live       []*logFile // files of the log, oldest first
	current    *logFile   // the one that is open for writing; owned by the round of writes in progress
	unsynced   []*logFile // open files that are not wholly synced, oldest first
	syncing    []*logFile // those of the round of syncs in progress, which owns it
	looked     time.Time  // when files were last looked for by their names; as syncing
	doubtful   uint64     // from this number on names of files are not proven, and a sync of the folder has failed; 0: none has
	spares     []string   // paths of files to overwrite
	useless    []string   // paths of those that cannot be used, to be removed by Start
	preparing  bool       // a spare file is being made, or asked for
	busy       int        // files that were filled since the last Release, with busyFile rounds of syncs or more
	roundsHere int        // of syncs, since the current file was begun
	company    int        // commits that wait for others before they write
	lone       uint       // commits that have thought about it
	newNames   bool       // the folder has names that are not synced
	namesSince uint64     // failed, before the first of them was made

	toSync      count // written, not synced
	inSync      count // of those, what the round of syncs in progress takes
	markDue     bool  // something was synced, and no mark says so yet
	flushArmed  bool  // the flusher is awake, or has been woken
	syncArmed   bool  // the syncer is
	syncFollows bool  // whoever writes now will sync as well
	stats       Stats
	sums        sumBuffer
	mark        [markSize]byte // for the data of a mark
}

// logFile is one file of the log.
type logFile struct {
	number  uint64
	path    string
	size    int64
	damaged bool    // read with damage: put aside rather than overwritten
	gone    bool    // Release has renamed or removed it, but the folder is not synced; guarded by Log.releasing
	spare   string  // what it was renamed to
	since   uint64  // Log.failed before it got its name, of one that was begun
	file    vfsFile // nil when not open
}

// count is a number of records and their bytes.
type count struct{ records, bytes int64 }

// batch is what one round writes.
type batch struct {
	buf    []byte
	shared []shared
	parts  []part
	count  count
}

// shared is data that was not copied: it belongs behind the first at bytes of the batch's buf.
type shared struct {
	at   int
	data []byte
}

// part is what of a batch goes into one file.
type part struct {
	file  uint64
	off   int64 // in the file
	start int   // in the batch's buf, up to the next part's
	begin int64 // the file is to be made, of this size; 0: it is there
	count count
}

// maxIdleBuffer is the largest buffer that is kept for the next batch.
const maxIdleBuffer = 8 << 20

func (b *batch) reset() {
	if cap(b.buf) > maxIdleBuffer {
		b.buf = nil
	}
	clear(b.shared)
	*b = batch{buf: b.buf[:0], shared: b.shared[:0], parts: b.parts[:0]}
}

// add counts bytes of the last part.
func (b *batch) add(n int64) {
	b.count.bytes += n
	b.parts[len(b.parts)-1].count.bytes += n
}

// pieces yields what part i consists of, in order.
func (b *batch) pieces(i int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		from, end := b.parts[i].start, len(b.buf)
		if i+1 < len(b.parts) {
			end = b.parts[i+1].start
		}
		for _, s := range b.shared {
			if s.at <= b.parts[i].start || s.at > end { // a header comes before what is shared
				continue
			}
			if s.at > from && !yield(b.buf[from:s.at]) || !yield(s.data) {
				return
			}
			from = s.at
		}
		if from < end {
			yield(b.buf[from:end])
		}
	}
}

// failure is a range of offsets whose records are lost: never written, or written and never to be called synced.
type failure struct {
	from, to Offset
	level    Level // the lowest one that they failed
	err      error
}

// maxFailures bounds how many ranges are told apart. The oldest are merged, and what lies between fails with them.
const maxFailures = 64

// nowhere is the offset of what was refused.
var nowhere = Offset{File: math.MaxUint64}

// Append puts a record, its data in parts, at the end of the log, and returns where. Parts under 64 KiB are copied; larger ones must
// never be changed any more. It does no I/O and waits for none: the record is written by the next Commit, or FlushInterval later.
//
// It returns ErrRecord for a kind or a size that cannot be, ErrClosed, or the error that the log failed with; then the
// offset is one for which Commit returns an error too, for good.
func (l *Log) Append(kind byte, data ...[]byte) (Offset, error) {
	length, sum := 0, uint32(0)
	for _, d := range data {
		length += len(d)
		sum = crc32.Update(sum, castagnoli, d)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case kind == 0 || kind > MaxKind || length > MaxData:
		return nowhere, ErrRecord
	case l.closed:
		return nowhere, ErrClosed
	case l.err != nil:
		l.lost.Add(1)
		return l.next, l.err
	}
	if l.markDue && len(l.pending.parts) == 0 {
		l.appendMarkLocked()
	}
	at := l.appendLocked(kind, length, sum, data...)
	l.pending.count.records++
	l.pending.parts[len(l.pending.parts)-1].count.records++
	l.stats.Records++
	l.armFlushLocked()
	if n := int(l.pending.count.bytes); n >= l.o.FlushBytes && n-recordHeaderSize-length < l.o.FlushBytes && length < l.o.FlushBytes {
		kick(l.flushNow) // who appends a large record will commit it
	}
	return at, nil
}

// appendMarkLocked says in the log what is synced.
func (l *Log) appendMarkLocked() {
	data := mark{since: l.since, upTo: l.synced}.append(l.mark[:0])
	l.appendLocked(kindMark, len(data), crc32.Checksum(data, castagnoli), data)
	l.markDue = false
}

// appendLocked puts a record into the pending batch, in another file when there is no room for it.
func (l *Log) appendLocked(kind byte, length int, sum uint32, data ...[]byte) Offset {
	b := l.pending
	need := int64(recordHeaderSize + length)
	if l.next.Offset+need > l.room {
		l.beginLocked(need)
	} else if len(b.parts) == 0 {
		b.parts = append(b.parts, part{file: l.next.File, off: l.next.Offset})
	}
	at := l.next
	b.buf = appendRecordHeader(b.buf, at, kind, length, sum, &l.sums)
	for _, d := range data {
		if len(d) >= l.o.minShared {
			b.shared = append(b.shared, shared{at: len(b.buf), data: d})
		} else {
			b.buf = append(b.buf, d...)
		}
	}
	b.add(need)
	l.next.Offset += need
	return at
}

// beginLocked has the pending batch go on in another file that has room for a record of need bytes.
func (l *Log) beginLocked(need int64) {
	b := l.pending
	size := max(l.sizeLocked(), fileHeaderSize+need)
	b.parts = append(b.parts, part{file: l.number, start: len(b.buf), begin: size})
	b.buf = header{number: l.number, prev: l.next, size: size, folder: l.o.Folder}.append(b.buf)
	b.add(fileHeaderSize)
	l.next, l.room = Offset{File: l.number, Offset: fileHeaderSize}, size
	l.number++
	l.askLeaseLocked()
}

// End returns the offset behind the last record: whatever is appended later is not before it.
func (l *Log) End() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Err returns why nothing can be written: the first failed write or sync, or why the last file could not be begun. It is nil
// again once Recover, or in the second case any write, has succeeded.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.trouble
}

// Lost is that of Stats. It waits for nothing.
func (l *Log) Lost() uint64 { return l.lost.Load() }

// Groups counts rounds by how much each carried: 1, 2 to 3, 4 to 7 and so on, the last one all that is more.
type Groups [12]uint64

func (g *Groups) add(n int64) {
	if n > 0 {
		g[min(bits.Len64(uint64(n))-1, len(g)-1)]++
	}
}

// SyncBounds are the upper bounds of SyncTimes' parts.
var SyncBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

// SyncTimes counts syncs by the time that they took: up to each of SyncBounds, and longer.
type SyncTimes [len(SyncBounds) + 1]uint64

func (t *SyncTimes) add(took time.Duration) {
	i, _ := slices.BinarySearch(SyncBounds[:], took)
	t[i]++
}

// Stats are figures of a log since it was opened, and as it is now.
type Stats struct {
	Records uint64 // appended
	Lost    uint64 // of those, and of those refused by a failed log: never written, or not sure to be synced after a failed sync
	Bytes   uint64 // written, headers included
	Writes  uint64 // write calls
	Syncs   uint64 // rounds of syncs

	SyncTime  time.Duration // that these took, and those that failed
	SyncTimes SyncTimes     // these by the time that they took

	WriteGroups Groups // rounds of writes by records
	SyncGroups  Groups // rounds of syncs by records

	Files      int   // of the log now
	FileBytes  int64 // their size
	SpareFiles int   // kept to be overwritten now
	Unwritten  int   // bytes that wait to be written now
	Unsynced   int64 // bytes written and not synced now
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Lost = l.lost.Load()
	s.Files, s.SpareFiles = len(l.live), len(l.spares)
	for _, f := range l.live {
		s.FileBytes += f.size
	}
	s.Unwritten, s.Unsynced = int(l.pending.count.bytes), l.toSync.bytes
	return s
}
