package wal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"brokerd/diskqueue/vfs"
)

// scanned returns what an open log gives while it is read.
func scanned(t testing.TB, l *Log) (list []entry) {
	t.Helper()
	err := l.Scan(t.Context(), func(e Entry) error {
		list = append(list, entry{pos: e.At, kind: e.Kind, data: string(e.Data)})
		return nil
	})
	ok(t, err)
	return list
}

// TestScanGivesWhatIsWritten: all records of all files in order, what waits in memory not, and of an earlier life too; a context ends it.
func TestScanGivesWhatIsWritten(t *testing.T) {
	m := vfs.NewMem()
	l, _, _ := open(t, testOptions(m))
	want := fill(t, l, 60, 300, Written)
	want = append(want, put(t, l, 2, strings.Repeat("larger than a file ", 1000)))
	ok(t, l.Commit(want[60].pos, Written))
	waits := put(t, l, 1, "not written yet")
	if got := scanned(t, l); !slices.Equal(got, want) {
		t.Errorf("%d records are read, want %d", len(got), len(want))
	}
	ok(t, l.Commit(waits.pos, Written))
	want = append(want, waits)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Scan(ctx, func(Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	ok(t, l.Close())
	if err := l.Scan(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed log: %v", err)
	}
	l, _, _ = open(t, testOptions(m))
	if got := scanned(t, l); !slices.Equal(got, want) {
		t.Errorf("of an earlier life %d records are read, want %d", len(got), len(want))
	}
	ok(t, l.Close())
}

// TestScanBesideReleases: while files are released and written over, each record that is read is one that was written, and none comes twice or out
// of order.
func TestScanBesideReleases(t *testing.T) {
	l, _, _ := open(t, testOptions(vfs.NewMem()))
	l.Start()
	var mu sync.Mutex
	wrote := map[Offset]string{}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			list := fill(t, l, 20, 300, Written)
			mu.Lock()
			for _, e := range list {
				wrote[e.pos] = e.data
			}
			mu.Unlock()
			if i%3 == 2 {
				ok(t, l.Recycle(list[0].pos, 2))
			}
		}
	})
	for range 50 {
		list := scanned(t, l)
		mu.Lock()
		for i, e := range list {
			if data, known := wrote[e.pos]; known && data != e.data || i > 0 && !list[i-1].pos.Before(e.pos) {
				t.Errorf("%v is %.20q, and was %.20q", e.pos, e.data, data)
			}
		}
		mu.Unlock()
	}
	close(stop)
	writer.Wait()
	ok(t, l.Close())
}
