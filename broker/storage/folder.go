package storage

import (
	"context"
	"errors"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
)

// leaseFiles is how many numbers of log files are leased at once, beyond the one that is asked for.
const leaseFiles = 1000

// seenPause is how long the entry of a new log file in the manifest may take, and its pause after each.
const seenPause = time.Second

// folder is the data folder as its manifest describes it. The manifest is written by whoever has something to enter; each waits for
// the disk, nobody else does.
type folder struct {
	fs   vfs.FS
	disk *stall.Watch
	dir  string
	id   [8]byte // what the folder's files carry
	log  *slog.Logger
	own  func(*manifest.Manifest) // enters what every manifest of this start has: the node's id, the bound of message ids

	seen atomic.Uint64 // the newest log file whose name and first records were synced
	kick chan struct{} // it has grown

	wanted atomic.Uint64 // features that are in use: bits by their numbers
	named  atomic.Uint64 // of those: the manifest on the disk names them

	mu     sync.Mutex // one change of names at a time, held over the disk: a sync that fails is told to one alone, and others would take theirs for done
	m      manifest.Manifest
	failed int  // changes of names that may not have been synced
	begun  bool // this start has written one
	late   bool // nothing is written before a checkpoint: what is there tells the next repair, if this one is killed, what this one was told
}

// current returns what the manifest says.
func (f *folder) current() manifest.Manifest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.m.Clone()
}

// update writes the manifest with a change, or has it written with the first checkpoint of a repair. With an error the old or the new one is on the
// disk, and what the change was for must not be done.
func (f *folder) update(change func(*manifest.Manifest)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late && !f.begun {
		change(&f.m)
		return nil
	}
	return f.writeLocked(change)
}

// errNames is why a new name of the folder does not count: a sync of the folder has failed since it was given.
var errNames = errors.New("a sync of the data folder has failed meanwhile")

// changeNames gives or takes names in the folder, and syncs that.
func (f *folder) changeNames(change func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := change()
	if err != nil {
		f.failed++
	}
	return err
}

// failures returns how many changes of names may not have been synced.
func (f *folder) failures() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// syncNames syncs names that were given since there were so many failures.
func (f *folder) syncNames(failures int) error {
	return f.changeNames(func() error {
		if f.failed != failures {
			return errNames
		}
		return f.fs.SyncDir(f.dir)
	})
}

// name is update for a change that names a checkpoint.
func (f *folder) name(change func(*manifest.Manifest)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writeLocked(change)
}

func (f *folder) writeLocked(change func(*manifest.Manifest)) error {
	defer f.disk.Waited("write the manifest").Done() // with which files of the log begin, and features are used
	m := f.m.Clone()
	if !f.begun {
		m.Starts++
	}
	m.Log.End = nil // something is written, or was
	if f.own != nil {
		f.own(&m)
	}
	change(&m)
	m.Log.Seen = max(m.Log.Seen, f.seen.Load())
	wanted := f.wanted.Load()
	m.Needs = withFeatures(m.Needs, wanted)
	if err := manifest.Write(f.fs, f.dir, &m); err != nil {
		f.failed++
		return err
	}
	f.m, f.begun = m, true
	f.named.Store(wanted)
	return nil
}

// need sees to it that the manifest names a feature before it is used. With an error it is named with the next manifest that can be
// written.
func (f *folder) need(feature journal.Feature) error {
	bit := uint64(1) << feature
	if f.named.Load()&bit != 0 {
		return nil
	}
	f.wanted.Or(bit)
	return f.update(func(*manifest.Manifest) {})
}

// knowNeeds takes note of what the manifest that was read names.
func (f *folder) knowNeeds() {
	for _, name := range f.m.Needs {
		if feature, ok := journal.ParseFeature(name); ok {
			f.wanted.Or(1 << feature)
		}
	}
	f.named.Store(f.wanted.Load())
}

// withFeatures returns sorted names with those of features, which are bits.
func withFeatures(names []string, features uint64) []string {
	for ; features != 0; features &= features - 1 {
		name := journal.Feature(bits.TrailingZeros64(features)).String()
		if i, found := slices.BinarySearch(names, name); !found {
			names = slices.Insert(names, i, name)
		}
	}
	return names
}

// lease is wal.Options.Lease.
func (f *folder) lease(number uint64) (limit uint64, err error) {
	limit = number + leaseFiles
	err = f.update(func(m *manifest.Manifest) {
		limit = max(limit, m.Log.Limit)
		m.Log.Limit = limit
	})
	return limit, err
}

// nameSynced is wal.Options.Named.
func (f *folder) nameSynced(number uint64) {
	for {
		old := f.seen.Load()
		if number <= old {
			return
		}
		if f.seen.CompareAndSwap(old, number) {
			break
		}
	}
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// run enters new log files within seenPause, so that one that goes missing is noticed. It sleeps while there are none.
func (f *folder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		}
		if f.current().Log.Seen < f.seen.Load() {
			if err := f.update(func(*manifest.Manifest) {}); err != nil { // the next file, or the next checkpoint, enters it
				f.log.Warn("entering a log file", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(seenPause):
		}
	}
}
