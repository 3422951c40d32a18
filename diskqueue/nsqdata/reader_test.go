package nsqdata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// scanIDs returns the ids that Scan gives out.
func scanIDs(t testing.TB, dir, name string) (ids []int, report ScanReport) {
	t.Helper()
	report, err := Scan(dir, name, func(r Record) error {
		ids = append(ids, int(r.ID))
		return nil
	})
	if err != nil || report.Records != int64(len(ids)) {
		t.Fatalf("%d records, %+v, %v", len(ids), report, err)
	}
	return ids, report
}

// TestScanReadsWhatAQueueGives: over random queues, stopped cleanly and killed, Scan finds just what Take then gives, and
// changes nothing.
func TestScanReadsWhatAQueueGives(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 7))
		dir, name, o := t.TempDir(), "t:c", testOptions("")
		o.Dir, o.MaxBytesPerFile, o.SyncEvery = dir, 300+rng.Int64N(3000), 1+rng.Int64N(20)
		q, next := mustOpen(t, name, o), 0
		for range 1 + rng.IntN(6) {
			n := rng.IntN(60)
			mustPut(t, q, next, next+n, strings.Repeat("x", rng.IntN(100)))
			next += n
			takeIDs(t, q, rng.IntN(60))
		}
		if rng.IntN(2) == 0 {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
		o.Dir = snapshot(t, dir)
		before := fileNames(t, o.Dir)
		scanned, report := scanIDs(t, o.Dir, name)
		if !slices.Equal(before, fileNames(t, o.Dir)) || report.Damage != nil {
			t.Errorf("seed %d: files %v were %v, damage %v", seed, fileNames(t, o.Dir), before, report.Damage)
		}
		if took := takeIDs(t, mustOpen(t, name, o), 1<<20); !slices.Equal(scanned, took) {
			t.Errorf("seed %d: scanned %v, took %v", seed, scanned, took)
		}
	}
}

// TestScanOfDamage: what is behind damage in other files is given out, and the report says where the damage is.
func TestScanOfDamage(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytesPerFile = 500
	q := mustOpen(t, "q", o)
	mustPut(t, q, 0, 60, "body")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	first := len(read(t, o.Dir, "q.diskqueue.000000.dat")) / 34 // records
	for what, c := range map[string]struct {
		damage func(dir string) error
		lost   int
		told   string
	}{
		"a length":       {func(dir string) error { return patch(dir, "q.diskqueue.000000.dat", 34, 0xff) }, first - 1, "000000.dat at byte 34 of"},
		"an id":          {func(dir string) error { return patch(dir, "q.diskqueue.000000.dat", 34+4+10, 'X') }, 1, "passed over"},
		"a missing file": {func(dir string) error { return os.Remove(filepath.Join(dir, "q.diskqueue.000001.dat")) }, first, "1 files before q.diskqueue.000002.dat are missing"},
		"a cut file":     {func(dir string) error { return os.Truncate(filepath.Join(dir, "q.diskqueue.000000.dat"), 35) }, first - 1, "at byte 34 of 35"},
		"the meta file":  {func(dir string) error { return patch(dir, "q.diskqueue.meta.dat", 0, 'x') }, 0, "damaged meta file"},
	} {
		dir := snapshot(t, o.Dir)
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		ids, report := scanIDs(t, dir, "q")
		if len(ids) != 60-c.lost || len(report.Damage) != 1 || !strings.Contains(report.Damage[0], c.told) || ids[len(ids)-1] != 59 {
			t.Errorf("%s: %d records, %v", what, len(ids), report.Damage)
		}
	}
}

func patch(dir, name string, at int, b byte) error {
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] = b
	return os.WriteFile(path, data, 0o600)
}

// TestScanStops: the caller's error ends it.
func TestScanStops(t *testing.T) {
	o := testOptions(t.TempDir())
	q := mustOpen(t, "q", o)
	mustPut(t, q, 0, 3, "body")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	enough, n := errors.New("enough"), 0
	report, err := Scan(o.Dir, "q", func(Record) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 || report.Records != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

// TestPutAside: a queue's files move, and nobody else's; names that are taken are kept; a queue of the same name is another
// one then.
func TestPutAside(t *testing.T) {
	o := testOptions(t.TempDir())
	into := filepath.Join(o.Dir, "aside")
	if err := os.Mkdir(into, 0o755); err != nil {
		t.Fatal(err)
	}
	var sources []string
	for round := range 2 {
		for _, name := range []string{"t", "t:c", "t2"} {
			q := mustOpen(t, name, o)
			mustPut(t, q, 0, 3+round, "body")
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
		source, err := Source(o.Dir, "t")
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, source)
		if err := PutAside(o.Dir, "t", into); err != nil {
			t.Fatal(err)
		}
		if Exists(o.Dir, "t") || !Exists(o.Dir, "t:c") || !Exists(o.Dir, "t2") {
			t.Errorf("left: %v", fileNames(t, o.Dir))
		}
	}
	want := []string{"t.diskqueue.000000.dat", "t.diskqueue.000000.dat.2", "t.diskqueue.meta.dat", "t.diskqueue.meta.dat.2"}
	if got := fileNames(t, into); !slices.Equal(got, want) {
		t.Errorf("put aside: %v", got)
	}
	if sources[0] == sources[1] {
		t.Error("both queues pass for the same")
	}
	if err := PutAside(o.Dir, "t", into); err != nil {
		t.Errorf("without a queue: %v", err)
	}
}

// FuzzScan: whatever is in the files, each byte is read at most once, and records are whole.
func FuzzScan(f *testing.F) {
	f.Add([]byte("1\n0,0\n0,34\n"), framed(record(1, "body")))
	f.Add([]byte("2\n0,34\n1,0\n"), append(framed(record(1, "body")), framed(record(2, "x"))...))
	f.Add([]byte("x"), []byte{0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, meta, data []byte) {
		dir := t.TempDir()
		write(t, dir, "q.diskqueue.meta.dat", meta)
		write(t, dir, "q.diskqueue.000000.dat", data)
		ids, report := scanIDs(t, dir, "q")
		if report.Bytes > int64(len(data)) || report.Bytes < int64(len(ids)*(4+RecordHeaderSize)) {
			t.Error(fmt.Errorf("%d records of %d bytes out of %d", len(ids), report.Bytes, len(data)))
		}
	})
}
