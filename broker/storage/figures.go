package storage

import (
	"sync"
	"time"

	"brokerd/diskqueue/wal"
)

// Figures are what an engine has done since it was opened.
type Figures struct {
	Log wal.Stats

	Checkpoints, Failed uint64
	At                  time.Time     // of the last good checkpoint; zero when there was none
	Took                time.Duration // all checkpoints together

	Compactions, CompactionsFailed uint64        // rounds in which something was written together anew, or was to be
	Compacted                      uint64        // bytes of segments that these looked through
	CompactionTook                 time.Duration // their work, without their rests

	RecoveryTook time.Duration // reading checkpoint and log at the start
	Recovered    int           // records of the log that were read then
	Damaged      int           // places of the log that could not be
}

// tally is the part of the figures that the engine's loop writes and others read.
type tally struct {
	mu sync.Mutex
	f  Figures
}

// Figures returns the figures of now.
func (k *Engine) Figures() Figures {
	k.tally.mu.Lock()
	f := k.tally.f
	k.tally.mu.Unlock()
	f.Log = k.wal.Stats()
	return f
}

// checkpointed notes a checkpoint that began at that time.
func (t *tally) checkpointed(began time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.Took += time.Since(began)
	if err != nil {
		t.f.Failed++
		return
	}
	t.f.Checkpoints++
	t.f.At = time.Now()
}

// compacted notes a round: what it looked through, how long it worked, and whether it has written anything.
func (t *tally) compacted(bytes int, took time.Duration, done bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.Compacted += uint64(bytes)
	t.f.CompactionTook += took
	switch {
	case err != nil:
		t.f.CompactionsFailed++
	case done:
		t.f.Compactions++
	}
}

// recovered notes what the start has read.
func (t *tally) recovered(began time.Time, report *wal.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.RecoveryTook, t.f.Recovered, t.f.Damaged = time.Since(began), report.Records, len(report.Damage)
}
