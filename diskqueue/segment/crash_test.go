package segment

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// writer does with a store what a topic does: it appends anew what failed, and knows what must be there.
type writer struct {
	s       *Store
	next    uint64
	pending []Block           // to append, or to append anew
	written []Block           // appended, not synced
	safe    []Block           // synced
	given   map[uint64]uint32 // all runs that were ever handed to Append, by first
}

func (o *writer) append(count int) error {
	b := Block{First: o.next, Count: uint32(count)}
	o.next += uint64(count)
	o.given[b.First] = b.Count
	o.pending = append(o.pending, b)
	return o.flush()
}

// flush appends what waits.
func (o *writer) flush() error {
	for len(o.pending) > 0 {
		b := o.pending[0]
		ref, err := o.s.Append(b.First, int(b.Count), messages(b.First, int(b.Count)))
		if err != nil {
			return err
		}
		b.Ref = ref
		o.written = append(o.written, b)
		o.pending = o.pending[1:]
	}
	return nil
}

// sync makes everything that was written safe, or puts what is in doubt back to what waits. Meanwhile it goes on as before.
func (o *writer) sync(rng *rand.Rand) error {
	y, err := o.s.BeginSync()
	if err != nil {
		return err
	}
	before := len(o.written)
	beside := o.beside(rng)
	y.Run()
	beside = errors.Join(beside, o.beside(rng))
	if err = o.s.EndSync(y); err == nil {
		o.safe = append(o.safe, o.written[:before]...)
		o.written = o.written[before:]
		return beside
	}
	err = errors.Join(err, beside)
	doubtful := o.s.Doubtful()
	o.written = slices.DeleteFunc(o.written, func(b Block) bool {
		if slices.Contains(doubtful, b.Ref) {
			o.pending = append(o.pending, b)
			err = errors.Join(err, o.s.Drop(b.Ref))
			return true
		}
		return false
	})
	return err
}

// beside does what may be done during a sync.
func (o *writer) beside(rng *rand.Rand) error {
	switch rng.IntN(4) {
	case 0:
		return o.append(1 + rng.IntN(30))
	case 1:
		return o.drop(rng)
	case 2:
		return o.s.Release()
	}
	return nil
}

func (o *writer) drop(rng *rand.Rand) error {
	if len(o.safe) == 0 {
		return nil
	}
	i := rng.IntN(len(o.safe))
	b := o.safe[i]
	o.safe = slices.Delete(o.safe, i, i+1)
	return o.s.Drop(b.Ref)
}

// step does one thing at random.
func (o *writer) step(rng *rand.Rand) error {
	switch n := rng.IntN(20); {
	case n < 10:
		return o.append(1 + rng.IntN(30))
	case n < 14:
		return o.drop(rng)
	case n < 18:
		return o.sync(rng)
	case n < 19:
		err := o.s.Release()
		return errors.Join(err, o.sync(rng))
	default:
		return o.flush()
	}
}

// recover opens what is left, proves that everything safe is there and nothing was made up, and goes on with it.
func (o *writer) recover(t *testing.T, fs vfs.FS, size int64) {
	t.Helper()
	s, blocks, _ := mustOpen(t, Options{FS: fs, FileSize: size})
	for _, b := range o.safe {
		if !contains(blocks, b) {
			t.Fatalf("%+v was synced and is not found", b)
		}
		if lost := checkBlock(t, s, b); lost != nil {
			t.Fatalf("%+v was synced, lost are %v", b, lost)
		}
	}
	for _, b := range blocks {
		if o.given[b.First] != b.Count {
			t.Fatalf("%+v was never appended", b)
		}
		if contains(o.safe, b) {
			continue
		}
		checkBlock(t, s, b)
		must(t, s.Drop(b.Ref))
	}
	o.s, o.written, o.pending = s, nil, nil
}

var powerCuts = flag.Int("powercuts", 300, "runs that end in a power cut; from 1000 on failures are tried with two seeds")

func TestWhatWasSyncedSurvivesPowerCuts(t *testing.T) {
	for seed := range uint64(*powerCuts) {
		rng := rand.New(rand.NewPCG(seed, 3))
		mem := vfs.NewMem()
		mem.SetStyle(vfs.Style{Stale: seed%2 == 1})
		size := []int64{1, 3000, 20000, 0}[rng.IntN(4)]
		s, _, _ := mustOpen(t, Options{FS: mem, FileSize: size})
		o := &writer{s: s, given: make(map[uint64]uint32)}
		for range 3 {
			for range rng.IntN(40) {
				if err := o.step(rng); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			mem = mem.CrashClone(rng)
			t.Logf("seed %d, %d bytes a file", seed, size)
			o.recover(t, mem, size)
		}
		must(t, o.s.Close())
	}
}

// TestFailures fails the n-th operation of each kind, once, for a while and with a full disk's short writes, under an writer
// who goes on; then a power cut must leave what Sync had called safe.
func TestFailures(t *testing.T) {
	kinds := map[string]vfs.Rule{
		"create":      {Ops: vfs.OpCreate, Err: syscall.EMFILE},
		"open":        {Ops: vfs.OpOpen | vfs.OpOpenWrite, Err: syscall.EMFILE},
		"mkdir":       {Ops: vfs.OpMkdir, Err: syscall.EACCES},
		"remove":      {Ops: vfs.OpRemove, Err: syscall.EBUSY},
		"write":       {Ops: vfs.OpWrite, Err: syscall.EIO},
		"short write": {Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: 30},
		"whole write": {Ops: vfs.OpWrite, Err: syscall.EIO, Short: 1 << 20},
		"sync":        {Ops: vfs.OpSync, Err: syscall.EIO},
		"sync folder": {Ops: vfs.OpSyncDir, Err: syscall.EIO},
		"lossy sync":  {Ops: vfs.OpSync | vfs.OpSyncDir, Err: syscall.EIO, Clean: true},
		"done":        {Ops: vfs.OpChange, Err: syscall.ETIMEDOUT, Done: true},
		"ask":         {Ops: vfs.OpStat | vfs.OpSize, Err: syscall.EIO},
		"close":       {Ops: vfs.OpClose, Err: syscall.EIO},
		"any":         {Ops: vfs.OpChange | vfs.OpOpenWrite, Err: syscall.EIO},
	}
	for name, rule := range kinds {
		for _, times := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s %d times", name, times), func(t *testing.T) {
				failed := 0
				for skip := range 16 {
					for seed := range uint64(1 + min(1, *powerCuts/1000)) {
						rule.Skip, rule.Times = skip, times
						failed += runFailure(t, rule, seed)
					}
				}
				if failed == 0 && name != "open" && name != "ask" && name != "close" {
					t.Error("nothing ever failed")
				}
			})
		}
	}
}

// runFailure returns how many of an writer's steps failed.
func runFailure(t *testing.T, rule vfs.Rule, seed uint64) (failed int) {
	rng := rand.New(rand.NewPCG(seed, uint64(rule.Skip)))
	mem := vfs.NewMem()
	mem.SetStyle(vfs.Style{Stale: rule.Skip%2 == 1})
	faulty := vfs.NewFaulty(mem, rule)
	fs := counting(faulty)
	const size = 2000
	s, _, _ := mustOpen(t, Options{FS: fs, FileSize: size})
	o := &writer{s: s, given: make(map[uint64]uint32)}
	for range 60 {
		if err := o.step(rng); err != nil {
			if !errors.Is(err, rule.Err) {
				t.Fatalf("another error: %v", err)
			}
			failed++
		}
		if rng.IntN(20) == 0 {
			copied := *o
			copied.safe = slices.Clone(o.safe)
			copied.recover(t, mem.CrashClone(rng), size)
		}
	}
	faulty.SetRules()
	for len(o.pending)+len(o.written) > 0 {
		must(t, o.flush())
		if err := o.sync(rng); err != nil && len(o.pending) == 0 {
			t.Fatalf("an error without a block in doubt: %v", err)
		}
	}
	must(t, o.s.Sync())
	o.recover(t, mem.CrashClone(rng), size)
	must(t, o.s.Close())
	must(t, s.Close())
	if n := fs.open.Load(); n != 0 {
		t.Fatalf("%d files are open", n)
	}
	return failed
}

func TestAFailedSyncStaysUntilItsBlocksAreWrittenAnew(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem)
	s, _, _ := mustOpen(t, Options{FS: faulty})
	before := mustAppend(t, s, 1, 2)
	must(t, s.Sync())
	a := mustAppend(t, s, 3, 2)
	faulty.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
	for range 3 {
		if err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync says %v", err)
		}
	}
	if in := s.Doubtful(); !slices.Equal(in, []Ref{a.Ref}) {
		t.Fatalf("in doubt are %v", in)
	}
	checkBlock(t, s, a)
	anew := mustAppend(t, s, 3, 2)
	if anew.Ref.File == a.Ref.File {
		t.Error("appended to a file whose sync failed")
	}
	if err := s.Sync(); err == nil {
		t.Error("Sync forgot a block in doubt")
	}
	must(t, s.Drop(a.Ref))
	must(t, s.Sync())
	if in := s.Doubtful(); in != nil {
		t.Errorf("in doubt are %v", in)
	}
	s, _, _ = mustOpen(t, Options{FS: mem.CrashClone(rand.New(rand.NewPCG(1, 1)))})
	checkBlock(t, s, before)
	checkBlock(t, s, anew)
}

func TestAFailedWriteEndsItsFile(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem)
	s, _, _ := mustOpen(t, Options{FS: faulty})
	a := mustAppend(t, s, 1, 3)
	faulty.SetRules(vfs.Rule{Ops: vfs.OpWrite, Times: 2, Err: syscall.ENOSPC, Short: 50})
	for range 2 {
		if _, err := s.Append(4, 3, messages(4, 3)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Append says %v", err)
		}
	}
	if left := names(t, mem); !slices.Equal(left, []string{"000001.seg"}) {
		t.Errorf("files are %v: the second failure should leave nothing", left)
	}
	b := mustAppend(t, s, 4, 3)
	if b.Ref.File == a.Ref.File {
		t.Error("appended behind a failed write")
	}
	must(t, s.Close())
	s, blocks, damage := mustOpen(t, Options{FS: mem})
	if !slices.Equal(blocks, []Block{a, b}) || damage != nil {
		t.Errorf("found %v, damage %v", blocks, damage)
	}
	checkBlock(t, s, a)
	checkBlock(t, s, b)
}

func TestOpenSaysWhatItCannotDo(t *testing.T) {
	file, _ := sample(t)
	for _, op := range []vfs.Op{vfs.OpList, vfs.OpOpen} {
		fs := vfs.NewFaulty(fileWith(t, file), vfs.Rule{Ops: op, Err: syscall.EMFILE})
		if _, _, _, err := Open(Options{FS: fs, Dir: testDir}); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("operation %b: %v", op, err)
		}
	}
}

func TestAFailedSyncOfTheFolderLeavesItsNewFilesInDoubt(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: faulty, FileSize: 1})
	old := mustAppend(t, s, 1, 2)
	must(t, s.Sync())
	a, b := mustAppend(t, s, 3, 2), mustAppend(t, s, 5, 2)
	faulty.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO})
	for range 3 {
		if err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync says %v", err)
		}
	}
	in := s.Doubtful()
	if len(in) != 2 || !slices.Contains(in, a.Ref) || !slices.Contains(in, b.Ref) {
		t.Fatalf("in doubt are %v", in)
	}
	must(t, errors.Join(s.Drop(a.Ref), s.Drop(b.Ref)))
	mustAppend(t, s, 3, 4)
	must(t, s.Sync())
	checkBlock(t, s, old)
}

// A block that will be dropped is in no doubt: whoever drops it may have to wait for this very sync.
func TestAFailedSyncOfWhatWillBeDropped(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: faulty})
	a, b := mustAppend(t, s, 1, 2), mustAppend(t, s, 3, 2)
	s.Forgo(a.Ref)
	faulty.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
	if err := s.Sync(); !errors.Is(err, syscall.EIO) || !slices.Equal(s.Doubtful(), []Ref{b.Ref}) {
		t.Errorf("a sync of a block that is needed: %v, in doubt are %v", err, s.Doubtful())
	}
	s.Forgo(b.Ref)
	must(t, s.Sync())
	must(t, s.Drop(a.Ref))
	must(t, s.Drop(b.Ref))
	must(t, s.Close())
}

// What Open has found and cannot make durable is in doubt, from the first of those blocks on: its data, or the name of its file, which a later sync of
// the folder need not make durable.
func TestFoundBlocksThatCannotBeMadeDurable(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		mem := vfs.NewMem()
		s, _, _ := mustOpen(t, Options{FS: mem})
		a, b := mustAppend(t, s, 1, 2), mustAppend(t, s, 3, 2)
		faulty := vfs.NewFaulty(mem.KillClone(), vfs.Rule{Ops: op, Times: 1, Err: syscall.EIO, Clean: true})
		must(t, s.Close())
		s, _, _ = mustOpen(t, Options{FS: faulty})
		s.SyncFiles(map[uint32]uint32{b.Ref.File: b.Ref.Offset})
		if err := s.Sync(); !errors.Is(err, syscall.EIO) || !slices.Equal(s.Doubtful(), []Ref{b.Ref}) {
			t.Errorf("operation %v: Sync says %v, in doubt are %v", op, err, s.Doubtful())
		}
		s.SyncFiles(map[uint32]uint32{a.Ref.File: a.Ref.Offset})
		must(t, s.Drop(b.Ref))
		must(t, s.Sync())
		must(t, s.Close())
	}
}
