package topic

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// Lines that carry a promise, and that no other test missed when they were taken out.

// gapLog is a log that lacks records, and no checkpoint has made up for them.
type gapLog struct {
	*keptLog
	gap error
}

func (l *gapLog) Gap() error { return l.gap }

// TestNothingIsAnsweredBehindAGap: a publish, and a dead letter, may build on what the log has lost: they are refused, and nobody gets them.
func TestNothingIsAnsweredBehindAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &gapLog{keptLog: &keptLog{}}
		topic := mustTopic(t, durableRegistry(t, l), "t")
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_attempts":1}`)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		f := flight{}
		publish(t, topic, 1)
		expectBodies(t, "at first", f.takeAll(s), "m1")
		l.gap = errors.New("records are lost")
		f.answer(t, s, "m1", Requeue, 0)
		var b Batch
		b.Add([]byte("refused"))
		if err := topic.Publish(&b); !errors.Is(err, l.gap) {
			t.Errorf("a publish behind a gap: %v", err)
		}
		synctest.Wait()
		if st, dead := c.Stats(), topic.registry.Lookup("t.c.dlq"); st.Depth != 0 || st.Buried != 1 || dead != nil && dead.Stats().Depth != 0 {
			t.Errorf("behind a gap the channel has %+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestKeysAreSureOnlyOnceACheckpointHasThem: until a checkpoint that begins behind a publish counts, who repeats that and asks for a sync waits for one.
func TestKeysAreSureOnlyOnceACheckpointHasThem(t *testing.T) {
	l := &syncLog{keptLog: &keptLog{}}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	setTopicOptions(t, topic, `{"dedup_window":"10m"}`)
	before := l.End()
	publishKeyed(t, topic, "a=1")
	repeat := func() (synced bool) {
		t.Helper()
		l.synced = false
		if err := topic.PublishAs(keyedBatch("t", "a=no"), 0, Fsync); err != nil {
			t.Error(err)
		}
		return l.synced
	}
	if topic.registry.keysKept(before); !repeat() {
		t.Error("a repeated publish was answered without the sync that it asks for")
	}
	if topic.registry.keysKept(l.End()); repeat() {
		t.Error("what a checkpoint has was synced once more")
	}
}

// TestWhatMayBeTakenBackIsInNoSegment: however full memory is.
func TestWhatMayBeTakenBackIsInNoSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		g.topic.own.machine.Init(&g.topic.registry.rules, 1, false)
		for _, body := range []string{"1", "2", "3", "4"} {
			g.publish(0, body+string(make([]byte, handOverBytes)))
		}
		if n := g.topic.d.onDisk.Load(); n != 0 {
			t.Errorf("%d nodes are in segments that may be taken back", n)
		}
		g.log.finish(t, 0, errors.New("no disk"))
		for range 3 {
			g.log.finish(t, 0, nil)
		}
		if n := len(g.bodies()); n != 3 {
			t.Errorf("%d messages come, of 3", n)
		}
	})
}

// handOverBytes is from how many bytes on a publish has a node to itself.
const handOverBytes = 64 << 10

// checkpointed reports whether a checkpoint that is begun now is made without waiting; it is made in any case once the log goes on, which the caller sees to
// with the function that is returned.
func checkpointed(t *testing.T, r *Registry) (done bool, wait func()) {
	t.Helper()
	end := make(chan error, 1)
	go func() {
		end <- r.Cut().Run(io.Discard, func(journal.Offset) error { return nil }, func(int64) error { return nil })
	}()
	synctest.Wait()
	return len(end) == 1, func() {
		t.Helper()
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
}

// TestACheckpointWaitsForWhatIsInDoubt: publishes, dead letters on their way, from a channel and from a topic's own backlog. It must not say of them more than
// is known.
func TestACheckpointWaitsForWhatIsInDoubt(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, g *gated){
		"a publish": func(t *testing.T, g *gated) { g.publish(0, "1") },
		"a dead letter": func(t *testing.T, g *gated) {
			g.log.set(true)
			setOptions(t, g.topic.LookupChannel("c"), `{"max_attempts":1}`)
			mustTopic(t, g.r, "t.c.dlq")
			publish(t, g.topic, 1)
			f := flight{}
			f.takeAll(g.sub)
			g.log.set(false)
			f.answer(t, g.sub, "m1", Requeue, 0)
			synctest.Wait()
		},
		"a dead letter on its way back": func(t *testing.T, g *gated) {
			g.log.set(true)
			setOptions(t, g.topic.LookupChannel("c"), `{"max_attempts":1}`)
			publish(t, g.topic, 1)
			f := flight{}
			f.takeAll(g.sub)
			f.answer(t, g.sub, "m1", Requeue, 0)
			synctest.Wait()
			g.log.set(false)
			if _, err := g.topic.Redrive("c", RedriveOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGated(t)
				begin(t, g)
				done, wait := checkpointed(t, g.r)
				if done {
					t.Error("a checkpoint is made while nobody knows what becomes of it")
				}
				g.log.set(true)
				g.log.finish(t, 0, nil)
				wait()
			})
		})
	}
}

// TestACheckpointCountsBehindASync: what it was written for goes once it has its name; the log is synced between.
func TestACheckpointCountsBehindASync(t *testing.T) {
	l := &keptLog{}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	mustChannel(t, topic, "c")
	publish(t, topic, 3)
	var order []string
	err := topic.registry.Cut().Run(writes(func() { order = append(order, "write") }), func(upTo journal.Offset) error {
		if upTo != l.End() {
			t.Errorf("synced up to %v of %v", upTo, l.End())
		}
		order = append(order, "sync")
		return nil
	}, func(int64) error {
		order = append(order, "name")
		return nil
	})
	if order = slices.Compact(order); err != nil || !slices.Equal(order, []string{"sync", "write", "sync", "name"}) {
		t.Errorf("%v, %v", order, err)
	}
}

type writes func()

func (f writes) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

// TestACheckpointNamesBlocksWhereTheyAre: also when they were written anew as their sync has failed.
func TestACheckpointNamesBlocksWhereTheyAre(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewMem())
	cfg := config()
	cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{disk}, func(string) Level { return Disk }
	r := start(t, cfg)
	topic := mustTopic(t, r, "t")
	mustChannel(t, topic, "c")
	publish(t, topic, 3)
	disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
	var b bytes.Buffer
	if err := r.Cut().Run(&b, func(journal.Offset) error { return nil }, func(int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	state, err := journal.ReadCheckpoint(&b, int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	at := topic.d.table.each()[0].at().Ref
	if n := state.Topics[topic.d.id].Nodes; len(n) != 1 || (segment.Ref{File: n[0].File, Offset: n[0].Offset, Length: n[0].Length}) != at || at.File == 1 {
		t.Errorf("the checkpoint names %v, the block is at %v", n, at)
	}
}

// TestABlockIsWrittenAnewFromWhereItIs: not when it has gone, or moved, while it was read.
func TestABlockIsWrittenAnewFromWhereItIs(t *testing.T) {
	cfg := config()
	makeDurable(&cfg)
	r := start(t, cfg)
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	publish(t, topic, 3)
	checkpoint(t, r)
	s := topic.d.table.each()[0]
	old := s.at()
	topic.pub.Lock()
	err := topic.moveLocked(s)
	topic.pub.Unlock()
	now := s.at()
	need := topic.neededIn([]*stored{s})
	if some, failed := topic.rewrite(s, old, need); err != nil || some || failed != nil || s.at() != now {
		t.Errorf("a block was written anew out of one that is not its any more: %v, %v, %v", some, err, failed)
	}
	if err := c.Empty(); err != nil {
		t.Fatal(err)
	}
	w := rewriting{}
	if ok, err := w.gather(topic, s, now, need); err != nil || !ok {
		t.Fatal(ok, err)
	}
	topic.pub.Lock()
	topic.reclaimLocked()
	topic.pub.Unlock()
	if some, err := topic.rewrite(s, now, need); some || err != nil || s.at() != now {
		t.Errorf("a block that nobody needs was written anew: %v, %v", some, err)
	}
}
