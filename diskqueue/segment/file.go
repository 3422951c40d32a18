package segment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"brokerd/diskqueue/vfs"
)

const (
	fileSuffix = ".seg"
	badSuffix  = ".bad"
)

// FileName returns the name of the file with that number.
func FileName(number uint32) string { return fmt.Sprintf("%06d"+fileSuffix, number) }

// FileNumber returns the number of the file with that name; ok is false when it is none of a file of segments.
func FileNumber(name string) (number uint32, ok bool) {
	number, bad, ok := parseFileName(name)
	return number, ok && !bad
}

// parseFileName returns the number in a file's name; bad says that the file was put aside.
func parseFileName(name string) (number uint32, bad, ok bool) {
	good, bad := strings.CutSuffix(name, badSuffix)
	digits, _ := strings.CutSuffix(good, fileSuffix)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), bad, err == nil && n > 0 && FileName(uint32(n)) == good
}

// file is what is known of one segment file. But for damaged it belongs to the holder of the caller's lock.
type file struct {
	number uint32
	size   int64   // bytes that count; the next block begins here
	blocks []entry // in the order of their offsets
	live   int     // blocks that are not dropped
	synced int     // blocks that a power cut leaves
	w      vfs.File
	dirty  bool // in Store.unsynced
	fresh  bool // the folder was not synced since the file was created

	syncing bool  // between BeginSync and EndSync, which closes w if need be
	doubt   error // of the first sync that failed

	foreign bool  // of a format that is not known here: left alone
	found   bool  // it was there before: what lies behind its last block that is needed may never have been synced
	torn    int64 // of its size: left by an append which was not finished
	whole   bool  // it is needed as a whole, which counts as one block in live: nothing is known of its blocks

	damaged atomic.Bool // damage was found; atomic because readers find it
}

// entry is a block of a file.
type entry struct {
	offset  uint32
	length  uint32 // of its frames; 0 when it was dropped
	forgone bool   // it will be, and need not be durable
}

func (e entry) dropped() bool { return e.length == 0 }

// drop marks a block, or all of a file that is needed as a whole; false means that it is not there, or was marked before.
func (f *file) drop(ref Ref) bool {
	if f.whole || ref.Whole() {
		if !f.whole || !ref.Whole() {
			return false
		}
		f.whole, f.live = false, 0
		return true
	}
	i, found := f.find(ref.Offset)
	if !found || f.blocks[i].length != ref.Length {
		return false
	}
	f.blocks[i].length = 0
	f.live--
	return true
}

// find returns the index of the block at an offset, or of the first one behind it.
func (f *file) find(offset uint32) (i int, found bool) {
	return slices.BinarySearchFunc(f.blocks, offset, func(e entry, offset uint32) int { return cmp.Compare(e.offset, offset) })
}

// hasLive reports whether a block from the i-th on is needed.
func (f *file) hasLive(i int) bool {
	return slices.ContainsFunc(f.blocks[i:], func(e entry) bool { return !e.dropped() && !e.forgone })
}

// closeWriter closes the descriptor for writing, if it is open and not being synced.
func (f *file) closeWriter() {
	if f.w != nil && !f.syncing {
		_ = f.w.Close() // what is durable was decided by Sync
		f.w = nil
	}
}
