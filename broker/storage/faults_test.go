package storage

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// newNode returns a node on an empty file system, started.
func newNode(t *testing.T, seed uint64) *node {
	n := &node{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(),
		messages: map[string]*message{}, promises: map[string]*promise{}, ageless: map[string]bool{}, twice: map[string]bool{}, early: map[string]topic.Position{}}
	if err := n.fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	n.crash.left = -1
	n.start()
	return n
}

// kill ends the node as kill -9 does, and starts it again.
func (n *node) kill() {
	n.crash.mu.Lock()
	n.cloneLocked()
	n.crash.mu.Unlock()
	_ = n.stop()
	n.forget()
	n.fs = n.crash.clone
	n.crash = crash{left: -1}
	n.start()
}

// failing is the file system that fails: three times, from the n-th operation of a kind on.
func (n *node) failing(op vfs.Op, nth int) (hit bool) {
	rule := vfs.Rule{Ops: op, Skip: nth, Times: 3, Err: diskErrors[nth%len(diskErrors)], Short: nth % 2 * 9, Done: nth%3 == 2, Clean: true}
	n.faults = true
	var seen atomic.Int64
	n.disk.Observe(func(o vfs.Op, _ string) {
		if o&op != 0 {
			seen.Add(1)
		}
	})
	n.disk.SetRules(rule)
	for range 60 {
		n.step()
	}
	n.advance(3 * time.Second)
	hit = int(seen.Load()) > nth
	n.disk.Observe(nil)
	n.disk.SetRules()
	n.openFolders()
	n.advance(time.Second)
	if err := n.r.Health(); err != nil {
		n.fail("the disk is well again, and a write has succeeded: health is %v", err)
	}
	before := len(n.messages)
	n.publish()
	if len(n.messages) == before {
		n.fail("nothing was published")
	}
	for _, m := range n.messages {
		if m.num == n.next-1 && !m.acked {
			n.fail("the disk is well again, and a publish failed")
		}
	}
	n.kill()
	n.drain()
	return hit
}

// Whatever operation of the file system fails, from whichever on: each publish that succeeded is there after a kill, a failed
// one shows in the node's health, and both heal once the disk does.
func TestFailingOperations(t *testing.T) {
	for name, op := range map[string]vfs.Op{"write": vfs.OpWrite, "sync": vfs.OpSync, "sync folder": vfs.OpSyncDir,
		"create": vfs.OpCreate, "rename": vfs.OpRename, "mkdir": vfs.OpMkdir, "preallocate": vfs.OpPreallocate,
		"remove": vfs.OpRemove, "link": vfs.OpLink, "open": vfs.OpOpenWrite | vfs.OpOpen, "read": vfs.OpRead, "ask": vfs.OpStat | vfs.OpLinks, "close": vfs.OpClose} {
		t.Run(name, func(t *testing.T) {
			for nth, more := 0, true; more && nth < 60 && !t.Failed(); nth += failingStep {
				synctest.Test(t, func(t *testing.T) {
					n := newNode(t, 5)
					defer func() { _ = n.stop() }()
					more = n.failing(op, nth)
				})
			}
		})
	}
}

// files returns the names in the data folder that begin so.
func (n *node) files(prefix string) (names []string) {
	list, err := n.fs.List("data")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, name := range list {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// load reads a file of the data folder, and store replaces it.
func (n *node) load(name string) []byte {
	f, err := n.fs.Open("data/" + name)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		n.t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); size > 0 && err != nil {
		n.t.Fatal(err)
	}
	return b
}

func (n *node) store(name string, b []byte) {
	if err := n.fs.Remove("data/" + name); err != nil {
		n.t.Fatal(err)
	}
	f, err := n.fs.Create("data/" + name)
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		n.t.Fatal(err)
	}
}

// worked returns a node that has done something for a while, and was killed: with at least two checkpoints.
func worked(t *testing.T) *node {
	n := newNode(t, 11)
	for len(n.files(checkpointPrefix)) < 2 || len(n.segmentFiles()) == 0 {
		for range 50 {
			n.step()
		}
	}
	n.kill()
	n.k.stop()
	n.k.loop.Wait()
	_ = n.r.Close()
	_ = n.k.wal.Close()
	return n
}

// The newest checkpoint is damaged at every byte in turn, or cut off: it costs nothing, and is put aside.
func TestDamagedNewestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		names := n.files(checkpointPrefix)
		if len(names) != 2 {
			t.Fatalf("checkpoints are %v, want two", names)
		}
		whole, fs := n.load(names[1]), n.fs
		for i := 0; i < len(whole); i += 1 + failingStep*len(whole)/40 {
			for _, bad := range [][]byte{append(append(bytes.Clone(whole[:i]), whole[i]^0x55), whole[i+1:]...), whole[:i]} {
				n.fs = fs.KillClone()
				n.store(names[1], bad)
				again := *n.copy()
				again.start()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if aside := again.asideFiles(); !slices.Equal(aside, []string{names[1]}) || again.k.Aside() != 1 {
					t.Fatalf("byte %d: put aside are %v", i, aside)
				}
				again.drain()
				if err := again.stop(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// copy returns a node with the same promises, that can be kept or broken without changing these.
func (n *node) copy() *node {
	synctest.Wait() // ids may be reserved just now
	c := &node{t: n.t, seed: n.seed, rng: rand.New(rand.NewPCG(n.seed, 2)), fs: n.fs, ids: n.ids, next: n.next,
		messages: map[string]*message{}, promises: map[string]*promise{}, ageless: map[string]bool{}}
	c.crash.left = -1
	c.events.Store(n.events.Load())
	for key, m := range n.messages {
		m := *m
		c.messages[key] = &m
	}
	for key, p := range n.promises {
		p := *p
		p.m = c.messages[p.m.topic+"/"+p.m.body]
		p.deliveries = append([]said(nil), p.deliveries...)
		c.promises[key] = &p
	}
	return c
}

// When no checkpoint can be read a start refuses and changes nothing. When the loss is accepted it goes on with what the log has, and
// puts aside what it does not know.
func TestNoReadableCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		segments := n.segmentFiles()
		for _, name := range n.files(checkpointPrefix) {
			n.store(name, []byte("no checkpoint"))
		}
		for range 2 {
			before := n.tree()
			n.disk = nil
			_, _, err := Open(n.options())
			if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "checkpoint.0") {
				t.Fatalf("opened with %v", err)
			}
			if now := n.tree(); !maps.Equal(now, before) {
				t.Fatalf("the folder has changed:\n%v\n%v", before, now)
			}
		}
		n.accept, n.faults = true, true
		n.start()
		time.Sleep(5 * time.Second)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.accept = false
		n.start()
		time.Sleep(5 * time.Second)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		now := append(n.segmentFiles(), n.asideFiles()...)
		for _, name := range segments {
			if !slices.Contains(now, name) && !slices.Contains(now, "segments/"+name) {
				t.Errorf("%s is gone", name)
			}
		}
	})
}

// tree returns the sizes of all files, and their checksums.
func (n *node) tree() map[string]string {
	all := n.contents()
	for path, b := range all {
		all[path] = fmt.Sprintf("%d bytes, %08x", len(b), crc32.ChecksumIEEE([]byte(b)))
	}
	return all
}

// contents returns all files of the folder, by their paths.
func (n *node) contents() map[string]string {
	all := map[string]string{}
	var walk func(dir string)
	walk = func(dir string) {
		names, err := n.fs.List(dir)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, name := range names {
			path := dir + "/" + name
			if b, err := vfs.ReadFile(n.fs, path); err == nil {
				all[path] = string(b)
			} else {
				walk(path)
			}
		}
	}
	walk("data")
	return all
}

// asideFiles returns what is set aside, by its former path.
func (n *node) asideFiles() (names []string) {
	for path := range n.tree() {
		if name, ok := strings.CutPrefix(path, "data/"+asideFolder+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (n *node) segmentFiles() (names []string) {
	folders, _ := n.fs.List("data/segments")
	for _, folder := range folders {
		files, _ := n.fs.List("data/segments/" + folder)
		for _, f := range files {
			names = append(names, folder+"/"+f)
		}
	}
	return names
}

// A deleted topic leaves nothing on disk, also when the process ends between the record and the removal.
func TestDeletedTopicLeavesNoFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		for range 20 {
			n.publish()
		}
		if len(n.segmentFiles()) == 0 {
			t.Fatal("nothing has overflowed")
		}
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpRemove, Err: syscall.EIO})
		for _, topic := range n.r.Topics() {
			_ = n.r.DeleteTopic(topic.Name()) // the removal fails, as when the process ends here
		}
		n.fs = n.fs.KillClone()
		_ = n.stop()
		n.start()
		time.Sleep(time.Second)
		if left, _ := n.fs.List("data/segments"); len(left) > 0 || len(n.r.Topics()) > 0 {
			t.Errorf("folders %v and %d topics are left", left, len(n.r.Topics()))
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Segments go only once the log, synced, says that nobody needs them: else a power cut could bring back messages whose block
// has gone.
func TestSegmentsGoAfterTheLogIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		defer func() { _ = n.stop() }()
		to := n.randomTopic()
		s, err := to.Subscribe("c0", subscribeAll)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			var b topic.Batch
			b.Add(make([]byte, 500))
			b.Add(make([]byte, 500))
			if err := to.Publish(&b); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // the log lets them go
			if err := n.k.checkpoint(0); err != nil {
				t.Fatal(err)
			}
		}
		s.SetReady(1000)
		finishAll(s)
		files := len(n.segmentFiles())
		n.r.Reclaim()
		if !n.r.PrepareDrop() {
			t.Fatal("nothing can be let go")
		}
		if err := n.k.drop(); err != nil || len(n.segmentFiles()) >= files {
			t.Fatalf("%v, %d files of %d", err, len(n.segmentFiles()), files)
		}
		for seed := range uint64(40) {
			again := n.copy()
			again.fs = n.fs.CrashClone(rand.New(rand.NewPCG(seed, 5)))
			again.start() // which looks for what is missing
			if err := again.stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

var subscribeAll = topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour}

// publishLarge publishes messages that overflow into files of their own.
func publishLarge(t *testing.T, n *node) {
	t.Helper()
	to, err := n.r.Topic("t0")
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		var b topic.Batch
		b.Add(make([]byte, 5000))
		if err := to.Publish(&b); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second says in the log that the first is synced
		if err := n.k.sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// A log of messages that are consumed at once stays small without a pause, and a kill brings none of them back.
func TestLogOfWhatIsConsumedAtOnceStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		defer func() { _ = n.stop() }()
		to, err := n.r.Topic("t0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := to.Subscribe("c0", subscribeAll)
		if err != nil {
			t.Fatal(err)
		}
		s.SetReady(1000)
		most := int64(0)
		for range 40 { // 2 s in all, after which there would be a checkpoint in any case
			for range 4 {
				var b topic.Batch
				b.Add(make([]byte, 5000))
				if err := to.Publish(&b); err != nil {
					t.Fatal(err)
				}
				finishAll(s)
			}
			time.Sleep(tick)
			synctest.Wait()
			most = max(most, n.k.wal.Stats().FileBytes)
		}
		if limit := int64(3 * passingFactor * n.k.o.CheckpointBytes); most > limit {
			t.Errorf("the log had %d bytes, want %d at most", most, limit)
		}
		n.kill()
		if to = n.r.Lookup("t0"); to == nil || to.Channels()[0].Stats().Depth != 0 {
			t.Error("the topic is gone, or messages that were finished came back")
		}
	})
}

// finishAll takes and finishes what there is.
func finishAll(s *topic.Subscription) {
	for d := (topic.Delivery{}); s.Take(&d) > 0; d.Clear() {
		for _, run := range d.Runs {
			for f := run.Frames; len(f) > 0; f = f[len(protocol.FirstMessage(f)):] {
				s.Apply([]topic.Answer{{ID: protocol.FirstMessage(f).MustID(), Verb: topic.Finish}}, nil)
			}
		}
	}
}

// Blocks that could not be synced are written anew, so that checkpoints go on.
func TestFailedSyncOfSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		defer func() { _ = n.stop() }()
		publishLarge(t, n)
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Times: 1, Err: syscall.EIO})
		if err := n.k.checkpoint(0); err != nil {
			t.Errorf("one sync has failed, and the next one would not: %v", err)
		}
	})
}

// A block that is not known because the log is damaged stays, start after start: somebody may want to look into it.
func TestBlocksStayWhenTheLogIsDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		publishLarge(t, n)
		n.fs = n.fs.KillClone()
		_ = n.stop()
		before := n.segmentFiles()
		logs, err := n.fs.List("data/" + logFolder)
		if err != nil {
			t.Fatal(err)
		}
		name := logFolder + "/" + logs[2]
		b := n.load(name)
		b[500] ^= 0xff
		n.store(name, b)
		for range 2 {
			n.faults = true // messages are missing
			n.start()
			time.Sleep(5 * time.Second)
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
		}
		now := append(n.segmentFiles(), n.asideFiles()...)
		for _, name := range before {
			if !slices.Contains(now, name) && !slices.Contains(now, "segments/"+name) {
				t.Errorf("%s is gone", name)
			}
		}
	})
}
