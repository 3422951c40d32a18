package quota

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are for one second; 0 is no limit.
type Limits struct{ Publishes, Bytes, Commands int64 }

const (
	maxDebt     = 30     // seconds' worth
	maxAccounts = 20_000 // then those that are full again go
)

// Quotas has the accounts of a broker. It is safe for concurrent use. A nil one has no limits.
type Quotas struct {
	limits atomic.Pointer[[3]float64] // nil: none

	mu sync.Mutex
	of map[string]*Account // guarded by mu
}

// New returns quotas with the limits.
func New(l Limits) *Quotas {
	q := &Quotas{of: map[string]*Account{}}
	q.SetLimits(l)
	return q
}

// SetLimits changes the limits for everybody. Accounts go on with what they have left, as far as the new limits let them; what was not
// limited before begins with nothing.
func (q *Quotas) SetLimits(l Limits) {
	if l == (Limits{}) {
		q.limits.Store(nil)
		return
	}
	q.limits.Store(&[3]float64{float64(l.Publishes), float64(l.Bytes), float64(l.Commands)})
}

// On reports whether there is a limit.
func (q *Quotas) On() bool { return q != nil && q.limits.Load() != nil }

// Account is what one caller has left. Several connections may share it.
type Account struct {
	q *Quotas

	mu   sync.Mutex
	left [3]float64 // guarded by mu; below 0 is debt
	at   time.Time  // guarded by mu
}

// Of returns the account of a caller by what names him, nil without limits.
func (q *Quotas) Of(key string, now time.Time) *Account {
	if q == nil {
		return nil
	}
	limits := q.limits.Load()
	if limits == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.of[key]
	if a == nil {
		if len(q.of) >= maxAccounts {
			q.forgetLocked(now)
		}
		a = &Account{q: q, left: *limits, at: now}
		q.of[key] = a
	}
	return a
}

// forgetLocked drops the accounts that nobody has spent from for long, or all when that is not enough.
func (q *Quotas) forgetLocked(now time.Time) {
	for key, a := range q.of {
		if a.idle(now) {
			delete(q.of, key)
		}
	}
	if len(q.of) >= maxAccounts {
		clear(q.of)
	}
}

func (a *Account) idle(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Sub(a.at) > (maxDebt+1)*time.Second
}

// Spend takes from the account, and returns for how long the caller is over his quota. A nil account is never.
func (a *Account) Spend(publishes, bytes, commands int64, now time.Time) (wait time.Duration) {
	if a == nil {
		return 0
	}
	limits := a.q.limits.Load()
	if limits == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	seconds := max(0, now.Sub(a.at).Seconds())
	a.at = now
	for i, spent := range [3]int64{publishes, bytes, commands} {
		limit := limits[i]
		if limit == 0 {
			a.left[i] = 0
			continue
		}
		a.left[i] = max(min(a.left[i]+seconds*limit, limit)-float64(spent), -maxDebt*limit)
		if a.left[i] < 0 {
			wait = max(wait, time.Duration(-a.left[i]/limit*float64(time.Second)))
		}
	}
	return wait
}

// Address names a caller by his address: all of an IPv6 /64 are one host's.
func Address(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "address " + ip
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return "address " + p.String()
		}
	}
	return "address " + addr.String()
}
