package access

import (
	"net/netip"
	"sync"
	"time"
)

// tries limits how often passwords can be tried: for each address, and, ten times as often, for each user from wherever, so
// that one address alone cannot keep a user out. A right one is forgotten.
type tries struct {
	mu sync.Mutex
	of map[string]*bucket // guarded by mu, as what it points to
}

// bucket is a token bucket: what is left at a moment.
type bucket struct {
	left float64
	at   time.Time
}

const (
	triesAtOnce  = 10
	triesRefill  = 10 * time.Second // for one try
	userShare    = 0.1              // of a user's bucket for one try
	maxTriesKept = 20_000
)

func newTries() *tries { return &tries{of: map[string]*bucket{}} }

// take counts one try, or returns how long to wait until there may be one.
func (t *tries) take(peer netip.Addr, user string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.of) >= maxTriesKept {
		t.dropFullLocked(now)
	}
	a, u := t.bucketLocked("a"+network(peer), now), t.bucketLocked("u"+user, now)
	if wait := max(1-a.left, userShare-u.left); wait > 0 {
		return time.Duration(wait * float64(triesRefill))
	}
	a.left--
	u.left -= userShare
	return 0
}

// network is what counts as one address: all of a /64 are one host's.
func network(peer netip.Addr) string {
	if peer.Is6() {
		if p, err := peer.Prefix(64); err == nil {
			return p.String()
		}
	}
	return peer.String()
}

func (t *tries) bucketLocked(key string, now time.Time) *bucket {
	b := t.of[key]
	if b == nil {
		b = &bucket{left: triesAtOnce, at: now}
		t.of[key] = b
	}
	b.left = min(triesAtOnce, b.left+float64(now.Sub(b.at))/float64(triesRefill))
	b.at = now
	return b
}

// dropFullLocked forgets those who have not tried for long, or everybody when that is not enough.
func (t *tries) dropFullLocked(now time.Time) {
	for key, b := range t.of {
		if now.Sub(b.at) > triesAtOnce*triesRefill {
			delete(t.of, key)
		}
	}
	if len(t.of) >= maxTriesKept {
		clear(t.of)
	}
}

// forget takes the tries back that led to a right password.
func (t *tries) forget(peer netip.Addr, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.of, "a"+network(peer))
	delete(t.of, "u"+user)
}
