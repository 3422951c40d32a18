package wal

import (
	"cmp"
	"time"
)

// Start starts the goroutines that write and sync what nobody waits for, and prepare files. Close ends them.
func (l *Log) Start() {
	l.loops.Go(func() { l.loop(l.flushKick, l.flushNow, l.o.FlushInterval, l.flush) })
	l.loops.Go(func() { l.loop(l.syncKick, l.syncNow, l.o.SyncTimeout, l.syncBehind) })
	l.removeUseless()
	l.mu.Lock()
	if l.o.Prepare {
		l.askPreparedLocked()
	}
	l.askLeaseLocked()
	l.mu.Unlock()
	l.loops.Go(l.prepareLoop)
}

// removeUseless removes spare files that Open has found and that cannot be used.
func (l *Log) removeUseless() {
	for _, name := range l.useless {
		if err := l.o.FS.Remove(name); err != nil {
			l.o.Log.Warn("removing a spare log file", "file", name, "error", err)
		}
	}
	l.useless = nil
}

// loop sleeps until it is woken, and then does its work after every interval, or earlier when now says so, for as long as
// the work says that there may be more.
func (l *Log) loop(woken, now <-chan struct{}, interval time.Duration, work func() (more bool)) {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-woken:
		}
		for more := true; more; more = work() {
			timer.Reset(interval)
			select {
			case <-l.stop:
				return
			case <-now:
			case <-timer.C:
			}
		}
	}
}

// armFlushLocked has the flusher look at what is pending, soon.
func (l *Log) armFlushLocked() {
	if !l.flushArmed {
		l.flushArmed = true
		kick(l.flushKick)
	}
}

// armSyncLocked has the syncer sync what is written, in time.
func (l *Log) armSyncLocked() {
	if l.toSync.records == 0 || l.err != nil {
		return
	}
	if !l.syncArmed {
		l.syncArmed = true
		kick(l.syncKick)
	}
	if reached(l.toSync.records-l.inSync.records, l.o.SyncEvery) || reached(l.toSync.bytes-l.inSync.bytes, l.o.SyncBytes) {
		kick(l.syncNow)
	}
}

func reached(n, limit int64) bool { return limit > 0 && n >= limit }

// kick wakes a goroutine that listens, or will.
func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush writes what nobody has committed, and what is synced, when nothing else has said so.
func (l *Log) flush() (more bool) {
	return l.background("write", func() bool {
		if len(l.pending.parts) == 0 && l.markDue && l.err == nil {
			l.appendMarkLocked()
		}
		more := len(l.pending.parts) > 0
		if more {
			l.writeRoundLocked()
		}
		l.flushArmed = more
		return more
	})
}

// syncBehind syncs what was written.
func (l *Log) syncBehind() (more bool) {
	return l.background("sync", func() bool {
		if l.toSync.records > 0 && l.err == nil {
			l.syncRoundLocked()
		}
		l.syncArmed = l.toSync.records > 0 && l.err == nil
		return l.syncArmed
	})
}

// background does work under mu and logs the failure that it met, since nobody else is told of it.
func (l *Log) background(what string, work func() bool) bool {
	l.mu.Lock()
	before := cmp.Or(l.err, l.trouble)
	more := work()
	after := cmp.Or(l.err, l.trouble)
	l.mu.Unlock()
	if before == nil && after != nil {
		l.o.Log.Error("the log failed in the background", "doing", what, "error", after)
	}
	return more
}
