package storage

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

// newFolder returns a folder on a disk that can fail, and its manifest as it is there.
func newFolder(t *testing.T) (f *folder, disk *vfs.Faulty, onDisk func() manifest.Manifest) {
	m := vfs.NewMem()
	if err := m.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	disk = vfs.NewFaulty(m)
	f = &folder{fs: disk, dir: "data", log: slog.New(slog.DiscardHandler), m: manifest.Manifest{Folder: manifest.NewID(), Log: manifest.Log{Limit: 1}},
		kick: make(chan struct{}, 1)}
	return f, disk, func() manifest.Manifest {
		got, _, err := manifest.Read(m, "data")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// TestWhatTheManifestHasNotTakenDoesNotCount: numbers of log files, and features, are used once they stand on the disk.
func TestWhatTheManifestHasNotTakenDoesNotCount(t *testing.T) {
	f, disk, onDisk := newFolder(t)
	limit, err := f.lease(7)
	if err != nil || onDisk().Log.Limit != limit || limit <= 7 {
		t.Fatalf("leased up to %d, %v, and there is %+v", limit, err, onDisk())
	}
	disk.SetRules(vfs.Rule{Ops: vfs.OpWrite, Err: syscall.EIO})
	if _, err := f.lease(limit); !errors.Is(err, syscall.EIO) || f.current().Log.Limit != limit {
		t.Errorf("a lease that could not be written: %v, up to %d", err, f.current().Log.Limit)
	}
	for range 2 {
		if err := f.need(journal.FeatureDedup); !errors.Is(err, syscall.EIO) {
			t.Errorf("a feature that could not be written down: %v", err)
		}
	}
	disk.SetRules()
	if err := f.need(journal.FeatureDedup); err != nil || len(onDisk().Needs) != 1 {
		t.Errorf("%v, needed are %q", err, onDisk().Needs)
	}
	if again, err := f.lease(3); err != nil || again != limit || onDisk().Log.Limit != limit {
		t.Errorf("a lower number is leased up to %d, %v, and there is %+v", again, err, onDisk())
	}
	known := &folder{fs: disk, dir: "data", m: onDisk()}
	known.knowNeeds()
	disk.SetRules(vfs.Rule{Ops: vfs.OpChange, Err: syscall.EIO})
	if err := known.need(journal.FeatureDedup); err != nil {
		t.Errorf("what the manifest names already: %v", err)
	}
}

// TestARepairWritesNoManifestBeforeItsCheckpoint: if it is killed before, the next one is told what this one was.
func TestARepairWritesNoManifestBeforeItsCheckpoint(t *testing.T) {
	f, disk, onDisk := newFolder(t)
	f.late = true
	disk.SetRules(vfs.Rule{Ops: vfs.OpChange, Err: syscall.EIO})
	if err := f.update(func(m *manifest.Manifest) { m.NodeID = 9 }); err != nil {
		t.Errorf("it was written: %v", err)
	}
	disk.SetRules()
	if err := f.name(func(m *manifest.Manifest) { m.Name(manifest.Checkpoint{Number: 1}) }); err != nil {
		t.Fatal(err)
	}
	if m := onDisk(); m.NodeID != 9 || len(m.Checkpoints) != 1 {
		t.Errorf("with the checkpoint there is %+v", m)
	}
	if err := f.update(func(m *manifest.Manifest) { m.NodeID = 10 }); err != nil || onDisk().NodeID != 10 {
		t.Errorf("behind it: %v, %+v", err, onDisk())
	}
}

// TestTheNewestLogFileIsEntered within a second, and where the log ends with a stop, so that a start misses it.
func TestTheNewestLogFileIsEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		read := func() manifest.Log {
			m, _, err := manifest.Read(n.fs, "data")
			if err != nil {
				t.Fatal(err)
			}
			return m.Log
		}
		publishLarge(t, n)
		n.advance(3 * time.Second)
		if l := read(); l.Seen != n.k.wal.End().File || l.End != nil {
			t.Errorf("the log is in file %d, and the manifest says %+v", n.k.wal.End().File, l)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		if l := read(); l.End == nil || *l.End != manifest.Offset(n.k.wal.End()) {
			t.Errorf("the log ended at %v, and the manifest says %+v", n.k.wal.End(), l)
		}
	})
}

// TestFoldersThatCannotBeSynced: a start says of each folder in which files could vanish that nothing can be promised there. Any other error of such a sync
// is found when something is written.
func TestFoldersThatCannotBeSynced(t *testing.T) {
	for _, folder := range []string{"data", logFolder, segmentsFolder} {
		for failure, refuses := range map[error]bool{syscall.EINVAL: true, syscall.ENOTSUP: true, syscall.ENOSYS: true, syscall.EIO: false, syscall.EROFS: false, syscall.EACCES: false} {
			disk := vfs.NewMem()
			for _, dir := range []string{"data/" + logFolder, "data/" + segmentsFolder} {
				if err := disk.MkdirAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			faulty := vfs.NewFaulty(disk, vfs.Rule{Ops: vfs.OpSyncDir, Path: folder, Err: failure})
			k, _, err := Open(Options{FS: faulty, Dir: "data", Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				err = k.Abandon()
			}
			if k, _, err := Open(Options{FS: faulty, Dir: "data", Log: slog.New(slog.DiscardHandler), Unpromised: true}); err != nil {
				t.Errorf("%s, %v, where nothing is to be promised: %v", folder, failure, err)
			} else if err := k.Abandon(); err != nil {
				t.Error(err)
			}
			if refuses != errors.Is(err, ErrUnsyncable) || refuses && (!errors.Is(err, failure) || !strings.Contains(err.Error(), folder+": its file system")) || !refuses && err != nil {
				t.Errorf("%s, %v: %v", folder, failure, err)
			}
		}
	}
}
