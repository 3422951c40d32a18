package storage

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// keeper keeps group 0, which is one number.
type keeper struct {
	k    *Engine
	log  *GroupLog
	seen []uint64 // votes that the log had, by their terms
	term uint64
	file manifest.GroupCheckpoint
	from wal.Offset

	held  atomic.Int64 // bytes that it has in memory, as it says
	tight atomic.Bool  // it was told so last

	sparse, owes atomic.Bool // it has something to be written anew, and a checkpoint to let go of where that was
}

func (g *keeper) replay(e wal.Entry) error {
	v, err := journal.ParseVote(e.Data)
	g.seen = append(g.seen, v.Term)
	return err
}

// vote writes a vote down, synced.
func (g *keeper) vote(t *testing.T) {
	t.Helper()
	g.term++
	at, err := g.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Term: g.term}))
	if err == nil {
		err = g.log.Commit(at, wal.Synced)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.from = at
}

func (g *keeper) Compact(context.Context, func(int) error) (bool, error) {
	done := g.sparse.Swap(false)
	g.owes.Store(done)
	return done, nil
}

func (g *keeper) Owes() bool    { return g.owes.Load() }
func (g *keeper) Held() int64   { return g.held.Load() }
func (g *keeper) Tight(is bool) { g.tight.Store(is) }

func (g *keeper) Checkpoint() (func(*manifest.Manifest), func(), error) {
	var err error
	if g.file, err = g.k.WriteGroup(0, []byte{byte(g.term)}); err != nil {
		return nil, nil, err
	}
	g.owes.Store(false)
	at, err := g.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Term: g.term}))
	if err != nil {
		return nil, nil, err
	}
	from := at
	return func(m *manifest.Manifest) {
		g.from = from
		m.Groups = []manifest.Group{{Number: 0, From: from, File: g.file}}
		m.Cluster = []byte(`"kept"`)
	}, nil, nil
}

// begin opens the node with group 0 in its log.
func (g *keeper) begin(t *testing.T, n *node) {
	t.Helper()
	n.disk = vfs.NewFaulty(n.fs)
	n.reborn()
	g.seen, n.groups = nil, g.replay
	if _, err := n.open(); err != nil {
		t.Fatal(err)
	}
	n.r.Start()
	g.k, g.log = n.k, n.k.GroupLog()
	n.k.KeepGroups(g)
	n.k.Start(n.r)
}

// TestGroupsInTheLog: what a group has in the log is read again from where the manifest says that it is needed, and goes no sooner, however
// often topics' checkpoints let go of theirs; its checkpoint counts with the manifest; a reader without groups passes it over.
func TestGroupsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		g.vote(t)
		if err := n.k.checkpoint(0); err != nil {
			t.Fatal(err)
		}
		held := g.from
		g.vote(t)
		late := g.from
		n.k.KeepGroups(nil) // checkpoints of topics alone
		fill(t, n, 300, 2000, 0)
		for range 3 {
			if err := n.k.checkpoint(0); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range []wal.Offset{held, late} {
			if kind, _, err := n.k.wal.ReadAt(at, 0, nil); err != nil || kind != byte(journal.KindVote) {
				t.Errorf("what the group needs at %v: kind %d, %v", at, kind, err)
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}

		g.begin(t, n)
		if !slices.Contains(g.seen, 2) || n.r.Lookup("t0") == nil {
			t.Errorf("terms %v were read again", g.seen)
		}
		groups, cluster := n.k.Kept()
		content, err := n.k.ReadGroup(0, groups[0].File)
		if err != nil || !bytes.Equal(content, []byte{1}) || string(cluster) != `"kept"` {
			t.Errorf("the group's checkpoint has %v, the manifest %s: %v", content, cluster, err)
		}
		old := groups[0].File
		for range 2 {
			if err := n.k.checkpoint(0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.k.ReadGroup(0, old); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a checkpoint that nobody names is still there: %v", err)
		}
		if _, _, err := n.k.wal.ReadAt(held, 0, nil); !errors.Is(err, wal.ErrReleased) {
			t.Errorf("what nobody needs is still there: %v", err)
		}
		flipByte(t, n.fs, n.k.groupName(0, g.file.Number))
		if _, err := n.k.ReadGroup(0, g.file); !errors.Is(err, ErrGroupCheckpoint) {
			t.Errorf("damaged: %v", err)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.groups = nil
		n.start()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// counting is a group that may not be able to prepare a checkpoint, and counts how often it was told that one counts.
type counting struct {
	*keeper
	fails error
	told  int
}

func (c *counting) Checkpoint() (func(*manifest.Manifest), func(), error) {
	change, _, err := c.keeper.Checkpoint()
	return change, func() { c.told++ }, errors.Join(err, c.fails)
}

// TestGroupsAreToldWhenTheirCheckpointCounts: once the manifest names it, and not before. Without the group's there is no checkpoint of topics either.
func TestGroupsAreToldWhenTheirCheckpointCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &counting{keeper: &keeper{}}
		g.begin(t, n)
		n.k.KeepGroups(g)
		g.vote(t)
		named := func() uint64 {
			m, _, err := manifest.Read(n.fs, "data")
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Checkpoints) == 0 {
				return 0
			}
			return m.Checkpoints[0].Number
		}
		before := named()
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpRename, Path: manifest.FileName + ".tmp", Err: syscall.EIO})
		if err := n.k.checkpoint(0); !errors.Is(err, syscall.EIO) || g.told > 0 {
			t.Errorf("the manifest cannot be written: %v, the group was told %d times", err, g.told)
		}
		n.disk.SetRules()
		g.fails = syscall.EDQUOT
		if err := n.k.checkpoint(0); !errors.Is(err, syscall.EDQUOT) || g.told > 0 || named() != before {
			t.Errorf("the group cannot write its own: %v, it was told %d times, the newest checkpoint is %d and was %d", err, g.told, named(), before)
		}
		g.fails = nil
		if err := n.k.checkpoint(0); err != nil || g.told != 1 || named() == before {
			t.Errorf("%v, the group was told %d times, the newest checkpoint is %d and was %d", err, g.told, named(), before)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestARepairTellsGroupsThatTheyMayHaveLostSomething: with a log file given up no group counts on what is left, and the folder starts.
func TestARepairTellsGroupsThatTheyMayHaveLostSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 4)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		g.vote(t)
		fill(t, n, 50, 2000, 0)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		names, err := n.fs.List("data/" + logFolder)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := n.fs.Remove("data/" + logFolder + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.open(); !errors.Is(err, ErrIncomplete) {
			t.Errorf("without its log: %v", err)
		}
		n.accept = true
		g.begin(t, n)
		n.k.KeepGroups(nil)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.accept = false
		g.begin(t, n)
		if groups, _ := n.k.Kept(); len(groups) != 1 || !groups[0].Lost {
			t.Errorf("after a repair: %+v", groups)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGroupsAreCompactedWhenNothingHappens, and the checkpoint that they owe then is written, although this node has no topic of its own.
func TestGroupsAreCompactedWhenNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		time.Sleep(time.Minute)
		before := n.k.Figures()
		g.sparse.Store(true) // of what it has applied: nothing is written for that
		time.Sleep(time.Minute)
		after := n.k.Figures()
		if g.sparse.Load() || g.owes.Load() || after.Compactions != before.Compactions+1 || after.Checkpoints == before.Checkpoints {
			t.Errorf("there is something to be written anew: %v, a checkpoint is owed: %v, %d rounds, %d checkpoints", g.sparse.Load(), g.owes.Load(),
				after.Compactions-before.Compactions, after.Checkpoints-before.Checkpoints)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// holding is a group that needs all of the log from where its last checkpoint was on, and has nothing new to say.
type holding struct{ *keeper }

func (holding) Checkpoint() (func(*manifest.Manifest), func(), error) { return nil, nil, nil }

// TestALogThatAGroupNeedsIsLeftAlone: of a log that is long as a group needs it, another checkpoint lets go of nothing; an idle node writes none.
func TestALogThatAGroupNeedsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		g.vote(t)
		if err := n.k.checkpoint(0); err != nil {
			t.Fatal(err)
		}
		n.k.KeepGroups(holding{g})
		for n.k.wal.Stats().FileBytes < int64(4*n.k.o.CheckpointBytes) {
			g.vote(t)
		}
		time.Sleep(time.Minute)
		before := n.k.Figures().Checkpoints
		time.Sleep(time.Minute)
		if after := n.k.Figures().Checkpoints; after != before || before == 0 || n.k.wal.Stats().FileBytes < int64(2*n.k.o.CheckpointBytes) {
			t.Errorf("%d checkpoints, and %d a minute later, of a log of %d bytes", before, after, n.k.wal.Stats().FileBytes)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// flipByte changes the last byte of a file.
func flipByte(t *testing.T, files vfs.FS, name string) {
	t.Helper()
	f, err := files.OpenWrite(name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt([]byte{0xff}, size-1)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestACheckpointOfAGroupThatCannotBeWrittenLeavesNothing: what is there of it would take space that may be what lacks, once for each try.
func TestACheckpointOfAGroupThatCannotBeWrittenLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		for range 3 {
			n.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite, Path: "checkpoint.g*", Err: syscall.ENOSPC, Short: 5})
			if _, err := n.k.WriteGroup(7, make([]byte, 1000)); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("it was written on a full disk: %v", err)
			}
			n.disk.SetRules()
			if numbers, err := n.k.groupNumbers(7); err != nil || len(numbers) > 0 {
				t.Errorf("there are %v: %v", numbers, err)
			}
		}
		if c, err := n.k.WriteGroup(7, []byte("all")); err != nil || c.Number != 1 {
			t.Errorf("number %d: %v", c.Number, err)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestACheckpointOfAGroupWhoseNameAnotherSyncWasFor: while it is written somebody else syncs the data folder, and that fails. The next sync proves nothing for the
// name that was there: the checkpoint does not count, and the next one, which does, survives a power cut.
func TestACheckpointOfAGroupWhoseNameAnotherSyncWasFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		failed := false
		n.disk.Observe(func(op vfs.Op, name string) {
			if op == vfs.OpWrite && strings.Contains(name, "checkpoint.g07") && !failed {
				failed = true
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Path: "data", Times: 1, Err: syscall.EIO, Clean: true})
				if err := n.k.KeepIDs(); !errors.Is(err, syscall.EIO) {
					t.Errorf("writing the manifest: %v", err)
				}
			}
		})
		if c, err := n.k.WriteGroup(7, []byte("all")); !errors.Is(err, errNames) {
			t.Errorf("it is written as number %d: %v; a sync has failed %v", c.Number, err, failed)
		}
		c, err := n.k.WriteGroup(7, []byte("all"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.fs.CrashClone(n.rng).Size(n.k.groupName(7, c.Number)); err != nil {
			t.Errorf("behind a power cut: %v", err)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestOnlyTheLogHasTheRoomOfTheReserve: when it is let go as the log has no room, segments and checkpoints of groups are refused it, but for small checkpoints,
// until there is room for it again.
func TestOnlyTheLogHasTheRoomOfTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.reserve = 40 << 10
		g := &keeper{}
		g.begin(t, n)
		segments := n.k.GroupSegments(1)
		if err := segments.Room(1 << 20); err != nil {
			t.Error("with room:", err)
		}
		fill(t, n, 20, 100, 10*time.Millisecond)
		n.fs.SetLimit(n.fs.Used() + 1000)
		if err := segments.Room(2000); !errors.Is(err, syscall.ENOSPC) {
			t.Error("more than there is:", err)
		}
		if _, err := n.k.WriteGroup(7, make([]byte, 30<<10)); !errors.Is(err, syscall.ENOSPC) {
			t.Error("a checkpoint that is larger than the disk:", err)
		}
		if n.k.reserve.isSpent() {
			t.Fatal("the reserve was let go for what may not have it")
		}
		for range 1000 { // the log needs another file
			_, _ = g.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Term: g.term}))
			time.Sleep(10 * time.Millisecond)
			if n.k.reserve.isSpent() {
				break
			}
		}
		time.Sleep(time.Second)
		if !n.k.reserve.isSpent() || !g.tight.Load() {
			t.Fatalf("a log without room: the reserve is spent %v, groups were told %v", n.k.reserve.isSpent(), g.tight.Load())
		}
		if err := segments.Room(20 << 10); !errors.Is(err, syscall.ENOSPC) {
			t.Error("segments have the log's room:", err)
		}
		if _, err := n.k.WriteGroup(7, make([]byte, 38<<10)); !errors.Is(err, syscall.ENOSPC) {
			t.Error("a large checkpoint has it:", err)
		}
		if numbers, err := n.k.groupNumbers(7); err != nil || len(numbers) > 0 {
			t.Errorf("of that there are %v: %v", numbers, err)
		}
		if _, err := n.k.WriteGroup(7, make([]byte, 500)); err != nil {
			t.Error("a small one has not:", err)
		}
		n.fs.SetLimit(0)
		time.Sleep(3 * time.Second)
		if err := segments.Room(1 << 20); err != nil || n.k.reserve.isSpent() || g.tight.Load() {
			t.Errorf("with room again: %v, spent %v, groups were told %v", err, n.k.reserve.isSpent(), g.tight.Load())
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestGroupsTakeNoMoreThanCanBeWrittenDown: they are told that room is short while there is less than what they have in memory and a file of the log take.
func TestGroupsTakeNoMoreThanCanBeWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		for _, c := range []struct {
			free, held int64
			tight      bool
		}{{1 << 20, 0, false}, {1 << 20, 1 << 20, true}, {1 << 20, 1 << 19, false}, {n.k.o.LogFileSize / 2, 0, true}, {1 << 20, 0, false}} {
			n.fs.SetLimit(n.fs.Used() + c.free)
			g.held.Store(c.held)
			time.Sleep(2 * idleTick)
			synctest.Wait()
			if g.tight.Load() != c.tight {
				t.Errorf("%+v: %v", c, !c.tight)
			}
		}
		n.fs.SetLimit(0)
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}
