package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAFolderBesideTheQueuesIsRefused: a start in a folder in, or around, the one that has the queues says where those are, and changes nothing; so with
// what an nsqd has left. A folder that has queues of its own goes on.
func TestAFolderBesideTheQueuesIsRefused(t *testing.T) {
	t.Parallel()
	o := options(t)
	volume := filepath.Join(o.DataPath, "volume")
	o.DataPath = filepath.Join(volume, "old")
	startWith(t, o).stop()
	nsqd := filepath.Join(t.TempDir(), "nsqd")
	if err := errors.Join(os.Mkdir(nsqd, 0o755), os.WriteFile(filepath.Join(nsqd, "nsqd.dat"), []byte(`{"topics":[]}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	for folder, old := range map[string]string{volume: o.DataPath, filepath.Join(o.DataPath, "new"): o.DataPath, filepath.Join(nsqd, "brokerd"): nsqd} {
		c := options(t)
		c.DataPath = folder
		if err := refusal(t, c); err == nil || !strings.Contains(err.Error(), "start with --data-path="+old+",") {
			t.Errorf("%s beside %s: %v", folder, old, err)
		}
		if _, err := os.Stat(folder); folder != volume && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made: %v", folder, err)
		}
	}
	for _, folder := range []string{o.DataPath, nsqd, filepath.Join(volume, "elsewhere", "new")} {
		c := options(t)
		c.DataPath = folder
		if err := refusal(t, c); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
