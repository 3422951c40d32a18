package topic

import (
	"context"
	"time"
)

// confirmPace is how often it is looked whether a topic is led still, while somebody waits for what is about to be shown.
const confirmPace = 5 * time.Millisecond

// Confirm returns once the topic shows every message whose publish was answered before the call, by whichever broker: this one has led it at a moment since, of
// which it has made sure. What was answered early, with less than acks=all, need not be shown yet. A topic that is not replicated has only what this broker has. It
// fails with ErrUnconfirmed, or the error of the context.
func (t *Topic) Confirm(ctx context.Context) error {
	if t.led == nil {
		return nil
	}
	t.pub.Lock()
	last := t.d.next - 1 // all that this reign has answered was appended
	t.pub.Unlock()
	if err := t.led.reign.Confirm(ctx); err != nil {
		return err
	}
	return t.awaitShown(ctx, last)
}

// awaitShown returns once everything up to a position is shown: who has published it is about to be told that it is committed, or that the lead is lost.
func (t *Topic) awaitShown(ctx context.Context, last Position) error {
	for t.d.shown() < last {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(confirmPace):
		}
		if t.exiting.Load() {
			return ErrUnconfirmed
		}
	}
	return nil
}
