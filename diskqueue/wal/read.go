package wal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"brokerd/diskqueue/vfs"
)

// Entry is a record that was read. Data is a view that is good until replay returns.
type Entry struct {
	At   Offset
	Kind byte
	Data []byte
}

// Report is what reading a log found.
type Report struct {
	Files    int      // of the log
	Records  int      // handed to replay
	Bytes    int64    // of their data
	End      Offset   // behind the last record
	Damage   []Damage // what could not be read, in order
	Missing  []string // what is needed and not there, for people
	Gone     []uint64 // files that are not there since a power cut took their names before they were synced; Need.Gone of the next start
	Headless []Link   // files without a header that have records; Need.Headless of the next start
	Foreign  []string // names of files that belong to another folder's log, and of others that are none of this one

	marks []mark
}

// Link says behind what a file goes on whose header, which says so, a power cut has taken.
type Link struct {
	File uint64 `json:"file"`
	Prev Offset `json:"prev"`
}

// Damaged reports whether something could not be read that had been synced.
func (r *Report) Damaged() bool {
	return slices.ContainsFunc(r.Damage, func(d Damage) bool { return !d.Unsynced })
}

// Covered reports whether the log itself says that what is at an offset had been synced: a mark covers it. What no mark covers may be
// what a power cut has left of writes that were never synced, a later one without an earlier one.
func (r *Report) Covered(at Offset) bool {
	return slices.ContainsFunc(r.marks, func(m mark) bool { return m.covers(at) })
}

// Damage is a place of a log that could not be read.
type Damage struct {
	File     string // name in the log's folder
	At       Offset // where it begins
	Length   int64  // bytes
	What     string // what is wrong, for people
	Unsynced bool   // nothing says that it ever was synced: a power cut leaves such places

	unread bool // the disk did not give it back: nobody knows what was there
}

// Read reads the log in a folder as Open does, and changes nothing. No log may be open there.
func Read(fs vfs.FS, dir string, need Need, replay func(Entry) error) (Report, error) {
	r := &reader{fs: fs, dir: dir, need: need, replay: replay}
	err := r.read()
	return r.report, err
}

// reader reads a log once.
type reader struct {
	fs     vfs.FS
	dir    string
	need   Need
	replay func(Entry) error

	folder  bool       // it is there
	files   []readFile // oldest first
	spares  []string   // paths
	highest uint64     // number of any file, of whatever kind
	gaps    []gap
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
	told    bool  // it is not, and an earlier start has told what the file goes on from
	limit   int64 // where its records end by a later header; -1 when none says so
	damaged bool
	blind   bool // the disk did not give back the header
	unread  span // where a page was that it did not give back, up to the end of the last such page, when the file was last read
	checked bool // what did not look right was read a second time
	found   int  // records and marks
}

func (f *readFile) name() string { return filepath.Base(fileName("", f.number, extLive)) }

func (r *reader) read() error {
	if err := r.list(); err != nil {
		return err
	}
	if err := r.readHeaders(); err != nil {
		return err
	}
	r.chain()
	r.missing()
	if err := r.refuse(); err != nil {
		return err
	}
	for i := range r.files {
		f := &r.files[i]
		if f.number < r.need.From.File {
			continue
		}
		if err := r.readRecords(f); err != nil {
			return err
		}
	}
	if end := r.need.End; end != nil && r.report.End.Before(*end) && !end.Before(r.need.From) {
		r.lack("the log ends at %v and reached to %v when the broker was stopped", r.report.End, *end)
	}
	r.judge()
	r.judgeGaps()
	return r.refuse()
}

// lack notes what is needed and not there.
func (r *reader) lack(format string, args ...any) {
	r.report.Missing = append(r.report.Missing, fmt.Sprintf(format, args...))
}

// refuse returns why the log may not be used.
func (r *reader) refuse() error {
	if len(r.report.Missing) == 0 || r.need.AcceptLoss {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMissing, strings.Join(r.report.Missing, "; "))
}

func (r *reader) list() error {
	var names []string
	err := vfs.Retry(func() (err error) {
		names, err = r.fs.List(r.dir)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the log: %w", err)
	}
	r.folder = err == nil
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
	slices.SortFunc(r.files, func(a, b readFile) int { return cmp.Compare(a.number, b.number) })
	return nil
}

// readHeaders reads all headers, and takes out the files of other folders.
func (r *reader) readHeaders() error {
	own := r.files[:0]
	for _, f := range r.files {
		if err := r.readHeader(&f); err != nil {
			return err
		}
		if i := slices.IndexFunc(r.need.Headless, func(l Link) bool { return l.File == f.number }); i >= 0 && !f.headed {
			f.header.prev, f.told = r.need.Headless[i].Prev, true
		}
		if f.headed && r.need.Folder != [8]byte{} && f.header.folder != r.need.Folder {
			r.report.Foreign = append(r.report.Foreign, f.name())
			continue
		}
		if r.swapped(&f) {
			r.lack("%s has the records of file %d in place of its own", fileName(r.dir, f.number, extLive), f.header.number)
			r.report.Foreign = append(r.report.Foreign, f.name())
			continue
		}
		own = append(own, f)
	}
	r.files = own
	r.report.Files = len(r.files)
	return nil
}

// readHeader reads the header of a file. What does not look like one is read twice, the second time from the disk.
func (r *reader) readHeader(f *readFile) error {
	for again := range 2 {
		if again > 0 {
			if err := vfs.Forget(r.fs, fileName(r.dir, f.number, extLive)); err != nil && !r.need.AcceptLoss {
				return fmt.Errorf("read the log again: %w", err)
			}
		}
		b, unreadable, err := r.load(f, fileHeaderSize)
		if err != nil {
			return err
		}
		f.blind = unreadable != nil
		f.header, f.headed, err = parseHeader(b, f.number)
		if v := (*VersionError)(nil); errors.As(err, &v) {
			v.File = fileName(r.dir, f.number, extLive)
		}
		if err != nil || f.headed {
			return err
		}
	}
	return nil
}

// swapped reports whether a file that is needed is another one of the log under its name. One that was overwritten for a new number, of
// which a power cut has left only the old header, had an older number, which was not needed any more.
func (r *reader) swapped(f *readFile) bool {
	from, holds := r.need.From.File, f.header.number
	if f.headed || holds == 0 || f.number < from || f.header.folder != r.need.Folder {
		return false
	}
	return holds > f.number || from > 0 && holds >= from || r.need.Whole
}

// missing notes which files are needed and not there.
func (r *reader) missing() {
	from := r.need.From.File
	if from > 0 && !r.has(from) {
		r.lack("%s is not there, in which the log begins that the checkpoint needs", fileName(r.dir, from, extLive))
	}
	if i := r.index(from); i >= 0 && r.files[i].size < r.need.From.Offset {
		r.lack("%s is cut short (%d bytes, and the checkpoint needs it from byte %d on)", fileName(r.dir, from, extLive), r.files[i].size,
			r.need.From.Offset)
	}
	if seen := r.need.Seen; seen > 0 && seen >= from && seen != from && !r.has(seen) {
		r.lack("%s is not there, which was the newest file of the log", fileName(r.dir, seen, extLive))
	}
	if end := r.need.End; end != nil && end.File > from && end.File != r.need.Seen && !r.has(end.File) {
		r.lack("%s is not there, in which the log ended when the broker was stopped", fileName(r.dir, end.File, extLive))
	}
	limit := r.need.Limit
	older := limit > 0 && len(r.files) > 0 && r.files[len(r.files)-1].number >= limit
	if older {
		r.lack("the manifest is an older copy: %s is there, and it knows of no file from %d on", r.files[len(r.files)-1].name(), limit)
	}
	lacked := map[uint64]bool{from: true, r.need.Seen: true}
	for _, f := range r.files {
		prev := f.header.prev.File
		switch {
		case !f.headed && !f.told || f.number <= from || lacked[prev] && prev > 0:
		case prev > 0 && prev >= from && (from > 0 || r.need.Whole) && !r.has(prev):
			lacked[prev] = true
			if slices.Contains(r.need.Gone, prev) {
				r.report.Gone = append(r.report.Gone, prev)
				continue
			}
			unproven := !older && slices.ContainsFunc(r.files, func(f readFile) bool { return f.headed && f.header.doubts(prev) })
			if unproven || prev > r.need.Seen { // perhaps it never was there for good, see judgeGaps
				r.gaps = append(r.gaps, gap{f.header.prev, f.number, f.name(), unproven})
				continue
			}
			r.lack("%s is not there, behind which %s goes on", fileName(r.dir, prev, extLive), f.name())
		case prev == 0 && from > 0:
			r.lack("%s begins a log of its own, in the place of the one that the checkpoint needs", f.name())
		}
	}
}

// gap is a file that is not there and that the header of a later one names.
type gap struct {
	end      Offset // of its records
	number   uint64 // of the later one
	next     string
	unproven bool // a header says so
}

// judgeGaps tells files that are missing from those whose names a power cut has taken before they were synced: a mark says that they
// were, or that the one behind them was, and with it all names before its own that are not unproven.
func (r *reader) judgeGaps() {
	for _, g := range r.gaps {
		was := Offset{File: g.end.File}
		if slices.ContainsFunc(r.report.marks, func(m mark) bool { return m.covers(was) || !g.unproven && m.covers(Offset{File: g.number}) }) {
			r.lack("%s is not there, behind which %s goes on", fileName(r.dir, was.File, extLive), g.next)
			continue
		}
		r.report.Gone = append(r.report.Gone, was.File)
		r.report.Damage = append(r.report.Damage, Damage{File: filepath.Base(fileName("", was.File, extLive)), At: was, Length: g.end.Offset,
			What: "the file is missing", Unsynced: true})
	}
}

// index returns which of the files has that number, -1 when it is not there.
func (r *reader) index(number uint64) int {
	return slices.IndexFunc(r.files, func(f readFile) bool { return f.number == number })
}

func (r *reader) has(number uint64) bool { return r.index(number) >= 0 }

// chain applies what headers say about the files before them.
func (r *reader) chain() {
	for i := range r.files {
		if f := &r.files[i]; (f.headed || f.told) && f.header.prev.File > 0 {
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
	if r.files[0].number < prev.File && r.need.From == (Offset{}) && !r.need.Whole {
		missing := readFile{number: prev.File}
		r.damage(&missing, 0, prev.Offset, "the file is missing")
	}
}

// load reads a file, or its first most bytes. What the disk cannot give back is tried again, and then an error; if loss is accepted
// it is zeros, and the reason is in unreadable.
func (r *reader) load(f *readFile, most int64) (b []byte, unreadable, err error) {
	f.unread = span{}
	err = vfs.Retry(func() error { return r.loadOnce(f, most) })
	if err == nil {
		return r.buf, nil, nil
	}
	if !r.need.AcceptLoss {
		return nil, nil, fmt.Errorf("read the log: %w", err)
	}
	return r.salvage(f, most)
}

func (r *reader) loadOnce(f *readFile, most int64) error {
	file, err := r.fs.Open(fileName(r.dir, f.number, extLive))
	if err != nil {
		return err
	}
	defer file.Close() // read only
	if f.size, err = file.Size(); err != nil {
		return err
	}
	n := int(min(f.size, most))
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	if got, err := file.ReadAt(r.buf, 0); got < n && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// loadRecords reads a file up to where its records end.
func (r *reader) loadRecords(f *readFile) (b []byte, reason string, err error) {
	most := int64(1 << 62)
	if f.limit >= 0 {
		most = f.limit // what lies behind may be of an earlier life, and need not be readable
	}
	b, unreadable, err := r.load(f, most)
	if err != nil {
		return nil, "", err
	}
	if unreadable != nil {
		reason = ": " + unreadable.Error()
	}
	return b, reason, nil
}

// again reads a file once more, from the disk, because something in it does not look right: memory has faults too. It is done once.
func (r *reader) again(f *readFile) (b []byte, reason string, err error) {
	f.checked = true
	if err := vfs.Forget(r.fs, fileName(r.dir, f.number, extLive)); err != nil && !r.need.AcceptLoss {
		return nil, "", fmt.Errorf("read the log again: %w", err)
	}
	return r.loadRecords(f)
}

// readRecords hands on the records of a file, from need.From on.
func (r *reader) readRecords(f *readFile) error {
	b, reason, err := r.loadRecords(f)
	if err != nil {
		return err
	}
	before := r.report.Records + len(r.report.marks)
	off := int64(fileHeaderSize)
	if f.number == r.need.From.File {
		off = max(off, r.need.From.Offset)
	}
	for off < int64(len(b)) {
		rec, sound, whole := parseRecord(b, f.number, off, &r.sums)
		if whole {
			if err := r.deliver(f, off, rec); err != nil {
				return err
			}
			off += rec.size
			continue
		}
		if !f.checked {
			if b, reason, err = r.again(f); err != nil {
				return err
			}
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
	f.found = r.report.Records + len(r.report.marks) - before
	r.finish(f, off, reason)
	return nil
}

// finish judges the end and the header of a file whose readable records end at off.
func (r *reader) finish(f *readFile, off int64, reason string) {
	if off < f.limit {
		what := "no record"
		if f.size < f.limit {
			what = "the file is cut short"
		}
		r.damage(f, off, f.limit-off, what+reason)
		off = f.limit
	}
	if f.limit < 0 && off < f.unread.to { // it may be room behind the last record, or records
		r.damage(f, off, f.unread.to-off, "no record"+reason)
	}
	if f.number == r.need.Seen && f.number > r.need.From.File && !f.headed && f.found == 0 && f.limit != 0 {
		r.lack("%s holds nothing of the log, and its first records were synced", fileName(r.dir, f.number, extLive))
	}
	if !f.headed && (f.found > 0 || f.limit >= fileHeaderSize) {
		r.damage(f, 0, fileHeaderSize, "no header"+reason)
	}
	if !f.headed && f.found > 0 && f.limit != 0 {
		link := Link{f.number, r.report.End}
		if f.told {
			link.Prev = f.header.prev
		}
		r.report.Headless = append(r.report.Headless, link)
	}
	if f.limit != 0 && (f.headed || f.found > 0) { // else a power cut has left nothing but its name: nothing goes on behind it
		r.report.End = Offset{File: f.number, Offset: off}
	}
}

func (r *reader) deliver(f *readFile, off int64, rec record) error {
	at := Offset{File: f.number, Offset: off}
	if rec.kind == kindMark {
		if m, ok := parseMark(rec.data); ok {
			r.report.marks = append(r.report.marks, m)
		}
		return nil
	}
	if rec.kind > MaxKind {
		return nil
	}
	r.report.Records++
	r.report.Bytes += int64(len(rec.data))
	if err := r.replay(Entry{At: at, Kind: rec.kind, Data: rec.data}); err != nil {
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

// nothing is what the part of a file that was never written reads as.
var nothing [4096]byte

// zeros returns how many zeros b begins with.
func zeros(b []byte) int64 {
	n := 0
	for n+len(nothing) <= len(b) && bytes.Equal(b[n:n+len(nothing)], nothing[:]) {
		n += len(nothing)
	}
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
		File: f.name(), At: Offset{File: f.number, Offset: off}, Length: length, What: what,
		unread: off < f.unread.to && f.unread.from < off+length || off < fileHeaderSize && f.blind,
	})
}

// judge tells damage from what was never synced, now that all marks are known.
func (r *reader) judge() {
	for i := range r.report.Damage {
		d := &r.report.Damage[i]
		d.Unsynced = !d.unread && !slices.ContainsFunc(r.report.marks, func(m mark) bool { return m.covers(d.At) })
	}
	for i := range r.files {
		f := &r.files[i]
		if f.number < r.need.From.File {
			continue // it was not read
		}
		synced := slices.ContainsFunc(r.report.marks, func(m mark) bool { return m.covers(Offset{File: f.number}) })
		switch {
		case f.headed && f.limit < 0 && f.size < f.header.size && synced:
			r.damage(f, f.size, f.header.size-f.size, "the file is cut short")
		case (r.need.Whole || r.need.From.File > 0) && !f.headed && f.found == 0 && f.limit != 0 && synced && f.number != r.need.Seen: // of that finish has told
			r.lack("%s holds nothing of the log, and was synced: what came before it is not known", fileName(r.dir, f.number, extLive))
		}
		f.damaged = slices.ContainsFunc(r.report.Damage, func(d Damage) bool {
			return d.At.File == f.number && !d.Unsynced
		})
	}
	slices.SortStableFunc(r.report.Damage, func(a, b Damage) int { return a.At.Compare(b.At) })
}

// soundFrom returns the first of the files that are read of which those that follow, and it, were read without any damage; next when there
// is none.
func (r *reader) soundFrom(next uint64) uint64 {
	for _, f := range slices.Backward(r.files) {
		if f.limit == 0 { // left out
			continue
		}
		if f.number < r.need.From.File || !f.headed || slices.ContainsFunc(r.report.Damage, func(d Damage) bool { return d.At.File == f.number }) {
			break
		}
		if next = f.number; !r.has(f.header.prev.File) {
			break
		}
	}
	return next
}

// HeaderOf returns the number of a file of a log and the folder that it belongs to, ok false when it is none that can be read.
func HeaderOf(files vfs.FS, path string) (number uint64, folder [8]byte, ok bool) {
	number, ext, ok := parseName(filepath.Base(path))
	if !ok || ext != extLive {
		return 0, folder, false
	}
	f, err := files.Open(path)
	if err != nil {
		return 0, folder, false
	}
	defer f.Close() // read only
	head := make([]byte, fileHeaderSize)
	if err := vfs.ReadFull(f, head, 0); err != nil {
		return 0, folder, false
	}
	h, ok, err := parseHeader(head, number)
	return number, h.folder, ok && err == nil
}
