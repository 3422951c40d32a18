package wal

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
)

// While one sync is in progress all who come wait for the next one, which then carries them together; and commits that need
// no sync do not wait at all.
func TestOneRoundCarriesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 10, Synced)
		before := l.Stats()
		gate := make(chan struct{})
		fs.Observe(func(op vfs.Op, _ string) {
			if op == vfs.OpSync {
				<-gate
			}
		})
		var done atomic.Int32
		var wg sync.WaitGroup
		commit := func(level Level) {
			wg.Go(func() {
				ok(t, l.Commit(put(t, l, 1, "x").pos, level))
				done.Add(1)
			})
			synctest.Wait()
		}
		commit(Synced)
		for range 10 {
			commit(Synced)
		}
		if n := done.Load(); n != 0 {
			t.Fatalf("%d commits return before their sync", n)
		}
		commit(Written)
		if n := done.Load(); n != 1 {
			t.Error("a commit that needs no sync waits for one")
		}
		gate <- struct{}{}
		synctest.Wait()
		if n := done.Load(); n != 2 {
			t.Errorf("after the first sync %d commits have returned, wanted the first one and the one without sync", n)
		}
		close(gate)
		wg.Wait() // all at once, without any goroutine of the log's own
		if s := l.Stats(); s.Syncs-before.Syncs != 2 || s.SyncGroups[3] != 1 {
			t.Errorf("%+v", s)
		}
		ok(t, l.Close())
	})
}

func TestOneWriteCarriesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFaulty(vfs.NewMem())
		l, _, _ := open(t, testOptions(fs))
		fill(t, l, 1, 10, Synced)
		before := l.Stats()
		gate := make(chan struct{})
		fs.Observe(func(op vfs.Op, _ string) {
			if op == vfs.OpWrite {
				<-gate
			}
		})
		var wg sync.WaitGroup
		for i := range 12 { // half of them at each level
			wg.Go(func() { ok(t, l.Commit(put(t, l, 1, "x").pos, Level(i%2))) })
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		if s := l.Stats(); s.Writes-before.Writes != 2 {
			t.Errorf("%d writes, wanted 2", s.Writes-before.Writes)
		}
		ok(t, l.Close())
	})
}

// A failure reaches everybody who waits, at whatever stage.
func TestFailuresWakeAllWhoWait(t *testing.T) {
	for _, c := range []struct {
		failing vfs.Op
		level   Level
	}{
		{vfs.OpWrite, Written}, {vfs.OpWrite, Synced}, {vfs.OpSync, Synced},
		{vfs.OpPreallocate, Written}, {vfs.OpPreallocate, Synced},
	} {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewFaulty(vfs.NewMem())
			l, _, _ := open(t, testOptions(fs))
			fill(t, l, 1, 4000, Synced) // the next record begins a file
			gate := make(chan struct{})
			fs.Observe(func(op vfs.Op, _ string) {
				if op == c.failing {
					<-gate
				}
			})
			fs.SetRules(vfs.Rule{Ops: c.failing, Times: 1, Err: syscall.EIO})
			var failed atomic.Int32
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					at, err := l.Append(1, make([]byte, 100))
					if err == nil {
						err = l.Commit(at, c.level)
					}
					if err != nil {
						failed.Add(1)
					}
				})
				synctest.Wait()
			}
			close(gate)
			wg.Wait()
			if failed.Load() == 0 {
				t.Error("nobody was told")
			}
			ok(t, l.Recover())
			fill(t, l, 1, 10, Synced)
			ok(t, l.Close())
		})
	}
}

// TestConcurrentCrashes has committers, a releaser and failures at work at once, and crashes in between.
func TestConcurrentCrashes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		m := vfs.NewMem()
		fs := vfs.NewFaulty(m)
		o := testOptions(fs)
		o.SpareFiles, o.SyncEvery, o.minShared = 2, 20, markSize+1+rng.IntN(200)
		l, _, _ := open(t, o)
		l.Start()
		w := &crowd{t: t, l: l}
		for c := range 6 {
			w.wg.Go(func() { w.commit(c) })
		}
		for range 10 {
			synced, written, released := w.snapshot()
			crash, kill := m.CrashClone(rng), m.KillClone()
			w.hasAll("power cut", crash, synced, released)
			w.hasAll("kill", kill, written, released)
			if rng.IntN(3) == 0 {
				ops := []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpRename}
				fs.SetRules(vfs.Rule{Ops: ops[rng.IntN(len(ops))], Times: 1, Err: syscall.EIO})
			}
			if err := l.Recover(); err != nil {
				t.Log(err) // the injected fault
			}
			if len(written) > 0 {
				at := written[len(written)/2].pos
				w.release(at)
			}
		}
		w.stop.Store(true)
		w.wg.Wait()
		fs.SetRules()
		ok(t, l.Recover())
		fill(t, l, 1, 10, Synced) // Close tells of a file that could not be begun until a write has succeeded
		ok(t, l.Close())
	}
}

// crowd is many who commit to one log.
type crowd struct {
	t    *testing.T
	l    *Log
	wg   sync.WaitGroup
	stop atomic.Bool

	mu       sync.Mutex
	synced   []entry
	written  []entry
	released Offset
}

func (w *crowd) commit(c int) {
	for i := 0; !w.stop.Load(); i++ {
		level := Level(i % 2)
		data := fmt.Sprintf("%d of %d %*d", i, c, i%200, i)
		at, err := w.l.Append(1, []byte(data))
		if err != nil || w.l.Commit(at, level) != nil {
			continue
		}
		w.mu.Lock()
		w.written = append(w.written, entry{at, 1, data})
		if level == Synced {
			w.synced = append(w.synced, entry{at, 1, data})
		}
		w.mu.Unlock()
	}
}

func (w *crowd) snapshot() (synced, written []entry, released Offset) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(synced, w.synced...), append(written, w.written...), w.released
}

func (w *crowd) release(before Offset) {
	w.mu.Lock()
	if w.released.Before(before) {
		w.released = before
	}
	w.mu.Unlock()
	if err := w.l.Release(before); err != nil {
		w.t.Log(err) // the injected fault
	}
}

func (w *crowd) hasAll(what string, fs vfs.FS, promised []entry, released Offset) {
	w.t.Helper()
	got, report := read(w.t, fs)
	there := make(map[entry]bool, len(got))
	for _, e := range got {
		there[e] = true
	}
	for _, e := range promised {
		if !there[e] && e.pos.File >= released.File {
			w.t.Fatalf("%s: %v is gone; damage %+v", what, e, report.Damage)
		}
	}
}

// TestSmallWritesAreShared: many who commit at the same time do not each pay for a write.
func TestSmallWritesAreShared(t *testing.T) {
	const committers, each = 32, 200
	l, _, _ := open(t, Options{FS: vfs.NewMem(), Dir: testDir})
	var wg sync.WaitGroup
	for range committers {
		wg.Go(func() {
			for range each {
				at, err := l.Append(1, []byte("a message"))
				if err == nil {
					err = l.Commit(at, Written)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := l.Stats(); s.Records != committers*each || s.Writes > committers*each/2 {
		t.Errorf("%d writes for %d records", s.Writes, s.Records)
	}
	ok(t, l.Close())
}

// TestMuchIsWrittenWhileASyncRuns: the next sync then has it written already, and only has to sync it. Little waits, to share one write.
func TestMuchIsWrittenWhileASyncRuns(t *testing.T) {
	for size, ahead := range map[int]bool{aheadBytes: true, 100: false} {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewFaulty(vfs.NewMem())
			o := testOptions(fs)
			o.FileSize = 16 * aheadBytes
			l, _, _ := open(t, o)
			fill(t, l, 1, 10, Synced)
			gate := make(chan struct{})
			fs.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpSync {
					<-gate
				}
			})
			var wg sync.WaitGroup
			var done atomic.Int32
			commit := func() {
				wg.Go(func() {
					ok(t, l.Commit(put(t, l, 1, string(make([]byte, size))).pos, Synced))
					done.Add(1)
				})
				synctest.Wait()
			}
			commit() // its sync stands still
			before := l.Stats()
			commit()
			if wrote := l.Stats().Writes > before.Writes; wrote != ahead {
				t.Errorf("%d bytes: written while a sync runs %v, want %v", size, wrote, ahead)
			}
			gate <- struct{}{}
			synctest.Wait()
			if n := done.Load(); n != 1 {
				t.Errorf("%d bytes: %d commits have returned after the first sync, which carries one", size, n)
			}
			close(gate)
			wg.Wait()
			if s := l.Stats(); s.Syncs-before.Syncs != 2 || s.Writes-before.Writes != 1 {
				t.Errorf("%d bytes: %d syncs, %d writes", size, s.Syncs-before.Syncs, s.Writes-before.Writes)
			}
			ok(t, l.Close())
		})
	}
}
