package storage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// unreadable returns a stopped node that is to be repaired: of the largest of its files of segments the disk does not give back a page. Its only channel
// needs so many messages, of which up to two dozen are there.
func unreadable(t *testing.T) (n *node, path string, count int) {
	n, count = newNode(t, 1), 400
	fill(t, n, count, 200, 10*time.Millisecond)
	time.Sleep(time.Minute) // all is in segments, and in a checkpoint
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n.disk, n.accept = vfs.NewFaulty(n.fs), true
	size := func(name string) int { return len(n.load(segmentsFolder + "/" + name)) }
	path = "data/" + segmentsFolder + "/" + slices.MaxFunc(n.segmentFiles(), func(a, b string) int { return cmp.Compare(size(a), size(b)) })
	if err := n.fs.Break(path, page, 1); err != nil {
		t.Fatal(err)
	}
	return n, path, count
}

// repairAll opens a folder, starts and stops, as a repair does, and starts as a broker does.
func (n *node) repairAll() {
	n.t.Helper()
	if _, err := n.open(); err != nil {
		n.t.Fatal(err)
	}
	n.r.Start()
	n.k.Start(n.r)
	if err := n.stop(); err != nil {
		n.t.Fatal(err)
	}
	n.accept = false
	if _, err := n.open(); err != nil {
		n.t.Fatal(err)
	}
	n.r.Start()
	n.k.Start(n.r)
}

// takeAll returns how many messages a channel gives within a minute.
func (n *node) takeAll() (count int) {
	n.t.Helper()
	s, err := n.r.Lookup("t0").Subscribe("c0", subscribeAll)
	if err != nil {
		n.t.Fatal(err)
	}
	s.SetReady(1000)
	var d topic.Delivery
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for s.Take(&d) > 0 {
			each(&d, func(protocol.MessageFrame) { count++ })
			d.Clear()
		}
	}
	_ = s.Close()
	return count
}

// TestARepairThatEndsInTheMidstLosesNoMore: a repair replaces a file of which the disk does not give back a page. One that ends while it does so leaves the
// file to the next one, which serves all of it that there is, and leaves nothing half made.
func TestARepairThatEndsInTheMidstLosesNoMore(t *testing.T) {
	for _, links := range []bool{true, false} {
		for name, op := range map[string]vfs.Op{"create": vfs.OpCreate, "write": vfs.OpWrite, "sync": vfs.OpSync, "rename": vfs.OpRename} {
			synctest.Test(t, func(t *testing.T) {
				n, path, count := unreadable(t)
				rules := []vfs.Rule{{Ops: op, Path: filepath.Base(path) + copySuffix, Err: syscall.ENOSPC}}
				if !links {
					rules = append(rules, vfs.Rule{Ops: vfs.OpLink, Err: syscall.EPERM})
				}
				n.disk = vfs.NewFaulty(n.fs, rules...)
				if _, err := n.open(); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("%s fails: %v", name, err)
				}
				n.disk.SetRules(rules[1:]...)
				n.repairAll()
				if got := n.takeAll(); got < count-30 || got == count {
					t.Errorf("%s failed, links %v: %d are served, of %d", name, links, got, count)
				}
				if err := n.stop(); err != nil {
					t.Error(err)
				}
				for _, one := range n.segmentFiles() {
					if strings.HasSuffix(one, copySuffix) {
						t.Errorf("%s failed, links %v: %s is left", name, links, one)
					}
				}
			})
		}
	}
}

// TestARepairReadsAroundWhateverTheDiskSays: a file of which nothing can be read costs the messages in it and no others, whatever error the system has for
// it, and the repair says how much that was. What comes back when it is read once more costs nothing.
func TestARepairReadsAroundWhateverTheDiskSays(t *testing.T) {
	for _, c := range []struct {
		err   error
		times int
		less  int // messages
	}{{syscall.EBADMSG, 0, 160}, {syscall.EIO, 0, 160}, {syscall.ESTALE, 0, 160}, {syscall.EIO, 2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			n, path, count := unreadable(t)
			if err := n.fs.Break(path, 0, 0); err != nil { // nothing of it
				t.Fatal(err)
			}
			size, err := n.fs.Size(path)
			if err != nil {
				t.Fatal(err)
			}
			n.disk = vfs.NewFaulty(n.fs, vfs.Rule{Ops: vfs.OpRead, Path: filepath.Base(path), Skip: 2, Times: c.times, Err: c.err})
			if _, err := n.open(); err != nil {
				t.Fatalf("%v: %v", c.err, err)
			}
			said := []string(nil)
			if c.less > 0 {
				said = []string{fmt.Sprintf("%d bytes of %s, which the disk does not give back", size, path)}
			}
			if got := n.k.Opened().Unreadable; !slices.Equal(got, said) {
				t.Errorf("%v, %d times: the repair says %q", c.err, c.times, got)
			}
			if err := errors.Join(n.r.Close(), n.k.Abandon()); err != nil {
				t.Fatal(err)
			}
			n.repairAll()
			if got := n.takeAll(); got != count-c.less {
				t.Errorf("%v, %d times: %d are served, of %d", c.err, c.times, got, count)
			}
			if err := n.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestACheckpointThatCountsIsNotPutAside: whenever the disk does not give back the newest checkpoint for a moment, where no manifest names any, a repair that
// goes on from it leaves it where it is: until there is another one it is all that is known.
func TestACheckpointThatCountsIsNotPutAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, _ := unreadable(t)
		if err := n.fs.Remove("data/" + manifest.FileName); err != nil {
			t.Fatal(err)
		}
		const lookReads = 9 // before a look at versions gives a file up
		newest := slices.Max(n.files(checkpointPrefix))
		whole, used := n.fs, 0
		for skip := range 40 {
			n.fs = whole.KillClone()
			n.disk = vfs.NewFaulty(n.fs, vfs.Rule{Ops: vfs.OpRead, Path: newest, Skip: skip, Times: lookReads, Err: syscall.EIO})
			if _, err := n.open(); err != nil {
				t.Fatal(err)
			}
			if n.k.Opened().Checkpoint == newest {
				used++
			}
			if aside := n.k.unknown; slices.Contains(aside, "data/"+n.k.Opened().Checkpoint) {
				t.Errorf("behind %d reads some fail, %s counts and is put aside: %q", skip, newest, aside)
			}
			if err := errors.Join(n.r.Close(), n.k.Abandon()); err != nil {
				t.Fatal(err)
			}
		}
		if used == 0 {
			t.Error("it never counts")
		}
	})
}

// A repair that is refused, as the file system promises nothing, has changed nothing.
func TestARepairThatIsRefusedChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, path, _ := unreadable(t)
		look := func() map[string]string { // once the page can be read again
			whole := n.another(n.fs.KillClone())
			if err := whole.fs.Break(path, 0, 0); err != nil {
				t.Fatal(err)
			}
			return whole.tree()
		}
		before := look()
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Err: syscall.EINVAL})
		if _, err := n.open(); !errors.Is(err, ErrUnsyncable) {
			t.Fatalf("the repair says %v", err)
		}
		n.disk.SetRules()
		if after := look(); !maps.Equal(before, after) {
			t.Errorf("the folder was changed: there were %d files and are %d", len(before), len(after))
		}
	})
}
