package nsqdata

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"brokerd/diskqueue/vfs"
)

// maxFileSpan is the largest number of data files of one queue that a meta file is believed to have.
const maxFileSpan = 1 << 20

// errMeta tells that a meta file's content makes no sense.
var errMeta = errors.New("damaged meta file")

// place is a position in a queue: a data file's number and a byte offset.
type place struct{ file, pos int64 }

// extent is what a meta file says.
type extent struct {
	depth       int64 // records; only a claim, see repairer
	read, write place
}

func (e extent) encode() []byte {
	return fmt.Appendf(nil, "%d\n%d,%d\n%d,%d\n", e.depth, e.read.file, e.read.pos, e.write.file, e.write.pos)
}

// parseExtent decodes a meta file. One from which go-diskqueue could not go on safely is an error that wraps errMeta. The
// depth may be negative.
func parseExtent(data []byte) (e extent, err error) {
	n, err := fmt.Sscanf(string(data), "%d\n%d,%d\n%d,%d\n", &e.depth, &e.read.file, &e.read.pos, &e.write.file, &e.write.pos)
	switch span := e.write.file - e.read.file; {
	case err != nil:
		return e, fmt.Errorf("%w: %d of 5 numbers read: %w", errMeta, n, err)
	case e.read.file < 0 || e.read.pos < 0 || e.write.file < 0 || e.write.pos < 0:
		return e, fmt.Errorf("%w: negative position", errMeta)
	case span < 0 || span == 0 && e.read.pos > e.write.pos:
		return e, fmt.Errorf("%w: read position is behind the write position", errMeta)
	case span > maxFileSpan:
		return e, fmt.Errorf("%w: %d data files", errMeta, span)
	}
	return e, nil
}

// repairer brings a queue's meta file up to date with its data files, as far as go-diskqueue would otherwise miss, lose or
// miscount records. It changes no data file.
type repairer struct {
	queueFiles
	minSize, maxSize int32 // of a record, bytes
	logf             LogFunc
}

// run returns the records and bytes that go-diskqueue will find. records is 1 or more when bytes is; it can be too low
// when an nsqd left a depth that is too low, and too high when a data file is damaged.
func (r *repairer) run() (records, bytes int64, err error) {
	data, err := vfs.ReadPlain(r.meta())
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok := r.size(0); ok {
			return r.rebuild("it has data files but no meta file")
		}
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	old, err := parseExtent(data)
	if err != nil {
		if e := os.Rename(r.meta(), r.meta()+".bad"); e != nil {
			return 0, 0, errors.Join(err, e)
		}
		return r.rebuild(err.Error())
	}
	now := r.advance(old)
	bytes = r.unread(now)
	switch {
	case bytes == 0:
		now.depth = 0
	case now.depth <= 0 || r.shortened(old):
		now.depth = max(1, r.countFrom(now))
	}
	if now != old {
		r.logf("WARNING", "disk queue %s: was not closed cleanly: depth %d instead of %d, writing goes on in file %d",
			r.name, now.depth, old.depth, now.write.file)
		err = replaceFile(r.meta(), now.encode())
	}
	return now.depth, bytes, err
}

// advance moves the write position to a file of its own when the data files are not as the meta file left them, and adds
// the records that are behind the old write position.
func (r *repairer) advance(e extent) extent {
	size, ok := r.size(e.write.file)
	_, more := r.size(e.write.file + 1)
	if size == e.write.pos && !more {
		return e
	}
	if !ok && e.read.file == e.write.file {
		e.read = place{file: e.write.file + 1}
	}
	if size > e.write.pos {
		e.depth += r.count(e.write)
	}
	next := e.write.file + 1
	for ; ; next++ {
		if _, ok := r.size(next); !ok {
			break
		}
		e.depth += r.count(place{file: next})
	}
	e.write = place{file: next}
	return e
}

// shortened reports whether the file at the write position ends before it, as after a loss of power.
func (r *repairer) shortened(e extent) bool {
	size, _ := r.size(e.write.file)
	return size < e.write.pos
}

// rebuild makes a meta file from the data files alone. Records that had been taken already come again.
func (r *repairer) rebuild(why string) (records, bytes int64, err error) {
	first, last, err := r.span()
	if err != nil || last < 0 {
		return 0, 0, err
	}
	e := extent{read: place{file: first}, write: place{file: last + 1}}
	e.depth, bytes = r.countFrom(e), r.unread(e)
	r.logf("WARNING", "disk queue %s: %s: reading all %d records of its files %d to %d", r.name, why, e.depth, first, last)
	return e.depth, bytes, replaceFile(r.meta(), e.encode())
}

// span returns the lowest and the highest number of a data file; last is -1 when there is none.
func (r *repairer) span() (first, last int64, err error) {
	entries, err := os.ReadDir(folder(r.dir))
	if err != nil {
		return 0, 0, err
	}
	last = -1
	for _, entry := range entries {
		number, ok := r.number(entry.Name())
		if !ok {
			continue
		}
		if last < 0 || number < first {
			first = number
		}
		last = max(last, number)
	}
	return first, last, nil
}

// number returns the number of the data file of this name.
func (r *repairer) number(fileName string) (number int64, ok bool) {
	s, ok1 := strings.CutPrefix(fileName, r.name+".diskqueue.")
	s, ok2 := strings.CutSuffix(s, ".dat")
	number, ok = dataNumber(s)
	return number, ok && ok1 && ok2
}

// unread returns the bytes of the data files that are not read yet.
func (r *repairer) unread(e extent) (bytes int64) {
	for n := e.read.file; n <= e.write.file; n++ {
		size, _ := r.size(n)
		if n == e.read.file {
			size = max(0, size-e.read.pos)
		}
		bytes += size
	}
	return bytes
}

// countFrom returns the records from the read position on.
func (r *repairer) countFrom(e extent) (records int64) {
	at := e.read
	for ; at.file <= e.write.file; at = (place{file: at.file + 1}) {
		records += r.count(at)
	}
	return records
}

// count returns how many records go-diskqueue will read from a place to the end of its file: up to the first one whose
// length is out of range or that is not there whole.
func (r *repairer) count(at place) (records int64) {
	f, err := vfs.OpenPlain(r.data(at.file))
	if err != nil {
		return 0
	}
	defer f.Close()
	if _, err := f.Seek(at.pos, io.SeekStart); err != nil {
		return 0
	}
	buffered := bufio.NewReaderSize(f, 64<<10)
	for {
		var head [4]byte
		if _, err := io.ReadFull(buffered, head[:]); err != nil {
			return records
		}
		size := int32(binary.BigEndian.Uint32(head[:]))
		if size < r.minSize || size > r.maxSize {
			return records
		}
		if _, err := buffered.Discard(int(size)); err != nil {
			return records
		}
		records++
	}
}
