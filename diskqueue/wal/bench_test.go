package wal

import (
	"sync"
	"testing"
	"time"
)

// benchLog opens a log on the real file system. Without spare files its files are made anew each time, and extended as they
// are written; with them, they are overwritten.
func benchLog(b *testing.B, recycled bool) *Log {
	o := Options{Dir: b.TempDir(), FileSize: 16 << 20, SpareFiles: -1, SyncTimeout: time.Hour, SyncEvery: -1, SyncBytes: -1}
	if recycled {
		o.SpareFiles = 8
	}
	l, _, err := Open(o, nil)
	ok(b, err)
	if recycled {
		for range 6 { // fills files and gives them back
			for range 15 {
				at, err := l.Append(1, make([]byte, 1<<20))
				ok(b, err)
				ok(b, l.Commit(at, Synced))
			}
		}
		ok(b, l.Release(l.End()))
	}
	l.Start()
	b.Cleanup(func() { ok(b, l.Close()) })
	return l
}

func benchCommit(b *testing.B, committers, size int, level Level, recycled bool) {
	l := benchLog(b, recycled)
	body := make([]byte, size)
	before := l.Stats()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range committers {
		wg.Go(func() {
			for i := c; i < b.N; i += committers {
				at, err := l.Append(1, body)
				if err == nil {
					err = l.Commit(at, level)
				}
				if err != nil {
					b.Error(err)
					return
				}
				if at.File%4 == 0 && at.Offset == fileHeaderSize && recycled {
					ok(b, l.Release(at))
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s := l.Stats()
	if writes := s.Writes - before.Writes; writes > 0 {
		b.ReportMetric(float64(s.Records-before.Records)/float64(writes), "records/write")
	}
	if syncs := s.Syncs - before.Syncs; syncs > 0 && level == Synced {
		b.ReportMetric(float64(s.Records-before.Records)/float64(syncs), "records/sync")
	}
}

func BenchmarkAppend(b *testing.B) {
	l := benchLog(b, false)
	body := make([]byte, 200)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(1, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name       string
		committers int
		size       int
		level      Level
		recycled   bool
	}{
		{"disk/1", 1, 200, Written, true},
		{"disk/1/64KiB", 1, 64 << 10, Written, true},
		{"disk/1/256KiB", 1, 256 << 10, Written, true},
		{"disk/32", 32, 200, Written, true},
		{"disk/1/extending", 1, 200, Written, false},
		{"fsync/1", 1, 200, Synced, true},
		{"fsync/32", 32, 200, Synced, true},
		{"fsync/1/extending", 1, 200, Synced, false},
		{"fsync/32/extending", 32, 200, Synced, false},
	} {
		b.Run(c.name, func(b *testing.B) { benchCommit(b, c.committers, c.size, c.level, c.recycled) })
	}
}

func BenchmarkRead(b *testing.B) {
	l := benchLog(b, false)
	const records, size = 200_000, 200
	var last Offset
	for range records {
		at, err := l.Append(1, make([]byte, size))
		ok(b, err)
		last = at
	}
	ok(b, l.Commit(last, Written))
	b.SetBytes(records * size)
	for b.Loop() {
		report, err := Read(l.o.FS, l.o.Dir, Need{}, func(Entry) error { return nil })
		if err != nil || report.Records != records {
			b.Fatal(report, err)
		}
	}
}
