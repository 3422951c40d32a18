package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
)

// quietNode is an engine with topics, each with a channel, on a disk whose operations are counted.
type quietNode struct {
	fs   *vfs.Mem
	disk *vfs.Faulty
	k    *Engine
	r    *topic.Registry
	ops  atomic.Int64
}

func startQuiet(t *testing.T, topics int) *quietNode {
	n := &quietNode{fs: vfs.NewMem()}
	if err := n.fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewFaulty(n.fs)
	n.disk = disk
	log := slog.New(slog.DiscardHandler)
	k, recovery, err := Open(Options{FS: disk, Dir: "data", SyncTimeout: 2 * time.Second, Log: log,
		MinFreeSpace: func(uint64) uint64 { return 1 << 20 }})
	if err != nil {
		t.Fatal(err)
	}
	n.k, n.r = k, topic.NewRegistry(topic.Config{MemQueueSize: 100, Journal: k.Journal(), Segments: k.Segments(), IDs: &bound{}, Log: log,
		Level: func(string) topic.Level { return topic.Disk }})
	if err := n.r.Recover(recovery); err != nil {
		t.Fatal(err)
	}
	n.r.Start()
	k.Start(n.r)
	for i := range topics {
		to, err := n.r.Topic(fmt.Sprint("t", i))
		if err == nil {
			_, err = to.Channel("c")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	disk.Observe(func(vfs.Op, string) { n.ops.Add(1) })
	t.Cleanup(func() {
		if err := errors.Join(n.r.Close(), k.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *quietNode) publish() error {
	to, err := n.r.Topic("t0")
	if err != nil {
		return err
	}
	var b topic.Batch
	b.Add([]byte("one"))
	return to.Publish(&b)
}

// A broker that has nothing to do asks for the space on its disk once a second, and does nothing else, however many topics there are.
func TestIdleKeeperRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startQuiet(t, 100)
		if err := n.publish(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // the log is synced behind it
		synctest.Wait()
		before := n.ops.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := n.ops.Load() - before; got > 60 {
			t.Errorf("an idle minute takes %d operations of the file system, want 60 at most", got)
		}
	})
}

// A engine that rests is there again with the first publish: what that takes below the watermark is noticed with the next look.
func TestIdleKeeperWakesWithPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startQuiet(t, 1)
		time.Sleep(10*time.Second + 10*time.Millisecond)
		synctest.Wait()
		if err := n.publish(); err != nil { // the engine rests, and looks soon
			t.Fatal(err)
		}
		n.fs.SetLimit(1 << 10)
		time.Sleep(2 * tick)
		synctest.Wait()
		if err := n.publish(); !errors.Is(err, topic.ErrNoSpace) {
			t.Errorf("the publish after the one that has filled the disk: %v", err)
		}
		n.fs.SetLimit(0)
		time.Sleep(2 * tick)
		synctest.Wait()
		if err := n.publish(); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	})
}

// A failed write that the log knows nothing of is looked into at once.
func TestIdleKeeperWakesWithFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startQuiet(t, 1)
		time.Sleep(10*time.Second + 10*time.Millisecond)
		synctest.Wait()
		n.r.SetHealth(errors.New("a queue on disk cannot be written"))
		time.Sleep(2*tick + probeEvery)
		synctest.Wait()
		if err := n.r.Health(); err != nil {
			t.Errorf("the disk is well, and health is still %v", err)
		}
	})
}
