package storage

import (
	"context"
	"errors"
	"time"

	"brokerd/broker/topic"
)

// How fast segments are written together anew, of which little is needed, and how long that rests between two rounds.
const (
	compactRate  = 16 << 20 // bytes read in a second
	compactPause = 10 * time.Second
)

// compact asks for a round, soon.
func (k *Engine) compact() {
	select {
	case k.sparse <- struct{}{}:
	default:
	}
}

// runCompact writes segments together anew when it is told to: after a checkpoint, and when nothing happens any more. It sleeps
// otherwise.
func (k *Engine) runCompact(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.sparse:
		}
		began, read, rested := time.Now(), 0, time.Duration(0)
		paced := func(bytes int) error {
			read += bytes
			pause := time.Duration(bytes) * time.Second / compactRate
			rested += pause
			return rest(ctx, pause)
		}
		done, err := k.registry.Compact(ctx, paced)
		some := false
		if k.groups != nil {
			var failed error
			some, failed = k.groups.Compact(ctx, paced)
			err = errors.Join(err, failed)
		}
		if ctx.Err() == nil {
			k.tally.compacted(read, max(0, time.Since(began)-rested), done || some, err)
		}
		if err != nil && ctx.Err() == nil {
			k.o.Log.Warn("writing segments together anew", "error", err)
		}
		if done { // the old files go when no checkpoint refers to them
			k.owed.Store(topic.CompactCheckpoints + 1)
		}
		if done || some { // groups say themselves what they owe
			k.wakeups.wake()
		}
		if rest(ctx, compactPause) != nil {
			return
		}
	}
}

// rest waits, or returns that the context has ended.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
