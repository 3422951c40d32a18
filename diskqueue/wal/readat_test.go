package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// readsAt fails unless the log gives a record back at its offset, whatever is guessed of its size.
func readsAt(t testing.TB, l *Log, want entry) {
	t.Helper()
	for _, guess := range []int{0, len(want.data), 1, len(want.data) + 100, -1} {
		kind, data, err := l.ReadAt(want.pos, guess, []byte("before"))
		if err != nil || kind != want.kind || string(data) != "before"+want.data {
			t.Fatalf("%v with a guess of %d bytes: kind %d, %.40q, %v", want, guess, kind, data, err)
		}
	}
}

func TestReadAtGivesEachRecordBackByItsOffset(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	want := []entry{put(t, l, 1, ""), put(t, l, MaxKind, "x"), put(t, l, 2, strings.Repeat("larger than a file ", 1000))}
	want = append(want, fill(t, l, 60, 300, Written)...)
	for _, e := range want {
		readsAt(t, l, e)
	}
	ok(t, l.Close())
	if _, _, err := l.ReadAt(want[0].pos, 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("from a closed log: %v", err)
	}

	l, _, _ = open(t, testOptions(m)) // what an earlier life wrote is read as well
	want = append(want, fill(t, l, 3, 10, Synced)...)
	for _, e := range want {
		readsAt(t, l, e)
	}
	ok(t, l.Close())
}

func TestReadAtKnowsWhatIsNotThere(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	old := fill(t, l, 40, 300, Synced)
	waits := put(t, l, 1, "not written yet")
	if _, _, err := l.ReadAt(waits.pos, 0, nil); !errors.Is(err, ErrUnwritten) {
		t.Errorf("what waits in memory: %v", err)
	}
	ok(t, l.Commit(waits.pos, Written))
	readsAt(t, l, waits)
	for _, off := range []int64{old[39].pos.Offset + 1, 0, 5, -1, 1 << 40} {
		at := Offset{old[39].pos.File, off}
		if _, data, err := l.ReadAt(at, 0, []byte("kept")); err == nil || string(data) != "kept" {
			t.Errorf("%v, where no record begins: %q, %v", at, data, err)
		}
	}
	ok(t, l.Release(waits.pos))
	if _, _, err := l.ReadAt(old[0].pos, 300, nil); !errors.Is(err, ErrReleased) {
		t.Errorf("what was released: %v", err)
	}
	readsAt(t, l, waits)
	ok(t, l.Close())
}

// A record that failed to be written is never read, though the log goes on, and one that was written and not synced is.
func TestReadAtAfterFailures(t *testing.T) {
	f := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(f))
	whole := fill(t, l, 1, 10, Synced)[0]
	f.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
	unsynced := put(t, l, 1, "unsynced")
	if l.Commit(unsynced.pos, Synced) == nil {
		t.Fatal("a failed sync is no error")
	}
	readsAt(t, l, unsynced)
	ok(t, l.Recover())
	f.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.ENOSPC})
	lost := put(t, l, 1, "lost")
	if l.Commit(lost.pos, Written) == nil {
		t.Fatal("a failed write is no error")
	}
	ok(t, l.Recover())
	behind := fill(t, l, 1, 10, Written)[0]
	if _, _, err := l.ReadAt(lost.pos, 0, nil); !errors.Is(err, ErrUnwritten) {
		t.Errorf("what failed to be written: %v", err)
	}
	for _, e := range []entry{whole, unsynced, behind} {
		readsAt(t, l, e)
	}
	ok(t, l.Close())
}

// Wrong bytes are read once more from the disk, an error is tried again, and only what is wrong twice is damage.
func TestReadAtTellsDamageFromErrors(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaulty(m)
	l, _, _ := open(t, testOptions(f))
	e := fill(t, l, 1, 100, Synced)[0]
	f.SetRules(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Times: 2, Err: syscall.EIO})
	readsAt(t, l, e)
	f.SetRules(vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO})
	if _, _, err := l.ReadAt(e.pos, 0, nil); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) {
		t.Errorf("a disk that cannot be read: %v", err)
	}
	f.SetRules()
	file, err := m.OpenWrite(fileName(testDir, e.pos.File, extLive))
	ok(t, err)
	for off := range int64(recordHeaderSize + 100) {
		at := e.pos.Offset + off
		b := make([]byte, 1)
		_, err := file.ReadAt(b, at)
		ok(t, err)
		_, err = file.WriteAt([]byte{b[0] ^ 0x40}, at)
		ok(t, err)
		if _, _, err := l.ReadAt(e.pos, 100, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", off, err)
		}
		_, err = file.WriteAt(b, at)
		ok(t, err)
	}
	readsAt(t, l, e)
	ok(t, file.Close())
	ok(t, l.Close())
}

// Readers see whole records or nothing while files are written, released and used again.
func TestReadAtBesideWritersAndRelease(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	l.Start()
	var mu sync.Mutex
	var made []entry
	pick := func() (entry, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(made) == 0 {
			return entry{}, false
		}
		return made[rand.IntN(len(made))], true
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				e, some := pick()
				if !some {
					continue
				}
				kind, data, err := l.ReadAt(e.pos, len(e.data), nil)
				if err == nil && (kind != e.kind || string(data) != e.data) || err != nil && !errors.Is(err, ErrReleased) {
					t.Errorf("%v: kind %d, %.40q, %v", e, kind, data, err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		e := put(t, l, byte(1+i%MaxKind), string(bytes.Repeat([]byte{byte(i)}, i%500)))
		ok(t, l.Commit(e.pos, Written))
		mu.Lock()
		made = append(made, e)
		mu.Unlock()
		if i%100 == 99 {
			ok(t, l.Commit(e.pos, Synced))
			ok(t, l.Release(made[max(0, i-150)].pos))
		}
	}
	close(done)
	readers.Wait()
	ok(t, l.Close())
}

// What a mark covers is what was synced when it was written, and nothing behind that.
func TestReportSaysWhatMarksCover(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	synced := fill(t, l, 5, 100, Synced)
	written := fill(t, l, 5, 100, Written) // the first of them comes with a mark in front
	_, report := read(t, m.KillClone())
	for _, e := range synced {
		if !report.Covered(e.pos) {
			t.Errorf("%v was synced, and a mark was written since", e)
		}
	}
	for _, e := range written {
		if report.Covered(e.pos) {
			t.Errorf("%v was never synced", e)
		}
	}
	ok(t, l.Close())
	if _, report := read(t, m); !report.Covered(written[4].pos) {
		t.Error("a clean stop has written no mark")
	}
}

// Whatever lies in a file, and wherever it is asked, ReadAt gives what a reader in order would have found there, or
// an error.
func FuzzReadAt(f *testing.F) {
	m := vfs.NewMem()
	l, _, _ := open(f, testOptions(m))
	made := fill(f, l, 3, 40, Synced)
	ok(f, l.Close())
	file, err := m.Open(fileName(testDir, made[0].pos.File, extLive))
	ok(f, err)
	whole := make([]byte, made[2].pos.Offset+recordHeaderSize+40)
	_, err = file.ReadAt(whole, 0)
	ok(f, err)
	for _, e := range made {
		f.Add(whole, e.pos.Offset, 40)
	}
	f.Add(whole[:len(whole)-1], made[2].pos.Offset, 0)
	f.Fuzz(func(t *testing.T, content []byte, off int64, guess int) {
		m := vfs.NewMem()
		ok(t, m.MkdirAll(testDir))
		path := fileName(testDir, 1, extLive)
		file, err := m.Create(path)
		ok(t, err)
		_, err = file.WriteAt(content, 0)
		ok(t, err)
		ok(t, file.Close())
		at := Offset{1, off}
		kind, data, err := readAt(m, path, at, min(guess, 1<<20), []byte("x"), false)
		if off < fileHeaderSize || off > int64(len(content)) {
			if err == nil {
				t.Fatalf("%v of %d bytes: read", at, len(content))
			}
			return
		}
		var sums sumBuffer
		want, _, sound := parseRecord(content, 1, off, &sums)
		sound = sound && want.kind <= MaxKind
		if sound != (err == nil) || sound && (kind != want.kind || string(data) != "x"+string(want.data)) {
			t.Fatalf("%v: kind %d, %q, %v; in order kind %d, %q, %v", at, kind, data, err, want.kind, want.data, sound)
		}
	})
}
