package broker

import (
	"fmt"
	"os"
	"path/filepath"

	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/nsqdata"
)

// holdsQueues reports whether a broker, or an nsqd, has kept its queues in a folder.
func holdsQueues(dir string) bool {
	for _, name := range []string{manifest.FileName, nsqdata.MetadataFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// checkPlace refuses a data folder that begins anew right inside one that holds queues, or right around one: then its name has changed, as in a new
// chart or image, and what is in the old one would be served by nobody. A folder that holds queues itself is one that was chosen before.
func checkPlace(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil || holdsQueues(abs) {
		return err
	}
	old := ""
	if parent := filepath.Dir(abs); holdsQueues(parent) {
		old = parent
	}
	entries, _ := os.ReadDir(abs) // one that is not there has none
	for _, e := range entries {
		if inner := filepath.Join(abs, e.Name()); e.IsDir() && holdsQueues(inner) {
			old = inner
		}
	}
	if old == "" {
		return nil
	}
	return fmt.Errorf("--data-path=%s would begin with nothing, and %s holds the queues of a broker: start with --data-path=%s, or choose a folder that is neither in it nor around it", dir, old, old)
}
