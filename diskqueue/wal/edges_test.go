package wal

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

// stand has operations of some kinds wait, each for one value of the channel or for its end.
func stand(fs *vfs.Faulty, ops vfs.Op) chan struct{} {
	gate := make(chan struct{})
	fs.Observe(func(op vfs.Op, _ string) {
		if op&ops != 0 {
			<-gate
		}
	})
	return gate
}

// TestWhoIsCarriedByAWriteReturnsWithIt: two whose records are in the write that goes on, and who come to wait for it later, are both woken by its end:
// nobody else comes who would do it.
func TestWhoIsCarriedByAWriteReturnsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 10, Synced)
		gate := stand(fs, vfs.OpWrite)
		var wg sync.WaitGroup
		for _, e := range []entry{put(t, l, 1, "a"), put(t, l, 1, "b"), put(t, l, 1, "c")} {
			wg.Go(func() { ok(t, l.Commit(e.pos, Written)) })
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		if s := l.Stats(); s.WriteGroups[1] != 1 {
			t.Errorf("not one write of three: %v", s.WriteGroups)
		}
		ok(t, l.Close())
	})
}

// TestAFileThatCannotBeBegunWakesWhoWaitsForASync: their records are lost with it, and they are told when the sync that they wait for is over at the latest.
func TestAFileThatCannotBeBegunWakesWhoWaitsForASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 3000, Synced)
		gate := stand(fs, vfs.OpSync)
		var wg sync.WaitGroup
		wg.Go(func() { ok(t, l.Commit(put(t, l, 1, "fits").pos, Synced)) })
		synctest.Wait()
		fs.SetRules(vfs.Rule{Ops: vfs.OpCreate, Times: 1, Err: syscall.EMFILE})
		var told atomic.Int32
		for range 2 {
			wg.Go(func() {
				if err := l.Commit(put(t, l, 1, string(make([]byte, 2000))).pos, Synced); errors.Is(err, syscall.EMFILE) {
					told.Add(1)
				}
			})
			synctest.Wait()
		}
		if err := l.Commit(put(t, l, 1, "behind them").pos, Written); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("what came behind them: %v", err)
		}
		synctest.Wait()
		if n := told.Load(); n != 2 {
			t.Errorf("%d of 2 who wait are told", n)
		}
		close(gate)
		wg.Wait()
		fill(t, l, 1, 10, Written)
		ok(t, l.Close())
	})
}

// TestWhatIsAppendedWhileAWriteFailsIsLost: it is counted, as whoever does not commit learns of it by the count alone.
func TestWhatIsAppendedWhileAWriteFailsIsLost(t *testing.T) {
	for _, c := range []struct {
		failing vfs.Op
		size    int
		level   Level
		lost    uint64
	}{
		{vfs.OpWrite, 10, Written, 4},         // what was to be written, and what was appended since
		{vfs.OpPreallocate, 4000, Written, 3}, // the same, but for what went to the file before
		{vfs.OpSync, 10, Synced, 4},           // what was written and is not synced, and what was appended since
	} {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewFaulty(vfs.NewMem())
			l, _, _ := open(t, testOptions(fs))
			fill(t, l, 1, 10, Synced)
			gate := stand(fs, c.failing)
			fs.SetRules(vfs.Rule{Ops: c.failing, Times: 1, Err: syscall.EIO})
			var wg sync.WaitGroup
			wg.Go(func() {
				put(t, l, 1, "with it")
				if err := l.Commit(put(t, l, 1, string(make([]byte, c.size))).pos, c.level); !errors.Is(err, syscall.EIO) {
					t.Errorf("%v: %v", c.failing, err)
				}
			})
			synctest.Wait()
			put(t, l, 1, "meanwhile")
			put(t, l, 1, "meanwhile")
			close(gate)
			wg.Wait()
			if n := l.Lost(); n != c.lost {
				t.Errorf("%v: %d records count as lost, wanted %d", c.failing, n, c.lost)
			}
			ok(t, l.Recover())
			fill(t, l, 1, 10, Written)
			ok(t, l.Close())
		})
	}
}

// TestTheFirstFailureIsToldForGood: a sync that fails behind a write that failed does not change why.
func TestTheFirstFailureIsToldForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 10, Synced)
		gate := stand(fs, vfs.OpSync)
		fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Skip: 1, Times: 1, Err: syscall.ENOSPC}, vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
		var wg sync.WaitGroup
		wg.Go(func() {
			if l.Commit(put(t, l, 1, "x").pos, Synced) == nil {
				t.Error("a sync that failed is no error")
			}
		})
		synctest.Wait()
		if err := l.Commit(put(t, l, 1, "x").pos, Written); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the write that fails: %v", err)
		}
		close(gate)
		wg.Wait()
		if err := l.Err(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the log has failed because of %v", err)
		}
		ok(t, l.Recover())
		ok(t, l.Close())
	})
}

// TestMarksSayWhatWasSynced: what is written while a sync runs is not what the sync has made durable, neither in marks nor in what is told of files' names:
// a power cut may take it, which is then no damage, and no file that is missing.
func TestMarksSayWhatWasSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		o := testOptions(fs)
		var named []uint64
		o.Named = func(number uint64) { named = append(named, number) }
		l, _, _ := open(t, o)
		fill(t, l, 1, 10, Synced)
		gate := stand(fs, vfs.OpSync)
		var wg sync.WaitGroup
		var synced, meanwhile entry
		wg.Go(func() {
			synced = put(t, l, 1, "synced")
			ok(t, l.Commit(synced.pos, Synced))
		})
		synctest.Wait()
		meanwhile = put(t, l, 1, string(make([]byte, 3950))) // in another file
		ok(t, l.Commit(meanwhile.pos, Written))
		close(gate)
		wg.Wait()
		if !slices.Equal(named, []uint64{1}) {
			t.Errorf("the names of files %v are synced", named)
		}
		ok(t, l.Commit(put(t, l, 1, "with a mark").pos, Written))
		_, report := read(t, m.KillClone())
		if !report.Covered(synced.pos) || report.Covered(meanwhile.pos) {
			t.Errorf("what was synced is covered %v, what was not %v", report.Covered(synced.pos), report.Covered(meanwhile.pos))
		}
		ok(t, l.Commit(meanwhile.pos, Synced))
		if !slices.Equal(named, []uint64{1, 2}) {
			t.Errorf("then the names of files %v are synced", named)
		}
		ok(t, l.Close())
	})
}

// TestAFolderThatCannotBeSynced: without its names the files are not there after a power cut, so that nothing is promised.
func TestAFolderThatCannotBeSynced(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	first := put(t, l, 1, "first")
	ok(t, l.Commit(first.pos, Written))
	fs.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO})
	for range 2 {
		if err := l.Commit(first.pos, Synced); !errors.Is(err, syscall.EIO) {
			t.Errorf("its first record is synced: %v", err)
		}
	}
	ok(t, l.Recover())
	fill(t, l, 1, 10, Synced)
	ok(t, l.Close())
}

// TestAFileThatIsMovedIsNoticedWhileSyncsAreMany: each comes sooner than files are looked for by their names again.
func TestAFileThatIsMovedIsNoticedWhileSyncsAreMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		l, _, _ := open(t, testOptions(m))
		fill(t, l, 1, 100, Synced)
		name := files(t, m)[0]
		ok(t, m.Rename(name, name+".other"))
		var err error
		for range 3 {
			time.Sleep(namesEvery * 2 / 3)
			if err = l.Commit(put(t, l, 1, "more").pos, Synced); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrReplaced) {
			t.Errorf("after twice that time: %v", err)
		}
		ok(t, l.Recover())
		ok(t, l.Close())
	})
}

// TestFailuresThatAreToldTogetherAreAllLost: when there were too many to tell them apart, a record that was never written does not pass for one that was
// because what failed next to it was a sync.
func TestFailuresThatAreToldTogetherAreAllLost(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	var lost []Offset
	for i := range 2*maxFailures + 3 {
		fill(t, l, 1, 10, Synced)
		e := put(t, l, 1, "x")
		if i%2 == 0 {
			fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO})
			lost = append(lost, e.pos)
		} else {
			fs.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
		}
		if l.Commit(e.pos, Synced) == nil {
			t.Fatal("no error")
		}
		ok(t, l.Recover())
	}
	for _, at := range lost {
		if l.Commit(at, Written) == nil {
			t.Fatalf("the record at %v, which failed to be written, counts as written", at)
		}
	}
	ok(t, l.Close())
}

// TestALargeRecordHasItsRoomBeforeItIsWritten: also beside a spare file, which is smaller. A disk that has no room for it refuses the file, which costs this
// record and nothing else, rather than the write, which would be the log's end.
func TestALargeRecordHasItsRoomBeforeItIsWritten(t *testing.T) {
	for _, spares := range []int{0, 1} {
		m := vfs.NewMem()
		l, _, _ := open(t, testOptions(m))
		fill(t, l, 40, 1000, Synced)
		ok(t, l.Release(l.End()))
		if spares == 0 {
			ok(t, l.Shed())
		}
		if s := l.Stats(); s.SpareFiles != spares {
			t.Fatalf("%+v", s)
		}
		m.SetLimit(m.Used() + recordHeaderSize + 8000) // but for the file's header
		if err := l.Commit(put(t, l, 1, string(make([]byte, 8000))).pos, Written); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d spare files: the record has found room: %v", spares, err)
		}
		ok(t, l.Commit(put(t, l, 1, "small").pos, Synced)) // where the log was
		ok(t, l.Err())
		if spares > 0 {
			before := l.End().File
			m.SetLimit(m.Used())
			for range 3 { // a file that is there needs no room, and is not smaller for want of it
				ok(t, l.Commit(put(t, l, 1, string(make([]byte, 1300))).pos, Synced))
			}
			if l.End().File == before {
				t.Fatal("no other file was begun")
			}
			ok(t, l.Release(l.End()))
		}
		m.SetLimit(m.Used() + fileHeaderSize + recordHeaderSize + 8000)
		ok(t, l.Commit(put(t, l, 1, string(make([]byte, 8000))).pos, Synced))
		if s := l.Stats(); s.SpareFiles != spares || s.Files != 2 {
			t.Errorf("%+v", s)
		}
		m.SetLimit(0)
		ok(t, l.Close())
	}
}

// TestAFileThatCannotBeUsedGoesWithTheNextRelease: it was made, has no room set aside, and could not be removed. It is neither left there nor written over, as
// a write to it might find no room.
func TestAFileThatCannotBeUsedGoesWithTheNextRelease(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m)
	l, _, _ := open(t, testOptions(disk))
	fill(t, l, 3, 1000, Synced)
	disk.SetRules(vfs.Rule{Ops: vfs.OpPreallocate, Times: 1, Err: syscall.EMFILE}, vfs.Rule{Ops: vfs.OpRemove, Times: 1, Err: syscall.EIO})
	failed := put(t, l, 1, string(make([]byte, 2000))).pos
	if err := l.Commit(failed, Written); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a file without room: %v", err)
	}
	fill(t, l, 3, 2000, Synced)
	ok(t, l.Recycle(l.End(), 9))
	ok(t, l.Close())
	for _, name := range files(t, m) {
		if size, err := m.Size(name); err != nil || size != 4096 {
			t.Errorf("%s has %d bytes: %v", name, size, err)
		}
	}
	if _, err := m.Size(fileName(testDir, failed.File, extLive)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

// TestFilesAreWrittenOverWhereLinksAreNotTold: not each system says how many names a file has.
func TestFilesAreWrittenOverWhereLinksAreNotTold(t *testing.T) {
	fs, calls := counting(vfs.NewMem())
	fs.SetRules(vfs.Rule{Ops: vfs.OpLinks, Err: errors.ErrUnsupported})
	l, _, _ := open(t, testOptions(fs))
	for range 10 {
		fill(t, l, 4, 1000, Synced)
		ok(t, l.Release(l.End()))
	}
	if n := calls[vfs.OpCreate]; n > 6 {
		t.Errorf("%d files were made", n)
	}
	ok(t, l.Close())
}

// TestAClosedLogLetsNothingGo: what follows may be another one in the same folder.
func TestAClosedLogLetsNothingGo(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	fill(t, l, 20, 1000, Synced)
	ok(t, l.Recycle(Offset{File: 3}, 2))
	end := l.End()
	ok(t, l.Close())
	before := files(t, m)
	ok(t, l.Release(end))
	ok(t, l.Shed())
	if after := files(t, m); !slices.Equal(after, before) {
		t.Errorf("there were %q, and are %q", before, after)
	}
}

// TestTooLargeARecordIsRefused: before anything of it is kept.
func TestTooLargeARecordIsRefused(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	parts := make([][]byte, MaxData/len(zeroBytes)+1)
	for i := range parts {
		parts[i] = zeroBytes[:]
	}
	parts[0] = zeroBytes[:1]
	if _, err := l.Append(1, parts...); !errors.Is(err, ErrRecord) {
		t.Fatalf("a byte more than a record may have: %v", err)
	}
	fill(t, l, 1, 10, Synced)
	ok(t, l.Close())
}

// TestNothingIsBegunWithoutANumber: the first file neither.
func TestNothingIsBegunWithoutANumber(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m)
	o := testOptions(disk)
	refusal := errors.New("no numbers")
	o.Lease = func(number uint64) (uint64, error) { return number + 1, refusal }
	l, _, _ := open(t, o)
	if err := l.Commit(put(t, l, 1, "x").pos, Written); !errors.Is(err, refusal) {
		t.Errorf("without a number: %v", err)
	}
	if names, _ := m.List(testDir); len(names) > 0 {
		t.Errorf("files %q", names)
	}
	refusal = nil
	first := fill(t, l, 1, 10, Written)[0].pos
	refusal = errors.New("no more numbers")
	if err := l.Commit(put(t, l, 1, string(make([]byte, 4000))).pos, Written); !errors.Is(err, refusal) {
		t.Errorf("behind file %d, which was the last that may be: %v", first.File, err)
	}
	disk.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO})
	if l.Commit(put(t, l, 1, "x").pos, Written) == nil {
		t.Fatal("no error")
	}
	if err := l.Recover(); !errors.Is(err, refusal) {
		t.Errorf("recovering without a number: %v", err)
	}
	refusal = nil
	ok(t, l.Recover())
	ok(t, l.Close())
}

// TestRecoveringSyncsWhatWasWritten: what was written before a write failed is synced by Recover, or never again when that sync fails, whatever a later one
// says; and it goes so after each failure anew.
func TestRecoveringSyncsWhatWasWritten(t *testing.T) {
	m := vfs.NewMem()
	fs := vfs.NewFaulty(m)
	o := testOptions(fs)
	var named uint64
	o.Named = func(number uint64) { named = number }
	l, _, _ := open(t, o)
	for range 2 {
		for _, sound := range []bool{true, false} {
			fill(t, l, 1, 10, Synced)
			written := fill(t, l, 2, 3000, Written)[0]
			fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.ENOSPC})
			if l.Commit(put(t, l, 1, "fails").pos, Written) == nil {
				t.Fatal("no error")
			}
			if !sound {
				fs.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
				if err := l.Recover(); !errors.Is(err, syscall.EIO) {
					t.Errorf("what is left cannot be synced: %v", err)
				}
			}
			ok(t, l.Recover())
			if err := l.Commit(written.pos, Synced); (err == nil) != sound {
				t.Errorf("left was what could be synced %v: %v", sound, err)
			}
			ok(t, l.Commit(written.pos, Written))
			if s := l.Stats(); s.Unsynced != 0 || named != l.End().File {
				t.Errorf("%d bytes are to be synced, told is file %d", s.Unsynced, named)
			}
		}
	}
	ok(t, l.Close())
}

// TestRecoveringAgain: the file that was to prove the disk leaves nothing, and what was written may be let go between two tries.
func TestRecoveringAgain(t *testing.T) {
	m := vfs.NewMem()
	fs := vfs.NewFaulty(m)
	o := testOptions(fs)
	o.SpareFiles = -1
	l, _, _ := open(t, o)
	fill(t, l, 3, 3000, Written) // each in a file
	fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 2, Err: syscall.ENOSPC})
	if l.Commit(put(t, l, 1, "fails").pos, Written) == nil {
		t.Fatal("no error")
	}
	if err := l.Recover(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("no new file can be written to: %v", err)
	}
	if names := files(t, m); len(names) != 3 {
		t.Errorf("files %q", names)
	}
	ok(t, l.Release(l.End()))
	ok(t, l.Recover())
	ok(t, l.Err())
	ok(t, l.Release(l.End()))
	if names := files(t, m); len(names) != 1 {
		t.Errorf("files %q", names)
	}
	made := fill(t, l, 1, 10, Synced)
	ok(t, l.Close())
	got, _ := read(t, m)
	same(t, got, made)
}

// TestRecoveringEndsTrouble: that a file could not be begun is forgotten with a later failure that was recovered from.
func TestRecoveringEndsTrouble(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	fill(t, l, 1, 10, Synced)
	fs.SetRules(vfs.Rule{Ops: vfs.OpCreate, Times: 1, Err: syscall.EMFILE})
	if l.Commit(put(t, l, 1, string(make([]byte, 4000))).pos, Written) == nil {
		t.Fatal("no error")
	}
	fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO})
	if l.Commit(put(t, l, 1, "x").pos, Written) == nil {
		t.Fatal("no error")
	}
	ok(t, l.Recover())
	ok(t, l.Err())
	ok(t, l.Close())
}

// TestEachFileIsClosed: whatever fails, none stays open.
func TestEachFileIsClosed(t *testing.T) {
	fs, calls := counting(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpPreallocate, vfs.OpLinks} {
		fill(t, l, 5, 2000, Written)
		fs.SetRules(vfs.Rule{Ops: op, Times: 1, Err: syscall.EIO})
		for range 3 {
			_ = l.Commit(put(t, l, 1, string(make([]byte, 2000))).pos, Synced) // it may fail
			ok(t, l.Recover())
		}
		ok(t, l.Release(l.End()))
	}
	fill(t, l, 5, 2000, Synced)
	ok(t, l.Close())
	l, _, _ = open(t, testOptions(fs))
	fill(t, l, 2, 3000, Written)
	ok(t, l.Abandon())
	if _, _, err := l.ReadAt(Offset{File: 1, Offset: fileHeaderSize}, 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("from a log that was given up: %v", err)
	}
	if opened := calls[vfs.OpCreate] + calls[vfs.OpOpen] + calls[vfs.OpOpenWrite]; calls[vfs.OpClose] != opened {
		t.Errorf("%d files were opened, %d closed: %v", opened, calls[vfs.OpClose], calls)
	}
}

// TestFilesThatCannotBeLetGoYet are let go by the next try, kept to be written over or not, as it says then; and what is counted is what is there.
func TestFilesThatCannotBeLetGoYet(t *testing.T) {
	for _, c := range []struct {
		failing    vfs.Op
		skip, then int // files that can be let go, and that are to be kept by the next try
	}{{vfs.OpRename, 0, 0}, {vfs.OpRename, 0, 2}, {vfs.OpRename, 1, 1}, {vfs.OpSyncDir, 0, 0}, {vfs.OpSyncDir, 0, 2}} {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		o := testOptions(fs)
		o.SpareFiles = -1
		l, _, _ := open(t, o)
		fill(t, l, 7, 3000, Synced)
		fs.SetRules(vfs.Rule{Ops: c.failing, Skip: c.skip, Times: 1, Err: syscall.EIO})
		if err := l.Recycle(l.End(), 2); !errors.Is(err, syscall.EIO) {
			t.Errorf("%+v: %v", c, err)
		}
		ok(t, l.Recycle(l.End(), c.then))
		if s, n := l.Stats(), len(files(t, m)); s.Files != 1 || s.SpareFiles != c.then || n != 1+c.then {
			t.Errorf("%+v: %d files and %d spare ones are counted, there are %d", c, s.Files, s.SpareFiles, n)
		}
		fs.SetRules(vfs.Rule{Ops: vfs.OpRemove, Times: 1, Err: syscall.EIO})
		if err := l.Shed(); (err == nil) != (c.then == 0) {
			t.Errorf("%+v: a spare file that cannot be removed: %v", c, err)
		}
		fs.SetRules()
		ok(t, l.Shed())
		if n := len(files(t, m)); n != 1 {
			t.Errorf("%+v: %d files are left", c, n)
		}
		fill(t, l, 3, 3000, Synced)
		ok(t, l.Close())
	}
}

// TestNothingIsLetGoThatCannotBeSynced: neither when what a start has read could not be.
func TestNothingIsLetGoThatCannotBeSynced(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	made := fill(t, l, 5, 3000, Written)
	ok(t, l.Close())
	l, _, _ = open(t, testOptions(vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})))
	ok(t, l.Release(made[4].pos))
	ok(t, l.Abandon())
	got, _ := read(t, m)
	same(t, got, made)
}

// TestWhatAStartHasReadIsSynced: an earlier process has written it and not synced it, and a power cut comes soon after. Where a checkpoint is that the log goes
// on from, in the file in which that is, too.
func TestWhatAStartHasReadIsSynced(t *testing.T) {
	for _, part := range []int{0, 3} {
		m := vfs.NewMem()
		l, _, _ := open(t, testOptions(m))
		made := fill(t, l, 10, 300, Written)
		killed := m.KillClone()
		ok(t, l.Close())
		o := testOptions(killed)
		o.From = made[part].pos
		l, got, _ := open(t, o)
		same(t, got, made[part:])
		ok(t, l.Abandon())
		for seed := range uint64(20) {
			var left []entry
			_, err := Read(killed.CrashClone(rand.New(rand.NewPCG(seed, 1))), testDir, o.Need, collect(&left))
			ok(t, err)
			same(t, left, made[part:])
		}
	}
}

// TestSpareFilesAboveTheBoundGoWithAStart: an earlier one was allowed more.
func TestSpareFilesAboveTheBoundGoWithAStart(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	fill(t, l, 7, 3000, Synced)
	ok(t, l.Recycle(l.End(), 5))
	ok(t, l.Close())
	o := testOptions(m)
	o.SpareFiles = 2
	l, _, _ = open(t, o)
	l.Start()
	if s, n := l.Stats(), len(files(t, m)); s.SpareFiles != 2 || n != 3 {
		t.Errorf("%d spare files of %d files", s.SpareFiles, n)
	}
	ok(t, l.Close())
}

// TestTheFolderIsMadeWhenItCanBe: when it could not be at first.
func TestTheFolderIsMadeWhenItCanBe(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem(), vfs.Rule{Ops: vfs.OpMkdir, Times: 1, Err: syscall.EACCES})
	l, _, _ := open(t, testOptions(fs))
	if err := l.Commit(put(t, l, 1, "x").pos, Written); !errors.Is(err, syscall.EACCES) {
		t.Errorf("without a folder: %v", err)
	}
	fill(t, l, 1, 10, Synced)
	ok(t, l.Close())
}

// TestAWriteThatFailsIsNotScanned: some of it may be in the file, before the log has recovered and after.
func TestAWriteThatFailsIsNotScanned(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	var want []entry
	for range 2 {
		want = append(want, fill(t, l, 2, 100, Written)...)
		fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO, Done: true})
		if l.Commit(put(t, l, 1, "fails").pos, Written) == nil {
			t.Fatal("no error")
		}
		same(t, scanned(t, l), want)
		ok(t, l.Recover())
		same(t, scanned(t, l), want)
	}
	ok(t, l.Close())
}

// TestAScanPassesOverWhatIsNotThere: a file that is gone and a record that is not whole cost what they had; a disk that
// cannot be read ends it, and so does who is given the records.
func TestAScanPassesOverWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		l, _, _ := open(t, testOptions(fs))
		made := fill(t, l, 12, 1000, Synced) // three in a file
		name := func(i int) string { return fileName(testDir, made[i].pos.File, extLive) }
		overwrite(t, m, name(0), []byte("!"), made[1].pos.Offset+500)
		same(t, scanned(t, l), slices.Delete(slices.Clone(made), 1, 2))
		ok(t, m.Remove(name(3)))
		ok(t, m.Remove(name(6)))
		same(t, scanned(t, l), slices.Concat(made[:1], made[2:3], made[9:]))
		boom := errors.New("boom")
		if err := l.Scan(t.Context(), func(Entry) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("who is given the records: %v", err)
		}
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO})
		if err := l.Scan(t.Context(), func(Entry) error { return nil }); !errors.Is(err, syscall.EIO) {
			t.Errorf("a disk that cannot be read: %v", err)
		}
		ok(t, l.Close())
	})
}

// TestAScanPassesOverWhatIsNoFile: somebody has put a folder in the place of one.
func TestAScanPassesOverWhatIsNoFile(t *testing.T) {
	o := Options{Dir: t.TempDir(), FileSize: 4096}
	l, _, _ := open(t, o)
	made := fill(t, l, 6, 3000, Synced)
	name := fileName(o.Dir, made[1].pos.File, extLive)
	ok(t, errors.Join(os.Remove(name), os.Mkdir(name, 0o755)))
	same(t, scanned(t, l), slices.Delete(slices.Clone(made), 1, 2))
	ok(t, l.Close())
}

// TestACloseWakesWhoWaits: two who wait for a sync that Close has become the one to do, which writes a mark behind them.
func TestACloseWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		l.Start()
		fill(t, l, 1, 10, Synced)
		gate := stand(fs, vfs.OpSync)
		var wg sync.WaitGroup
		wg.Go(func() { ok(t, l.Commit(put(t, l, 1, "a").pos, Synced)) })
		synctest.Wait()
		b, c := put(t, l, 1, "b"), put(t, l, 1, "c")
		wg.Go(func() { ok(t, l.Close()) })
		synctest.Wait()
		for _, e := range []entry{b, c} {
			wg.Go(func() { ok(t, l.Commit(e.pos, Synced)) })
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
	})
}

// TestCloseSaysWhatIsLost: what was appended last could not be written, as no file could be begun for it; and nothing brings a closed log back.
func TestCloseSaysWhatIsLost(t *testing.T) {
	m := vfs.NewMem()
	fs := vfs.NewFaulty(m)
	for _, op := range []vfs.Op{vfs.OpPreallocate, vfs.OpWrite} {
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 10, Synced)
		fs.SetRules(vfs.Rule{Ops: op, Times: 1, Err: syscall.ENOSPC})
		put(t, l, 1, string(make([]byte, 4000)))
		if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: closed with %v", op, err)
		}
		before := files(t, m)
		if err := l.Recover(); !errors.Is(err, ErrClosed) || !slices.Equal(files(t, m), before) {
			t.Errorf("%v: recovered: %v", op, err)
		}
	}
}

// TestAFullDiskIsRecoveredFromInASmallerFile: no room for one of full size is left, as who is told so by a quota is told. It is smaller by a part of that only.
func TestAFullDiskIsRecoveredFromInASmallerFile(t *testing.T) {
	for _, reason := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		o := testOptions(fs)
		o.FileSize = 64 << 10
		l, _, _ := open(t, o)
		fill(t, l, 1, 10, Synced)
		fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: reason}, vfs.Rule{Ops: vfs.OpPreallocate, Times: 2 * maxScarce, Err: reason})
		if l.Commit(put(t, l, 1, "x").pos, Written) == nil {
			t.Fatal("no error")
		}
		for range 2 * maxScarce {
			if err := l.Recover(); !errors.Is(err, reason) {
				t.Errorf("without room: %v", err)
			}
		}
		ok(t, l.Recover())
		if s := l.Stats(); s.FileBytes != o.FileSize+o.FileSize>>maxScarce {
			t.Errorf("%d bytes in files", s.FileBytes)
		}
		fill(t, l, 1, 10, Synced)
		ok(t, l.Close())
	}
}

// TestWhatASyncHasLostIsWrittenAnew: a sync has failed, and for the system that data is clean, so that no later sync writes it. A start that reads it has it be
// durable.
func TestWhatASyncHasLostIsWrittenAnew(t *testing.T) {
	m := vfs.NewMem()
	fs := vfs.NewFaulty(m)
	l, _, _ := open(t, testOptions(fs))
	made := fill(t, l, 5, 100, Synced)
	fs.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO, Clean: true})
	e := put(t, l, 1, "not sure")
	if l.Commit(e.pos, Synced) == nil {
		t.Fatal("no error")
	}
	killed := m.KillClone()
	again, got, _ := open(t, testOptions(killed))
	same(t, got, append(made, e))
	ok(t, again.Abandon())
	for seed := range uint64(20) {
		left, _ := read(t, killed.CrashClone(rand.New(rand.NewPCG(seed, 1))))
		same(t, left, got)
	}
	ok(t, l.Abandon())
}

// TestTwoPagesThatCannotBeRead: nobody knows what either of them had.
func TestTwoPagesThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		o := testOptions(m)
		o.FileSize = 64 << 10
		l, _, _ := open(t, o)
		fill(t, l, 30, 1000, Written)
		broken := m.KillClone()
		ok(t, l.Close())
		for _, off := range []int64{4096, 4 * 4096} {
			ok(t, broken.Break(files(t, broken)[0], off, 1))
		}
		report, err := Read(broken, testDir, Need{AcceptLoss: true}, func(Entry) error { return nil })
		ok(t, err)
		if len(report.Damage) != 2 || report.Damage[0].Unsynced || report.Damage[1].Unsynced {
			t.Errorf("%+v", report.Damage)
		}
	})
}

// TestAFileThatIsPreparedHoldsUpNoClose: and none is where no spare files are kept.
func TestAFileThatIsPreparedHoldsUpNoClose(t *testing.T) {
	for spares, most := range map[int]int{1: 1, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			m := vfs.NewMem()
			fs := vfs.NewFaulty(m)
			o := testOptions(fs)
			o.FileSize, o.Prepare, o.SpareFiles = 16*zeroChunk, true, spares
			l, _, _ := open(t, o)
			gate := make(chan struct{})
			var syncs atomic.Int32
			fs.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpSync {
					syncs.Add(1)
					<-gate
				}
			})
			l.Start()
			synctest.Wait()
			var wg sync.WaitGroup
			wg.Go(func() { ok(t, l.Close()) })
			synctest.Wait()
			close(gate)
			wg.Wait()
			if n := int(syncs.Load()); n != most {
				t.Errorf("up to %d spare files: %d syncs", spares, n)
			}
			if names, _ := m.List(testDir); len(names) > 0 {
				t.Errorf("files %q", names)
			}
		})
	}
}

// TestCommitsOfBothLevels: those that need a sync and those that do not are at work together, and each record is written once.
func TestCommitsOfBothLevels(t *testing.T) {
	m := vfs.NewMem()
	o := testOptions(m)
	o.FileSize = 1 << 20
	l, _, _ := open(t, o)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for range 300 {
				at, err := l.Append(1, []byte("x"))
				if err == nil {
					err = l.Commit(at, Level(c%2))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	ok(t, l.Close())
	if got, report := read(t, m); len(got) != 8*300 || len(report.Damage) > 0 {
		t.Errorf("%d records, damage %v", len(got), report.Damage)
	}
}

// TestReadAtOfWhatIsWrongOnce: it is read once more, from the disk; what the disk cannot give then is its error and no damage.
func TestReadAtOfWhatIsWrongOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, calls := counting(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		e := fill(t, l, 1, 100, Synced)[0]
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Times: 1, Flip: true})
		if _, data, err := l.ReadAt(e.pos, 100, nil); err != nil || string(data) != e.data || calls[vfs.OpForget] != 1 {
			t.Errorf("%q, %v, %d times from the disk", data, err, calls[vfs.OpForget])
		}
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Times: 1, Flip: true}, vfs.Rule{Ops: vfs.OpForget, Err: syscall.EIO})
		if _, _, err := l.ReadAt(e.pos, 100, nil); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) {
			t.Errorf("a disk that cannot be read anew: %v", err)
		}
		fs.SetRules()
		mark := l.End()
		next := put(t, l, 1, "x")
		ok(t, l.Commit(next.pos, Written))
		if _, _, err := l.ReadAt(mark, 0, nil); !errors.Is(err, ErrDamaged) || next.pos == mark {
			t.Errorf("where a mark is: %v", err)
		}
		ok(t, l.Close())
	})
}

// TestReadAtOfAFileThatGoesMeanwhile: it is released and written over between two steps of the read, the first or the second one that does not find the
// record, which is not damage.
func TestReadAtOfAFileThatGoesMeanwhile(t *testing.T) {
	for nth := range int32(2) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		e := fill(t, l, 4, 1000, Synced)[0]
		fs.SetRules(vfs.Rule{Ops: vfs.OpRead, Times: 1, Flip: true})
		reads := int32(0)
		fs.Observe(func(op vfs.Op, _ string) {
			if op == vfs.OpRead {
				if reads++; reads == nth+1 {
					ok(t, l.Recycle(l.End(), 1))
					fill(t, l, 6, 1000, Synced)
				}
			}
		})
		if _, _, err := l.ReadAt(e.pos, 1000, nil); !errors.Is(err, ErrReleased) {
			t.Errorf("written over before read %d: %v", nth+1, err)
		}
		ok(t, l.Close())
	}
}

// TestOneWriteAtATime: who is woken to write next finds that another has come before him, and waits once more.
func TestOneWriteAtATime(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewFaulty(vfs.NewMem())
			l, _, _ := open(t, testOptions(fs))
			fill(t, l, 1, 10, Synced)
			gate := make(chan struct{})
			var writing atomic.Int32
			fs.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpWrite {
					writing.Add(1)
					<-gate
					writing.Add(-1)
				}
			})
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 2 {
					ok(t, l.Commit(put(t, l, 1, "x").pos, Written))
				}
			})
			synctest.Wait()
			wg.Go(func() { ok(t, l.Commit(put(t, l, 1, "y").pos, Synced)) })
			synctest.Wait()
			gate <- struct{}{}
			synctest.Wait()
			wg.Go(func() { ok(t, l.Commit(put(t, l, 1, "z").pos, Written)) })
			synctest.Wait()
			if n := writing.Load(); n != 1 {
				t.Errorf("%d writes at once", n)
			}
			close(gate)
			wg.Wait()
			ok(t, l.Close())
		})
	}
}

// TestWhatIsDamagedIsPutAsideAsTheCallerSays.
func TestWhatIsDamagedIsPutAsideAsTheCallerSays(t *testing.T) {
	m, made := sample(t)
	name := files(t, m)[0]
	overwrite(t, m, name, []byte("!"), made[1].pos.Offset+20)
	o := testOptions(m)
	var aside []string
	o.Aside = func(path string) error {
		aside = append(aside, path)
		return m.Rename(path, path+".elsewhere")
	}
	l, _, _ := open(t, o)
	fill(t, l, 1, 10, Synced)
	ok(t, l.Release(l.End()))
	ok(t, l.Close())
	if !slices.Equal(aside, []string{name}) {
		t.Errorf("put aside are %q", aside)
	}
}

// TestNamesThatASyncHasLost: a sync of the folder fails, and the system takes for written what it was for. Later ones succeed, and say nothing of that: a file is
// not written over while a power cut may bring its old name back, and a new file's records are not safe, whoever it was whose sync has failed.
func TestNamesThatASyncHasLost(t *testing.T) {
	lost := vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO, Clean: true}
	for what, do := range map[string]func(fs *vfs.Faulty, l *Log){
		"of a release": func(fs *vfs.Faulty, l *Log) {
			fs.SetRules(lost)
			if err := l.Recycle(l.End(), 2); !errors.Is(err, syscall.EIO) {
				t.Errorf("the first release: %v", err)
			}
		},
		"of a release, with a new file": func(fs *vfs.Faulty, l *Log) {
			e := fill(t, l, 1, 3000, Written)[0]
			fs.SetRules(lost)
			if err := l.Recycle(l.End(), 2); !errors.Is(err, syscall.EIO) {
				t.Errorf("the first release: %v", err)
			}
			if err := l.Commit(e.pos, Synced); !errors.Is(err, errNames) {
				t.Errorf("a record in the new file: %v", err)
			}
			ok(t, l.Recover())
		},
		"of a release, with a new file, and then a write fails": func(fs *vfs.Faulty, l *Log) {
			e := fill(t, l, 1, 3000, Written)[0]
			fs.SetRules(lost, vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO})
			if err := l.Recycle(l.End(), 2); !errors.Is(err, syscall.EIO) {
				t.Errorf("the first release: %v", err)
			}
			if err := l.Commit(put(t, l, 1, "x").pos, Written); !errors.Is(err, syscall.EIO) {
				t.Errorf("the write that fails: %v", err)
			}
			if err := l.Recover(); !errors.Is(err, errNames) {
				t.Errorf("the first recovery: %v", err)
			}
			ok(t, l.Recover())
			if l.Commit(e.pos, Synced) == nil {
				t.Error("a record in the new file is safe")
			}
		},
		"of a commit, within a release": func(fs *vfs.Faulty, l *Log) {
			fs.SetRules(lost)
			once := false
			fs.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpSyncDir && !once {
					once = true
					if err := l.Commit(put(t, l, 1, string(make([]byte, 3000))).pos, Synced); !errors.Is(err, syscall.EIO) {
						t.Errorf("the record in a new file: %v", err)
					}
				}
			})
			if err := l.Recycle(l.End(), 2); !errors.Is(err, errNames) {
				t.Errorf("the first release: %v", err)
			}
			ok(t, l.Recover())
		},
		"of a release, within a recovery": func(fs *vfs.Faulty, l *Log) {
			later := lost
			later.Skip = 1 // that of what is left
			fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO}, later)
			if l.Commit(put(t, l, 1, "x").pos, Written) == nil {
				t.Error("no error")
			}
			once := false
			fs.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpWrite && !once {
					once = true
					if err := l.Recycle(l.End(), 2); !errors.Is(err, syscall.EIO) {
						t.Errorf("the first release: %v", err)
					}
				}
			})
			if err := l.Recover(); !errors.Is(err, errNames) {
				t.Errorf("the first recovery: %v", err)
			}
			ok(t, l.Recover())
		},
	} {
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 5, 3000, Synced)
		do(fs, l)
		ok(t, l.Recycle(l.End(), 2))
		made := fill(t, l, 4, 3000, Synced)
		for seed := range uint64(40) {
			got, _ := read(t, m.CrashClone(rand.New(rand.NewPCG(seed, 1))))
			if len(got) < len(made) || !slices.Equal(got[len(got)-len(made):], made) {
				t.Fatalf("%s, seed %d: %v are left, wanted %v", what, seed, got, made)
			}
		}
		ok(t, l.Close())
	}
}
