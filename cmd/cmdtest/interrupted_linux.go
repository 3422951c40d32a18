package cmdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// hold locks a run's folder for as long as its process lives, or until release is called.
func hold(home string) (release func(), err error) {
	f, err := os.Open(home)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", home, err)
	}
	return func() { f.Close() }, nil
}

// clearOld removes below dir the folders of runs that were killed: those that nobody holds. One that was made a moment ago may be
// about to be held. What cannot be removed, as it is somebody else's, stays.
func clearOld(dir string) {
	folders, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return
	}
	for _, home := range folders {
		if info, err := os.Stat(home); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		release, err := hold(home)
		if err != nil {
			continue
		}
		unmountBelow(home)
		_ = os.RemoveAll(home)
		release()
	}
}

// unmountBelow lets go of the file systems that are mounted in a folder.
func unmountBelow(home string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], home+"/") {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH) // an error leaves the folder where it is
		}
	}
}
