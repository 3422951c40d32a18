package access

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// turns bounds the hashing of passwords: it takes a quarter of a second of a processor each, which strangers could buy for the price of a
// request. Two are hashed at once and a few wait, more are sent away. Addresses from which somebody has signed in wait apart, so that a flood of
// strangers does not hold them up: one of the two places is theirs whenever they want it.
type turns struct {
	strange, known lane

	mu    sync.Mutex
	since map[string]time.Time // when somebody signed in last, by network; guarded by mu
}

type lane struct {
	queue chan struct{} // places to wait in, those that hash included
	hash  chan struct{} // places to hash in
}

const (
	maxWaiting = 4 // of one lane: nobody waits for more than a second or so
	maxKnown   = 10_000
	knownFor   = 30 * 24 * time.Hour
	busyAgain  = 5 * time.Second // when to try again
)

func newTurns() *turns {
	l := func() lane { return lane{make(chan struct{}, maxWaiting), make(chan struct{}, 1)} }
	return &turns{strange: l(), known: l(), since: map[string]time.Time{}}
}

// begin waits for a turn, and returns what ends it. The error is a *TooMany when too many wait, or ctx's.
func (t *turns) begin(ctx context.Context, peer netip.Addr) (end func(), err error) {
	l := &t.strange
	if t.knows(peer, time.Now()) {
		l = &t.known
	}
	select {
	case l.queue <- struct{}{}:
	default:
		return nil, &TooMany{busyAgain}
	}
	select {
	case l.hash <- struct{}{}:
		return func() { <-l.hash; <-l.queue }, nil
	case <-ctx.Done():
		<-l.queue
		return nil, ctx.Err()
	}
}

func (t *turns) knows(peer netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.since[network(peer)]
	return ok && now.Sub(at) < knownFor
}

// know notes that somebody signed in from there.
func (t *turns) know(peer netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.since) >= maxKnown {
		var oldest string
		for key, at := range t.since {
			if oldest == "" || at.Before(t.since[oldest]) {
				oldest = key
			}
		}
		delete(t.since, oldest)
	}
	t.since[network(peer)] = time.Now()
}
