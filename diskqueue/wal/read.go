package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"brokerd/diskqueue/vfs"
)

// Entry is a record that was read. Data is a view that is good until replay returns.
type Entry struct {
	Pos  Position
	Kind byte
	Data []byte
}

// Report is what reading a log found.
type Report struct {
	Files   int      // of the log
	Records int      // handed to replay
	Bytes   int64    // of their data
	End     Position // behind the last record
	Damage  []Damage // what could not be read, in order
}

// Damaged reports whether something could not be read that had been synced.
func (r *Report) Damaged() bool {
	return slices.ContainsFunc(r.Damage, func(d Damage) bool { return !d.Unsynced })
}

// Damage is a place of a log that could not be read.
type Damage struct {
	File     string   // name in the log's folder
	Pos      Position // where it begins
	Length   int64    // bytes
	What     string   // what is wrong, for people
	Unsynced bool     // nothing says that it ever was synced: a power cut leaves such places
}

// Read reads the log in a folder as Open does, and changes nothing. No log may be open there.
func Read(fs vfs.FS, dir string, replay func(Entry) error) (Report, error) {
	r := &reader{fs: fs, dir: dir, replay: replay}
	err := r.read()
	return r.report, err
}

// reader reads a log once.
type reader struct {
	fs     vfs.FS
	dir    string
	replay func(Entry) error

	files   []readFile // oldest first
	spares  []string   // paths
	highest uint64     // number of any file, of whatever kind
	marks   []mark
	report  Report
	buf     []byte
	sums    sumBuffer
}

// readFile is a file of the log.
type readFile struct {
	number  uint64
	size    int64
	header  header
	headed  bool  // the header is right
	limit   int64 // where its records end by a later header; -1 when none says so
	damaged bool
}

func (f *readFile) name() string { return filepath.Base(fileName("", f.number, extLive)) }

func (r *reader) read() error {
	if err := r.list(); err != nil {
		return err
	}
	for i := range r.files {
		if err := r.readHeader(&r.files[i]); err != nil {
			return err
		}
	}
	r.chain()
	for i := range r.files {
		if err := r.readRecords(&r.files[i]); err != nil {
			return err
		}
	}
	r.judge()
	return nil
}

func (r *reader) list() error {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for _, name := range names {
		number, ext, ok := parseName(name)
		if !ok {
			continue
		}
		r.highest = max(r.highest, number)
		switch ext {
		case extLive:
			r.files = append(r.files, readFile{number: number, limit: -1})
		case extSpare:
			r.spares = append(r.spares, filepath.Join(r.dir, name))
		}
	}
	slices.SortFunc(r.files, func(a, b readFile) int {
		return Position{File: a.number}.Compare(Position{File: b.number})
	})
	r.report.Files = len(r.files)
	return nil
}

func (r *reader) readHeader(f *readFile) error {
	b, _, err := r.load(f, fileHeaderSize)
	if err != nil {
		return err
	}
	f.header, f.headed, err = parseHeader(b, f.number)
	return err
}

// chain applies what headers say about the files before them.
func (r *reader) chain() {
	for i := range r.files {
		if f := &r.files[i]; f.headed && f.header.prev.File > 0 {
			r.endsBefore(f, i)
		}
	}
}

// endsBefore applies what the header of the file with index i says.
func (r *reader) endsBefore(f *readFile, i int) {
	prev := f.header.prev
	for j := i - 1; j >= 0 && r.files[j].number >= prev.File; j-- {
		r.files[j].limit = 0 // left out: what failed to be written
		if r.files[j].number == prev.File {
			r.files[j].limit = max(prev.Offset, 0)
			return
		}
	}
	if r.files[0].number < prev.File {
		missing := readFile{number: prev.File}
		r.damage(&missing, 0, prev.Offset, "the file is missing")
	}
}

// load reads a file, or its first most bytes. What the disk cannot give back is zeros, and the reason is in unreadable.
func (r *reader) load(f *readFile, most int64) (b []byte, unreadable, err error) {
	file, err := r.fs.Open(fileName(r.dir, f.number, extLive))
	if err != nil {
		return nil, nil, fmt.Errorf("read the log: %w", err)
	}
	defer file.Close() // read only
	if f.size, err = file.Size(); err != nil {
		return nil, nil, fmt.Errorf("read the log: %w", err)
	}
	n := int(min(f.size, most))
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	if _, err = file.ReadAt(r.buf, 0); err == nil || errors.Is(err, io.EOF) {
		return r.buf, nil, nil
	}
	const page = 4096
	for off := 0; off < n; off += page {
		p := r.buf[off:min(off+page, n)]
		if _, pageErr := file.ReadAt(p, int64(off)); pageErr != nil && !errors.Is(pageErr, io.EOF) {
			clear(p)
			unreadable = pageErr
		}
	}
	return r.buf, unreadable, nil
}

// readRecords hands on the records of a file.
func (r *reader) readRecords(f *readFile) error {
	b, unreadable, err := r.load(f, 1<<62)
	if err != nil {
		return err
	}
	if f.limit >= 0 {
		b = b[:min(f.limit, int64(len(b)))]
	}
	reason := ""
	if unreadable != nil {
		reason = ": " + unreadable.Error()
	}
	before := r.report.Records + len(r.marks)
	off := int64(fileHeaderSize)
	for off < int64(len(b)) {
		rec, sound, whole := parseRecord(b, f.number, off, &r.sums)
		if whole {
			if err := r.deliver(f, off, rec); err != nil {
				return err
			}
			off += rec.size
			continue
		}
		next := r.findRecord(b, f.number, off+max(1, rec.size))
		if next < 0 {
			break
		}
		what := "no record"
		if sound {
			what = fmt.Sprintf("a record of kind %d whose data is not what it was", rec.kind)
		}
		r.damage(f, off, next-off, what+reason)
		off = next
	}
	found := r.report.Records + len(r.marks) - before
	r.finish(f, off, found, reason)
	return nil
}

// finish judges the end and the header of a file whose readable records end at off.
func (r *reader) finish(f *readFile, off int64, found int, reason string) {
	if off < f.limit {
		what := "no record"
		if f.size < f.limit {
			what = "the file is cut short"
		}
		r.damage(f, off, f.limit-off, what+reason)
		off = f.limit
	}
	if !f.headed && (found > 0 || f.limit > fileHeaderSize) {
		r.damage(f, 0, fileHeaderSize, "no header"+reason)
	}
	if f.limit != 0 {
		r.report.End = Position{File: f.number, Offset: off}
	}
}

func (r *reader) deliver(f *readFile, off int64, rec record) error {
	at := Position{File: f.number, Offset: off}
	if rec.kind == kindMark {
		if m, ok := parseMark(rec.data); ok {
			r.marks = append(r.marks, m)
		}
		return nil
	}
	if rec.kind > MaxKind {
		return nil
	}
	r.report.Records++
	r.report.Bytes += int64(len(rec.data))
	if err := r.replay(Entry{Pos: at, Kind: rec.kind, Data: rec.data}); err != nil {
		return fmt.Errorf("replay the log at %v: %w", at, err)
	}
	return nil
}

// findRecord returns where the next whole record begins, -1 when there is none. Nearly all places are told by a missing kind,
// or a length that cannot be.
func (r *reader) findRecord(b []byte, number uint64, from int64) int64 {
	for off := from; off+recordHeaderSize <= int64(len(b)); off++ {
		if b[off+8] == 0 {
			off += zeros(b[off+8:]) - 1
			continue
		}
		if _, _, whole := parseRecord(b, number, off, &r.sums); whole {
			return off
		}
	}
	return -1
}

// zeros returns how many zeros b begins with.
func zeros(b []byte) int64 {
	n := 0
	for n+8 <= len(b) && binary.LittleEndian.Uint64(b[n:]) == 0 {
		n += 8
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return int64(n)
}

func (r *reader) damage(f *readFile, off, length int64, what string) {
	r.report.Damage = append(r.report.Damage, Damage{
		File: f.name(), Pos: Position{File: f.number, Offset: off}, Length: length, What: what,
	})
}

// judge tells damage from what was never synced, now that all marks are known.
func (r *reader) judge() {
	for i := range r.report.Damage {
		d := &r.report.Damage[i]
		d.Unsynced = !slices.ContainsFunc(r.marks, func(m mark) bool { return m.covers(d.Pos) })
	}
	for i := range r.files {
		f := &r.files[i]
		synced := slices.ContainsFunc(r.marks, func(m mark) bool { return m.covers(Position{File: f.number}) })
		if f.headed && f.limit < 0 && f.size < f.header.size && synced {
			r.damage(f, f.size, f.header.size-f.size, "the file is cut short")
		}
		f.damaged = slices.ContainsFunc(r.report.Damage, func(d Damage) bool {
			return d.Pos.File == f.number && !d.Unsynced
		})
	}
	slices.SortStableFunc(r.report.Damage, func(a, b Damage) int { return a.Pos.Compare(b.Pos) })
}
