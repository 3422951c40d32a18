package nsqdata

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGoldenFolderIsServedWhole(t *testing.T) {
	dir := goldenFolder(t)
	m, warnings, err := LoadMetadata(dir)
	if err != nil || len(warnings) != 0 || len(m.Topics) != 2 {
		t.Fatalf("LoadMetadata = %+v, %q, %v", m, warnings, err)
	}
	const ts = 1737370000123456789
	for name, want := range map[string][]Record{
		TopicQueueName("events"): {
			{ts, 0, 0x0f0e0d0c0b0a0908, []byte("hello")}, {ts + 1, 0, 0x0f0e0d0c0b0a0909, []byte{0, 0xff}},
		},
		ChannelQueueName("events", "archive"): {
			{ts - 8, 0, 0x0123456789abcdf0, []byte("one")}, {ts - 7, 3, 0x0123456789abcdf1, []byte("two!")},
			{ts - 6, 65535, 0xfedcba9876543210, []byte("x")},
		},
		ChannelQueueName("events", "mail"): nil,
	} {
		if !Exists(dir, name) {
			t.Errorf("Exists(%s) = false", name)
		}
		q := mustOpen(t, name, testOptions(dir))
		if q.Depth() != int64(len(want)) {
			t.Errorf("%s: Depth = %d, want %d", name, q.Depth(), len(want))
		}
		var got []Record
		if _, err := q.Take(100, 0, func(b []byte) {
			r, err := ParseRecord(b)
			if err != nil {
				t.Error(err)
			}
			got = append(got, r)
		}); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if i >= len(want) || got[i].Timestamp != want[i].Timestamp || got[i].Attempts != want[i].Attempts ||
				got[i].ID != want[i].ID || !bytes.Equal(got[i].Body, want[i].Body) {
				t.Errorf("%s: record %d = %+v", name, i, got[i])
			}
		}
		if len(got) != len(want) || q.Depth() != 0 {
			t.Errorf("%s: %d records, depth then %d, want %d", name, len(got), q.Depth(), len(want))
		}
	}
}

// What is written must be, byte for byte, what nsqd would have written.
func TestGoldenFolderIsWritten(t *testing.T) {
	golden, dir := goldenFolder(t), t.TempDir()
	m, _, err := LoadMetadata(golden)
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveMetadata(dir, "1.3.0", m); err != nil {
		t.Fatal(err)
	}
	q := mustOpen(t, "events", testOptions(dir))
	for _, r := range []Record{
		{Timestamp: 1737370000123456789, ID: 0x0f0e0d0c0b0a0908, Body: []byte("hello")},
		{Timestamp: 1737370000123456790, ID: 0x0f0e0d0c0b0a0909, Body: []byte{0, 0xff}},
	} {
		if err := q.Put(AppendRecord(nil, r.Timestamp, r.Attempts, r.ID, r.Body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"nsqd.dat":                    read(t, golden, "nsqd.dat"),
		"events.diskqueue.000000.dat": read(t, golden, "events.diskqueue.000001.dat"),
		"events.diskqueue.meta.dat":   []byte("2\n0,0\n0,67\n"),
	} {
		if got := read(t, dir, name); !bytes.Equal(got, want) {
			t.Errorf("%s is\n%q, want\n%q", name, got, want)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestRoundTripOverFilesAndRestarts(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	o.MaxBytesPerFile = 300 // four records of 26+40 bytes
	body := strings.Repeat("b", 40)
	q := mustOpen(t, "t:c", o)
	mustPut(t, q, 0, 50, body)
	if ids := takeIDs(t, q, 7); len(ids) != 7 || ids[6] != 6 {
		t.Fatalf("took %v", ids)
	}
	for from := 7; from < 47; from += 10 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		o.MaxBytesPerFile += 100 // a limit that changes between runs is no damage
		q = mustOpen(t, "t:c", o)
		if q.Depth() != int64(50-from) {
			t.Fatalf("Depth = %d after a restart, want %d", q.Depth(), 50-from)
		}
		if ids := takeIDs(t, q, 10); len(ids) != 10 || ids[0] != from {
			t.Fatalf("took %v, want 10 from %d", ids, from)
		}
	}
	wantIDs(t, q, 47, 50)
	for _, name := range fileNames(t, dir) {
		if strings.HasSuffix(name, ".bad") {
			t.Errorf("%s was left", name)
		}
	}
}

func TestTakeLimits(t *testing.T) {
	q := mustOpen(t, "t", testOptions(t.TempDir()))
	mustPut(t, q, 0, 10, strings.Repeat("x", 74)) // 100 bytes each
	for _, c := range []struct{ max, bytes, want int }{{0, 0, 0}, {3, 0, 3}, {5, 1, 1}, {5, 150, 2}, {100, 0, 4}, {100, 0, 0}} {
		n, err := q.Take(c.max, c.bytes, func([]byte) {})
		if n != c.want || err != nil {
			t.Errorf("Take(%d, %d) = %d, %v, want %d", c.max, c.bytes, n, err, c.want)
		}
	}
}

// A queue that is filled and drained at the same time gives out each record once, and a Take that finds the depth above 0
// returns records.
func TestPutAndTakeAtTheSameTime(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytesPerFile, o.SyncEvery = 3000, 500
	o.Logf = (&logLines{}).logf
	q := mustOpen(t, "t", o)
	const putters, each = 4, 500
	var wg sync.WaitGroup
	for p := range putters {
		wg.Go(func() { mustPut(t, q, p*each, (p+1)*each, "body") })
	}
	seen := map[int]bool{}
	for len(seen) < putters*each {
		depth := q.Depth()
		ids := takeIDs(t, q, 64)
		if depth > 0 && len(ids) == 0 {
			t.Fatalf("nothing taken at depth %d", depth)
		}
		for _, id := range ids {
			if seen[id] {
				t.Fatalf("record %d came twice", id)
			}
			seen[id] = true
		}
	}
	wg.Wait()
	wantIDs(t, q, 0, 0)
	if n := len(fileNames(t, o.Dir)); n > 2 { // the meta file and the last data file
		t.Errorf("files left: %v", fileNames(t, o.Dir))
	}
}

// go-diskqueue would keep a file whose last record it had read ahead when the next file began, as if it were damaged.
func TestConsumedFilesAreNotKept(t *testing.T) {
	var log logLines
	o := testOptions(t.TempDir())
	o.MaxBytesPerFile, o.Logf = 80, log.logf // two records
	q := mustOpen(t, "t", o)
	mustPut(t, q, 0, 2, "0123456789")
	for id := range 20 {
		takeIDs(t, q, 1)
		for range 2 { // let it read ahead
			q.disk.Depth()
		}
		mustPut(t, q, id+2, id+3, "0123456789")
	}
	wantIDs(t, q, 20, 22)
	if names := fileNames(t, o.Dir); len(names) != 2 || log.has("bad") || log.has("ERROR") {
		t.Errorf("files %v, log %q", names, log.lines)
	}
}

func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	o.MaxBytesPerFile = 500
	q := mustOpen(t, "t", o)
	mustPut(t, q, 0, 30, "before any meta file was due")
	q.Close()
	q = mustOpen(t, "t", o)
	mustPut(t, q, 30, 34, "the meta file does not know these")
	if ids := takeIDs(t, q, 3); len(ids) != 3 {
		t.Fatal(ids)
	}
	// Killed here, and again while the repaired folder is open: nothing may be counted twice.
	dir2 := snapshot(t, dir)
	o.Dir = dir2
	q2 := mustOpen(t, "t", o)
	if q2.Depth() != 34 {
		t.Errorf("Depth = %d after the kill, want 34", q2.Depth())
	}
	mustPut(t, q2, 34, 36, "more")
	o.Dir = snapshot(t, dir2)
	q3 := mustOpen(t, "t", o)
	if q3.Depth() != 36 {
		t.Errorf("Depth = %d after the second kill, want 36", q3.Depth())
	}
	wantIDs(t, q3, 0, 36)
}

func TestKilledBeforeTheFirstMetaFile(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, "t", testOptions(dir))
	mustPut(t, q, 0, 5, "x")
	killed := snapshot(t, dir)
	if _, err := os.Stat(filepath.Join(killed, "t.diskqueue.meta.dat")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("there is a meta file: %v", err)
	}
	if !Exists(killed, "t") || Exists(killed, "u") {
		t.Error("Exists is wrong")
	}
	q2 := mustOpen(t, "t", testOptions(killed))
	mustPut(t, q2, 5, 7, "x")
	wantIDs(t, q2, 0, 7)
}

func TestPercentInTheDataPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "100%d %s%%")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	q := mustOpen(t, "t", testOptions(dir))
	mustPut(t, q, 0, 3, "x")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if names := fileNames(t, dir); strings.Join(names, " ") != "t.diskqueue.000000.dat t.diskqueue.meta.dat" {
		t.Errorf("files: %v", names)
	}
	wantIDs(t, mustOpen(t, "t", testOptions(dir)), 0, 3)
}

func TestUndecodableRecordsAreCounted(t *testing.T) {
	var log logLines
	o := testOptions(t.TempDir())
	o.MinMsgSize, o.Logf = 1, log.logf
	q := mustOpen(t, "t", o)
	for _, r := range [][]byte{record(0, "a"), []byte("short"), bytes.Repeat([]byte{'Z'}, 30), record(1, "")} {
		if err := q.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	wantIDs(t, q, 0, 2)
	if q.Undecodable() != 2 || !log.has("ERROR", "5 bytes") || !log.has("ERROR", "id \"ZZ") {
		t.Errorf("Undecodable = %d, log %q", q.Undecodable(), log.lines)
	}
}

func TestEmptyAndDelete(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	o.MaxBytesPerFile = 200
	q := mustOpen(t, "t", o)
	mustPut(t, q, 0, 20, "x")
	takeIDs(t, q, 3)
	if err := q.Empty(); err != nil || q.Depth() != 0 || len(fileNames(t, dir)) != 0 {
		t.Fatalf("Empty: %v, depth %d, files %v", err, q.Depth(), fileNames(t, dir))
	}
	mustPut(t, q, 20, 25, "y")
	wantIDs(t, q, 20, 25)
	mustPut(t, q, 25, 30, "z")
	if err := q.Delete(); err != nil || len(fileNames(t, dir)) != 0 {
		t.Fatalf("Delete: %v, files %v", err, fileNames(t, dir))
	}
	_, err := q.Take(1, 0, func([]byte) {})
	for _, err := range []error{err, q.Put(record(1, "")), q.Empty(), q.Close(), q.Delete()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Delete: %v, want ErrClosed", err)
		}
	}
}

func TestPutTellsWhatFailed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	q := mustOpen(t, "t", testOptions(dir))
	if err := q.Put(make([]byte, RecordHeaderSize+testMaxBody+1)); err == nil {
		t.Error("a record over the limit was taken")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(record(1, "x")); !errors.Is(err, os.ErrNotExist) || q.Depth() != 0 {
		t.Errorf("Put without a folder = %v, depth %d", err, q.Depth())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(record(1, "x")); err != nil {
		t.Errorf("Put once the folder is back = %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", nil)
	for want, change := range map[string]func(*QueueOptions){
		"no such file":       func(o *QueueOptions) { o.Dir = filepath.Join(dir, "none") },
		"not a folder":       func(o *QueueOptions) { o.Dir = filepath.Join(dir, "file") },
		"max bytes per file": func(o *QueueOptions) { o.MaxBytesPerFile = 0 },
		"record size":        func(o *QueueOptions) { o.MaxMsgSize = 1 },
		"sync every":         func(o *QueueOptions) { o.SyncEvery = -1 },
		"sync timeout":       func(o *QueueOptions) { o.SyncTimeout = 0 },
	} {
		o := testOptions(dir)
		change(&o)
		if _, err := Open("t", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// A Take on a queue that has nothing returns at once, also when the meta file claims otherwise.
func TestTakeDoesNotWaitForNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "t.diskqueue.meta.dat", []byte("5\n3,0\n3,0\n"))
	synctest.Test(t, func(t *testing.T) { // in which time passes for who waits, and for nobody else
		q := mustOpen(t, "t", testOptions(dir))
		if q.Depth() != 0 {
			t.Errorf("Depth = %d", q.Depth())
		}
		start := time.Now()
		wantIDs(t, q, 0, 0)
		if d := time.Since(start); d != 0 {
			t.Errorf("it waited for %s", d)
		}
	})
}

func BenchmarkPutTake(b *testing.B) {
	q := mustOpen(b, "t", testOptions(b.TempDir()))
	r := record(1, strings.Repeat("x", 200))
	for b.Loop() {
		for range 100 {
			if err := q.Put(r); err != nil {
				b.Fatal(err)
			}
		}
		if n, err := q.Take(100, 0, func([]byte) {}); n != 100 || err != nil {
			b.Fatal(n, err)
		}
	}
}
