package load

import (
	"context"
	"time"
)

// pace says when to send. It belongs to one publisher.
type pace struct {
	next  time.Time
	every time.Duration // 0 is as fast as it goes
}

// coarse is how long before the time a sleep on the runtime's timers ends, which are only good for a millisecond.
const coarse = 3 * time.Millisecond

// wait sleeps until the next message is to be sent and returns that time, which is past when the publisher is behind. It
// returns early when ctx ends.
func (p *pace) wait(ctx context.Context) (intended time.Time) {
	if p.every == 0 {
		return time.Now()
	}
	intended = p.next
	p.next = p.next.Add(p.every)
	if left := time.Until(intended); left > coarse {
		pause(ctx, left-coarse)
	}
	if left := time.Until(intended); left > 0 && ctx.Err() == nil {
		preciseSleep(left)
	}
	return intended
}

// pause sleeps until d has passed or ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
