package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/broker/storage"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// backlog makes a broker at level disk with messages in every state, most of them in segments, and stops it. It returns its
// options and, for each message of channel t:c, the attempt as which it is to come next.
func backlog(t *testing.T) (broker.Options, map[string]uint16) {
	t.Helper()
	o := options(t)
	o.MemQueueSize, o.TopicDurability = 10, []string{"old=memory"}
	n := startWith(t, o)
	want := map[string]uint16{}
	c := n.subscribe("t", "c", 0)
	n.post("/channel/create?topic=t&channel=d", "")
	for i := range 2000 {
		body := fmt.Sprintf("%04d%s", i, strings.Repeat("x", 200))
		want[body] = 1
		c.Send(prototest.Pub("t", body))
	}
	for range 2000 {
		c.Expect("OK")
	}
	c.Send("RDY 3\n")
	var got []prototest.Delivered
	for range 3 {
		got = append(got, c.Next().Message())
	}
	c.Send("RDY 0\nFIN " + got[0].ID + "\nREQ " + got[1].ID + " 3600000\n")
	delete(want, string(got[0].Body))
	want[string(got[1].Body)], want[string(got[2].Body)] = 2, 2
	c.Send("DPUB t 3600000\n" + prototest.Body("deferred"))
	c.Expect("OK")
	want["deferred"] = 1
	n.publish("alone", "1", "2")
	n.publish("old", "3")
	n.post("/channel/create?topic=old&channel=c", "")
	n.post("/channel/pause?topic=t&channel=d", "")
	eventually(t, "all states are taken", func() bool {
		s := n.channel("t", "c")
		return s.Depth == 1997 && s.DeferredCount == 2 && s.InFlightCount == 1
	})
	n.stop()
	return o, want
}

var contentsSeed = maphash.MakeSeed()

// contents returns a sum of every file of a folder.
func contents(t testing.TB, dir string) map[string]uint64 {
	t.Helper()
	sums := map[string]uint64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		sums[path] = maphash.Bytes(contentsSeed, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// TestExport: what a broker at level disk has to deliver is all there for whoever reads nsqd's layout: a broker at level
// memory, and one at level disk that takes it over again. The exported folder is not changed.
func TestExport(t *testing.T) {
	t.Parallel()
	o, want := backlog(t)
	before := contents(t, o.DataPath)
	out := filepath.Join(t.TempDir(), "made", "out")
	var report bytes.Buffer
	if err := broker.Export(o.DataPath, out, false, &report, nil); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, contents(t, o.DataPath)) {
		t.Error("the folder was changed")
	}
	if text := report.String(); !strings.Contains(text, "queue t:c: 2000 messages") || !strings.Contains(text, "3 topics, 4004 messages") {
		t.Errorf("reported: %s", text)
	}
	ids := map[string]bool{}
	scanned, err := nsqdata.Scan(out, "t:c", func(r nsqdata.Record) error {
		ids[r.ID.String()] = true
		if want[string(r.Body)] != r.Attempts+1 {
			t.Errorf("%.9s has %d attempts", r.Body, r.Attempts)
		}
		return nil
	})
	if err != nil || len(ids) != 2000 || scanned.Damage != nil {
		t.Errorf("%d ids, %+v, %v", len(ids), scanned, err)
	}
	for _, level := range []broker.Durability{levelMemory, levelDisk} { // the second takes over what the first has left
		o := o
		o.DataPath, o.Durability, o.TopicDurability = out, level, nil
		n := startWith(t, o)
		if tt, alone, old := n.topic("t"), n.topic("alone"), n.channel("old", "c"); tt.Depth != 0 || alone.Depth != 2 || old.Depth != 1 {
			t.Errorf("depths: %+v %+v %+v", tt, alone, old)
		}
		if s := n.channel("t", "d"); s.Depth != 2001 || !s.Paused {
			t.Errorf("channel d: %+v", s)
		}
		if level == levelDisk {
			consume(t, n, "t", "c", want)
		}
		n.stop()
	}
	if err := broker.Export(o.DataPath, out, false, &report, nil); !errors.Is(err, broker.ErrNotEmpty) {
		t.Errorf("an export over another: %v", err)
	}
}

// TestExportOfHalfATakeOver: what the log has of a queue and what is still in its files make the whole of it.
func TestExportOfHalfATakeOver(t *testing.T) {
	t.Parallel()
	dir := nsqdFolder(t)
	s := openStore(t, dir)
	tt := s.registry.Lookup("t")
	source, err := nsqdata.Source(dir, "t:a")
	if err != nil {
		t.Fatal(err)
	}
	m, left := tt.BeginImport("t:a", source, tt.LookupChannel("a")), 150
	stop := errors.New("enough")
	if _, err := nsqdata.Scan(dir, "t:a", func(r nsqdata.Record) error {
		if left--; left < 0 {
			return stop
		}
		return m.Add(r.Timestamp, r.Attempts, r.ID, r.Body)
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	s.close(t)
	out := filepath.Join(t.TempDir(), "out")
	if err := broker.Export(dir, out, false, t.Output(), nil); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.DataPath, o.Durability = out, levelMemory
	consume(t, startWith(t, o), "t", "a", expected())
}

// TestCheck: a whole folder is told in figures; a running broker's is refused; nothing is changed.
func TestCheck(t *testing.T) {
	t.Parallel()
	o, _ := backlog(t)
	before := contents(t, o.DataPath)
	var report bytes.Buffer
	if err := broker.Check(o.DataPath, &report, nil); err != nil {
		t.Fatalf("%v\n%s", err, report.String())
	}
	for _, line := range []string{
		"topic t: level disk, ",
		"  channel c: 1997 waiting, 1 out, 2 deferred\n",
		"  channel d (paused): 2000 waiting, 0 out, 1 deferred\n",
		"  for channels to come: 2 waiting, 0 out, 0 deferred\n",
		"topic old: not in the log: served at level memory, taken over by a start at level disk or fsync\n  queue old:c: 1 messages, ",
		"\nno damage\n",
	} {
		if !strings.Contains(report.String(), line) {
			t.Errorf("missing %q in\n%s", line, report.String())
		}
	}
	if !maps.Equal(before, contents(t, o.DataPath)) {
		t.Error("the folder was changed")
	}
	n := startWith(t, o)
	if err := broker.Check(o.DataPath, &report, nil); !errors.Is(err, nsqdata.ErrLocked) {
		t.Errorf("under a running broker: %v", err)
	}
	if err := broker.Export(o.DataPath, filepath.Join(t.TempDir(), "out"), false, &report, nil); !errors.Is(err, nsqdata.ErrLocked) {
		t.Errorf("under a running broker: %v", err)
	}
	n.stop()
}

// TestReplicatedTopicsAreNotExported: whoever exports before he wipes a folder must know it.
func TestReplicatedTopicsAreNotExported(t *testing.T) {
	t.Parallel()
	o, _ := backlog(t)
	m, found, err := manifest.Read(vfs.OS(), o.DataPath)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	m.Groups = append(m.Groups, manifest.Group{Number: 0}, manifest.Group{Number: 1}, manifest.Group{Number: 2})
	if err := manifest.Write(vfs.OS(), o.DataPath, &m); err != nil {
		t.Fatal(err)
	}
	const line = "REPLICATED this broker is a member of a cluster, and has replicas of topics in 2 groups"
	var report bytes.Buffer
	if _ = broker.Check(o.DataPath, &report, nil); !strings.Contains(report.String(), line) { // its groups have no files, which is damage
		t.Errorf("checked:\n%s", &report)
	}
	report.Reset()
	err = broker.Export(o.DataPath, filepath.Join(t.TempDir(), "out"), false, &report, nil)
	if !errors.Is(err, broker.ErrReplicated) || !strings.Contains(report.String(), line) || !strings.Contains(report.String(), "3 topics, 4004 messages") {
		t.Errorf("%v\n%s", err, &report)
	}
}

// TestCheckFindsDamage: a flipped byte or a missing file anywhere is told, and told apart; nothing is changed.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	o, _ := backlog(t)
	flip := func(at int64) func(path string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if at < 0 {
				at += int64(len(data))
			}
			data[at] ^= 0x40
			return os.WriteFile(path, data, 0o600)
		}
	}
	for what, damage := range map[string]struct {
		pattern string
		do      func(path string) error
		told    string
		want    error
	}{
		"segment message":  {"segments/*/*.seg", flip(5000), "messages of", broker.ErrDamaged},
		"segment header":   {"segments/*/*.seg", flip(35), "block header", broker.ErrDamaged},
		"segment":          {"segments/*/*.seg", os.Remove, "messages of topic t that are needed", storage.ErrIncomplete},
		"segments":         {"segments/*/*.seg", func(path string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(path))) }, "messages of topic t that are needed", storage.ErrIncomplete},
		"end of a segment": {"segments/*/*.seg", func(path string) error { return os.Truncate(path, 1000) }, "is cut short", storage.ErrIncomplete},
		"checkpoint":       {"checkpoint.*", flip(100), "nothing is lost", broker.ErrDamaged},
		"log":              {"journal/*.wal", func(path string) error { return os.RemoveAll(filepath.Dir(path)) }, "in which the log begins", storage.ErrIncomplete},
		"manifest":         {"manifest", os.Remove, "which says what belongs to the folder", storage.ErrIncomplete},
		"damaged manifest": {"manifest", flip(50), "the manifest is damaged", storage.ErrIncomplete},
		"old queue":        {"old:c.diskqueue.000000.dat", flip(0), "queue old:c", broker.ErrDamaged},
		"list of topics":   {"nsqd.dat", flip(0), "a start fails", broker.ErrDamaged},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(o.DataPath)); err != nil {
				t.Fatal(err)
			}
			if err := damage.do(largest(t, filepath.Join(dir, damage.pattern))); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			var report bytes.Buffer
			if err := broker.Check(dir, &report, nil); !errors.Is(err, damage.want) || !strings.Contains(report.String(), damage.told) {
				t.Errorf("%v\n%s", err, report.String())
			}
			if err := broker.Export(dir, filepath.Join(t.TempDir(), "out"), false, io.Discard, nil); err == nil {
				t.Error("an export tells nothing of it")
			}
			if !maps.Equal(before, contents(t, dir)) {
				t.Error("the folder was changed")
			}
		})
	}
}

// TestCheckLooksAtTheBoundOfIDs: a bound that is no number, or no file, is damage, which a start makes up for by the manifest's copy.
func TestCheckLooksAtTheBoundOfIDs(t *testing.T) {
	t.Parallel()
	o, _ := backlog(t)
	path := filepath.Join(o.DataPath, "brokerd.ids")
	check := func(told string) {
		t.Helper()
		var report bytes.Buffer
		if err := broker.Check(o.DataPath, &report, nil); !errors.Is(err, broker.ErrDamaged) || !strings.Contains(report.String(), told) {
			t.Errorf("%v\n%s", err, report.String())
		}
	}
	if err := os.WriteFile(path, []byte("12x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a start goes by the manifest's copy")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	check("brokerd.ids is no regular file, and links are not followed in a data folder: a start goes by the manifest's copy, and nothing is lost")
	whole(t, o, 0)
}

// largest returns the largest of the files that fit a pattern.
func largest(t testing.TB, pattern string) (path string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file fits %s: %v", pattern, err)
	}
	most := int64(-1)
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= most {
			path, most = file, info.Size()
		}
	}
	return path
}

// TestCheckOfNothing: a folder without anything, and one that is not there.
func TestCheckOfNothing(t *testing.T) {
	t.Parallel()
	var report bytes.Buffer
	if err := broker.Check(t.TempDir(), &report, nil); err != nil || !strings.Contains(report.String(), "no log") {
		t.Errorf("%v %s", err, report.String())
	}
	if err := broker.Check(filepath.Join(t.TempDir(), "none"), &report, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// copyFolder copies a data folder under a running broker, which does nothing but its own housekeeping, as a kill would leave it.
func copyFolder(to, from string) error {
	for {
		before, _ := os.ReadFile(filepath.Join(from, manifest.FileName))
		err := os.CopyFS(to, os.DirFS(from))
		after, _ := os.ReadFile(filepath.Join(from, manifest.FileName))
		if err == nil && bytes.Equal(before, after) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(to); err != nil { // it was written meanwhile
			return err
		}
	}
}
