package appkit

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// Backoff says how long to wait after the first failure, the second and so on: twice as long each time, less up to a half of
// it at random. The zero value begins at 100 ms and ends at 30 s. It is used by one goroutine.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Next returns the next wait.
func (b *Backoff) Next() time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = 100 * time.Millisecond
	}
	if high <= 0 {
		high = 30 * time.Second
	}
	b.next = min(max(2*b.next, low), max(high, low))
	return b.next - rand.N(b.next/2+1)
}

// Wait waits for the next wait, or until ctx is done, and returns ctx's error then.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Reset begins anew after a success.
func (b *Backoff) Reset() { b.next = 0 }

// Sleep waits, or returns ctx's error as soon as it is done.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

type stopError struct{ error }

func (s stopError) Unwrap() error { return s.error }

// Stop marks an error after which Retry must not try again.
func Stop(err error) error { return stopError{err} }

// Retry calls try until it returns nil or an error marked by Stop, which is returned unmarked. When ctx is done first, both its
// error and the last one of try are returned, joined.
func Retry(ctx context.Context, b Backoff, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		var stop stopError
		if errors.As(err, &stop) {
			return stop.error
		}
		if ended := b.Wait(ctx); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// NewLimiter lets perSecond things through each second, up to a second's worth at once after a pause, and one at the start. 0
// or less is no limit.
func NewLimiter(perSecond int) *rate.Limiter {
	if perSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	l := rate.NewLimiter(rate.Limit(perSecond), perSecond)
	l.AllowN(time.Now(), perSecond-1)
	return l
}
