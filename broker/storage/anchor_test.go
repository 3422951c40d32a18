package storage

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"brokerd/diskqueue/wal"
)

// TestAnchorHoldsForManySmallWrites: the processor more is there while many small writes come, and for a second longer.
func TestAnchorHoldsForManySmallWrites(t *testing.T) {
	if !canPoll {
		t.Skip("there is no anchor on this system")
	}
	const second = 20 // ticks
	for _, tt := range []struct {
		name                 string
		writes, bytes, syncs uint64 // in a tick
		cluster              bool
		ticks                int
		want                 bool
	}{
		{"idle", 0, 0, 0, false, 3 * second, false},
		{"few", anchorMin/second - 1, 100, 0, false, second, false},
		{"enough", anchorMin / second, 100 * anchorMin, 0, false, 1, true},
		{"many", 100 * anchorMin / second, 10000 * anchorMin, 0, false, 1, true},
		{"large", anchorMin / second, (anchorBytes + 1) * anchorMin / second, 0, false, second, false},
		{"some synced", 8 * anchorMin / second, 100 * anchorMin, 2 * anchorMin / second, false, 1, true},
		{"most synced", 8 * anchorMin / second, 100 * anchorMin, 2*anchorMin/second + 1, false, second, false},
		{"all synced, in a cluster", anchorMin / second, 100 * anchorMin, anchorMin / second, true, 1, true},
		{"few, in a cluster", anchorMin/second - 1, 100, anchorMin/second - 1, true, second, false},
	} {
		k := Engine{anchor: newAnchor(true, 0)}
		if tt.cluster {
			k.KeepGroups(nil)
		}
		a := &k.anchor
		now := time.Now()
		var done wal.Stats
		a.look(now, &done)
		for range tt.ticks {
			now = now.Add(time.Second / second)
			done.Writes, done.Bytes, done.Syncs = done.Writes+tt.writes, done.Bytes+tt.bytes, done.Syncs+tt.syncs
			a.look(now, &done)
		}
		if got := a.held.Load(); got != tt.want {
			t.Errorf("%s: held is %v", tt.name, got)
		}
		a.look(now.Add(anchorLinger-1), &done)
		if got := a.held.Load(); got != tt.want {
			t.Errorf("%s: held is %v a moment later", tt.name, got)
		}
		a.look(now.Add(anchorLinger), &done)
		if a.held.Load() {
			t.Errorf("%s: it is held without writes", tt.name)
		}
	}
	if a := newAnchor(false, 0); a.kick != nil {
		t.Error("there is an anchor that nobody has asked for")
	}
}

// TestAnchorGivesBackItsProcessor: GOMAXPROCS is one more while it is held, also when that ends and begins again, and what it was
// at the end; garbage is collected meanwhile.
func TestAnchorGivesBackItsProcessor(t *testing.T) {
	if !canPoll {
		t.Skip("there is no anchor on this system")
	}
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	runtime.SetDefaultGOMAXPROCS() // the environment may say another number, with which there is no anchor
	before := runtime.GOMAXPROCS(0)
	ctx, stop := context.WithCancel(context.Background())
	a := newAnchor(true, 0)
	var ended sync.WaitGroup
	ended.Go(func() { a.run(ctx) })
	await := func(want int) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); runtime.GOMAXPROCS(0) != want; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("GOMAXPROCS is %d and never becomes %d", runtime.GOMAXPROCS(0), want)
			}
		}
	}
	for range 2 {
		a.begin()
		await(before + 1)
		for range 10 {
			runtime.GC()
		}
		a.held.Store(false)
		await(before)
	}
	a.begin()
	await(before + 1)
	stop()
	ended.Wait()
	await(before)
}
