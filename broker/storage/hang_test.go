package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
)

// hanging is a disk of which some operations hang until they are let go.
type hanging struct {
	*vfs.Faulty
	hangs atomic.Pointer[hang]
}

type hang struct {
	ops  vfs.Op
	fits func(name string) bool // nil: all
	thaw chan struct{}
}

func newHanging(files vfs.FS) *hanging {
	h := &hanging{Faulty: vfs.NewFaulty(files)}
	h.Observe(func(op vfs.Op, name string) {
		if now := h.hangs.Load(); now != nil && now.ops&op != 0 && (now.fits == nil || now.fits(name)) {
			<-now.thaw
		}
	})
	return h
}

// freeze has operations hang, until thaw.
func (h *hanging) freeze(ops vfs.Op, fits func(string) bool) (thaw func()) {
	now := &hang{ops, fits, make(chan struct{})}
	h.hangs.Store(now)
	return func() {
		h.hangs.Store(nil)
		close(now.thaw)
	}
}

// watchedNode is an engine with a topic, on a disk that can hang.
type watchedNode struct {
	t    *testing.T
	disk *hanging
	w    *stall.Watch
	k    *Engine
	r    *topic.Registry
	said cmdtest.Screen
}

func startWatched(t *testing.T, level topic.Level) *watchedNode {
	n := &watchedNode{t: t}
	mem := vfs.NewMem()
	if err := mem.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	n.disk = newHanging(mem)
	log := slog.New(slog.NewTextHandler(&n.said, nil))
	n.w = stall.New(log)
	k, recovery, err := Open(Options{FS: n.disk, Disk: n.w, Dir: "data", SyncTimeout: 2 * time.Second, Log: log, LogFileSize: 64 << 10, CheckpointBytes: 256 << 10,
		MinFreeSpace: func(uint64) uint64 { return 1 << 20 }})
	if err != nil {
		t.Fatal(err)
	}
	n.k, n.r = k, topic.NewRegistry(topic.Config{MemQueueSize: 10, Journal: k.Journal(), Segments: k.Segments(), Need: k.Need, IDs: &bound{}, Log: log, Disk: n.w,
		Level: func(name string) topic.Level {
			if strings.HasPrefix(name, "memory") {
				return topic.Memory
			}
			return level
		}})
	if err := n.r.Recover(recovery); err != nil {
		t.Fatal(err)
	}
	n.r.Start()
	k.Start(n.r)
	to, err := n.r.Topic("t")
	if err == nil {
		_, err = to.Channel("c")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.r.Close(), k.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *watchedNode) publish(name string, bytes int) error {
	to, err := n.r.Topic(name)
	if err != nil {
		return err
	}
	var b topic.Batch
	b.Add(make([]byte, bytes))
	return to.Publish(&b)
}

// lines returns what the log has said of the disk.
func (n *watchedNode) lines() (lines []string) {
	synctest.Wait()
	for line := range strings.Lines(n.said.String()) {
		if strings.Contains(line, "the disk ") {
			lines = append(lines, line[strings.Index(line, "level="):])
		}
	}
	return lines
}

func in(folder string) func(string) bool {
	return func(name string) bool { return strings.HasPrefix(name, filepath.Join("data", folder)) }
}

// TestADiskThatHangsIsTold: whatever it is of what publishes wait for that hangs, health says so from 5 s on, the log says so once, and publishes go
// on waiting. Once the disk answers they are answered, nothing was refused, and health is good in the same moment.
func TestADiskThatHangsIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		level topic.Level
		ops   vfs.Op
		fits  func(string) bool
		says  string
	}{
		"everything":             {topic.Disk, ^vfs.Op(0), nil, "write the log"},
		"everything, at fsync":   {topic.Fsync, ^vfs.Op(0), nil, "write the log"},
		"writes of the log":      {topic.Disk, vfs.OpWrite, in(logFolder), "write the log"},
		"syncs of the log":       {topic.Fsync, vfs.OpSync, in(logFolder), "sync the log"},
		"syncs behind the log":   {topic.Disk, vfs.OpSync, in(logFolder), "sync the log"},
		"looking at the log":     {topic.Fsync, vfs.OpLinks | vfs.OpStat, in(logFolder), "sync the log"},
		"files of the log":       {topic.Disk, vfs.OpCreate | vfs.OpRename | vfs.OpOpenWrite, in(logFolder), "begin a file of the log"},
		"room for files":         {topic.Disk, vfs.OpPreallocate, in(logFolder), "begin a file of the log"},
		"names of files":         {topic.Fsync, vfs.OpSyncDir, in(logFolder), "sync the log"},
		"the manifest":           {topic.Disk, vfs.OpChange, in("manifest"), "write the manifest"},
		"the manifest's renames": {topic.Disk, vfs.OpRename, in("manifest"), "write the manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := startWatched(t, c.level)
				if err := n.publish("t", 100); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				thaw := n.disk.freeze(c.ops, c.fits)
				var all sync.WaitGroup
				var answered atomic.Int64
				all.Go(func() { // one: who waits for a lock has virtual time stand
					if c.says == "write the manifest" {
						if err := n.k.KeepIDs(); err != nil {
							t.Error(err)
						}
					}
					for range 30 { // over some files of the log
						if err := n.publish("t", 10<<10); err != nil {
							t.Error(err)
						}
						answered.Add(1)
					}
				})
				time.Sleep(stall.Patience - time.Millisecond)
				if err := n.r.Health(); err != nil || len(n.lines()) > 0 {
					t.Errorf("too early: %v %v", err, n.lines())
				}
				time.Sleep(4 * time.Second) // a sync behind the log comes later, and so may a new file
				before := answered.Load()
				err := n.r.Health()
				if err == nil || !strings.Contains(err.Error(), "the disk has not answered for ") || !strings.Contains(err.Error(), c.says) {
					t.Errorf("health: %v", err)
				}
				time.Sleep(time.Minute)
				if err := n.r.Health(); err == nil || !strings.Contains(err.Error(), "for 6") {
					t.Errorf("health after more than a minute: %v", err)
				}
				if publish, _ := n.w.Out(); publish < time.Minute {
					t.Errorf("a call is out for %v", publish)
				}
				errorLines := 0
				for _, line := range n.lines() {
					if strings.HasPrefix(line, "level=ERROR") {
						errorLines++
					}
				}
				if errorLines != 1 {
					t.Errorf("%d lines: %v", errorLines, n.lines())
				}
				if c.level == topic.Fsync && answered.Load() != before {
					t.Error("publishes are answered while the disk hangs")
				}
				if err := n.publish("memory", 10); err != nil {
					t.Error(err)
				}
				if failed := n.r.Failed(); failed != nil {
					t.Errorf("a write has failed: %v", failed)
				}
				thaw()
				all.Wait()
				synctest.Wait()
				if err := n.r.Health(); err != nil {
					t.Errorf("health once the disk answers: %v", err)
				}
				if lines := n.lines(); len(lines) == 0 || !strings.Contains(lines[len(lines)-1], "level=INFO") || !strings.Contains(fmt.Sprint(lines), "waited=publishes took=1m") {
					t.Errorf("the log says %v", lines)
				}
				if to := n.r.Lookup("t"); to.Stats().MessageCount != 31 {
					t.Errorf("%d messages", to.Stats().MessageCount)
				}
			})
		})
	}
}

// TestACheckpointThatHangsIsNoMatterOfHealth: publishes do not wait for it, nor for what is read back. The log tells of it.
func TestACheckpointThatHangsIsNoMatterOfHealth(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ops  vfs.Op
		fits func(string) bool
	}{
		"checkpoint":         {vfs.OpChange, in(checkpointPrefix)},
		"reading segments":   {vfs.OpRead | vfs.OpOpen, in(segmentsFolder)},
		"asking for space":   {vfs.OpFree, nil},
		"removing log files": {vfs.OpRemove | vfs.OpRename, func(name string) bool { return strings.HasSuffix(name, ".wal") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := startWatched(t, topic.Disk)
				for range 40 {
					if err := n.publish("t", 10<<10); err != nil {
						t.Fatal(err)
					}
				}
				thaw := n.disk.freeze(c.ops, c.fits)
				s, err := n.r.Lookup("t").Subscribe("c", subscribeAll)
				if err != nil {
					t.Fatal(err)
				}
				s.SetReady(5)
				var d topic.Delivery
				var all sync.WaitGroup
				all.Go(func() { s.Take(&d) })
				for range 60 {
					if err := n.publish("t", 10<<10); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
				if err := n.r.Health(); err != nil {
					t.Error(err)
				}
				if lines := n.lines(); len(lines) != 1 || !strings.Contains(lines[0], `level=WARN msg="the disk does not answer" waiting="no publish"`) {
					t.Errorf("the log says %v", lines)
				}
				if publish, other := n.w.Out(); publish != 0 || other < 5*time.Second {
					t.Error(publish, other)
				}
				thaw()
				all.Wait()
				if lines := n.lines(); len(lines) != 2 || !strings.Contains(lines[1], "the disk answers again") {
					t.Errorf("the log says %v", lines)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
