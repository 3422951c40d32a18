package storage

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

// TestACheckpointIsTheOneThatTheManifestNames: a whole checkpoint that is another one, by its size, its checksum, its folder or its number, does not count.
func TestACheckpointIsTheOneThatTheManifestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, to := still(t)
		if err := publishSynced(to, 900); err != nil {
			t.Fatal(err)
		}
		if err := n.k.checkpoint(0); err != nil {
			t.Fatal(err)
		}
		named, folder := n.k.folder.current().Checkpoints[0], n.k.folder.id
		other := folder
		other[0]++
		moved := named
		moved.Number += 7
		read := func(folder [8]byte, c manifest.Checkpoint) error {
			_, err := readCheckpoint(n.fs, n.k.o.Dir, folder, c)
			return err
		}
		if err := read(folder, named); err != nil {
			t.Error(err)
		}
		larger, changed := named, named
		larger.Size++
		changed.Sum++
		for what, err := range map[string]error{"size": read(folder, larger), "checksum": read(folder, changed), "folder": read(other, named)} {
			if !errors.Is(err, journal.ErrCheckpoint) {
				t.Errorf("a checkpoint of another %s: %v", what, err)
			}
		}
		if err := n.fs.Rename(checkpointName(n.k.o.Dir, named.Number), checkpointName(n.k.o.Dir, moved.Number)); err != nil {
			t.Fatal(err)
		}
		if err := read(folder, moved); !errors.Is(err, journal.ErrCheckpoint) {
			t.Errorf("a checkpoint of another number: %v", err)
		}
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}

// TestMarksGoWithTheSecondCheckpoint: as long as a checkpoint counts that names a file of segments that went early, its mark is there: a start that has to use
// that one does not miss the file. A checkpoint that fails changes nothing.
func TestMarksGoWithTheSecondCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count = 400
		to := fill(t, n, count, 200, 10*time.Millisecond)
		time.Sleep(time.Minute) // all is in segments, and in a checkpoint
		n.k.stop()
		n.k.loop.Wait()
		finishCount(t, to, count)
		n.k.making.Lock()
		n.k.dropEarly()
		n.k.making.Unlock()
		marks := func() (left int) {
			for _, name := range n.segmentFiles() {
				if strings.HasSuffix(name, doneSuffix) {
					left++
				}
			}
			return left
		}
		all := marks()
		if all == 0 {
			t.Fatal("no segments went early")
		}
		for i, want := range []int{all, all, 0} {
			if i == 0 {
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Path: checkpointPrefix + "*", Times: 1, Err: syscall.EIO})
			}
			if err := n.k.checkpoint(0); (err != nil) != (i == 0) {
				t.Fatalf("checkpoint %d: %v", i, err)
			}
			if left := marks(); left != want {
				t.Errorf("behind checkpoint %d, of which the first has failed, there are %d marks, want %d", i, left, want)
			}
		}
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}

// TestPublishesAreRefusedUntilTheReserveIsThereAgain: what the reserve has given is for what consumers say, also when space is looked at meanwhile.
func TestPublishesAreRefusedUntilTheReserveIsThereAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		_ = n.stop()
		n.reserve = 64 << 10
		n.start()
		to := fill(t, n, 10, 200, 10*time.Millisecond)
		time.Sleep(time.Second)
		n.k.stop()
		n.k.loop.Wait()
		publish := func() error {
			var b topic.Batch
			b.Add(make([]byte, 100))
			return to.Publish(&b)
		}
		n.fs.SetLimit(n.fs.Used() + 32<<10)
		n.k.makeRoom(syscall.ENOSPC)
		n.k.watchSpace()
		if err := publish(); !errors.Is(err, topic.ErrDiskFull) {
			t.Errorf("a publish while the reserve is spent: %v", err)
		}
		n.fs.SetLimit(0)
		n.k.watchSpace()
		if err := publish(); err != nil {
			t.Errorf("a publish when it is there again: %v", err)
		}
		_ = n.r.Close()
		_ = n.k.wal.Close()
	})
}
