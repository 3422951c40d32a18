package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"brokerd/diskqueue/vfs"
)

// ErrUnsyncable is a file system that cannot make the names of files durable: after a loss of power whole files of the log could be gone.
var ErrUnsyncable = errors.New("its file system cannot sync folders")

// Unsyncable returns the ErrUnsyncable that Options.Unpromised had the engine opened with, nil when there was none.
func (k *Engine) Unsyncable() error { return k.unsyncable }

// checkFolders fails with ErrUnsyncable where nothing could be promised. When nothing is to be it only warns, and has such a sync count as done from now on.
// Each of the folders may be a mount of its own. What else a sync says is found when something is written: a start need not write.
func (o *Options) checkFolders() (unsyncable, refusal error) {
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, logFolder), filepath.Join(o.Dir, segmentsFolder)} {
		err := o.FS.SyncDir(dir)
		if !cannotSync(err) {
			continue
		}
		why := fmt.Errorf("%s: %w (%w), so that a loss of power could take acknowledged messages with the files that they are in: "+
			"choose a --data-path on another file system, or --durability=memory", dir, ErrUnsyncable, err)
		if !o.Unpromised {
			return nil, why
		}
		if unsyncable == nil {
			unsyncable = why
		}
		o.Log.Warn("the file system cannot sync folders: topics above level memory cannot be published to", "folder", dir, "error", err)
	}
	if unsyncable != nil {
		o.FS = unsynced{o.FS}
	}
	return unsyncable, nil
}

// cannotSync reports whether a file system has said that it cannot sync a folder, not that it failed.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// unsynced is a file system that is not asked for what it cannot do. What topics of before have is kept in the log as ever, for a restart and a crash.
type unsynced struct{ vfs.FS }

// SyncDir makes the names in a folder durable where that can be had.
func (u unsynced) SyncDir(dir string) error {
	if err := u.FS.SyncDir(dir); !cannotSync(err) {
		return err
	}
	return nil
}
