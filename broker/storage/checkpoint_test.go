package storage

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// still is a node whose engine's loop has ended, so that nothing happens but what the test does; message is one it has published.
func still(t *testing.T) (n *node, to *topic.Topic) {
	n = newNode(t, 1)
	to, err := n.r.Topic("t0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Channel("c0"); err != nil {
		t.Fatal(err)
	}
	n.k.stop()
	n.k.loop.Wait()
	return n, to
}

// publishSynced publishes a message of so many bytes.
func publishSynced(to *topic.Topic, size int) error {
	var b topic.Batch
	b.Add(make([]byte, size))
	return to.PublishAs(&b, 0, topic.Fsync)
}

// depthAfter returns how many messages wait after a start on a folder, and what was damaged.
func (n *node) depthAfter(fs *vfs.Mem) (depth int64, damage []string) {
	again := n.copy()
	again.fs = fs
	again.reborn()
	again.disk = vfs.NewFaulty(fs)
	if _, err := again.open(); err != nil {
		n.fail("opening: %v", err)
	}
	depth, damage = again.r.Lookup("t0").LookupChannel("c0").Stats().Depth, again.k.Opened().Damage
	if err := errors.Join(again.r.Close(), again.k.Abandon()); err != nil {
		n.fail("closing: %v", err)
	}
	return depth, damage
}

// TestAPowerCutInAnyCheckpoint: at whichever operation of the first checkpoints, and of one behind one whose manifest could not be synced, a start has
// all that was synced, and no checkpoint is damaged. Two are left.
func TestAPowerCutInAnyCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, to := still(t)
		messages := int64(0)
		for round := range 5 {
			for range 3 {
				if err := publishSynced(to, 900); err != nil {
					t.Fatal(err)
				}
				messages++
			}
			if round == 3 {
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Path: "data", Skip: 1, Times: 1, Err: syscall.EIO})
			}
			var clones []*vfs.Mem
			n.disk.Observe(func(op vfs.Op, _ string) {
				if op&vfs.OpChange != 0 {
					for range 4 {
						clones = append(clones, n.fs.CrashClone(n.rng))
					}
				}
			})
			logs := n.k.wal.Stats().Files
			err := n.k.checkpoint(0)
			n.disk.Observe(nil)
			n.disk.SetRules()
			if failed := round == 3; (err != nil) != failed {
				t.Fatalf("checkpoint %d: %v", round, err)
			}
			if round == 0 && n.k.wal.Stats().Files < logs {
				t.Error("the first checkpoint has let the log go that a repair would need if it cannot be read")
			}
			for _, clone := range append(clones, n.fs.CrashClone(rand.New(rand.NewPCG(1, 1)))) {
				if depth, damage := n.depthAfter(clone); depth != messages || len(damage) > 0 {
					t.Fatalf("checkpoint %d: %d of %d messages, damaged %q", round, depth, messages, damage)
				}
			}
		}
		if names := n.files(checkpointPrefix); len(names) != 2 || strings.Contains(strings.Join(names, " "), "tmp") {
			t.Errorf("checkpoints %q are left", names)
		}
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}

// TestACheckpointThatCannotBeWritten, not even the last of it, does not count.
func TestACheckpointThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, to := still(t)
		if err := publishSynced(to, 900); err != nil {
			t.Fatal(err)
		}
		for _, rule := range []vfs.Rule{{Ops: vfs.OpWrite}, {Ops: vfs.OpSync}, {Ops: vfs.OpRename}} {
			rule.Path, rule.Times, rule.Err = checkpointPrefix+"*", 1, syscall.EIO
			n.disk.SetRules(rule)
			if err := n.k.checkpoint(0); !errors.Is(err, syscall.EIO) || len(n.k.folder.current().Checkpoints) > 0 {
				t.Errorf("%+v: %v, and the manifest has %+v", rule, err, n.k.folder.current().Checkpoints)
			}
		}
		n.disk.SetRules()
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}

// TestWhatTheLogHasLost: publishes are refused, and segments stay, until a checkpoint has made up for it that no loss has met, and the older one that
// counts has it, too.
func TestWhatTheLogHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, to := still(t)
		for range 3 {
			if err := publishSynced(to, 5000); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := n.k.checkpoint(0); err != nil {
				t.Fatal(err)
			}
		}
		lose := func() {
			n.disk.SetRules(vfs.Rule{Ops: vfs.OpCreate | vfs.OpRename | vfs.OpOpenWrite, Path: "*.*a*", Err: syscall.EIO})
			at, err := n.k.wal.Append(byte(kindProbe), make([]byte, 20000))
			if err == nil {
				err = n.k.wal.Commit(at, wal.Synced)
			}
			n.disk.SetRules()
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("a record that begins a file: %v", err)
			}
		}
		lose()
		if err := n.k.sync(); err != nil {
			t.Fatal(err)
		}
		log := n.k.Journal()
		if err := log.Gap(); !errors.Is(err, errGap) || log.Err() == nil {
			t.Errorf("the log has lost a record, and says %v and %v", err, log.Err())
		}
		if err := publishSynced(to, 10); !errors.Is(err, errGap) {
			t.Errorf("a publish behind what was lost: %v", err)
		}
		s, err := to.Subscribe("c0", subscribeAll)
		if err != nil {
			t.Fatal(err)
		}
		s.SetReady(1000)
		finishAll(s)
		_ = s.Close()
		n.r.Reclaim()
		files := len(n.segmentFiles())
		if !n.r.PrepareDrop() || files == 0 {
			t.Fatalf("nothing of %d files can be let go", files)
		}
		if err := n.k.drop(); err != nil || len(n.segmentFiles()) != files {
			t.Errorf("%v; of %d files of segments %d are left, and the log does not say that nobody needs them", err, files, len(n.segmentFiles()))
		}
		once := true
		n.disk.Observe(func(op vfs.Op, name string) {
			if op == vfs.OpSync && strings.Contains(name, checkpointPrefix) && once {
				once = false
				lose()
			}
		})
		if err := n.k.checkpoint(0); !errors.Is(err, errLostMeanwhile) || log.Gap() == nil {
			t.Errorf("a checkpoint while the log lost more: %v, %v", err, log.Gap())
		}
		n.disk.Observe(nil)
		before := n.k.folder.current().Checkpoints[0].Number
		n.k.look(n.k.at.Add(2 * checkpointPause))
		if m := n.k.folder.current(); log.Gap() != nil || m.Checkpoints[1].Number <= before {
			t.Errorf("behind a look at it: %v, checkpoints %+v, and %d was before", log.Gap(), m.Checkpoints, before)
		}
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}
