package nsqdata

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"brokerd/diskqueue/vfs"
)

// ScanReport is what Scan found.
type ScanReport struct {
	Records int64    // given out
	Bytes   int64    // of them, lengths included
	Damage  []string // what could not be read, for people
}

// Source returns a text that is the same as long as nobody has used a queue: it is of its meta file, if there is one. The
// queue must not be open.
func Source(dir, name string) (string, error) {
	data, err := vfs.ReadPlain(queueFiles{dir: dir, name: name}.meta())
	if errors.Is(err, fs.ErrNotExist) {
		return "none", nil
	}
	if err != nil {
		return "", fmt.Errorf("failed to read disk queue %s: %w", name, err)
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(data)), nil
}

// Scan gives every record of a queue to f, oldest first, and changes nothing. The record's body is good until f returns. The
// queue must not be open. Where a file cannot be read on, Scan goes on with the next one, as go-diskqueue does, and says so in
// the report. It ends with f's error, or when a file cannot be opened.
func Scan(dir, name string, f func(Record) error) (ScanReport, error) {
	s := newScanner(dir, name, f)
	if err := s.run(); err != nil {
		return s.report, fmt.Errorf("failed to read disk queue %s: %w", name, err)
	}
	return s.report, nil
}

func newScanner(dir, name string, f func(Record) error) *scanner {
	return &scanner{repairer: repairer{queueFiles: queueFiles{dir: dir, name: name}, minSize: RecordHeaderSize, maxSize: 1<<31 - 1,
		logf: func(string, string, ...any) {}}, f: f}
}

type scanner struct {
	repairer
	f      func(Record) error
	report ScanReport
	buf    []byte
}

func (s *scanner) run() error {
	e, ok, err := s.extent()
	if err != nil || !ok {
		return err
	}
	numbers, err := s.numbers(e)
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if i > 0 && n > numbers[i-1]+1 { // those before the first were read to their end, and removed
			s.damage("%d files before %s are missing", n-numbers[i-1]-1, filepath.Base(s.data(n)))
		}
		pos := int64(0)
		if n == e.read.file {
			pos = e.read.pos
		}
		if err := s.file(place{n, pos}); err != nil {
			return err
		}
	}
	return nil
}

// numbers returns the numbers of the data files from an extent's read position on, sorted: those behind a gap, too, which an nsqd
// would not read.
func (s *scanner) numbers(e extent) (list []int64, err error) {
	entries, err := os.ReadDir(folder(s.dir))
	for _, entry := range entries {
		if n, ok := s.number(entry.Name()); ok && n >= e.read.file {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, err
}

// extent returns where the unread records are; ok is false when there are none.
func (s *scanner) extent() (e extent, ok bool, err error) {
	data, err := vfs.ReadPlain(s.meta())
	if err == nil {
		if e, err = parseExtent(data); err == nil {
			return s.advance(e), true, nil
		}
		s.damage("%v: all records of its data files are read", err)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return e, false, err
	}
	first, last, err := s.span()
	return extent{read: place{file: first}, write: place{file: last + 1}}, last >= 0, err
}

func (s *scanner) damage(format string, args ...any) {
	s.report.Damage = append(s.report.Damage, fmt.Sprintf(format, args...))
}

// file gives out the records of a data file from a place on.
func (s *scanner) file(at place) error {
	f, err := vfs.OpenPlain(s.data(at.file))
	if errors.Is(err, vfs.ErrNotPlain) {
		s.damage("%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Seek(at.pos, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 256<<10)
	for left := info.Size() - at.pos; left > 0; {
		n, err := s.record(in, left)
		if n == 0 {
			s.damage("%s at byte %d of %d: %v", filepath.Base(f.Name()), info.Size()-left, info.Size(), err)
			return nil
		}
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// record gives out one record and returns the bytes that it took, none when there is no whole record.
func (s *scanner) record(in io.Reader, left int64) (int64, error) {
	var head [4]byte
	if left < 4 {
		return 0, io.ErrUnexpectedEOF
	}
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:])))
	if size < int64(s.minSize) || size > left-4 {
		return 0, fmt.Errorf("a record of %d bytes cannot be, %d are left", size, left-4)
	}
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	b := s.buf[:size]
	if _, err := io.ReadFull(in, b); err != nil {
		return 0, err
	}
	r, err := ParseRecord(b)
	if err != nil {
		s.damage("a record of %d bytes is passed over: %v", size, err)
		return 4 + size, nil
	}
	s.report.Records++
	s.report.Bytes += 4 + size
	return 4 + size, s.f(r)
}

// PutAside moves all files of a queue into another folder of the same file system, which must exist: the meta file last, so
// that as long as one is left the queue is known by it. A name that is taken there gets a number behind it. Both folders are
// synced. The queue must not be open.
func PutAside(dir, name, into string) error {
	entries, err := os.ReadDir(folder(dir))
	if err != nil {
		return fmt.Errorf("failed to put disk queue %s aside: %w", name, err)
	}
	files := queueFiles{dir: dir, name: name}
	r := repairer{queueFiles: files}
	var names []string
	for _, entry := range entries {
		if _, ok := r.number(strings.TrimSuffix(entry.Name(), ".bad")); ok {
			names = append(names, entry.Name())
		}
	}
	names = append(names, filepath.Base(files.meta()))
	for i, file := range names {
		err := os.Rename(filepath.Join(dir, file), freeName(filepath.Join(into, file)))
		if errors.Is(err, fs.ErrNotExist) && i == len(names)-1 {
			break
		}
		if err == nil && i == len(names)-2 {
			err = errors.Join(syncPath(into), syncPath(folder(dir))) // the meta file must not be gone before the others
		}
		if err != nil {
			return fmt.Errorf("failed to put disk queue %s aside: %w", name, err)
		}
	}
	if err := errors.Join(syncPath(into), syncPath(folder(dir))); err != nil {
		return fmt.Errorf("failed to put disk queue %s aside: %w", name, err)
	}
	return nil
}

// freeName returns the path, or one with a number behind it when that is taken.
func freeName(path string) string {
	name := path
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s.%d", path, n)
	}
}
