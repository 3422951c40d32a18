package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// crashRuns is how many seeds TestCrashes tries; WAL_CRASH_RUNS in the environment asks for more, WAL_CRASH_SEED for
// others than those from 0 on.
const crashRuns = 600

func TestCrashes(t *testing.T) {
	runs, first := crashRuns, 0
	if n, err := strconv.Atoi(os.Getenv("WAL_CRASH_RUNS")); err == nil {
		runs = n
	}
	if n, err := strconv.Atoi(os.Getenv("WAL_CRASH_SEED")); err == nil {
		first = n
	}
	if testing.Short() {
		runs = min(runs, 300)
	}
	var sum crashSum
	for seed := first; seed < first+runs && !t.Failed(); seed++ {
		w := &crashWorld{t: t, seed: seed, rng: rand.New(rand.NewPCG(uint64(seed), 7)), fs: vfs.NewMem(), sum: &sum}
		w.fs.SetStyle(vfs.Style{LostRenames: seed%3 == 1, Stale: seed%2 == 1})
		w.limit = []uint64{0, 0, 1<<32 - 3, 1e16 - 3}[w.rng.IntN(4)]
		for w.life = range 1 + w.rng.IntN(4) {
			w.live()
		}
	}
	t.Logf("%d runs: %+v", runs, sum)
	if runs >= 300 && (sum.Lost == 0 || sum.Holes == 0 || sum.Failed == 0 || sum.Recovered == 0 || sum.Recycled == 0) {
		t.Errorf("the runs do not reach what they are for: %+v", sum)
	}
}

// crashSum says what the runs came across.
type crashSum struct {
	Records, Lost, Holes, Failed, Recovered, Recycled int
}

// promise is a record that was appended, and what was said of it.
type promise struct {
	entry
	level int // a Level; -1: nothing; ghost
}

// ghost is the level of what an earlier life left in doubt: it may be read or not, and cannot be asked about.
const ghost = -2

// crashWorld is one seed's file system, and what was promised in it. Each life opens the log, works, and ends in a crash at
// the beginning of a random operation on the file system, or after the last.
type crashWorld struct {
	limit uint64 // no file has a number from here on
	t     *testing.T
	seed  int
	life  int
	rng   *rand.Rand
	sum   *crashSum

	fs       *vfs.Mem
	promises []promise
	released Offset
	unsafe   bool // a sync failed, so that what was not synced then can look damaged later
	names    bool // names whose sync fails are not durable in this life, whoever syncs them later

	end *lifeEnd
}

// lifeEnd is what a crash left.
type lifeEnd struct {
	crash, kill *vfs.Mem
	promises    []promise
	released    Offset
}

func (w *crashWorld) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("WAL_CRASH_SEED=%d life %d: %s", w.seed, w.life, fmt.Sprintf(format, args...))
}

// cut ends the life: from here on nothing that is said counts.
func (w *crashWorld) cut() {
	if w.end == nil {
		w.end = &lifeEnd{w.fs.CrashClone(w.rng), w.fs.KillClone(), slices.Clone(w.promises), w.released}
	}
}

func (w *crashWorld) live() {
	w.end = nil
	fs := vfs.NewFaulty(w.fs)
	left := w.rng.IntN(120)
	fs.Observe(func(vfs.Op, string) {
		if left--; left == 0 {
			w.cut()
		}
	})
	fs.SetRules(w.faults()...)
	w.work(fs)
	w.cut()
	w.judge()
}

// faults are the rules of one life: mostly none.
func (w *crashWorld) faults() []vfs.Rule {
	w.names = false
	if w.rng.IntN(3) > 0 {
		return nil
	}
	ops := []vfs.Op{vfs.OpWrite, vfs.OpWrite, vfs.OpSync, vfs.OpSync | vfs.OpSyncDir, vfs.OpCreate, vfs.OpRename,
		vfs.OpPreallocate, vfs.OpOpenWrite, vfs.OpRemove, vfs.OpChange &^ vfs.OpMkdir, vfs.OpStat | vfs.OpLinks, vfs.OpClose}
	errs := []error{syscall.ENOSPC, syscall.EIO, syscall.EMFILE}
	r := vfs.Rule{
		Ops: ops[w.rng.IntN(len(ops))], Skip: w.rng.IntN(20), Times: 1 + w.rng.IntN(3),
		Err: errs[w.rng.IntN(len(errs))], Short: w.rng.IntN(700), Clean: w.rng.IntN(2) == 0, Done: w.rng.IntN(4) == 0,
	}
	w.names = r.Clean && r.Ops&vfs.OpSyncDir != 0
	return []vfs.Rule{r}
}

func (w *crashWorld) options(fs vfs.FS) Options {
	return Options{
		FS: fs, Dir: testDir, FileSize: 1024 + 512*int64(w.rng.IntN(5)), SpareFiles: w.rng.IntN(4) - 1, FlushBytes: 1 << 20,
		minShared: markSize + 1 + w.rng.IntN(400),
		Next:      w.limit,
		Lease: func(number uint64) (uint64, error) {
			if w.rng.IntN(20) == 0 {
				return 0, errNoLease
			}
			w.limit = max(w.limit, number+1+uint64(w.rng.IntN(10)))
			return w.limit, nil
		},
	}
}

// errNoLease is why no more numbers can be leased.
var errNoLease = errors.New("no lease")

// work does random things until the life has ended.
func (w *crashWorld) work(fs vfs.FS) {
	l, err := w.open(fs)
	if err != nil {
		return
	}
	for steps := 20 + w.rng.IntN(80); steps > 0 && w.end == nil; steps-- {
		switch w.rng.IntN(24) {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			w.append(l)
		case 8, 9, 10, 11, 12:
			w.commit(l, Written)
		case 13, 14, 15:
			w.commit(l, Synced)
		case 16, 17:
			l.flush()
		case 18:
			l.syncBehind()
		case 19:
			w.release(l)
		case 20:
			l.prepare() // it may fail; the log goes on
		case 21, 22:
			if l.Err() != nil && l.Recover() == nil {
				w.sum.Recovered++
			}
		default:
			w.unsafe = w.unsafe || l.unsafe
			if l.Close() == nil && w.end == nil && l.Stats().Lost == 0 && !w.unsafe {
				for i := range w.promises {
					if w.promises[i].level != ghost {
						w.promises[i].level = int(Synced)
					}
				}
			}
			if w.unsafe = w.unsafe || l.unsafe; w.unsafe && w.names {
				return // who opens it next cannot know, and would be held to it: that is another life
			}
			if l, err = w.open(fs); err != nil {
				return
			}
		}
		w.unsafe = w.unsafe || l.unsafe
	}
}

// open opens the log and checks that what it replays is what was promised. Afterwards all that was read is synced.
func (w *crashWorld) open(fs vfs.FS) (*Log, error) {
	var got []entry
	l, report, err := Open(w.options(fs), collect(&got))
	if err != nil {
		return nil, err // an injected fault
	}
	if w.end != nil {
		return l, nil // of a dead life; nothing it reads counts
	}
	w.unsafe = w.unsafe || l.unsafe
	w.check("reopened", got, report, w.promises, w.released, Written)
	w.settle(got, l.err == nil)
	return l, nil
}

// settle has what was read be what there is. What had been released may still come back, and before all is synced so may
// what failed to be written.
func (w *crashWorld) settle(got []entry, synced bool) {
	level := Written
	if synced {
		level = Synced
	}
	var left []promise
	for _, p := range w.promises {
		if (!synced || p.pos.File < w.released.File) && !slices.Contains(got, p.entry) {
			left = append(left, promise{entry: p.entry, level: ghost})
		}
	}
	for _, e := range got {
		left = append(left, promise{entry: e, level: int(level)})
	}
	slices.SortFunc(left, func(a, b promise) int { return a.pos.Compare(b.pos) })
	w.promises = left
}

func (w *crashWorld) append(l *Log) {
	sizes := []int{0, 1, 20, 100, 100, 100, 400, 1500}
	data := bytes.Repeat([]byte(fmt.Sprintf("%d/%d/%d ", w.seed, w.life, len(w.promises))), 400)
	data = data[:w.rng.IntN(1+sizes[w.rng.IntN(len(sizes))])]
	kind := byte(1 + w.rng.IntN(MaxKind))
	at, err := l.Append(kind, data)
	if err == nil {
		w.promises = slices.DeleteFunc(w.promises, func(p promise) bool { return p.pos == at }) // of an earlier life, never written
		w.promises = append(w.promises, promise{entry: entry{at, kind, string(data)}, level: -1})
	}
}

// commit commits the last record, or an earlier one, and writes down what follows for that and those before it.
func (w *crashWorld) commit(l *Log, level Level) {
	if len(w.promises) == 0 {
		return
	}
	i := len(w.promises) - 1
	if w.rng.IntN(3) == 0 {
		i = w.rng.IntN(len(w.promises))
	}
	if w.promises[i].level == ghost {
		return
	}
	err := l.Commit(w.promises[i].pos, level)
	if w.end != nil {
		return
	}
	if err != nil {
		w.sum.Failed++
		if l.Err() == nil && l.Commit(w.promises[i].pos, level) == nil {
			w.fatalf("a commit that failed with %v succeeds later", err)
		}
		return
	}
	w.promises[i].level = max(w.promises[i].level, int(level))
}

func (w *crashWorld) release(l *Log) {
	if len(w.promises) == 0 {
		return
	}
	p := w.promises[w.rng.IntN(len(w.promises))]
	if p.level < 0 { // perhaps never written
		return
	}
	before := p.pos
	if w.released.Before(before) {
		w.released = before
	}
	files := l.Stats().Files
	l.Release(before) // it may fail; the log goes on
	w.sum.Recycled += files - l.Stats().Files
}

// judge reads what the crash left in both ways, and has the next life begin with one of them.
func (w *crashWorld) judge() {
	end := w.end
	ok(w.t, end.kill.MkdirAll(testDir)) // the crash may have come first
	ok(w.t, end.crash.MkdirAll(testDir))
	got, report := read(w.t, end.kill)
	w.check("killed", got, report, end.promises, end.released, Written)
	afterKill := got
	got, report = read(w.t, end.crash)
	w.check("crashed", got, report, end.promises, end.released, Synced)
	w.sum.Records += len(end.promises)
	w.sum.Lost += len(afterKill) - len(got)
	w.sum.Holes += len(report.Damage)

	w.released = end.released
	if w.rng.IntN(3) > 0 {
		w.fs, w.promises = end.crash, nil
		w.settle(got, true) // a crash leaves nothing unsynced
		return
	}
	w.fs, w.promises = end.kill, end.promises
	w.settle(afterKill, false)
	for i := range w.promises {
		for _, p := range end.promises {
			if p.pos == w.promises[i].pos && w.promises[i].level != ghost {
				w.promises[i].level = max(w.promises[i].level, p.level)
			}
		}
	}
}

// check compares what was read with what was promised: nothing invented, in order, everything at the level is there.
func (w *crashWorld) check(what string, got []entry, report Report, promises []promise, released Offset, level Level) {
	w.t.Helper()
	there := make(map[Offset]bool, len(got))
	i := 0
	for _, e := range got {
		for i < len(promises) && promises[i].pos != e.pos {
			i++
		}
		if i == len(promises) || promises[i].entry != e {
			w.fatalf("%s: %v was not appended, or not in this order", what, e)
		}
		there[e.pos] = true
	}
	for _, p := range promises {
		if p.level >= int(level) && !there[p.pos] && p.pos.File >= released.File {
			w.fatalf("%s: %v is gone; it was promised to be %v; damage %+v", what, p.entry, level, report.Damage)
		}
	}
	if report.Damaged() {
		w.fatalf("%s: reported as damaged: %+v", what, report.Damage)
	}
	if level == Written && len(report.Damage) > 0 && w.life == 0 {
		w.fatalf("%s: a kill leaves holes: %+v", what, report.Damage)
	}
}

// A log that fails must keep failing until it has been recovered, and what it lost then stays lost.
func TestFailuresAreFinal(t *testing.T) {
	for _, c := range []struct {
		name  string
		rule  vfs.Rule
		level Level
	}{
		{"write", vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO}, Written},
		{"short write", vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.ENOSPC, Short: 20}, Written},
		{"sync", vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO}, Synced},
		{"full disk at sync", vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.ENOSPC}, Synced},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			fs := vfs.NewFaulty(m)
			l, _, _ := open(t, testOptions(fs))
			want := fill(t, l, 3, 100, Synced)
			fs.SetRules(c.rule)
			failed := put(t, l, 1, "fails")
			for range 3 {
				if err := l.Commit(failed.pos, c.level); !errors.Is(err, c.rule.Err) {
					t.Fatalf("commit: %v, wanted %v", err, c.rule.Err)
				}
			}
			lost := l.Lost()
			at, err := l.Append(1, []byte("refused"))
			if l.Lost() != lost+1 {
				t.Errorf("a record that was refused is not counted as lost: %d, %d before", l.Lost(), lost)
			}
			if !errors.Is(err, c.rule.Err) || !errors.Is(l.Commit(at, Written), c.rule.Err) || !errors.Is(l.Err(), c.rule.Err) {
				t.Errorf("appending to a failed log: %v; health: %v", err, l.Err())
			}
			ok(t, l.Commit(want[2].pos, Synced)) // what was safe before is so still

			fs.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
			if err := l.Recover(); !errors.Is(err, syscall.EIO) || l.Err() == nil {
				t.Fatalf("recovering while nothing can be synced: %v, health %v", err, l.Err())
			}
			ok(t, l.Recover())
			ok(t, l.Err())
			for _, lost := range []Offset{failed.pos, at} {
				if err := l.Commit(lost, c.level); !errors.Is(err, c.rule.Err) && lost == failed.pos || err == nil {
					t.Errorf("after recovery the lost record at %v is committed: %v", lost, err)
				}
			}
			if c.level == Synced {
				ok(t, l.Commit(failed.pos, Written))
				want = append(want, failed)
			}
			want = append(want, fill(t, l, 3, 100, Synced)...)
			ok(t, l.Close())
			got, _ := read(t, m)
			same(t, got, want)
		})
	}
}

// A file that cannot be begun costs the records that were meant for it and nothing else; the next commit tries again.
func TestAFileThatCannotBeBegun(t *testing.T) {
	for _, c := range []struct {
		name string
		rule vfs.Rule
	}{
		{"full disk", vfs.Rule{Ops: vfs.OpPreallocate, Times: 2, Err: syscall.ENOSPC}},
		{"too many open files", vfs.Rule{Ops: vfs.OpCreate, Times: 2, Err: syscall.EMFILE}},
		{"full disk and no removing", vfs.Rule{Ops: vfs.OpPreallocate | vfs.OpRemove, Times: 4, Err: syscall.EIO}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			fs := vfs.NewFaulty(m)
			l, _, _ := open(t, testOptions(fs))
			want := fill(t, l, 3, 1000, Written)
			fs.SetRules(c.rule)
			want = append(want, put(t, l, 1, "still fits")) // into the same batch as what does not
			for range 2 {
				failed := put(t, l, 1, string(make([]byte, 2000)))
				behind := put(t, l, 1, "behind it")
				for _, at := range []Offset{failed.pos, behind.pos, failed.pos} {
					if err := l.Commit(at, Written); !errors.Is(err, c.rule.Err) {
						t.Fatalf("commit at %v: %v, wanted %v", at, err, c.rule.Err)
					}
				}
				if !errors.Is(l.Err(), c.rule.Err) {
					t.Errorf("health: %v", l.Err())
				}
			}
			ok(t, l.Commit(want[3].pos, Synced))
			small := put(t, l, 1, "fits into the file that is there")
			ok(t, l.Commit(small.pos, Written))
			ok(t, l.Err())
			large := put(t, l, 1, string(make([]byte, 2000)))
			ok(t, l.Commit(large.pos, Synced))
			want = append(want, small, large)
			if s := l.Stats(); s.Lost != 4 {
				t.Errorf("%d lost, wanted 4", s.Lost)
			}
			ok(t, l.Close())
			got, report := read(t, m)
			same(t, got, want)
			if len(report.Damage) > 0 {
				t.Errorf("%+v", report.Damage)
			}
		})
	}
}

// With a real limit of space: commits fail while the disk is full, and succeed by themselves once there is room.
func TestFullDisk(t *testing.T) {
	m := vfs.NewMem()
	m.SetLimit(3 * 4096)
	l, _, _ := open(t, testOptions(m))
	var want []entry
	var full error
	for full == nil {
		e := put(t, l, 1, string(make([]byte, 1000)))
		if full = l.Commit(e.pos, Synced); full == nil {
			want = append(want, e)
		}
	}
	if !errors.Is(full, syscall.ENOSPC) || len(want) != 9 {
		t.Fatalf("%v after %d records", full, len(want))
	}
	ok(t, l.Release(want[8].pos))
	for range 3 {
		e := put(t, l, 1, string(make([]byte, 1000)))
		ok(t, l.Commit(e.pos, Synced))
		want = append(want, e)
	}
	ok(t, l.Close())
	got, _ := read(t, m)
	same(t, got, want[6:])
}

// TestFilesAreSmallerWhereTheDiskHasNoRoom: the log fills its disk but for less than one more file. It goes on in a smaller one, so that the
// others can be released, and then in files of full size.
func TestFilesAreSmallerWhereTheDiskHasNoRoom(t *testing.T) {
	m := vfs.NewMem()
	m.SetLimit(2*4096 + 1500)
	o := testOptions(m)
	o.SpareFiles = -1
	l, _, _ := open(t, o)
	var want []entry
	put1000 := func() error {
		e := put(t, l, 1, string(make([]byte, 1000)))
		err := l.Commit(e.pos, Synced)
		if err == nil {
			want = append(want, e)
		}
		return err
	}
	for put1000() == nil {
	}
	if len(want) != 6 {
		t.Fatalf("the disk is full after %d records", len(want))
	}
	failed := 0
	for put1000() != nil {
		if failed++; failed > maxScarce {
			t.Fatalf("no smaller file was begun: %v", l.Err())
		}
	}
	ok(t, l.Release(want[6].pos))
	for range 4 {
		ok(t, put1000())
	}
	if s := l.Stats(); s.Files != 3 || s.FileBytes > 2*4096+1500 {
		t.Errorf("%+v", s)
	}
	ok(t, l.Close())
	got, report := read(t, m)
	same(t, got, want[6:])
	if len(report.Damage) > 0 {
		t.Errorf("%+v", report.Damage)
	}
}

func TestManyFailuresAreToldApartOrTogether(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewMem())
	l, _, _ := open(t, testOptions(fs))
	var lost, kept []Offset
	for range 3 * maxFailures {
		kept = append(kept, fill(t, l, 1, 10, Synced)[0].pos)
		fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 1, Err: syscall.EIO})
		lost = append(lost, put(t, l, 1, "x").pos)
		if err := l.Commit(lost[len(lost)-1], Written); err == nil {
			t.Fatal("no error")
		}
		ok(t, l.Recover())
	}
	for _, at := range lost {
		if l.Commit(at, Written) == nil {
			t.Fatalf("the lost record at %v is committed", at)
		}
	}
	for _, at := range kept[len(kept)-maxFailures+1:] {
		ok(t, l.Commit(at, Synced))
	}
	if len(l.failures) > maxFailures {
		t.Errorf("%d failures are remembered", len(l.failures))
	}
	ok(t, l.Close())
}

// A power cut behind Close takes nothing: the log reaches to End.
func TestAPowerCutBehindClose(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	fill(t, l, 20, 10, Written)
	ok(t, l.Close())
	for seed := range uint64(100) {
		if _, report := read(t, m.CrashClone(rand.New(rand.NewPCG(seed, 1)))); report.End != l.End() {
			t.Fatalf("seed %d: the log ends at %v, and ended at %v", seed, report.End, l.End())
		}
	}
}
