package replica

import (
	crand "crypto/rand"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
)

var (
	seeds = flag.Int("seeds", usualSeeds, "runs of the simulator of groups")
	first = flag.Uint64("seed", 1, "the first seed")
	times = flag.Int("times", 1, "how many times as long as usual there are faults")
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func walName(number uint64) string { return fmt.Sprintf("%016d.wal", number) }

// simulate runs one seed and returns the run.
func simulate(t testing.TB, seed uint64, change func(*shape)) *sim {
	t.Helper()
	reader := crand.Reader
	defer func() { crand.Reader = reader }()
	s := newSim(seed, change)
	s.faults *= time.Duration(*times)
	s.after(pick(s.rng, 500*time.Millisecond, 2500*time.Millisecond), s.fault)
	s.run(s.faults)
	if s.fail == "" {
		s.heal()
		s.finish()
	}
	for _, n := range s.nodes {
		if n.log != nil {
			_ = n.log.Abandon()
		}
	}
	if s.fail != "" {
		trace := s.trace
		if !testing.Verbose() {
			trace = trace[max(0, len(trace)-60):]
		}
		t.Errorf("seed %d (go test ./broker/replica -run Simulator -seed %d -times %d -seeds 1 -v): %s\n%+v\n%s", seed, seed, *times, s.fail, s.shape, strings.Join(trace, "\n"))
	}
	return s
}

// TestSimulator runs groups under all faults at once, as many seeds as -seeds says.
func TestSimulator(t *testing.T) {
	var sum counts
	for i := range *seeds {
		s := simulate(t, *first+uint64(i), nil)
		sum = sum.plus(s.stats)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d seeds: %+v", *seeds, sum)
	if *seeds >= 200 && !t.Failed() && (sum.acked == 0 || sum.rejoined == 0 || sum.transfers == 0 || sum.passed == 0 || sum.reads == 0 || sum.oldCopies == 0 ||
		sum.flips == 0 || sum.wiped == 0 || sum.rebased == 0 || sum.checked == 0 || sum.leased == 0 || sum.failures == 0 || sum.confirmed == 0 || sum.paused == 0 || sum.halted == 0) {
		t.Error("something that should go wrong never did, so that nothing was tested of it")
	}
}

func (c counts) plus(o counts) counts {
	for _, p := range []struct {
		to   *int
		more int
	}{{&c.acked, o.acked}, {&c.committed, o.committed}, {&c.reigns, o.reigns}, {&c.crashes, o.crashes}, {&c.cuts, o.cuts}, {&c.failures, o.failures},
		{&c.forgetful, o.forgetful}, {&c.rejoined, o.rejoined}, {&c.transfers, o.transfers}, {&c.passed, o.passed}, {&c.reads, o.reads}, {&c.oldCopies, o.oldCopies},
		{&c.flips, o.flips}, {&c.wiped, o.wiped}, {&c.rebased, o.rebased}, {&c.checked, o.checked}, {&c.leased, o.leased}, {&c.engine, o.engine}, {&c.confirmed, o.confirmed}, {&c.paused, o.paused}, {&c.halted, o.halted}} {
		*p.to += p.more
	}
	return c
}
