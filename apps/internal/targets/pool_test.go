package targets

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var errDown = errors.New("connection refused")

func newPool(mode Mode, addresses ...string) *Pool {
	return New(mode, addresses, 100, rand.NewPCG(1, 2))
}

// picks returns the next n choices.
func picks(p *Pool, n int, now time.Time) []int {
	var list []int
	for range n {
		list = append(list, p.Pick(now))
	}
	return list
}

func TestRoundRobinBeginsWithTheSecondAndSkipsNobody(t *testing.T) {
	p := newPool(RoundRobin, "a", "b", "c")
	now := time.Unix(1000, 0)
	p.Failed(2, 1, errDown, now)
	if got := picks(p, 6, now); !slices.Equal(got, []int{1, 2, 0, 1, 2, 0}) {
		t.Errorf("chose %v", got)
	}
}

func TestHostPoolLeavesOutWhatFailedUntilItIsTriedAgain(t *testing.T) {
	p := newPool(HostPool, "a", "b", "c")
	now := time.Unix(1000, 0)
	p.Failed(1, 1, errDown, now)
	if got := picks(p, 4, now.Add(29*time.Second)); slices.Contains(got, 1) {
		t.Errorf("chose %v within 30 seconds of a failure of 1", got)
	}
	now = now.Add(30 * time.Second)
	if got := picks(p, 6, now); count(got, 1) != 1 {
		t.Errorf("chose %v: 1 should be tried once", got)
	}
	p.Failed(1, 1, errDown, now)
	if got := picks(p, 6, now.Add(59*time.Second)); slices.Contains(got, 1) {
		t.Errorf("chose %v within 60 seconds of the second failure", got)
	}
	if got := picks(p, 6, now.Add(60*time.Second)); count(got, 1) != 1 {
		t.Errorf("chose %v: 1 should be tried once after 60 seconds", got)
	}
	p.Done(1, 1, time.Millisecond, now.Add(61*time.Second))
	if got := picks(p, 6, now.Add(61*time.Second)); count(got, 1) != 2 {
		t.Errorf("chose %v after 1 worked", got)
	}
}

func TestHostPoolWaitsFifteenMinutesAtMost(t *testing.T) {
	p := newPool(HostPool, "a", "b")
	now := time.Unix(1000, 0)
	for range 10 {
		p.Failed(0, 1, errDown, now)
		now = now.Add(maxAside)
		if got := picks(p, 2, now); !slices.Contains(got, 0) {
			t.Fatalf("chose %v a quarter of an hour after a failure", got)
		}
	}
}

func TestHostPoolTakesAllBackWhenNoneWorks(t *testing.T) {
	p := newPool(HostPool, "a", "b")
	now := time.Unix(1000, 0)
	p.Failed(0, 1, errDown, now)
	p.Failed(1, 1, errDown, now)
	if got := picks(p, 3, now); !slices.Equal(got, []int{0, 1, 0}) {
		t.Errorf("chose %v", got)
	}
}

func TestAlternativeIsAnotherTargetThatWorks(t *testing.T) {
	p := newPool(HostPool, "a", "b", "c")
	now := time.Unix(1000, 0)
	p.Failed(0, 1, errDown, now)
	if i, ok := p.Alternative(1<<1, now); !ok || i != 2 {
		t.Errorf("instead of 1, with 0 down: %d, %v", i, ok)
	}
	if i, ok := p.Alternative(1<<1|1<<2, now); ok {
		t.Errorf("%d is no alternative when 0 is down and 1 and 2 were tried", i)
	}
	if _, ok := newPool(RoundRobin, "a", "b").Alternative(1, now); ok {
		t.Error("strict rotation has no alternative")
	}
}

func TestEpsilonGreedyPrefersTheFasterOne(t *testing.T) {
	p := newPool(EpsilonGreedy, "slow", "fast", "down")
	now := time.Unix(1000, 0)
	took := []time.Duration{200 * time.Millisecond, 10 * time.Millisecond}
	var chosen [3]int
	for range 2000 {
		now = now.Add(10 * time.Millisecond)
		i := p.Pick(now)
		chosen[i]++
		if i == 2 {
			p.Failed(i, 1, errDown, now)
			continue
		}
		p.Done(i, 1, took[i], now)
	}
	if chosen[1] < 8*chosen[0] || chosen[0] == 0 || chosen[2] > 3 {
		t.Errorf("chose slow, fast, down %v times", chosen)
	}
	for range 1000 { // the slow one has become the faster
		now = now.Add(time.Second)
		i := p.Pick(now)
		if i != 2 {
			p.Done(i, 1, took[1-i], now)
		}
		chosen[i]++
	}
	if got := picks(p, 100, now); count(got, 0) < 70 {
		t.Errorf("chose the one that became fast only %d times of 100", count(got, 0))
	}
}

func TestStatesTellOfEachAndOfAll(t *testing.T) {
	p := New(RoundRobin, []string{"a", "b"}, 100, rand.NewPCG(1, 2))
	now := time.Unix(1000, 0)
	p.Done(0, 1, time.Hour, now) // falls out of the last 100
	for i := range 100 {
		p.Done(0, 2, time.Duration(i+1)*time.Millisecond, now)
	}
	p.Failed(1, 3, errDown, now)
	each, all := p.States()
	want := State{Address: "a", Messages: 201, Avg: 50.5, P95: 95, P99: 99}
	if each[0] != want {
		t.Errorf("got %+v, want %+v", each[0], want)
	}
	want = State{Address: "b", Failures: 3, Aside: true, Error: "connection refused"}
	if each[1] != want {
		t.Errorf("got %+v, want %+v", each[1], want)
	}
	if all.Messages != 201 || all.Failures != 3 || all.P95 != 95 {
		t.Errorf("all: %+v", all)
	}
}

func TestParseModeNamesTheModes(t *testing.T) {
	if m, err := ParseMode("hostpool", RoundRobin, HostPool); err != nil || m != HostPool {
		t.Errorf("got %q, %v", m, err)
	}
	_, err := ParseMode("random", RoundRobin, HostPool)
	if err == nil || !strings.Contains(err.Error(), `one of round-robin, hostpool, not "random"`) {
		t.Errorf("got %v", err)
	}
}

func count(list []int, what int) (n int) {
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}
