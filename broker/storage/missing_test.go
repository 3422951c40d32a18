package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

// TestReadErrorsAreNoDamage: whatever cannot be read at a start, an error that passes costs nothing, and one that stays refuses the start
// and changes nothing; when it has gone all is there.
func TestReadErrorsAreNoDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		fs := n.fs
		for _, pattern := range []string{checkpointPrefix + "*", manifest.FileName, "*.wal", "*.seg", "data", logFolder, segmentsFolder} {
			for _, errno := range diskErrors {
				n.fs = fs.KillClone()
				before := n.tree()
				n.disk = vfs.NewFaulty(n.fs, vfs.Rule{Ops: vfs.OpOpen | vfs.OpRead | vfs.OpList | vfs.OpSize, Path: pattern, Err: errno})
				k, recovery, err := Open(n.options())
				if err == nil { // what topics need is looked at later
					err = n.recovered(k, recovery)
				}
				if err == nil || errors.Is(err, ErrIncomplete) || !errors.Is(err, errno) {
					t.Fatalf("%s fails with %v: %v", pattern, errno, err)
				}
				if now := n.tree(); !maps.Equal(now, before) {
					t.Fatalf("%s fails with %v: the folder has changed", pattern, errno)
				}
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpOpen | vfs.OpRead | vfs.OpList, Path: pattern, Times: 1, Err: errno})
				k, recovery, err = Open(n.options())
				if err == nil {
					err = n.recovered(k, recovery)
				}
				if err != nil {
					t.Fatalf("%s fails once with %v: %v", pattern, errno, err)
				}
			}
		}
		n.fs = fs
		n.start()
		n.drain()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNewerFormatsAreLeftAlone: a file of any kind that a newer version has written refuses the start, which names the version and changes
// nothing; a feature that is not known does as well.
func TestNewerFormatsAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		fs := n.fs
		sum := func(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
		newer := map[string]func(b []byte){
			checkpointPrefix: func(b []byte) {
				binary.BigEndian.PutUint32(b[8:], formatVersion+1)
				binary.BigEndian.PutUint32(b[28:], sum(b[:28]))
			},
			".wal": func(b []byte) {
				binary.LittleEndian.PutUint32(b[8:], formatVersion+1)
				binary.LittleEndian.PutUint32(b[60:], sum(b[:60]))
			},
			".seg": func(b []byte) {
				binary.BigEndian.PutUint32(b[4:], formatVersion+1)
				number := binary.BigEndian.Uint32(b[8:])
				binary.BigEndian.PutUint32(b[12:], crc32.Update(number*2654435761, castagnoli, b[:12]))
			},
		}
		for kind, change := range newer {
			n.fs, n.disk = fs.KillClone(), nil
			for path := range n.tree() {
				if strings.Contains(path, kind) && !strings.HasSuffix(path, ".tmp") {
					name := strings.TrimPrefix(path, "data/")
					b := n.load(name)
					change(b)
					n.store(name, b)
				}
			}
			n.refuses(kind, "format 3")
		}
		n.fs, n.disk = fs.KillClone(), nil
		n.store(manifest.FileName, []byte("brokerd manifest 2 of a newer kind\n"))
		n.refuses("manifest", "format 2")
		n.fs = fs.KillClone()
		m, _, err := manifest.Read(n.fs, "data")
		if err != nil {
			t.Fatal(err)
		}
		m.Needs = []string{"something-new"}
		if err := manifest.Write(n.fs, "data", &m); err != nil {
			t.Fatal(err)
		}
		n.refuses("need", `"something-new"`)
	})
}

// refuses fails unless a start refuses the folder because of its version, and says that.
func (n *node) refuses(what, says string) {
	n.t.Helper()
	before := n.tree()
	for _, accept := range []bool{false, true} {
		n.accept = accept
		if _, _, err := Open(n.options()); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), says) {
			n.t.Errorf("%s: %v", what, err)
		}
	}
	n.accept = false
	if now := n.tree(); !maps.Equal(now, before) {
		n.t.Errorf("%s: the folder has changed", what)
	}
}

// TestLogFilesGoUnderTheBroker: when somebody removes all files of the log, or puts others in their place, while the node runs, it says so
// with the next sync, makes up for it, and nothing that is acknowledged is lost by a kill.
func TestLogFilesGoUnderTheBroker(t *testing.T) {
	for _, replace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, 7)
			for range 20 {
				n.publish()
			}
			n.advance(5 * time.Second)
			logs, err := n.fs.List("data/" + logFolder)
			if err != nil || len(logs) == 0 {
				t.Fatal(logs, err)
			}
			for _, name := range logs {
				if replace {
					n.store(logFolder+"/"+name, []byte("something else"))
				} else if err := n.fs.Remove("data/" + logFolder + "/" + name); err != nil {
					t.Fatal(err)
				}
			}
			n.faults = true
			for range 5 {
				n.publish() // a sync will fail
			}
			n.advance(10 * time.Second)
			if err := n.r.Health(); err != nil {
				t.Errorf("it does not heal: %v", err)
			}
			n.faults = false
			for range 5 {
				n.publish()
			}
			n.advance(5 * time.Second)
			n.kill()
			n.drain()
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// recovered makes the topics of a folder that was opened, and lets go of it again.
func (n *node) recovered(k *Engine, v *topic.Recovery) error {
	r := topic.NewRegistry(topic.Config{NodeID: 1, MemQueueSize: 12, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour, Journal: noLog{},
		Segments: k.Segments(), Level: func(string) topic.Level { return topic.Disk }})
	return errors.Join(r.Recover(v), k.Abandon())
}

// TestTheFirstFileOfALogWithItsFirstCheckpoint: a checkpoint that was written before anything was in the log needs all of it, from its first file on.
func TestTheFirstFileOfALogWithItsFirstCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		if err := n.k.checkpoint(0); err != nil {
			t.Fatal(err)
		}
		if m := n.k.folder.current(); len(m.Checkpoints) != 1 || m.Checkpoints[0].From != (manifest.Offset{}) {
			t.Fatalf("checkpoints %+v", m.Checkpoints)
		}
		to, err := n.r.Topic("t0")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := publishSynced(to, 3000); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(1500 * time.Millisecond) // the second file is entered
		if m := n.k.folder.current(); len(m.Checkpoints) != 1 || m.Log.Seen < 2 {
			t.Fatalf("checkpoints %+v, file %d is entered", m.Checkpoints, m.Log.Seen)
		}
		n.fs = n.fs.KillClone()
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		names, err := n.fs.List("data/" + logFolder)
		if err != nil || len(names) < 2 {
			t.Fatalf("files %q, %v", names, err)
		}
		if err := n.fs.Remove("data/" + logFolder + "/" + names[0]); err != nil {
			t.Fatal(err)
		}
		n.disk = nil
		if _, _, err := Open(n.options()); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), names[0]) {
			t.Errorf("opened with %v", err)
		}
	})
}
