package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
)

// ErrClosed is what a closed log answers.
var ErrClosed = errors.New("the log is closed")

// ErrRecord is a record that cannot be appended: of a kind that is not the caller's, or too large.
var ErrRecord = errors.New("no such record can be in the log")

// ErrOffset is an offset where no record was appended.
var ErrOffset = errors.New("nothing was appended at this offset")

// Options says where a log is and how it is kept. Zero values have defaults, except for Dir.
type Options struct {
	FS  vfs.FS // nil: the operating system's
	Dir string // the log's own folder, made with the first file

	// Need says what must be there.
	Need

	// Next is the number of the next file, at least: none has that number, or a higher one. 0: behind the highest that is there.
	Next uint64
	// Lease makes durable that numbers from one on may be used, and returns below which; nil: all may. It waits for the disk.
	Lease func(number uint64) (limit uint64, err error)
	// Named is told the number of the newest file whose name and first records are synced. It is called under a lock and must not
	// wait; nil: nobody is told.
	Named func(number uint64)
	// Aside puts a file away in which there is damage and of which nothing else is needed; nil: it is renamed to .bad.
	Aside func(path string) error

	// Room is asked for room when there is none for another file: when it returns true that is tried once more. It may wait, and is called within a
	// round of writes, under no lock: it must not wait for the log. nil: nobody is asked.
	Room func() bool
	// Disk is told which calls of the log are out; nil: nobody is.
	Disk *stall.Watch

	FileSize   int64 // bytes that a file is preallocated to, less when there is no room; 16 MiB, at least 1 KiB
	SpareFiles int   // released files that are kept to be overwritten, at most; 4, negative for none
	Prepare    bool  // the first file is prepared by Start already, since most commits will be of level Synced

	FlushInterval time.Duration // a record that nobody commits is written after this at the latest; 20 ms
	FlushBytes    int           // bytes that may wait before they are written earlier; 256 KiB

	SyncEvery   int64         // written records after which the log is synced by itself; 2500, negative for no bound
	SyncBytes   int64         // written bytes after which it is; 4 MiB, negative for no bound
	SyncTimeout time.Duration // time after which it is; 2 s

	Log *slog.Logger // nil: nothing is logged

	minShared int // bytes from which on a part of a record's data is not copied, more than markSize; sharedBytes, but in tests
}

// Need says which part of a log must be there, so that a start that lacks some of it is refused. Its zero value needs nothing.
type Need struct {
	Folder [8]byte // id of the folder, in each file's header: files of another one are not the log's; zeros: any
	From   Offset  // records before this are not handed on: the files that only hold such may be missing
	Seen   uint64  // a file that must be there, and begin as the log's files do, 0 for none
	Limit  uint64  // no file has a number at or above this: else what says so is an older copy; 0: any may
	// Headless are files without a header that have records, with what earlier starts have found of where they go on from.
	Headless []Link
	Gone     []uint64 // files that a power cut has taken, as an earlier start has found: later headers name them all the same
	End      *Offset  // the log reaches to here; nil: as far as it can be read
	// Whole says that the log has been one without gaps from its beginning, which From is then: there is no checkpoint.
	Whole bool
	// AcceptLoss goes on without what is missing, and reads what it can of files that the disk cannot read whole.
	AcceptLoss bool
}

// ErrMissing is a log of which a part that is needed is not there.
var ErrMissing = errors.New("a part of the log is missing")

// sharedBytes is from where on a write of its own costs less than to copy the data.
const sharedBytes = 64 << 10

const minFileSize = 1 << 10

func (o *Options) normalize() error {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	defaultTo(&o.FileSize, 16<<20)
	defaultTo(&o.SpareFiles, 4)
	defaultTo(&o.FlushInterval, 20*time.Millisecond)
	defaultTo(&o.FlushBytes, 256<<10)
	defaultTo(&o.minShared, sharedBytes)
	defaultTo(&o.SyncEvery, 2500)
	defaultTo(&o.SyncBytes, 4<<20)
	defaultTo(&o.SyncTimeout, 2*time.Second)
	switch {
	case o.Dir == "":
		return errors.New("the log has no folder")
	case o.FileSize < minFileSize:
		return fmt.Errorf("log file size is %d bytes, must be at least %d", o.FileSize, minFileSize)
	case o.FlushInterval < 0 || o.SyncTimeout < 0:
		return fmt.Errorf("log flush interval %s and sync timeout %s must be more than 0", o.FlushInterval, o.SyncTimeout)
	}
	return nil
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
