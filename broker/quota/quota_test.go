package quota

import (
	"fmt"
	"testing"
	"time"
)

// TestRatesAreKept: over a minute a caller who comes back when he is told has spent what he may, each of the three alone, and others are not
// concerned.
func TestRatesAreKept(t *testing.T) {
	for name, l := range map[string]Limits{"publishes": {Publishes: 10}, "bytes": {Bytes: 10}, "commands": {Commands: 10}, "all": {10, 10, 10}} {
		q, now := New(l), time.Unix(0, 0)
		a, end, spent := q.Of("a", now), now.Add(time.Minute), 0
		for now.Before(end) {
			if wait := a.Spend(1, 1, 1, now); wait > 0 {
				now = now.Add(wait)
			}
			spent++
		}
		if spent < 600 || spent > 612 {
			t.Errorf("%s: %d in a minute", name, spent)
		}
		if wait := q.Of("b", now).Spend(1, 1, 1, now); wait > 0 {
			t.Errorf("%s: another waits for %v", name, wait)
		}
		if q.Of("a", now) != a {
			t.Errorf("%s: two accounts of one", name)
		}
	}
}

// TestDebtIsBounded: one large batch is let through and paid for half a minute at most, and a clock that goes back gives nothing.
func TestDebtIsBounded(t *testing.T) {
	q, now := New(Limits{Bytes: 1000}), time.Unix(1000, 0)
	a := q.Of("a", now)
	if wait := a.Spend(0, 1<<30, 0, now); wait != maxDebt*time.Second {
		t.Errorf("waits for %v", wait)
	}
	if wait := a.Spend(0, 0, 0, now.Add(-time.Hour)); wait != maxDebt*time.Second {
		t.Errorf("after the clock went back %v", wait)
	}
	if wait := a.Spend(0, 0, 0, now.Add(time.Hour)); wait != 0 {
		t.Errorf("after an hour %v", wait)
	}
	if New(Limits{}).Of("a", now) != nil || New(Limits{}).On() || (*Quotas)(nil).Of("a", now).Spend(1, 1, 1, now) != 0 {
		t.Error("without limits somebody waits")
	}
}

// TestAccountsAreForgotten: strangers from ever new addresses do not take memory for good.
func TestAccountsAreForgotten(t *testing.T) {
	q, now := New(Limits{Commands: 1}), time.Unix(0, 0)
	for i := range 3 * maxAccounts {
		q.Of(fmt.Sprint(i), now).Spend(0, 0, 1, now)
		now = now.Add(time.Millisecond)
	}
	if len(q.of) > maxAccounts {
		t.Errorf("%d accounts", len(q.of))
	}
	if Address("2001:db8::1") != Address("2001:db8::2") || Address("::ffff:10.0.0.1") != Address("10.0.0.1") || Address("10.0.0.1") == Address("10.0.0.2") {
		t.Error("addresses are named wrong")
	}
}

// TestLimitsChange: accounts that are there already keep to new limits, stricter and looser ones, to none, and to one that was not there before.
func TestLimitsChange(t *testing.T) {
	q, now := New(Limits{Publishes: 1000}), time.Unix(0, 0)
	a := q.Of("a", now)
	if wait := a.Spend(1000, 0, 0, now); wait > 0 {
		t.Fatal(wait)
	}
	minute := func() (spent int) {
		for end := now.Add(time.Minute); now.Before(end); spent++ {
			now = now.Add(a.Spend(1, 1, 1, now))
			if spent > 100_000 {
				return spent
			}
		}
		return spent
	}
	for _, c := range []struct {
		limits      Limits
		least, most int
	}{{Limits{Publishes: 10}, 595, 612}, {Limits{Publishes: 20}, 1195, 1222}, {Limits{Commands: 5}, 295, 312}, {Limits{}, 100_001, 100_001}, {Limits{Publishes: 10}, 595, 612}} {
		q.SetLimits(c.limits)
		if got := minute(); got < c.least || got > c.most {
			t.Errorf("%+v: %d in a minute", c.limits, got)
		}
	}
}
