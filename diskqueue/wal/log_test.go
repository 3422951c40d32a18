package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

func TestReadsBackWhatWasAppended(t *testing.T) {
	m := vfs.NewMem()
	l, got, report := open(t, testOptions(m))
	if len(got) != 0 || report.Files != 0 || report.End != (Offset{}) {
		t.Fatalf("an empty folder: %v, %+v", got, report)
	}
	var want []entry
	want = append(want, put(t, l, 1, ""), put(t, l, MaxKind, "x"))
	at, err := l.Append(7, []byte("in "), nil, []byte("three parts"))
	ok(t, err)
	want = append(want, entry{at, 7, "in three parts"})
	want = append(want, put(t, l, 2, strings.Repeat("larger than a file ", 1000)), put(t, l, 3, "behind it"))
	want = append(want, fill(t, l, 50, 300, Written)...)
	ok(t, l.Close())

	for range 3 { // every start reads the same and may add to it
		var l *Log
		l, got, report = open(t, testOptions(m))
		same(t, got, want)
		if len(report.Damage) > 0 || report.Records != len(want) {
			t.Fatalf("%+v", report)
		}
		if l.End().Before(got[len(got)-1].pos) || l.Commit(got[0].pos, Synced) != nil {
			t.Error("what was replayed is not behind the log's end and synced")
		}
		want = append(want, put(t, l, 9, "more"))
		ok(t, l.Close())
	}
	if !slices.IsSortedFunc(want, func(a, b entry) int { return a.pos.Compare(b.pos) }) {
		t.Error("positions do not grow")
	}
}

func TestStartsWithoutWritingReadTheSame(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	want := fill(t, l, 5, 100, Synced)
	ok(t, l.Close())
	for range 3 {
		l, got, _ := open(t, testOptions(m))
		same(t, got, want)
		ok(t, l.Close())
	}
	if names, _ := m.List(testDir); len(names) != 1 {
		t.Errorf("files %q", names)
	}
}

func TestRefusesWhatCannotBe(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	for _, kind := range []byte{0, MaxKind + 1, 255} {
		at, err := l.Append(kind, []byte("x"))
		if !errors.Is(err, ErrRecord) {
			t.Errorf("kind %d: %v", kind, err)
		}
		ok(t, l.Commit(put(t, l, 1, "another").pos, Written))
		if l.Commit(at, Written) == nil {
			t.Errorf("kind %d: committed, though it was refused", kind)
		}
	}
	if err := l.Commit(Offset{File: 1 << 40}, Written); !errors.Is(err, ErrOffset) {
		t.Errorf("a position that was never given: %v", err)
	}
	at, err := l.Append(1)
	ok(t, err)
	ok(t, l.Close())
	ok(t, l.Close())
	ok(t, l.Commit(at, Synced)) // Close has done it
	if _, err := l.Append(1); !errors.Is(err, ErrClosed) {
		t.Errorf("appending to a closed log: %v", err)
	}
	if err := l.Commit(l.End(), Written); !errors.Is(err, ErrClosed) {
		t.Errorf("committing to a closed log: %v", err)
	}
	if _, _, err := Open(Options{FS: vfs.NewMem(), Dir: "/d", FileSize: 1}, nil); err == nil {
		t.Error("a file size of 1 byte is taken")
	}
	boom := errors.New("boom")
	m := vfs.NewMem()
	l, _, _ = open(t, testOptions(m))
	put(t, l, 1, "x")
	ok(t, l.Close())
	if _, _, err := Open(testOptions(m), func(Entry) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("an error of replay: %v", err)
	}
}

// The promise that the hot path is built on: one write for a lone commit, one write and one sync where it is to be synced,
// and nothing when it has been done already.
func TestCommitCostsOneWrite(t *testing.T) {
	fs, calls := counting(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	fill(t, l, 1, 10, Synced) // makes the file
	clear(calls)
	at := fill(t, l, 1, 10, Written)[0].pos
	if calls[vfs.OpWrite] != 1 || calls[vfs.OpSync] != 0 || len(calls) != 1 {
		t.Errorf("a commit: %v", calls)
	}
	ok(t, l.Commit(at, Written))
	if calls[vfs.OpWrite] != 1 {
		t.Errorf("a commit of what is written: %v", calls)
	}
	ok(t, l.Commit(at, Synced))
	if calls[vfs.OpWrite] != 1 || calls[vfs.OpSync] != 1 {
		t.Errorf("a commit of what is written and not synced: %v", calls)
	}
	clear(calls)
	for range 9 {
		put(t, l, 1, "lazy")
	}
	ok(t, l.Commit(put(t, l, 1, "x").pos, Synced))
	if calls[vfs.OpWrite] != 1 || calls[vfs.OpSync] != 1 || calls[vfs.OpSyncDir] != 0 {
		t.Errorf("ten records: %v", calls)
	}
	s := l.Stats()
	if s.Records != 12 || s.Writes != 3 || s.Syncs != 3 || s.Unsynced != 0 || s.WriteGroups != (Groups{0: 2, 3: 1}) {
		t.Errorf("stats %+v", s)
	}
	timed := uint64(0)
	for _, n := range s.SyncTimes {
		timed += n
	}
	if timed != s.Syncs || s.SyncTime <= 0 {
		t.Errorf("%d of %d syncs are timed, %v", timed, s.Syncs, s.SyncTime)
	}
	ok(t, l.Close())
}

func TestConcurrentCommitsShareWritesAndSyncs(t *testing.T) {
	m := vfs.NewMem()
	for _, level := range []Level{Written, Synced} {
		l, before, _ := open(t, testOptions(m))
		l.Start()
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := make(map[entry]bool)
		for c := range 8 {
			wg.Go(func() {
				for i := range 200 {
					data := fmt.Sprintf("%d of %d", i, c)
					at, err := l.Append(1, []byte(data))
					if err == nil && i%4 != 3 { // some are left to others
						err = l.Commit(at, level)
					}
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					made[entry{at, 1, data}] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		s := l.Stats()
		ok(t, l.Close())
		if s.Records != 1600 || level == Synced && s.Syncs > 1300 {
			t.Errorf("%v: %+v", level, s)
		}
		got, report := read(t, m)
		got = got[len(before):]
		if len(got) != len(made) || len(report.Damage) > 0 {
			t.Fatalf("%v: %d of %d records, damage %v", level, len(got), len(made), report.Damage)
		}
		for _, e := range got {
			if !made[e] {
				t.Fatalf("%v was not appended", e)
			}
		}
	}
}

func TestWritesWhatNobodyCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		o := testOptions(m)
		o.FlushInterval, o.SyncTimeout = 50*time.Millisecond, 2*time.Second
		l, _, _ := open(t, o)
		l.Start()
		want := []entry{put(t, l, 1, "lazy")}
		time.Sleep(49 * time.Millisecond)
		synctest.Wait()
		if got, _ := read(t, m); len(got) != 0 {
			t.Error("written before its time")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		got, _ := read(t, m)
		same(t, got, want)

		if s := l.Stats(); s.Syncs != 0 || s.Unsynced == 0 {
			t.Errorf("synced before its time: %+v", s)
		}
		time.Sleep(2*time.Second + 100*time.Millisecond)
		synctest.Wait()
		s := l.Stats()
		if s.Syncs != 1 || s.Writes != 2 {
			t.Errorf("after the sync timeout: %+v; wanted a sync, and a mark that says so", s)
		}
		time.Sleep(time.Hour) // nothing to do: both sleep
		synctest.Wait()
		if idle := l.Stats(); idle.Writes != s.Writes || idle.Syncs != s.Syncs {
			t.Errorf("an idle log works: %+v", idle)
		}
		put(t, l, 1, "later")
		time.Sleep(51 * time.Millisecond)
		synctest.Wait()
		if got, _ := read(t, m); len(got) != 2 {
			t.Error("not written after the log was idle")
		}
		ok(t, l.Close())
	})
}

func TestManyBytesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(vfs.NewMem())
		o.FlushBytes, o.FlushInterval, o.SyncBytes, o.SyncTimeout = 1000, time.Hour, 5000, time.Hour
		l, _, _ := open(t, o)
		l.Start()
		for range 5 {
			put(t, l, 1, strings.Repeat("x", 300))
		}
		synctest.Wait()
		if s := l.Stats(); s.Writes == 0 || s.Syncs != 0 {
			t.Errorf("over FlushBytes: %+v", s)
		}
		for range 5 {
			ok(t, l.Commit(put(t, l, 1, strings.Repeat("x", 1000)).pos, Written))
		}
		synctest.Wait()
		if s := l.Stats(); s.Syncs == 0 {
			t.Errorf("over SyncBytes: %+v", s)
		}
		ok(t, l.Close())
	})
}

// TestSyncedCommitsLeaveNothingToTheSyncer: it would only compete with those who wait.
func TestSyncedCommitsLeaveNothingToTheSyncer(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.SyncEvery = 1
	l, _, _ := open(t, o)
	fill(t, l, 10, 100, Synced)
	if l.syncArmed || len(l.syncKick)+len(l.syncNow) > 0 {
		t.Error("the syncer was woken for what is synced")
	}
	fill(t, l, 1, 100, Written)
	if !l.syncArmed || len(l.syncKick)+len(l.syncNow) != 2 {
		t.Error("the syncer was not woken for what nobody syncs")
	}
	ok(t, l.Close())
}

func TestReleasedFilesAreOverwritten(t *testing.T) {
	m := vfs.NewMem()
	fs, calls := counting(m)
	o := testOptions(fs)
	o.SpareFiles = 2
	l, _, _ := open(t, o)
	var kept []entry
	for range 20 {
		made := fill(t, l, 100, 5, Synced)
		kept = made[99:]
		ok(t, l.Release(kept[0].pos))
	}
	if s := l.Stats(); s.Files > 2 || s.SpareFiles > 2 || s.FileBytes != int64(s.Files)*4096 {
		t.Errorf("stats %+v", s)
	}
	if calls[vfs.OpCreate] > 4 || calls[vfs.OpRemove] > 0 {
		t.Errorf("files are not used again: %v", calls)
	}
	ok(t, l.Release(Offset{File: 1 << 50})) // the file in use stays
	if s := l.Stats(); s.Files != 1 {
		t.Errorf("stats %+v", s)
	}
	ok(t, l.Close())
	got, report := read(t, m)
	if len(got) == 0 || got[len(got)-1] != kept[0] || len(report.Damage) > 0 {
		t.Errorf("%v, %+v", got, report)
	}

	o.SpareFiles = -1
	l, _, _ = open(t, o)
	l.Start()
	fill(t, l, 8, 1000, Synced)
	ok(t, l.Release(l.End()))
	ok(t, l.Close())
	if names, _ := m.List(testDir); len(names) != 1 || filepath.Ext(names[0]) != extLive {
		t.Errorf("without spare files: %q", names)
	}
}

// TestSpareFilesGoWithTheLoad: what a busy time leaves is not kept for good.
func TestSpareFilesGoWithTheLoad(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	fill(t, l, 40, 1000, Synced)
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 1 || s.SpareFiles != 1 {
		t.Errorf("after large syncs: %+v", s)
	}
	fill(t, l, 600, 10, Synced)
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 1 || s.SpareFiles != 4 {
		t.Errorf("after a busy time: %+v", s)
	}
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 1 || s.SpareFiles != 1 {
		t.Errorf("after a quiet time: %+v", s)
	}
	fill(t, l, 40, 1000, Synced)
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 1 || s.SpareFiles != 1 {
		t.Errorf("after large syncs again: %+v", s)
	}
	ok(t, l.Close())
	if names, _ := m.List(testDir); len(names) != 2 {
		t.Errorf("files %q", names)
	}
}

// TestLargeDataIsWrittenFromWhereItIs: among small records, in several files, in one batch.
func TestLargeDataIsWrittenFromWhereItIs(t *testing.T) {
	m := vfs.NewMem()
	fs, calls := counting(m)
	o := testOptions(fs)
	o.FileSize = 3 * sharedBytes
	l, _, _ := open(t, o)
	var want []entry
	for i := range 8 {
		want = append(want, put(t, l, 1, "small"))
		large := bytes.Repeat([]byte{byte('a' + i)}, sharedBytes+i)
		pos, err := l.Append(2, []byte("head"), large)
		ok(t, err)
		want = append(want, entry{pos, 2, "head" + string(large)})
	}
	if held := cap(l.pending.buf); held > sharedBytes {
		t.Errorf("%d bytes were copied", held)
	}
	if s := l.Stats(); s.Unwritten < 8*sharedBytes {
		t.Errorf("%d bytes wait to be written", s.Unwritten)
	}
	ok(t, l.Commit(want[len(want)-1].pos, Synced))
	if n := calls[vfs.OpWrite]; n > 2*8+4 {
		t.Errorf("%d writes", n)
	}
	if s := l.Stats(); s.Unwritten != 0 || s.Bytes < 8*sharedBytes {
		t.Errorf("stats %+v", s)
	}
	if len(l.idle.shared) > 0 || l.idle.shared[:1][0].data != nil {
		t.Error("what was written is still held")
	}
	ok(t, l.Close())
	got, report := read(t, m)
	if len(report.Damage) > 0 {
		t.Errorf("%+v", report)
	}
	same(t, got, want)
}

// TestRecycle: files are used again while the caller says that it pays, and no longer.
func TestRecycle(t *testing.T) {
	m := vfs.NewMem()
	fs, calls := counting(m)
	o := testOptions(fs)
	l, _, _ := open(t, o)
	var kept []entry
	for range 10 {
		kept = fill(t, l, 40, 1000, Synced)
		ok(t, l.Recycle(kept[30].pos, 20))
	}
	if n := calls[vfs.OpCreate]; n > 25 || calls[vfs.OpRemove] > 0 {
		t.Errorf("%d files were created for 10 times as many as are kept, %d removed", n, calls[vfs.OpRemove])
	}
	ok(t, l.Release(kept[39].pos))
	if s := l.Stats(); s.SpareFiles != 1 {
		t.Errorf("after it has ended: %+v", s)
	}
	ok(t, l.Close())
	got, report := read(t, m)
	if len(got) == 0 || got[len(got)-1] != kept[39] || got[0].pos.Before(kept[36].pos) || len(report.Damage) > 0 {
		t.Errorf("%v, %+v", got, report)
	}
}

func TestFilesArePreparedBeforeTheyAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		fs, calls := counting(m)
		o := testOptions(fs)
		o.FileSize, o.Prepare = 64<<10, true
		l, _, _ := open(t, o)
		l.Start()
		synctest.Wait()
		if s := l.Stats(); s.SpareFiles != 1 {
			t.Errorf("before the first record: %+v", s)
		}
		made := fill(t, l, 40, 1000, Synced) // too few syncs for another one
		synctest.Wait()
		if s := l.Stats(); s.SpareFiles != 0 {
			t.Errorf("synced %d times: %+v", s.Syncs, s)
		}
		made = append(made, fill(t, l, 40, 100, Synced)...)
		made = append(made, fill(t, l, 10, 1000, Synced)...)
		synctest.Wait()
		if s := l.Stats(); s.SpareFiles != 1 || s.Files != 1 {
			t.Errorf("synced often, nearly full: %+v", s)
		}
		made = append(made, fill(t, l, 20, 1000, Synced)...)
		s := l.Stats()
		countMu.Lock()
		if s.Files != 2 || calls[vfs.OpCreate] != 2 || calls[vfs.OpRename] != 2 {
			t.Errorf("%v, %+v", calls, s)
		}
		countMu.Unlock()
		ok(t, l.Close())
		got, report := read(t, m)
		same(t, got, made)
		if len(report.Damage) > 0 {
			t.Errorf("%+v", report)
		}
	})
}

// TestAFileThatCannotBePrepared: the log goes on as if nobody had tried.
func TestAFileThatCannotBePrepared(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpPreallocate, vfs.OpWrite, vfs.OpSync} {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		l, _, _ := open(t, testOptions(fs))
		fs.SetRules(vfs.Rule{Ops: op, Times: 1, Err: syscall.ENOSPC})
		if err := l.prepare(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: %v", op, err)
		}
		made := fill(t, l, 6, 1000, Synced)
		ok(t, l.Close())
		got, _ := read(t, m)
		same(t, got, made)
		if names, _ := m.List(testDir); len(names) != 2 {
			t.Errorf("%v: files %q", op, names)
		}
	}
}

// TestSwappedFilesAreMissing: files of the log that have each other's names are a piece that is missing, and not damage; the same with what a
// power cut has left of a file that was overwritten for a new number is none.
func TestSwappedFilesAreMissing(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.Folder = [8]byte{1}
	l, _, _ := open(t, o)
	made := fill(t, l, 10, 1000, Synced)
	ok(t, l.Close())
	names, err := m.List(testDir)
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	path := func(i int) string { return testDir + "/" + names[i] }
	ok(t, m.Rename(path(0), testDir+"/other"))
	ok(t, m.Rename(path(1), path(0)))
	ok(t, m.Rename(testDir+"/other", path(1)))
	_, err = Read(m, testDir, Need{Folder: o.Folder, Whole: true}, func(Entry) error { return nil })
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "in place of its own") {
		t.Errorf("all is needed: %v", err)
	}
	last := made[len(made)-1].pos
	_, err = Read(m, testDir, Need{Folder: o.Folder, From: Offset{File: last.File, Offset: 64}}, func(Entry) error { return nil })
	if err != nil {
		t.Errorf("neither is needed: %v", err)
	}
}

// TestUnsyncedReadCountsAsLost: when what was read cannot be synced it is as if a record was lost, so that whoever replayed it writes it down
// elsewhere, also once the log can be written again.
func TestUnsyncedReadCountsAsLost(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	fill(t, l, 5, 100, Written)
	ok(t, l.Close())
	fs := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.ENOMEM})
	l, _, _ = open(t, testOptions(fs))
	if err := l.Err(); !errors.Is(err, syscall.ENOMEM) || l.Lost() != 1 {
		t.Errorf("%v, %d lost", err, l.Lost())
	}
	ok(t, l.Recover())
	if err := l.Err(); err != nil || l.Lost() != 1 {
		t.Errorf("%v, %d lost", err, l.Lost())
	}
	ok(t, l.Close())
}

func TestReleaseKeepsWhatIsNotSynced(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	fill(t, l, 10, 1000, Written)
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 4 {
		t.Errorf("%d files, wanted all 4", s.Files)
	}
	ok(t, l.Commit(put(t, l, 1, "x").pos, Synced))
	ok(t, l.Release(l.End()))
	if s := l.Stats(); s.Files != 1 {
		t.Errorf("%d files, wanted the one in use", s.Files)
	}
	ok(t, l.Close())
}

// A power cut can forget that a file was overwritten under a new number but keep its bytes: that number must not come back,
// or records of a life that was lost would show up behind new ones.
func TestNumbersAreNeverUsedTwice(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.Lease = func(number uint64) (uint64, error) { o.Next = number + 10; return o.Next, nil }
	l, _, _ := open(t, o)
	first := fill(t, l, 8, 1000, Synced)
	ok(t, l.Release(l.End()))
	lost := fill(t, l, 8, 1000, Written) // overwrites the released file, whose new name is not synced
	used := make(map[uint64]bool)
	for _, e := range slices.Concat(first, lost) {
		used[e.pos.File] = true
	}
	names, err := m.List(testDir)
	ok(t, err)
	slices.Sort(names)
	for _, name := range names[2:] { // as if the rename had been forgotten
		ok(t, m.Rename(filepath.Join(testDir, name), filepath.Join(testDir, "0000000000000001"+extSpare)))
	}
	l, _, _ = open(t, o)
	for _, e := range fill(t, l, 8, 1000, Written) {
		if used[e.pos.File] {
			t.Fatalf("file number %d is used again", e.pos.File)
		}
	}
}

// Numbers are leased before they are used, most of them in the background; while none can be leased what needs a file fails, and
// goes on afterwards.
func TestNumbersAreLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(vfs.NewMem())
		o.FileSize, o.SyncEvery, o.SyncBytes = minFileSize, -1, -1
		o.Next = 7
		var limit uint64
		var leases int
		var failing atomic.Bool
		var l *Log
		steady := false // records come, and nothing fails
		o.Lease = func(number uint64) (uint64, error) {
			if failing.Load() {
				return 0, syscall.ENOSPC
			}
			if leases++; steady && number < l.End().File+leaseAhead-1 {
				t.Errorf("file %d waits for its number", number)
			}
			limit = number + 1000
			return limit, nil
		}
		l, _, _ = open(t, o)
		if leases > 0 {
			t.Error("opening leases numbers")
		}
		l.Start()
		synctest.Wait()
		if leases != 1 {
			t.Errorf("starting leases %d times", leases)
		}
		large := minFileSize - fileHeaderSize - recordHeaderSize
		steady = true
		for range 3000 {
			e := fill(t, l, 1, large, Written)[0]
			synctest.Wait()
			if e.pos.File < 7 || e.pos.File >= limit {
				t.Fatalf("file %d is not below the limit %d", e.pos.File, limit)
			}
		}
		if leases < 3 || leases > 6 {
			t.Errorf("%d leases for 3000 files", leases)
		}
		steady = false
		failing.Store(true)
		for {
			at, err := l.Append(1, make([]byte, large))
			ok(t, err)
			if err := l.Commit(at, Written); err != nil {
				if !errors.Is(err, syscall.ENOSPC) || at.File < limit {
					t.Fatalf("%v at %v below %d", err, at, limit)
				}
				break
			}
			synctest.Wait()
		}
		failing.Store(false)
		fill(t, l, 10, large, Written)
		ok(t, l.Close())
	})
}

// A file that somebody removes, replaces or moves away while it is written to fails the next sync, or when it was moved the next one after namesEvery;
// a new file makes up for it.
func TestFileIsReplacedUnderTheLog(t *testing.T) {
	for _, tt := range []struct {
		what string
		do   func(m *vfs.Mem, name string) error
		late bool
	}{
		{"removed", (*vfs.Mem).Remove, false},
		{"replaced", func(m *vfs.Mem, name string) error {
			return errors.Join(write(m, name+".other", []byte("something else")), m.Rename(name+".other", name))
		}, false},
		{"removed and made", func(m *vfs.Mem, name string) error {
			return errors.Join(m.Remove(name), write(m, name, []byte("something else")))
		}, false},
		{"moved", func(m *vfs.Mem, name string) error { return m.Rename(name, name+".other") }, true},
		{"moved and made", func(m *vfs.Mem, name string) error {
			return errors.Join(m.Rename(name, name+".other"), write(m, name, []byte("something else")))
		}, true},
		{"removed, with another name", func(m *vfs.Mem, name string) error {
			return errors.Join(m.Link(name, name+".other"), m.Remove(name))
		}, true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := vfs.NewMem()
				l, _, _ := open(t, testOptions(m))
				fill(t, l, 1, 100, Synced)
				name := files(t, m)[0]
				ok(t, tt.do(m, name))
				if tt.late {
					time.Sleep(namesEvery)
				}
				at := put(t, l, 1, "more").pos
				if err := l.Commit(at, Synced); !errors.Is(err, ErrReplaced) {
					t.Fatal(err)
				}
				ok(t, l.Recover())
				made := fill(t, l, 1, 100, Synced)
				ok(t, l.Close())
				got, _ := read(t, m)
				same(t, got[len(got)-1:], made)
			})
		})
	}
}

// write makes a file.
func write(m *vfs.Mem, name string, content []byte) error {
	f, err := m.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	return errors.Join(err, f.Close())
}

// What a start needs and is not there is named, and nothing else.
func TestMissing(t *testing.T) {
	const size = minFileSize - fileHeaderSize - 2*recordHeaderSize - markSize // one record and one mark in a file
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize, o.Folder, o.SpareFiles = minFileSize, [8]byte{1, 2}, -1
	l, _, _ := open(t, o)
	made := fill(t, l, 5, size, Synced)
	end := l.End()
	ok(t, l.Close())
	names := files(t, m)
	if len(names) != len(made) {
		t.Fatal(names)
	}
	need := Need{Folder: o.Folder, From: made[1].pos, Seen: end.File, End: &end}
	fresh := Need{Folder: o.Folder, Whole: true, Seen: end.File, End: &end}
	early, gone := Need{Folder: o.Folder, From: made[1].pos}, need
	gone.Gone = []uint64{made[2].pos.File}
	killed := Need{Folder: o.Folder, From: made[1].pos, Seen: end.File}
	for _, tt := range []struct {
		what              string
		need              Need
		remove, foreign   []int // below 0: of zeros
		missing, accepted int   // reasons; when loss is accepted more comes out
	}{
		{"all is there", need, nil, nil, 0, 0},
		{"a file before what is needed", need, []int{0}, nil, 0, 0},
		{"the one in which it begins", need, []int{1}, nil, 1, 1},
		{"one in between", need, []int{2}, nil, 1, 1},
		{"two in between", need, []int{2, 3}, nil, 1, 1},
		{"the last but one", need, []int{3}, nil, 1, 1},
		{"the last one", need, []int{4}, nil, 1, 2},
		{"all", need, []int{0, 1, 2, 3, 4}, nil, 2, 3},
		{"the first, without a checkpoint", fresh, []int{0}, nil, 1, 1},
		{"another folder's", need, nil, []int{2}, 1, 1},
		{"the last one, after a kill", killed, []int{4}, nil, 1, 1},
		{"what is in the last one, after a kill", killed, []int{-4}, nil, 1, 1},
		{"one in between that a mark has proven", early, []int{2}, nil, 1, 1},
		{"one that was gone before", gone, []int{2}, nil, 0, 0},
	} {
		c := m.KillClone()
		for _, i := range tt.remove {
			if i >= 0 {
				ok(t, c.Remove(names[i]))
			} else {
				overwrite(t, c, names[-i], make([]byte, minFileSize), 0)
			}
		}
		for _, i := range tt.foreign {
			h, _, err := parseHeader(bytesOf(t, c, names[i]), made[i].pos.File)
			ok(t, err)
			h.folder[0]++
			overwrite(t, c, names[i], h.append(nil), 0)
		}
		report, err := Read(c, testDir, tt.need, func(Entry) error { return nil })
		if errors.Is(err, ErrMissing) != (tt.missing > 0) || len(report.Missing) != tt.missing {
			t.Errorf("%s: %v: %q", tt.what, err, report.Missing)
		}
		if len(report.Foreign) != len(tt.foreign) {
			t.Errorf("%s: of others: %q", tt.what, report.Foreign)
		}
		tt.need.AcceptLoss = true
		if report, err = Read(c, testDir, tt.need, func(Entry) error { return nil }); err != nil || len(report.Missing) != tt.accepted {
			t.Errorf("%s, accepted: %v: %q", tt.what, err, report.Missing)
		}
	}
}

// TestTheFileInWhichItBeginsIsCutShort: what a checkpoint goes on from was synced, so that a file that ends before it has lost something.
func TestTheFileInWhichItBeginsIsCutShort(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.Folder = [8]byte{1, 2}
	l, _, _ := open(t, o)
	made := fill(t, l, 5, 100, Synced)
	ok(t, l.Close())
	name, from := files(t, m)[0], made[2].pos
	for size, missing := range map[int64]int{0: 1, fileHeaderSize: 1, from.Offset - 1: 1, from.Offset: 0, from.Offset + 500: 0} {
		c := m.KillClone()
		f, err := c.OpenWrite(name)
		ok(t, err)
		ok(t, f.Truncate(size))
		ok(t, f.Close())
		report, err := Read(c, testDir, Need{Folder: o.Folder, From: from, Seen: from.File}, func(Entry) error { return nil })
		if errors.Is(err, ErrMissing) != (missing > 0) || len(report.Missing) < missing {
			t.Errorf("%d bytes of it: %v: %q", size, err, report.Missing)
		}
	}
}

// TestASpareFileThatIsGone: somebody removes one, or puts a folder in its place; the log goes on without it.
func TestASpareFileThatIsGone(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	l, _, _ := open(t, o)
	fill(t, l, 600, 10, Synced)
	ok(t, l.Release(l.End()))
	spares, _ := m.List(testDir)
	gone := 0
	for _, name := range spares {
		if filepath.Ext(name) == extSpare {
			ok(t, m.Remove(filepath.Join(testDir, name)))
			gone++
		}
	}
	if gone == 0 {
		t.Fatal(spares)
	}
	made := fill(t, l, 600, 10, Synced)
	ok(t, l.Close())
	got, _ := read(t, m)
	same(t, got[len(got)-len(made):], made)
}

// TestASpareFileThatCannotBeUsed: somebody, or a start as another user, has made it read only, or the disk refuses it for good. The log goes on without it,
// and it does not stay in the way; when no file can be made either it is used as soon as it can be.
func TestASpareFileThatCannotBeUsed(t *testing.T) {
	const any = "*" + extSpare
	for name, rule := range map[string]vfs.Rule{
		"read only": {}, "not opened": {Ops: vfs.OpOpenWrite, Path: any, Err: syscall.EIO}, "not renamed": {Ops: vfs.OpRename, Path: any, Err: syscall.EPERM},
		"not asked": {Ops: vfs.OpLinks, Path: any, Err: syscall.EIO}, "nothing for a while": {Ops: vfs.OpOpenWrite | vfs.OpCreate, Err: syscall.EMFILE, Times: 2},
	} {
		m := vfs.NewMem()
		disk := vfs.NewFaulty(m)
		o := testOptions(disk)
		o.SpareFiles = 1
		l, _, _ := open(t, o)
		fill(t, l, 600, 10, Synced)
		ok(t, l.Release(l.End()))
		spare := ""
		for _, file := range files(t, m) {
			if filepath.Ext(file) == extSpare {
				spare = file
			}
		}
		if spare == "" || l.Stats().SpareFiles != 1 {
			t.Fatalf("%s: files %q", name, files(t, m))
		}
		ok(t, m.Protect(spare, rule.Ops == 0))
		if rule.Ops != 0 {
			disk.SetRules(rule)
		}
		if rule.Times > 0 {
			at, err := l.Append(1, make([]byte, 4000))
			ok(t, err)
			if err := l.Commit(at, Written); !errors.Is(err, rule.Err) {
				t.Errorf("%s: a commit without a file: %v", name, err)
			}
		}
		made := fill(t, l, 600, 10, Synced)
		if _, err := m.Size(spare); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is in the way still: %v", name, err)
		}
		ok(t, l.Close())
		got, _ := read(t, m)
		same(t, got[len(got)-len(made):], made)
	}
}

// TestASpareFileWithAnotherNameIsNotWrittenOver: a power cut may leave both names of a rename, so that a spare file is one of the log as well, or somebody has
// copied the folder with links. What stands under the other name stays, and the log goes on.
func TestASpareFileWithAnotherNameIsNotWrittenOver(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.SpareFiles = 8
	l, _, _ := open(t, o)
	fill(t, l, 600, 10, Synced)
	ok(t, l.Release(l.End()))
	names, _ := m.List(testDir)
	others := map[string][]byte{}
	for _, name := range names {
		if filepath.Ext(name) == extSpare {
			other := "/" + name + ".other"
			ok(t, m.Link(filepath.Join(testDir, name), other))
			b, err := vfs.ReadFile(m, other)
			ok(t, err)
			others[other] = b
		}
	}
	if len(others) == 0 {
		t.Fatal(names)
	}
	made := fill(t, l, 600, 10, Synced)
	ok(t, l.Close())
	for other, was := range others {
		if b, err := vfs.ReadFile(m, other); err != nil || !bytes.Equal(b, was) {
			t.Errorf("%s was written over: %v", other, err)
		}
	}
	got, _ := read(t, m)
	same(t, got[len(got)-len(made):], made)
}

// A file whose name no sync has proven is one that a power cut may take, and later ones stay: that is told, and remembered, as nothing
// could tell it later.
func TestAGapThatNoSyncHasProven(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize, o.Folder, o.SpareFiles, o.SyncTimeout = minFileSize, [8]byte{1, 2}, -1, time.Hour
	l, _, _ := open(t, o)
	made := fill(t, l, 5, minFileSize-fileHeaderSize-2*recordHeaderSize, Written)
	c := m.KillClone()
	ok(t, l.Close())
	names := files(t, c)
	ok(t, c.Remove(names[2]))
	need := Need{Folder: o.Folder, From: made[0].pos}
	for range 2 {
		report, err := Read(c, testDir, need, func(Entry) error { return nil })
		if err != nil || report.Damaged() || !slices.Equal(report.Gone, []uint64{made[2].pos.File}) || report.Records != len(made)-1 {
			t.Errorf("with %v: %v, %+v", need.Gone, err, report)
		}
		need.Gone, need.Seen = report.Gone, made[4].pos.File // as the next start has it
	}
	need.Gone = nil
	if _, err := Read(c, testDir, need, func(Entry) error { return nil }); !errors.Is(err, ErrMissing) {
		t.Errorf("a file that must have been there: %v", err)
	}
}

// TestAGapBehindASyncThatFailed: a sync of the folder fails, the log recovers, and goes on in a file that is proven. A power cut then takes the name of the one
// before it, which no later sync has proven: nothing that was synced is missing, whatever is known of the later file. So it is when a start cannot sync the
// folder, and no longer once a start could.
func TestAGapBehindASyncThatFailed(t *testing.T) {
	failing := vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO, Clean: true}
	for _, atStart := range []bool{false, true} {
		m := vfs.NewMem()
		o := testOptions(nil)
		o.FileSize, o.Folder, o.SpareFiles, o.SyncTimeout = minFileSize, [8]byte{1, 2}, -1, time.Hour
		disk := vfs.NewFaulty(m)
		o.FS = disk
		const one = minFileSize - fileHeaderSize - 3*recordHeaderSize - markSize // a record fills a file
		l, _, _ := open(t, o)
		made := fill(t, l, 1, one, Synced)
		made = append(made, fill(t, l, 1, one, Written)...)
		if atStart {
			m = m.KillClone()
			ok(t, l.Abandon())
			disk = vfs.NewFaulty(m, failing)
			o.FS = disk
			l, _, _ = open(t, o)
			if l.Err() == nil {
				t.Fatal("the log of a start that could not sync it can be written")
			}
		} else {
			disk.SetRules(failing)
			if err := l.Commit(made[1].pos, Synced); err == nil {
				t.Fatal("the sync has not failed")
			}
		}
		ok(t, l.Recover())
		made = append(made, fill(t, l, 3, one/4, Synced)...) // with a mark
		taken, lost := m.KillClone(), m.CrashClone(rand.New(rand.NewPCG(1, 1)))
		ok(t, l.Abandon())
		gone := made[1].pos.File
		for _, seen := range []uint64{made[0].pos.File, made[2].pos.File} {
			need := Need{Folder: o.Folder, From: made[0].pos, Seen: seen}
			var got []entry
			report, err := Read(lost, testDir, need, collect(&got))
			if err != nil || report.Damaged() || !slices.Equal(report.Gone, []uint64{gone}) {
				t.Errorf("at a start %v, seen up to %d: %v, %+v", atStart, seen, err, report)
				continue
			}
			same(t, got, slices.Delete(slices.Clone(made), 1, 2))
		}
		o.FS, o.Need = taken, Need{Folder: o.Folder, From: made[0].pos, Seen: made[2].pos.File}
		l, got, _ := open(t, o)
		same(t, got, made)
		made = append(made, fill(t, l, 3, one/4, Synced)...)
		ok(t, l.Abandon())
		ok(t, taken.Remove(fileName(testDir, gone, extLive)))
		if _, err := Read(taken, testDir, o.Need, func(Entry) error { return nil }); !errors.Is(err, ErrMissing) {
			t.Errorf("at a start %v: a file that a later start has synced is not missed: %v", atStart, err)
		}
	}
}

// TestWhatAFileWithoutHeaderGoesOnFrom is remembered from the start that has found it: a header is all else that says so, and the file before
// it may be missing later.
func TestWhatAFileWithoutHeaderGoesOnFrom(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize, o.Folder, o.SpareFiles, o.SyncTimeout = 2*minFileSize, [8]byte{1, 2}, -1, time.Hour
	l, _, _ := open(t, o)
	made := fill(t, l, 40, 300, Written)
	c := m.KillClone()
	ok(t, l.Close())
	names := files(t, c)
	second := made[0].pos.File + 1
	overwrite(t, c, names[1], make([]byte, 512), 0) // a power cut has left what came behind
	need := Need{Folder: o.Folder, Whole: true, Seen: made[0].pos.File}
	report, err := Read(c, testDir, need, func(Entry) error { return nil })
	if err != nil || len(report.Headless) != 1 || report.Headless[0].File != second || report.Headless[0].Prev.File != made[0].pos.File {
		t.Fatalf("%v, %+v", err, report)
	}
	need.Headless, need.Seen = report.Headless, made[len(made)-1].pos.File // as the next start has it
	again, err := Read(c, testDir, need, func(Entry) error { return nil })
	if err != nil || !slices.Equal(again.Headless, report.Headless) || again.Records != report.Records {
		t.Errorf("%v, %+v", err, again)
	}
	ok(t, c.Remove(names[0]))
	if _, err := Read(c, testDir, need, func(Entry) error { return nil }); !errors.Is(err, ErrMissing) {
		t.Errorf("the file before it is gone: %v", err)
	}
}

func TestAppendAndCommitDoNotAllocate(t *testing.T) {
	for _, level := range []Level{Written, Synced} {
		o := Options{Dir: t.TempDir(), FileSize: 64 << 20}
		l, _, _ := open(t, o)
		head, body := make([]byte, 40), make([]byte, 200)
		commit := func() {
			at, err := l.Append(1, head, body)
			if err == nil {
				err = l.Commit(at, level)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		commit()
		commit()
		if n := testing.AllocsPerRun(100, commit); n > float64(level) { // one to look whether the file is still there
			t.Errorf("%v: %v allocations", level, n)
		}
		ok(t, l.Close())
	}
}

// Files of the log, and spare ones, that somebody has removed are let go as others are, and the log goes on.
func TestFilesToReleaseAreGone(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.SpareFiles = 8
	l, _, _ := open(t, o)
	fill(t, l, 600, 10, Synced)
	ok(t, l.Release(l.End()))
	fill(t, l, 200, 10, Synced)
	names, _ := m.List(testDir)
	for _, name := range names {
		if !slices.ContainsFunc(l.unsynced, func(f *logFile) bool { return filepath.Base(f.path) == name }) {
			ok(t, m.Remove(filepath.Join(testDir, name)))
		}
	}
	ok(t, l.Release(l.End()))
	ok(t, l.Shed())
	if s := l.Stats(); s.Files != 1 || s.SpareFiles != 0 {
		t.Errorf("stats %+v", s)
	}
	made := fill(t, l, 200, 10, Synced)
	ok(t, l.Close())
	got, _ := read(t, m)
	same(t, got[len(got)-len(made):], made)
}
