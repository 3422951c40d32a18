package storage

import (
	"errors"
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

// finishCount takes what a channel of t0 has and finishes all of it.
func finishCount(t *testing.T, to *topic.Topic, count int) {
	t.Helper()
	s, err := to.Subscribe("c0", subscribeAll)
	if err != nil {
		t.Fatal(err)
	}
	s.SetReady(100)
	for d := (topic.Delivery{}); count > 0; time.Sleep(time.Millisecond) {
		var answers []topic.Answer
		for s.Take(&d) > 0 {
			each(&d, func(f protocol.MessageFrame) {
				count--
				answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
			})
			d.Clear()
		}
		s.Apply(answers, nil)
	}
	_ = s.Close()
}

// TestSegmentsThatWentEarlyAreNoLoss: a disk is full, all is consumed, and its segments go although the log cannot say that it was. After a
// kill that is no loss: none is told, and the messages count as finished, not as unreadable.
func TestSegmentsThatWentEarlyAreNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count = 400
		to := fill(t, n, count, 200, 10*time.Millisecond)
		time.Sleep(time.Minute) // all is in segments, and in a checkpoint
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpPreallocate, Err: syscall.ENOSPC})
		finishCount(t, to, count)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		early := 0
		for _, name := range n.segmentFiles() {
			if strings.HasSuffix(name, doneSuffix) {
				early++
			}
		}
		if early == 0 {
			t.Fatal("no segments went early")
		}
		n.fs = n.fs.KillClone()
		_ = n.stop()
		n.disk = vfs.NewFaulty(n.fs)
		n.reborn()
		recovery, err := n.open()
		if err != nil {
			t.Fatal(err)
		}
		n.r.Start()
		n.k.Start(n.r)
		for id := range recovery.State.Topics {
			if missing := recovery.Missing(id); len(missing) > 0 {
				t.Errorf("messages of topic %d are called missing: %v", id, missing)
			}
		}
		s := n.r.Lookup("t0").Channels()[0].Stats()
		if a := s.Counts; a.Accepted != count || a.Finished+uint64(s.Held) != count || a.Finished == 0 {
			t.Errorf("the channel accounts for %+v, with %d waiting", a, s.Depth)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMarksOfSegmentsThatWentEarlyGo: what is left of files that went early goes with the checkpoints that no more need them, when the disk is well again and
// after a kill, however often a checkpoint has failed before.
func TestMarksOfSegmentsThatWentEarlyGo(t *testing.T) {
	for what, killed := range map[string]bool{"the disk is well again": false, "after a kill": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				const count = 400
				to := fill(t, n, count, 200, 10*time.Millisecond)
				time.Sleep(time.Minute) // all is in segments, and in a checkpoint
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpPreallocate, Err: syscall.ENOSPC})
				finishCount(t, to, count)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				marks := func() (left int) {
					for _, name := range n.segmentFiles() {
						if strings.HasSuffix(name, doneSuffix) {
							left++
						}
					}
					return left
				}
				if marks() == 0 {
					t.Fatal("no segments went early")
				}
				if killed {
					n.kill()
				}
				n.disk.SetRules()
				for range 3 { // they stay as long as a checkpoint that counts may need them
					time.Sleep(5 * time.Second)
					n.publishTo(n.r.Lookup("t0"), 100)
				}
				if err := n.stop(); err != nil {
					t.Fatal(err)
				}
				if left := marks(); left > 0 {
					t.Errorf("%d marks are left", left)
				}
			})
		})
	}
}

// TestSegmentsOfAnotherTopicAreMissing: files of segments of two topics, of the same size, have changed places. The start refuses, changes
// nothing, and serves all once they are back.
func TestSegmentsOfAnotherTopicAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count = 200
		for _, name := range []string{"t0", "t1"} {
			n.backlog(name, count)
		}
		time.Sleep(time.Minute) // all is in segments, and in a checkpoint
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		files := n.segmentFiles()
		first := files[0]
		i := slices.IndexFunc(files, func(name string) bool { return filepath.Base(name) == filepath.Base(first) && name != first })
		swap := func() {
			a, b := n.load("segments/"+first), n.load("segments/"+files[i])
			n.store("segments/"+first, b)
			n.store("segments/"+files[i], a)
		}
		swap()
		before := n.tree()
		_, _, err := Open(n.options())
		if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "is another file (it belongs to folder") {
			t.Errorf("the start says %v", err)
		}
		if !maps.Equal(before, n.tree()) {
			t.Error("the folder was changed")
		}
		swap()
		n.start()
		for _, name := range []string{"t0", "t1"} {
			if s := n.r.Lookup(name).Channels()[0].Stats(); s.Held != count {
				t.Errorf("%s has %d messages of %d", name, s.Held, count)
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRepairLeavesNoDamageBehind: once a repair has given up files of segments that are another topic's, a look at the folder finds none.
func TestRepairLeavesNoDamageBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 2)
		for _, name := range []string{"t0", "t1"} {
			n.backlog(name, 200)
		}
		time.Sleep(time.Minute)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		files := n.segmentFiles()
		i := slices.IndexFunc(files, func(name string) bool { return filepath.Base(name) == filepath.Base(files[0]) && name != files[0] })
		a, b := n.load("segments/"+files[0]), n.load("segments/"+files[i])
		n.store("segments/"+files[0], b)
		n.store("segments/"+files[i], a)
		n.accept = true
		n.faults = true // messages are missing, and that is accepted
		n.start()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.accept = false
		for id := range uint32(2) {
			k, _, err := Open(n.options())
			if err != nil {
				t.Fatal(err)
			}
			store, _, damage, err := k.Segments().Open(id+1, "", nil)
			if err != nil || len(damage) > 0 {
				t.Errorf("segments of topic %d: %v %v", id+1, damage, err)
			}
			if err := errors.Join(store.Close(), k.Abandon()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestARepairNeedsNothingOfALogThatCannotBeRead: a log of which the disk does not give back the beginning, and nothing else that says what was there. Once a repair
// has given it up the next start does not ask for it, and it is put aside.
func TestARepairNeedsNothingOfALogThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		n.backlog("t0", 200)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		log := ""
		for path := range n.tree() {
			if strings.HasPrefix(path, "data/checkpoint") || path == "data/"+manifest.FileName {
				n.remove(path)
			} else if filepath.Ext(path) == ".wal" {
				log = max(log, path)
			}
		}
		if err := n.fs.Break(log, 0, 1); err != nil {
			t.Fatal(err)
		}
		n.accept, n.faults = true, true // messages are missing, and that is accepted
		n.start()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.accept = false
		n.start()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		names, err := n.fs.List("data/set-aside/journal")
		if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], filepath.Base(log)) {
			t.Errorf("put aside of the log are %q, %v", names, err)
		}
	})
}

// backlog makes a topic with a channel and so many messages of 200 bytes.
func (n *node) backlog(name string, count int) {
	to, err := n.r.Topic(name)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := to.Channel("c0"); err != nil {
		n.t.Fatal(err)
	}
	n.publishTo(to, count)
}

// TestAnEphemeralChannelTakesABacklogForGood: what a topic without channels had in segments goes to an ephemeral channel, which finishes it. Its files go then, and
// after a kill neither the topic nor a channel that is made later needs them.
func TestAnEphemeralChannelTakesABacklogForGood(t *testing.T) {
	for what, later := range map[string]bool{"the topic": false, "a channel": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				to, err := n.r.Topic("t0")
				if err != nil {
					t.Fatal(err)
				}
				n.publishTo(to, 200)
				time.Sleep(time.Minute) // all is in segments, and in a checkpoint
				files := len(n.segmentFiles())
				s, err := to.Subscribe("tail#ephemeral", subscribeAll)
				if err != nil {
					t.Fatal(err)
				}
				s.SetReady(100)
				for range 100 {
					finishAll(s)
					time.Sleep(time.Millisecond)
				}
				n.publishTo(to, 1)
				finishAll(s)
				_ = s.Close()
				if later {
					if _, err := to.Channel("c0"); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second) // no checkpoint is due
				if now := len(n.segmentFiles()); files == 0 || now >= files {
					t.Fatalf("%d files of segments of %d are left", now, files)
				}
				n.kill()
				to = n.r.Lookup("t0")
				for _, c := range append(to.Channels(), to.Own()) {
					if s := c.Stats(); s.Held > 1 {
						t.Errorf("%q has %d messages", c.Name(), s.Held)
					}
				}
				if err := n.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// publishTo publishes so many messages of 200 bytes.
func (n *node) publishTo(to *topic.Topic, count int) {
	for range count {
		var b topic.Batch
		b.Add(make([]byte, 200))
		if err := to.Publish(&b); err != nil {
			n.t.Fatal(err)
		}
	}
}
