package storage

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
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
		groups               uint64 // records of groups of replicas in it
		ticks                int
		want                 bool
	}{
		{"idle", 0, 0, 0, 0, 3 * second, false},
		{"few", anchorMin/second - 1, 100, 0, 0, second, false},
		{"enough", anchorMin / second, 100 * anchorMin, 0, 0, 1, true},
		{"many", 100 * anchorMin / second, 10000 * anchorMin, 0, 0, 1, true},
		{"large", anchorMin / second, (anchorBytes + 1) * anchorMin / second, 0, 0, second, false},
		{"some synced", 8 * anchorMin / second, 100 * anchorMin, 2 * anchorMin / second, 0, 1, true},
		{"most synced", 8 * anchorMin / second, 100 * anchorMin, 2*anchorMin/second + 1, 0, second, false},
		{"all synced, of groups", anchorMin / second, 100 * anchorMin, anchorMin / second, anchorMin / second, 1, true},
		{"few, of groups", anchorMin/second - 1, 100, anchorMin/second - 1, anchorMin/second - 1, second, false},
		{"all synced, few of groups", 8 * anchorMin / second, 100 * anchorMin, 8 * anchorMin / second, anchorMin/second - 1, second, false},
		{"most synced, in part of groups", 8 * anchorMin / second, 100 * anchorMin, 2*anchorMin/second + 1, anchorMin / second, 1, true},
	} {
		k := Engine{anchor: newAnchor(true, 0)}
		a := &k.anchor
		now := time.Now()
		var done wal.Stats
		var groups uint64
		a.look(now, &done, groups)
		for range tt.ticks {
			now = now.Add(time.Second / second)
			done.Writes, done.Bytes, done.Syncs = done.Writes+tt.writes, done.Bytes+tt.bytes, done.Syncs+tt.syncs
			groups += tt.groups
			a.look(now, &done, groups)
		}
		if got := a.held.Load(); got != tt.want {
			t.Errorf("%s: held is %v", tt.name, got)
		}
		a.look(now.Add(anchorLinger-1), &done, groups)
		if got := a.held.Load(); got != tt.want {
			t.Errorf("%s: held is %v a moment later", tt.name, got)
		}
		a.look(now.Add(anchorLinger), &done, groups)
		if a.held.Load() {
			t.Errorf("%s: it is held without writes", tt.name)
		}
	}
	if a := newAnchor(false, 0); a.kick != nil {
		t.Error("there is an anchor that nobody has asked for")
	}
}

// TestNoAnchorForAMemberWithoutReplicatedTopics: a broker that is a member of a cluster, whose log is synced for topics that it has alone, needs none; it does
// once groups of replicas write so often.
func TestNoAnchorForAMemberWithoutReplicatedTopics(t *testing.T) {
	if !canPoll {
		t.Skip("there is no anchor on this system")
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		g := &keeper{}
		g.begin(t, n)
		n.k.anchor.kick = make(chan struct{}, 1) // nobody holds it
		second := func(append func(kind byte, data ...[]byte) (wal.Offset, error), kind byte, data []byte) {
			for range 20 {
				for range anchorMin / 10 {
					at, err := append(kind, data)
					if err == nil {
						err = n.k.wal.Commit(at, wal.Synced)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
		if second(n.k.wal.Append, byte(kindProbe), nil); n.k.anchor.held.Load() {
			t.Error("there is one for records that are of no group")
		}
		if second(g.log.Append, byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Term: 1})); !n.k.anchor.held.Load() {
			t.Error("there is none for records of groups")
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
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
