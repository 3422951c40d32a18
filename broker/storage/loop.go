package storage

import (
	"context"
	"sync/atomic"
	"time"

	"brokerd/diskqueue/wal"
)

// How often the engine looks: tick while something happens, idleTick while the log does not grow, for what others do to the disk.
const (
	tick     = 50 * time.Millisecond
	idleTick = time.Second
)

// syncAheadAfter is how long after a checkpoint segments are not synced ahead of the next one: most of them are in time for it all the same, and
// what a burst has left on the disk is often consumed, and its files removed, before that.
const syncAheadAfter = checkpointPause / 2

// probeEvery is how often a log is tried that has failed.
const probeEvery = 250 * time.Millisecond

// wakeup wakes the engine when something is appended while it looks at leisure.
type wakeup struct {
	asleep atomic.Bool
	now    chan struct{}
}

func (s *wakeup) wake() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		select {
		case s.now <- struct{}{}:
		default:
		}
	}
}

func (k *Engine) run(ctx context.Context) {
	t := time.NewTimer(tick)
	defer t.Stop()
	for idle := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-k.wakeups.now:
		case <-k.registry.Failing():
		case <-k.growth.now:
			k.watchSpace()
		case now := <-t.C:
			k.wakeups.asleep.Store(true) // first: what is appended from now on wakes the engine, or is seen
			if idle = k.look(now); idle {
				t.Reset(idleTick)
				continue
			}
			k.wakeups.asleep.Store(false)
			t.Reset(tick)
		}
		if idle {
			idle = false
			t.Reset(tick)
		}
	}
}

// look does what is due and reports whether nothing more will be before something is appended.
func (k *Engine) look(now time.Time) (idle bool) {
	stats := k.wal.Stats()
	k.anchor.look(now, &stats, k.growth.records.Load())
	k.watchSpace()
	if now.Sub(k.probed) >= probeEvery {
		k.probed = now
		k.probe()
	}
	if now.Before(k.retry) {
		return false
	}
	if err := k.wal.Err(); err != nil {
		k.makeRoom(err)
		return false
	}
	k.tidyUp()
	k.tellTime(now)
	k.retain(now)
	k.registry.Reclaim()
	if k.wal.Lost() == k.lost.Load() && k.registry.PrepareDrop() { // else the log does not say all that it should
		if err := k.drop(); err != nil {
			k.o.Log.Error("letting go of segments", "error", err)
			k.retry = now.Add(probeEvery)
		}
	}
	stats = k.wal.Stats()
	still := stats.Bytes == k.seen && stats.Unwritten == 0
	quiet := stats.Bytes-k.seen < quietBytes && k.registry.Drained()
	k.seen = stats.Bytes
	due, later := k.due(now, &stats, quiet)
	if stats.Bytes-k.size >= k.o.CheckpointBytes && now.Sub(k.at) >= syncAheadAfter {
		k.registry.SyncAhead()
	}
	if !due && stats.Lost == k.lost.Load() {
		if still && k.mayBeSparse(now, stats.Bytes) {
			k.compacted, k.rounded = stats.Bytes, now
			k.compact()
		}
		return still && !later && k.registry.Failed() == nil
	}
	k.renew(now, stats.Bytes-k.size, quiet)
	return false
}

// mayBeSparse reports whether it is worth looking for segments of which little is needed, of a log in which nothing happens: what groups apply may have been in it
// for long, as after a start.
func (k *Engine) mayBeSparse(now time.Time, bytes uint64) bool {
	return bytes != k.compacted && !k.registry.Drained() || k.groups != nil && now.Sub(k.rounded) >= compactPause
}

// due reports whether it is time for a checkpoint, or will be although nothing more is appended.
func (k *Engine) due(now time.Time, stats *wal.Stats, quiet bool) (due, later bool) {
	grown := stats.Bytes - k.size
	if grown >= checkpointMax {
		return true, false
	}
	paused := now.Sub(k.at) >= checkpointPause
	enough := grown >= max(k.o.CheckpointBytes, 2*k.weight)
	left := quiet && uint64(stats.FileBytes) >= 2*k.o.CheckpointBytes && stats.FileBytes > k.remains
	owed := k.owed.Load() > 0 || k.groups != nil && k.groups.Owes()
	due = enough && (paused || quiet || k.passing(grown)) || (left || owed) && paused
	return due, !due && (enough || left || owed)
}

// renew writes a checkpoint, when the log has grown by so many bytes since the last one.
func (k *Engine) renew(now time.Time, grown uint64, quiet bool) {
	recycle := 0
	if k.passing(grown) {
		recycle = int(grown / uint64(k.o.LogFileSize)) // as many as are filled till the next one
	}
	lost := k.wal.Lost() != k.lost.Load()
	err := k.checkpoint(recycle)
	if err == nil && (quiet || lost || len(k.doneOnce) > 0) {
		err = k.checkpoint(0) // what only the newest one knows the older one knows now, and the log goes back to it
		if err == nil {
			k.remains = k.wal.Stats().FileBytes
		}
	}
	if err != nil {
		k.o.Log.Error("writing a checkpoint", "error", err)
		k.registry.SetHealth(err)
		k.makeRoom(err)
		k.retry = now.Add(probeEvery)
		return
	}
	k.registry.SetHealth(nil)
	if k.owed.Load() > 0 {
		k.owed.Add(-1)
		return
	}
	k.compact()
}

// passing reports whether nearly all that the log has grown by was consumed already: a checkpoint then costs next to nothing, and
// what is written goes on in memory of the system and space on the disk that were used before.
func (k *Engine) passing(grown uint64) bool {
	return grown >= passingFactor*k.o.CheckpointBytes && k.registry.Drained() && k.registry.Memory() <= grown/2
}

// drop lets segments go of which the log says that nobody needs them.
func (k *Engine) drop() error {
	if err := k.sync(); err != nil {
		return err
	}
	if k.wal.Lost() != k.lost.Load() { // it does not say so: a checkpoint will
		return nil
	}
	return k.registry.Drop()
}

// sync writes to the log, and syncs all of it.
func (k *Engine) sync() error {
	at, err := k.wal.Append(byte(kindProbe))
	if err == nil {
		err = k.wal.Commit(at, wal.Synced)
	}
	return err
}

// probe tries the log when it, or the last write to disk, has failed. Health stays bad until a write and, when records were
// lost, a checkpoint has succeeded.
func (k *Engine) probe() {
	failed := k.wal.Err()
	if failed == nil && k.registry.Failed() == nil {
		return
	}
	err := k.wal.Recover()
	if err == nil {
		err = k.sync()
	}
	switch {
	case err != nil:
		k.registry.SetHealth(err)
	case k.wal.Lost() > k.lost.Load():
		k.registry.SetHealth(errGap)
	default:
		k.registry.SetHealth(nil)
	}
	if err == nil && failed != nil {
		k.o.Log.Info("the log can be written again")
	}
}

// retainEvery is how often it is looked for messages that need not be kept any more.
const retainEvery = 30 * time.Second

// retain drops messages that are kept for longer than they are to be. A repair drops none: it does not know the node's configuration, which may
// say of any topic that it keeps them.
func (k *Engine) retain(now time.Time) {
	if k.o.AcceptLoss {
		return
	}
	if now.Sub(k.retained) >= retainEvery || k.retained.IsZero() {
		k.retained = now
		k.registry.Retain()
	}
}
