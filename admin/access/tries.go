package access

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// tries limits how often passwords can be tried: for each address, and, ten times as often, for each user from wherever, so
// that one address alone cannot keep a user out. A right one is forgotten.
type tries struct {
	mu sync.Mutex
	of map[string]*rate.Limiter // guarded by mu
}

const (
	triesAtOnce  = 10
	triesRefill  = 10 * time.Second // for one try
	userTimes    = 10               // as often as an address
	maxTriesKept = 20_000
)

func newTries() *tries { return &tries{of: map[string]*rate.Limiter{}} }

// take counts one try, or returns how long to wait until there may be one.
func (t *tries) take(peer netip.Addr, user string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.of) >= maxTriesKept {
		t.dropFullLocked(now)
	}
	address := t.limiterLocked("a"+network(peer), 1).ReserveN(now, 1)
	name := t.limiterLocked("u"+user, userTimes).ReserveN(now, 1)
	wait := max(address.DelayFrom(now), name.DelayFrom(now))
	if wait > 0 {
		address.CancelAt(now)
		name.CancelAt(now)
	}
	return wait
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

// limiterLocked returns who counts the tries of a key, so many times as often as those of an address.
func (t *tries) limiterLocked(key string, times int) *rate.Limiter {
	l := t.of[key]
	if l == nil {
		l = rate.NewLimiter(rate.Every(triesRefill/time.Duration(times)), triesAtOnce*times)
		t.of[key] = l
	}
	return l
}

// dropFullLocked forgets those who have not tried for long, or everybody when that is not enough.
func (t *tries) dropFullLocked(now time.Time) {
	for key, l := range t.of {
		if l.TokensAt(now) >= float64(l.Burst()) {
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
