package broker_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/broker/storage"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// refusal starts a broker on a folder, and returns why it does not come to serve.
func refusal(t *testing.T, o broker.Options) error {
	t.Helper()
	s, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Start(t.Context()); err == nil {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	return err
}

// killedBacklog is backlog of a broker that was killed instead of stopped: the log has records behind the checkpoint.
func killedBacklog(t *testing.T) broker.Options {
	o, _ := backlog(t)
	n := startWith(t, o)
	n.publish("t", "after the start") // the log goes on
	n.publish("new", "1", "2", "3")
	was := newestLogFile(t, o.DataPath)
	eventually(t, "the log file that was begun is entered", func() bool {
		m, _, err := manifest.Read(vfs.OS(), o.DataPath)
		return err == nil && m.Log.Seen >= was
	})
	o.DataPath = killed(t, n)
	n.stop()
	return o
}

// newestLogFile returns the highest number of a file of the log.
func newestLogFile(t *testing.T, dir string) (highest uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*.wal"))
	for _, f := range files {
		n, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(f), ".wal"), 10, 64)
		highest = max(highest, n)
	}
	if err != nil || highest == 0 {
		t.Fatal(files, err)
	}
	return highest
}

// pieces are the parts of a data folder, of every kind, by the name that a refusal must tell; a start must serve all without those of
// which it is not told.
func pieces(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{"the log": "journal", "segments": "segments", "manifest": "manifest", "ids": "brokerd.ids", "reserve": "reserve"}
	for _, pattern := range []string{"checkpoint.*", "journal/*.wal", "segments/*/*.seg", "segments/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, found, err)
		}
		for _, path := range found {
			name, err := filepath.Rel(dir, path)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = name
		}
	}
	return all
}

// whole fails unless a broker on a folder serves all that backlog, or killedBacklog, has promised.
func whole(t *testing.T, o broker.Options, more int64) {
	t.Helper()
	n := startWith(t, o)
	c, d := n.channel("t", "c"), n.channel("t", "d")
	if c.Depth+int64(c.DeferredCount) != 2000+more || d.Depth+int64(d.DeferredCount) != 2001+more {
		t.Errorf("channel c has %d and %d deferred, d %d and %d", c.Depth, c.DeferredCount, d.Depth, d.DeferredCount)
	}
	if depth := n.topic("alone").Depth; depth != 2 {
		t.Errorf("topic alone has %d", depth)
	}
	if more > 0 {
		if depth := n.topic("new").Depth; depth != 3 {
			t.Errorf("topic new has %d", depth)
		}
	}
	n.stop()
}

// TestStartsWholeOrNotAtAll: with any piece of the folder missing, or any two, after a clean stop and after a kill, a start serves all
// that was promised, or refuses, names the piece and changes nothing; check says the same. What a repair makes of it can be served, and
// what is acknowledged from then on survives a kill. Each piece is missed in one of the two folders; in make crash in both, and in pairs.
func TestStartsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	clean, _ := backlog(t)
	dirty := killedBacklog(t)
	inKilled := map[string]bool{} // those that are missed there
	stopped := slices.Collect(maps.Values(pieces(t, clean.DataPath)))
	for i, piece := range slices.Sorted(maps.Values(pieces(t, dirty.DataPath))) {
		inKilled[piece] = i%2 == 0 || !slices.Contains(stopped, piece)
	}
	for name, o := range map[string]broker.Options{"stopped": clean, "killed": dirty} {
		t.Run(name, func(t *testing.T) {
			more := int64(0)
			if name == "killed" {
				more = 1
			}
			all := pieces(t, o.DataPath)
			list := slices.Sorted(maps.Values(all))
			for i, one := range list {
				if !long && inKilled[one] != (name == "killed") {
					continue
				}
				for _, two := range append([]string{""}, list[i+1:]...) {
					if two != "" && !long {
						break
					}
					t.Run(strings.ReplaceAll(one+" "+two, "/", "-"), func(t *testing.T) {
						t.Parallel()
						without(t, o, more, one, two)
					})
				}
			}
		})
	}
}

// without takes pieces out of a copy of a folder and looks what becomes of it.
func without(t *testing.T, o broker.Options, more int64, gone ...string) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(o.DataPath)); err != nil {
		t.Fatal(err)
	}
	o.DataPath = dir
	for _, piece := range gone {
		if piece != "" {
			if err := os.RemoveAll(filepath.Join(dir, piece)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := contents(t, dir)
	var report bytes.Buffer
	checked := broker.Check(dir, &report, nil)
	if now := contents(t, dir); !maps.Equal(before, now) {
		t.Fatal("check has changed the folder")
	}
	err := refusal(t, o)
	if err == nil {
		if checked != nil && !errors.Is(checked, broker.ErrDamaged) {
			t.Errorf("check: %v\n%s", checked, report.String())
		}
		whole(t, o, more)
		return
	}
	if !errors.Is(err, storage.ErrIncomplete) || !errors.Is(checked, storage.ErrIncomplete) {
		t.Fatalf("start: %v; check: %v\n%s", err, checked, report.String())
	}
	if now := contents(t, dir); !maps.Equal(before, now) {
		t.Fatal("a start that refuses has changed the folder")
	}
	for _, line := range strings.Split(report.String(), "\n") {
		if text, ok := strings.CutPrefix(line, "MISSING "); ok && !strings.Contains(err.Error(), text) {
			t.Errorf("check says %q, the start %v", text, err)
		}
	}
	repaired(t, o)
}

// repaired repairs a folder and uses it.
func repaired(t *testing.T, o broker.Options) {
	t.Helper()
	var said bytes.Buffer
	if err := broker.Repair(o.DataPath, false, &said, nil); !errors.Is(err, broker.ErrAcceptLoss) || !strings.Contains(said.String(), "MISSING ") {
		t.Fatalf("repair without a word: %v\n%s", err, said.String())
	}
	said.Reset()
	var read broker.Reading
	if err := broker.Repair(o.DataPath, true, &said, &read); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(read.Text(), " GB read, now "+o.DataPath) {
		t.Errorf("how much was read: %q", read.Text())
	}
	if !strings.Contains(said.String(), "given up: ") {
		t.Errorf("repair says %s", said.String())
	}
	if notes, _ := filepath.Glob(filepath.Join(o.DataPath, "set-aside", "repair-*.txt")); len(notes) != 1 {
		t.Errorf("notes: %v", notes)
	}
	n := startWith(t, o)
	servesAsSaid(t, n, said.String())
	n.post("/topic/create?topic=later", "")
	n.post("/channel/create?topic=later&channel=c", "")
	n.publish("later", "1", "2")
	o.DataPath = killed(t, n)
	n.stop()
	n = startWith(t, o)
	if depth := n.channel("later", "c").Depth; depth != 2 {
		t.Errorf("of 2 messages after the repair a kill has left %d", depth)
	}
	n.stop()
}

var served = regexp.MustCompile(`topic (\S+), channel (\S+): (\d+) waiting, (\d+) out, (\d+) deferred are served, (\d+) are left out`)

// servesAsSaid fails unless the channels have what a repair said that they have.
func servesAsSaid(t *testing.T, n *node, said string) {
	t.Helper()
	for _, line := range served.FindAllStringSubmatch(said, -1) {
		number := func(i int) int64 {
			v, err := strconv.ParseInt(line[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		c := n.channel(line[1], line[2])
		if c.Depth != number(3)+number(4) || int64(c.DeferredCount) != number(5) {
			t.Errorf("%s, and it has %d and %d deferred", line[0], c.Depth, c.DeferredCount)
		}
	}
}

// TestRepairServesWhatSegmentsHold: without any checkpoint, and without the log as well, every message that is in a segment is served to
// each channel that the list of topics names, paused ones stay paused, and what is not there is told by its number.
func TestRepairServesWhatSegmentsHold(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]bool{"without checkpoints": true, "without checkpoints and log": false} {
		t.Run(name, func(t *testing.T) {
			o, want := backlog(t)
			gone, err := filepath.Glob(filepath.Join(o.DataPath, "checkpoint.*"))
			if err != nil || len(gone) == 0 {
				t.Fatal(gone, err)
			}
			if !log {
				gone = append(gone, filepath.Join(o.DataPath, "journal"))
			}
			for _, path := range gone {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
			var checked, said bytes.Buffer
			if err := broker.Check(o.DataPath, &checked, nil); !errors.Is(err, storage.ErrIncomplete) ||
				!strings.Contains(checked.String(), "topic t: ") {
				t.Fatalf("check: %v\n%s", err, checked.String())
			}
			if err := broker.Repair(o.DataPath, true, &said, nil); err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			n := startWith(t, o)
			servesAsSaid(t, n, said.String())
			d := n.channel("t", "d")
			left := 0 // it had the 2000 and the one that was deferred
			if m := regexp.MustCompile(`nothing is left of the messages .*: (\d+) at most`).FindStringSubmatch(said.String()); m != nil {
				left, _ = strconv.Atoi(m[1])
			}
			if d.Depth+int64(d.DeferredCount)+int64(left) < 2001 || d.Depth == 0 || !d.Paused {
				t.Errorf("channel d has %+v, and %d are named as left out:\n%s", d, left, said.String())
			}
			if log && left != 0 {
				t.Errorf("the log and the segments have all, and %d are left out", left)
			}
			has := n.channel("t", "c")
			c := n.subscribe("t", "c", int(has.Depth))
			for range has.Depth {
				delete(want, string(c.Next().Message().Body))
			}
			if len(want) > left+has.DeferredCount {
				t.Errorf("%d messages were not served, %d are deferred and %d named as left out", len(want), has.DeferredCount, left)
			}
			n.stop()
		})
	}
}

// TestRepairGivesUpNothingThatIsThere: a missing file of segments costs its messages, a lost manifest nothing.
func TestRepairGivesUpNothingThatIsThere(t *testing.T) {
	t.Parallel()
	o, _ := backlog(t)
	if err := os.Remove(filepath.Join(o.DataPath, "manifest")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := broker.Repair(o.DataPath, true, &said, nil); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	whole(t, o, 0)
	if err := broker.Repair(o.DataPath, true, &said, nil); err != nil || !strings.Contains(said.String(), "nothing is missing") {
		t.Errorf("again: %v\n%s", err, said.String())
	}
}

// TestFoldersOfEarlierBuilds: what a build before the first release has left is known and left alone, with the way out; so are newer
// formats, of every kind of file.
func TestFoldersOfEarlierBuilds(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.DataPath = filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(o.DataPath, os.DirFS("testdata/before-release")); err != nil {
		t.Fatal(err)
	}
	before := contents(t, o.DataPath)
	var said bytes.Buffer
	for what, err := range map[string]error{
		"start": refusal(t, o), "check": broker.Check(o.DataPath, &said, nil), "repair": broker.Repair(o.DataPath, true, &said, nil),
		"export": broker.Export(o.DataPath, filepath.Join(t.TempDir(), "out"), false, &said, nil),
	} {
		if !errors.Is(err, storage.ErrVersion) || !strings.Contains(err.Error(), "brokerd export") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, keep := range []string{"checkpoint.000001", "journal", "segments"} { // each is known by itself
		dir := filepath.Join(t.TempDir(), keep)
		err := filepath.WalkDir(o.DataPath, func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(o.DataPath, path)
			if err != nil || e.IsDir() || !strings.HasPrefix(rel, keep) {
				return err
			}
			b, err := os.ReadFile(path)
			return errors.Join(err, os.MkdirAll(filepath.Dir(filepath.Join(dir, rel)), 0o755), os.WriteFile(filepath.Join(dir, rel), b, 0o600))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := broker.Check(dir, &said, nil); !errors.Is(err, storage.ErrVersion) {
			t.Errorf("only %s: %v", keep, err)
		}
	}
	if !maps.Equal(before, contents(t, o.DataPath)) {
		t.Error("the folder was changed")
	}
}

// TestSetAsideKeepsNothingElse: five rounds of consuming and kills beside files that were put aside leave no more on the disk than
// without them.
func TestSetAsideKeepsNothingElse(t *testing.T) {
	t.Parallel()
	sizes := map[bool]int64{}
	for _, beside := range []bool{false, true} {
		o := options(t)
		o.MemQueueSize = 10
		if beside {
			for _, name := range []string{"checkpoint.000001.bad", "journal/0000000000000001.bad", "set-aside/journal/0000000000000001.wal"} {
				path := filepath.Join(o.DataPath, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("damaged"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 5 {
			n := startWith(t, o)
			n.post("/topic/create?topic=t", "")
			n.post("/channel/create?topic=t&channel=c", "")
			c := n.dial()
			for range 200 {
				c.Send(prototest.Pub("t", strings.Repeat("x", 10_000)))
			}
			for range 200 {
				c.Expect("OK")
			}
			take(n.subscribe("t", "c", 200), 200)
			o.DataPath = killed(t, n)
			n.stop()
		}
		n := startWith(t, o)
		if left := int(n.channel("t", "c").Depth); left > 0 {
			take(n.subscribe("t", "c", 200), left)
		}
		n.stop()
		files, _ := filepath.Glob(filepath.Join(o.DataPath, "segments/*/*.seg"))
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			sizes[beside] += info.Size()
		}
	}
	if sizes[true] > sizes[false] {
		t.Errorf("%d bytes of segments are left, %d without what was put aside", sizes[true], sizes[false])
	}
}
