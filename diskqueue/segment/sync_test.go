package segment

import (
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// TestAFolderThatCouldNotBeSyncedIsSyncedAgain: also when nothing new is in it, as only a file has gone.
func TestAFolderThatCouldNotBeSyncedIsSyncedAgain(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: faulty, FileSize: 1})
	a := mustAppend(t, s, 1, 2)
	mustAppend(t, s, 3, 2)
	must(t, s.Sync())
	must(t, s.Drop(a.Ref))
	var syncs atomic.Int64
	faulty.Observe(func(op vfs.Op, _ string) {
		if op == vfs.OpSyncDir {
			syncs.Add(1)
		}
	})
	faulty.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO})
	if err := s.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync says %v", err)
	}
	if err := s.Sync(); err != nil || syncs.Load() != 2 {
		t.Errorf("the next one says %v, the folder was synced %d times", err, syncs.Load())
	}
}

// TestAFolderThatCouldNotBeSyncedForWhatGoes: who takes a file away, or puts it aside, syncs the folder for that. When it fails no later sync proves the names
// that are new: what is in those files is in doubt.
func TestAFolderThatCouldNotBeSyncedForWhatGoes(t *testing.T) {
	m := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: m, FileSize: 1, Remove: func(string) error { return syscall.EIO }})
	old := mustAppend(t, s, 1, 2)
	kept := mustAppend(t, s, 3, 2)
	must(t, s.Sync())
	fresh := mustAppend(t, s, 5, 2)
	if err := s.Drop(old.Ref); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Drop says %v", err)
	}
	if err := s.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync says %v", err)
	}
	if got := s.Doubtful(); !slices.Equal(got, []Ref{fresh.Ref}) {
		t.Errorf("in doubt is %v, not %v; %v is not", got, fresh.Ref, kept.Ref)
	}
}

// TestWhatIsAppendedDuringASyncIsNotSynced: neither when that succeeds, nor is what one has failed for made sure by the next.
func TestWhatIsAppendedDuringASyncIsNotSynced(t *testing.T) {
	for name, failing := range map[string]bool{"the second fails": false, "the first fails": true} {
		t.Run(name, func(t *testing.T) {
			faulty := vfs.NewFaulty(vfs.NewMem())
			fail := func() { faulty.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO}) }
			s, _, _ := mustOpen(t, Options{FS: faulty})
			want := []Ref{mustAppend(t, s, 1, 2).Ref}
			must(t, s.Sync())
			want[0] = mustAppend(t, s, 3, 2).Ref
			y, err := s.BeginSync()
			must(t, err)
			want = append(want, mustAppend(t, s, 5, 2).Ref)
			if failing {
				fail()
			}
			y.Run()
			if err := s.EndSync(y); errors.Is(err, syscall.EIO) != failing {
				t.Errorf("the first one says %v", err)
			}
			if !failing {
				fail()
				want = want[1:]
			}
			if err := s.Sync(); !errors.Is(err, syscall.EIO) || !slices.Equal(s.Doubtful(), want) {
				t.Errorf("the second one says %v, in doubt are %v, want %v", err, s.Doubtful(), want)
			}
		})
	}
}

// TestAFileIsWrittenOutInParts: with pauses, so that others have the disk between them; and a part that fails is a sync that fails, as a later one may
// not tell it.
func TestAFileIsWrittenOutInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		s, _, _ := mustOpen(t, Options{FS: faulty})
		first := uint64(1)
		grow := func(blocks int) (last Ref) {
			for range blocks {
				frame := protocol.AppendMessageHeader(nil, 1, 1, protocol.NewMessageID(7, first), 128<<10)
				ref, err := s.Append(first, 1, append(frame, make([]byte, 128<<10)...))
				must(t, err)
				last = ref
				first++
			}
			return last
		}
		grow(1)
		must(t, s.Sync())
		var calls atomic.Int64
		faulty.Observe(func(op vfs.Op, _ string) {
			if op == vfs.OpSync {
				calls.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
		grow(3 * writeOutBytes / (128 << 10))
		began := time.Now()
		must(t, s.Sync())
		if n, took := calls.Load(), time.Since(began); n != 4 || took != 7*time.Millisecond {
			t.Errorf("%d calls in %v, want three parts with a pause each, and a sync", n, took)
		}
		last := grow(3 * writeOutBytes / (128 << 10))
		faulty.SetRules(vfs.Rule{Ops: vfs.OpSync, Skip: 1, Times: 1, Err: syscall.EIO})
		if err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("a part failed, and Sync says %v", err)
		}
		if in := s.Doubtful(); !slices.Contains(in, last) {
			t.Errorf("in doubt are %v, want %v among them", in, last)
		}
		if err := s.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close says %v of what is in doubt", err)
		}
	})
}
