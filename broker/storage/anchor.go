package storage

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/wal"
)

// A write of the log is a system call that the scheduler is told of, since a disk may hang. In a process that is nearly idle each of
// them wakes the runtime's monitor thread, which then polls for a millisecond in case the call should last; with some thousand
// small writes a second that is up to a third of all that the broker spends, and with a few hundred no less of each. The monitor sleeps so deeply only while all processors are
// idle. So one processor more is made, and a goroutine keeps it from being idle, without work, for as long as such writes come.
// What the thread costs is a system call each 10 ms. If another runtime should do without the trick, only the gain is lost.
//
// A sync takes long enough for the monitor to be awake anyway. Where every few writes are synced, a processor more only costs: but not where groups of
// replicas write. There a broker waits for others after each sync, all its processors are idle then, and the next write wakes the monitor again.
const (
	anchorMin    = 100              // writes a second from which on it pays
	anchorBytes  = 16 << 10         // writes that are larger, on average, cost so much that it does not matter
	anchorSyncs  = 4                // writes for each sync, at least; none while groups write anchorMin records a second
	anchorLinger = time.Second      // without such writes
	anchorRenew  = 30 * time.Second // the processors are counted again: a container's limit may have changed
)

// anchor is that goroutine and what it is told.
type anchor struct {
	kick chan struct{} // nil: there is none
	more int           // processors that the process has beyond the runtime's own number
	held atomic.Bool   // such writes come

	// Owned by the engine's loop.
	at     time.Time // of the last look
	seen   wal.Stats // then
	groups uint64    // records of groups, then
	useful time.Time // such writes came the last time
}

func newAnchor(wanted bool, more int) anchor {
	if !wanted || !canPoll {
		return anchor{}
	}
	return anchor{kick: make(chan struct{}, 1), more: more}
}

// look takes in what the log has done so far, and how many records groups of replicas have given to it.
func (a *anchor) look(now time.Time, stats *wal.Stats, groups uint64) {
	if a.kick == nil {
		return
	}
	since := now.Sub(a.at).Seconds()
	writes, bytes, syncs := stats.Writes-a.seen.Writes, stats.Bytes-a.seen.Bytes, stats.Syncs-a.seen.Syncs
	replicated := float64(groups-a.groups)/since >= anchorMin
	a.at, a.seen, a.groups = now, *stats, groups
	if float64(writes)/since >= anchorMin && bytes <= writes*anchorBytes && (replicated || syncs*anchorSyncs <= writes) {
		a.useful = now
		if !a.held.Load() {
			a.begin()
		}
		return
	}
	if now.Sub(a.useful) >= anchorLinger {
		a.held.Store(false)
	}
}

// begin wakes the goroutine.
func (a *anchor) begin() {
	a.held.Store(true)
	select {
	case a.kick <- struct{}{}:
	default: // it is about to look
	}
}

// run is the goroutine. Without such writes it sleeps.
func (a *anchor) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.kick:
			for ctx.Err() == nil && a.held.Load() {
				a.hold(ctx)
			}
		}
	}
}

// hold keeps one processor more than there would be from being idle, for anchorRenew at most.
func (a *anchor) hold(ctx context.Context) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	defer func() {
		runtime.SetDefaultGOMAXPROCS()
		if a.more > 0 {
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + a.more)
		}
	}()
	for end := time.Now().Add(anchorRenew); ctx.Err() == nil && a.held.Load() && time.Now().Before(end); {
		pollNothing()
	}
}
