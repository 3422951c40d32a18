package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
)

var update = flag.Bool("update", false, "write testdata/v2.wal anew")

// sample makes a closed log of several files and returns its file system and records. Each record but the largest is one
// byte longer than the one before, so that none can be taken for another.
func sample(t testing.TB) (*vfs.Mem, []entry) {
	t.Helper()
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize = minFileSize
	l, _, _ := open(t, o)
	var made []entry
	for i := range 28 {
		e := put(t, l, byte(1+i), strings.Repeat(string(rune('A'+i)), 70+i))
		ok(t, l.Commit(e.pos, Synced))
		made = append(made, e)
	}
	ok(t, l.Close())
	return m, made
}

func bytesOf(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	ok(t, err)
	defer f.Close()
	size, err := f.Size()
	ok(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	ok(t, err)
	return b
}

// overwrite changes bytes of a file, or makes it.
func overwrite(t testing.TB, fs vfs.FS, name string, b []byte, off int64) {
	t.Helper()
	f, err := fs.OpenWrite(name)
	if err != nil {
		f, err = fs.Create(name)
	}
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt(b, off)
	ok(t, err)
}

// files returns the paths of a log's files.
func files(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	ok(t, err)
	for i := range names {
		names[i] = filepath.Join(testDir, names[i])
	}
	return names
}

// size is what a record takes in a file.
func (e entry) size() int64 { return recordHeaderSize + int64(len(e.data)) }

// touched says whether some bytes of a file belong to the record.
func (e entry) touched(number uint64, from, to int64) bool {
	return e.pos.File == number && e.pos.Offset < to && from < e.pos.Offset+e.size()
}

// checkDamage reads a log in which the bytes from..to of a file were changed. All other records must be there; those bytes
// must be reported as damage if they held something, within the records that they touch.
func checkDamage(t *testing.T, m *vfs.Mem, made []entry, number uint64, from, to int64) {
	t.Helper()
	got, report := read(t, m)
	var want []entry
	lost := false
	for _, e := range made {
		if e.touched(number, from, to) {
			lost = true
		} else {
			want = append(want, e)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("bytes %d to %d of file %d: read %d records, wanted %d; damage %+v", from, to, number, len(got), len(want), report.Damage)
	}
	headed := from < 60 && to > 0
	if (lost || headed) && !report.Damaged() {
		t.Fatalf("bytes %d to %d of file %d: not reported: %+v", from, to, number, report.Damage)
	}
	for _, d := range report.Damage {
		if d.At.File != number || d.At.Offset >= to+200 || d.At.Offset+d.Length+200 <= from {
			t.Fatalf("bytes %d to %d of file %d: reported elsewhere: %+v", from, to, number, d)
		}
	}
}

func TestEveryByteChanged(t *testing.T) {
	m, made := sample(t)
	for _, name := range files(t, m) {
		number, _, _ := parseName(filepath.Base(name))
		content := bytesOf(t, m, name)
		for off := range int64(len(content)) {
			for _, flip := range []byte{1, 0x80, 0xff} {
				overwrite(t, m, name, []byte{content[off] ^ flip}, off)
				checkDamage(t, m, made, number, off, off+1)
			}
			overwrite(t, m, name, content[off:off+1], off)
		}
	}
	checkDamage(t, m, made, 0, 0, 0)
}

func TestZeroedPages(t *testing.T) {
	m, made := sample(t)
	for _, name := range files(t, m) {
		number, _, _ := parseName(filepath.Base(name))
		content := bytesOf(t, m, name)
		for off := int64(0); off < int64(len(content)); off += 64 {
			for _, size := range []int64{64, 512} {
				end := min(off+size, int64(len(content)))
				overwrite(t, m, name, make([]byte, end-off), off)
				got, report := read(t, m)
				var want []entry
				for _, e := range made {
					if !e.touched(number, off, end) {
						want = append(want, e)
					}
				}
				last := made[len(made)-1]
				if len(want) < len(made) && !report.Damaged() && !last.touched(number, off, end) {
					t.Fatalf("%d bytes at %d:%d: not reported", size, number, off)
				}
				same(t, got, want)
				overwrite(t, m, name, content[off:end], off)
			}
		}
	}
}

func TestTruncatedAtEveryLength(t *testing.T) {
	m, made := sample(t)
	names := files(t, m)
	for i, name := range names {
		number, _, _ := parseName(filepath.Base(name))
		content := bytesOf(t, m, name)
		for size := int64(len(content)) - 1; size >= 0; size-- {
			f, err := m.OpenWrite(name)
			ok(t, err)
			ok(t, f.Truncate(size))
			ok(t, f.Close())
			got, report := read(t, m)
			var want []entry
			for _, e := range made {
				if e.pos.File != number || e.pos.Offset+e.size() <= size {
					want = append(want, e)
				}
			}
			same(t, got, want)
			if i < len(names)-1 && len(want) < len(made) && !report.Damaged() {
				t.Fatalf("file %d cut at %d: not reported", number, size)
			}
		}
		overwrite(t, m, name, content, 0)
	}
}

func TestMissingFile(t *testing.T) {
	m, made := sample(t)
	names := files(t, m)
	ok(t, m.Remove(names[1]))
	got, report := read(t, m)
	number, _, _ := parseName(filepath.Base(names[1]))
	same(t, got, slices.DeleteFunc(slices.Clone(made), func(e entry) bool { return e.pos.File == number }))
	if len(report.Damage) != 1 || !report.Damaged() || report.Damage[0].File != filepath.Base(names[1]) {
		t.Errorf("%+v", report.Damage)
	}
	ok(t, m.Remove(names[0])) // released files are no damage
	if _, report = read(t, m); len(report.Damage) > 0 {
		t.Errorf("%+v", report.Damage)
	}
}

// A sector that the disk cannot give back is no damage: it is tried again, and then it is an error. When loss is accepted it costs
// what is in it.
func TestUnreadableSector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		o := testOptions(m)
		o.FileSize = 64 << 10
		l, _, _ := open(t, o)
		made := fill(t, l, 50, 1000, Synced)
		ok(t, l.Close())
		name := filepath.Base(files(t, m)[0])
		fs := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 1, Times: 2, Err: syscall.EIO})
		got, report := read(t, fs)
		same(t, got, made)
		if len(report.Damage) > 0 {
			t.Errorf("an error that passes: %+v", report.Damage)
		}
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 1, Times: 3, Err: syscall.EIO})
		got = nil
		if _, err := Read(fs, testDir, Need{}, collect(&got)); !errors.Is(err, syscall.EIO) {
			t.Errorf("an error that stays: %v", err)
		}
		fs.SetRules( // of the records: the whole file three times, then its third page, and again when it is read once more
			vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 1, Times: 3, Err: syscall.EIO},
			vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 3, Times: 1, Err: syscall.EIO},
			vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 16, Times: 3, Err: syscall.EIO},
			vfs.Rule{Ops: vfs.OpRead, Path: name, Skip: 18, Times: 1, Err: syscall.EIO})
		got = nil
		report, err := Read(fs, testDir, Need{AcceptLoss: true}, collect(&got))
		ok(t, err)
		want := slices.DeleteFunc(slices.Clone(made), func(e entry) bool { return e.touched(e.pos.File, 2*4096, 3*4096) })
		same(t, got, want)
		if len(report.Damage) != 1 || !report.Damaged() || !strings.Contains(report.Damage[0].What, syscall.EIO.Error()) {
			t.Errorf("%+v", report.Damage)
		}
		fs.SetRules(vfs.Rule{Ops: vfs.OpOpen, Err: syscall.EMFILE})
		if _, err := Read(fs, testDir, Need{}, collect(&got)); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("a file that cannot be opened now: %v, must not pass for damage", err)
		}
	})
}

// TestReadWellTheSecondTime: a page that the disk did not give back, and then does, is judged as on a disk that always gives it: the room behind the last
// record is no damage, and a header that a power cut has taken was never synced. One that was not given back both times is damage.
func TestReadWellTheSecondTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sound := vfs.NewMem()
		l, _, _ := open(t, testOptions(sound))
		made := fill(t, l, 2, 1000, Written)
		end := l.End()
		ok(t, l.Close())
		path := files(t, sound)[0]
		headless := sound.KillClone()
		overwrite(t, headless, path, make([]byte, fileHeaderSize), 0)
		for m, size := range map[*vfs.Mem]int64{sound: 8192, headless: end.Offset} {
			f, err := m.OpenWrite(path)
			ok(t, err)
			ok(t, f.Truncate(size))
			ok(t, f.Close())
		}
		lost := Damage{File: filepath.Base(path), At: Offset{File: 1}, Length: fileHeaderSize, What: "no header"}
		taken := lost
		lost.unread, taken.Unsynced = true, true
		for _, c := range []struct {
			fs          vfs.FS
			skip, times int // reads that succeed, and then fail: each try is three of all and one of the first page
			want        []Damage
		}{{sound, 1, 4, nil}, {headless, 0, 4, []Damage{taken}}, {headless, 0, 8, []Damage{lost}}, {sound, 0, 8, []Damage{lost}}} {
			fs := vfs.NewFaulty(c.fs, vfs.Rule{Ops: vfs.OpRead, Path: filepath.Base(path), Skip: c.skip, Times: c.times, Err: syscall.EIO})
			var got []entry
			report, err := Read(fs, testDir, Need{AcceptLoss: true}, collect(&got))
			ok(t, err)
			same(t, got, made)
			if !slices.Equal(report.Damage, c.want) {
				t.Errorf("%d reads failed behind %d: %+v, wanted %+v", c.times, c.skip, report.Damage, c.want)
			}
		}
	})
}

// TestWhatCannotBeReadIsNoLeftover: whoever accepts a loss goes on without pages that the disk does not give back. Nobody knows what they had, whether it was
// synced or not, also where the log may have ended before them: it is told as damage. What lies behind the end that a later file tells need not be readable.
func TestWhatCannotBeReadIsNoLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		l, _, _ := open(t, testOptions(m))
		made := fill(t, l, 9, 1000, Written)
		ok(t, l.Close())
		for _, c := range []struct {
			file, off int64
			sectors   int
			records   int
			damaged   bool
		}{{1, 1200, 1, 6, true}, {1, 0, 1, 6, true}, {3, 1200, 1, 6, true}, {3, 3200, 1, 6, true}, {1, 3600, 1, 9, false}, {3, 0, 8, 6, true}} {
			broken := m.KillClone()
			path := fileName(testDir, uint64(c.file), extLive)
			if c.file == 1 && c.off == 3600 { // behind its records, at a page of its own
				f, err := broken.OpenWrite(path)
				ok(t, err)
				ok(t, f.Truncate(8192))
				ok(t, f.Close())
				c.off = 4096
			}
			ok(t, broken.Break(path, c.off, c.sectors))
			_, err := Read(broken, testDir, Need{}, func(Entry) error { return nil })
			if errors.Is(err, syscall.EIO) != c.damaged {
				t.Errorf("%+v: a reader that accepts no loss: %v", c, err)
			}
			report, err := Read(broken, testDir, Need{AcceptLoss: true}, func(Entry) error { return nil })
			if err != nil || report.Damaged() != c.damaged || report.Records != c.records {
				t.Errorf("%+v: %v, of %d records %d are there, damage %+v", c, err, len(made), report.Records, report.Damage)
			}
		}
	})
}

func TestDamagedFilesArePutAside(t *testing.T) {
	m, made := sample(t)
	name := files(t, m)[0]
	damaged := bytesOf(t, m, name)
	damaged[made[1].pos.Offset+20]++
	overwrite(t, m, name, damaged, 0)

	o := testOptions(m)
	o.FileSize = minFileSize
	l, got, report := open(t, o)
	same(t, got, slices.Delete(slices.Clone(made), 1, 2))
	want := Damage{File: filepath.Base(name), At: made[1].pos, Length: made[1].size(), What: report.Damage[0].What}
	if len(report.Damage) != 1 || report.Damage[0] != want {
		t.Errorf("%+v, wanted %+v", report.Damage, want)
	}
	if bytesOf(t, m, name); !bytes.Equal(bytesOf(t, m, name), damaged) {
		t.Error("opening has changed a damaged file")
	}
	fill(t, l, 1, 10, Synced)
	ok(t, l.Release(l.End()))
	ok(t, l.Close())
	aside := strings.TrimSuffix(name, extLive) + extBad
	if !bytes.Equal(bytesOf(t, m, aside), damaged) {
		t.Error("the damaged file was not kept")
	}
	l, got, report = open(t, o)
	if len(got) != 1 || len(report.Damage) > 0 {
		t.Errorf("after that: %v, %+v", got, report)
	}
	ok(t, l.Close())
	if !bytes.Equal(bytesOf(t, m, aside), damaged) {
		t.Error("the damaged file was not kept by the next start")
	}
}

// Records that stand where they were not written, though whole, are none.
func TestRecordsOfAnotherPlace(t *testing.T) {
	m, made := sample(t)
	names := files(t, m)
	first, second := bytesOf(t, m, names[0]), bytesOf(t, m, names[1])
	number, _, _ := parseName(filepath.Base(names[1]))

	overwrite(t, m, names[1], first[fileHeaderSize:], fileHeaderSize) // all of the first file's, at the same offsets
	got, report := read(t, m)
	same(t, got, slices.DeleteFunc(slices.Clone(made), func(e entry) bool { return e.pos.File == number }))
	if !report.Damaged() {
		t.Error("not reported")
	}
	overwrite(t, m, names[1], second, 0)

	e := made[len(made)-1] // the last record again, behind the end of its own file
	last := names[len(names)-1]
	whole := bytesOf(t, m, last)
	overwrite(t, m, last, whole[e.pos.Offset:e.pos.Offset+e.size()], e.pos.Offset+e.size()+recordHeaderSize+markSize)
	got, _ = read(t, m)
	same(t, got, made)
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	m, _ := sample(t)
	name := files(t, m)[1]
	b := bytesOf(t, m, name)
	b[8] = version + 1
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	overwrite(t, m, name, b, 0)
	_, _, err := Open(testOptions(m), func(Entry) error { return nil })
	if v := (*VersionError)(nil); !errors.Is(err, ErrVersion) || !errors.As(err, &v) || v.Version != version+1 || v.File != name {
		t.Errorf("%v, wanted ErrVersion", err)
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	m, made := sample(t)
	for _, name := range []string{"notes.txt", "1.wal", "0000000000000000.wal", "x000000000000001.wal", "0000000000000001.wal.old"} {
		overwrite(t, m, filepath.Join(testDir, name), []byte("mine"), 0)
	}
	got, report := read(t, m)
	same(t, got, made)
	if len(report.Damage) > 0 {
		t.Errorf("%+v", report.Damage)
	}
}

// testdata/v2.wal was written by the second version of the format; every later one must read it.
func TestGoldenFile(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize = minFileSize
	l, _, _ := open(t, o)
	var want []entry
	for i, data := range []string{"", "a", "two words", strings.Repeat("long ", 60)} {
		e := put(t, l, []byte{1, 2, 100, MaxKind}[i], data)
		ok(t, l.Commit(e.pos, Synced))
		want = append(want, e)
	}
	ok(t, l.Close())
	name := files(t, m)[0]
	written := bytesOf(t, m, name)
	if *update {
		ok(t, os.WriteFile("testdata/v2.wal", written, 0o644))
	}
	golden, err := os.ReadFile("testdata/v2.wal")
	ok(t, err)
	if !bytes.Equal(written, golden) {
		t.Error("the log is not written as version 2 was")
	}
	m = vfs.NewMem()
	ok(t, m.MkdirAll(testDir))
	overwrite(t, m, name, golden, 0)
	got, report := read(t, m)
	same(t, got, want)
	if len(report.Damage) > 0 {
		t.Errorf("%+v", report.Damage)
	}
}

// FuzzRead changes a log's files and reads it: whatever comes back must have been appended, there and so, and Open must
// be able to go on behind it.
func FuzzRead(f *testing.F) {
	_, made := sample(f)
	appended := make(map[entry]bool)
	for _, e := range made {
		appended[e] = true
	}
	f.Add([]byte{0, 1, 0, 10, 5, 'x', 'y'}, uint16(300), uint16(100), uint16(2000))
	f.Add([]byte{}, uint16(0), uint16(64), uint16(1024))
	f.Fuzz(func(t *testing.T, patch []byte, at, from, to uint16) {
		m, _ := sample(t)
		names := files(t, m)
		var all []byte
		for _, name := range names {
			all = append(all, bytesOf(t, m, name)...)
		}
		spot := int(at) % len(all)
		copy(all[spot:], patch)
		src, dst := int(from)%len(all), int(to)%len(all)
		copy(all[dst:min(dst+int(at), len(all))], slices.Clone(all[src:]))
		for i, name := range names {
			overwrite(t, m, name, all[i*minFileSize:(i+1)*minFileSize], 0)
		}
		got, _, err := readAny(m)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			if !appended[e] || i > 0 && !got[i-1].pos.Before(e.pos) {
				t.Fatalf("%v was not appended, or not in this order", e)
			}
		}
		l, again, _ := open(t, testOptions(m))
		same(t, again, got)
		e := put(t, l, 1, "more")
		ok(t, l.Close())
		got, _ = read(t, m)
		same(t, got, append(again, e))
	})
}

// FuzzReadFile reads any bytes as a file: no panic, and only what the format calls a record comes back.
func FuzzReadFile(f *testing.F) {
	golden, err := os.ReadFile("testdata/v2.wal")
	ok(f, err)
	f.Add(golden, golden)
	f.Add([]byte{}, make([]byte, 100))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		m := vfs.NewMem()
		ok(t, m.MkdirAll(testDir))
		content := map[uint64][]byte{1001: first, 1002: second}
		for number, b := range content {
			if len(b) > 0 {
				overwrite(t, m, fileName(testDir, number, extLive), b, 0)
			}
		}
		got, _, err := readAny(m)
		if err != nil && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		for _, e := range got {
			sum := crc32.Checksum([]byte(e.data), castagnoli)
			b := append(appendRecordHeader(nil, e.pos, e.kind, len(e.data), sum, new(sumBuffer)), e.data...)
			if !bytes.HasPrefix(content[e.pos.File][e.pos.Offset:], b) {
				t.Fatalf("%v is not in the file", e)
			}
		}
	})
}

func readAny(fs vfs.FS) ([]entry, Report, error) {
	var got []entry
	report, err := Read(fs, testDir, Need{}, collect(&got))
	if err != nil {
		err = fmt.Errorf("read: %w", err)
	}
	return got, report, err
}

// TestZeros: of every length around those that are looked at in one go, up to the first byte that is none.
func TestZeros(t *testing.T) {
	b := make([]byte, 3*len(nothing)+20)
	for _, n := range []int{0, 1, 7, 8, 9, len(nothing) - 1, len(nothing), len(nothing) + 1, 2*len(nothing) + 8, len(b) - 1} {
		b[n] = 1
		if got := zeros(b); got != int64(n) {
			t.Errorf("%d zeros are %d", n, got)
		}
		b[n] = 0
	}
	if got := zeros(b); got != int64(len(b)) || zeros(nil) != 0 {
		t.Errorf("all %d are %d", len(b), got)
	}
}

// TestWhatWasSyncedByAnEarlierStart: a file has a header and no records, and the log goes on behind it in another process. When it and the file
// before it are something else later, the log is not whole: both were synced when they were read.
func TestWhatWasSyncedByAnEarlierStart(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	l, _, _ := open(t, o)
	l.Start()
	fill(t, l, 3, 50, Synced)
	end := l.End()
	ok(t, l.Close())
	h := header{number: end.File + 1, prev: end, size: o.FileSize}
	empty := fileName(testDir, h.number, extLive)
	f, err := m.Create(empty)
	ok(t, err)
	_, err = f.WriteAt(h.append(nil), 0)
	ok(t, errors.Join(err, f.Truncate(o.FileSize), f.Sync(), f.Close()))
	o.Whole = true
	l, got, _ := open(t, o)
	if len(got) != 3 {
		t.Fatalf("%d records were read", len(got))
	}
	l.Start()
	fill(t, l, 3, 50, Synced) // the second sync says that there was a first
	ok(t, l.Close())
	if _, err := Read(m, testDir, o.Need, func(Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fileName(testDir, end.File, extLive), empty} {
		ok(t, m.Remove(name))
		f, err := m.Create(name)
		ok(t, err)
		_, err = f.WriteAt([]byte("something else"), 0)
		ok(t, errors.Join(err, f.Close()))
	}
	if _, err := Read(m, testDir, o.Need, func(Entry) error { return nil }); !errors.Is(err, ErrMissing) {
		t.Errorf("without the first records it is read: %v", err)
	}
}

// A byte that is wrong in one read, whichever, is no damage: the next read has it.
func TestAReadThatIsWrongOnce(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	made := fill(t, l, 600, 20, Synced)
	ok(t, l.Close())
	for nth, more := 0, true; more; nth++ {
		fs, calls := counting(m)
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Skip: nth, Times: 1, Flip: true})
		got, report := read(t, fs)
		same(t, got, made)
		if len(report.Damage)+len(report.Missing)+len(report.Headless) > 0 {
			t.Fatalf("read %d: %+v", nth, report)
		}
		more = calls[vfs.OpRead] > nth
	}
}
