package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"brokerd/cmd/cmdtest"
)

// TestFolderOnAContainersLayer: queues that would go with the container are told of at the start; on a volume there is nothing to tell.
func TestFolderOnAContainersLayer(t *testing.T) {
	cmdtest.NeedRoot(t)
	disk := cmdtest.SmallDisk(t, 64<<10) // an overlay does not stand on another
	var dirs []any
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		dirs = append(dirs, filepath.Join(disk, name))
		if err := os.Mkdir(filepath.Join(disk, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(disk, "merged")
	if err := syscall.Mount("overlay", merged, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dirs[:3]...)); err != nil {
		t.Skipf("NOT RUN: no overlay can be mounted here: %v", err)
	}
	defer cmdtest.Unmount(t, merged)
	for folder, told := range map[string]bool{merged: true, disk: false} {
		o := options(t)
		o.DataPath = filepath.Join(folder, "data")
		n, log := startLogged(t, o)
		n.stop()
		if strings.Contains(log.String(), "do not outlive this container") != told {
			t.Errorf("%s: told: %v, wanted %v\n%s", folder, !told, told, log)
		}
	}
}
