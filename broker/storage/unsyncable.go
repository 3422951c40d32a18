package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
)

// ErrUnsyncable is a file system that cannot make the names of files durable: after a loss of power whole files of the log could be gone.
var ErrUnsyncable = errors.New("its file system cannot sync folders")

// Unsyncable returns the ErrUnsyncable that Options.Unpromised had the engine opened with, nil when there was none.
func (k *Engine) Unsyncable() error { return k.unsyncable }

// checkFolders fails with ErrUnsyncable where nothing could be promised, or only warns when nothing is to be. Each of the folders may be a mount of its own.
// What else a sync says is found when something is written: a start need not write.
func (k *Engine) checkFolders() error {
	for _, dir := range []string{k.o.Dir, filepath.Join(k.o.Dir, logFolder), filepath.Join(k.o.Dir, segmentsFolder)} {
		err := k.o.FS.SyncDir(dir)
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		refusal := fmt.Errorf("%s: %w (%w), so that a loss of power could take acknowledged messages with the files that they are in: "+
			"choose a --data-path on another file system, or --durability=memory", dir, ErrUnsyncable, err)
		if !k.o.Unpromised {
			return refusal
		}
		if k.unsyncable == nil {
			k.unsyncable = refusal
		}
		k.o.Log.Warn("the file system cannot sync folders: topics above level memory cannot be published to", "folder", dir, "error", err)
	}
	return nil
}
