package targets

import (
	"slices"
	"time"
)

// State is what is known of one target. Times are over its last results, as many as New was told.
type State struct {
	Address  string  `json:"address"`
	Messages uint64  `json:"messages"` // that it took
	Failures uint64  `json:"failures"` // messages that it did not take, each attempt counted
	Aside    bool    `json:"aside"`    // it failed, and has not worked since
	Error    string  `json:"error,omitempty"`
	Avg      float64 `json:"avg_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// figures counts one target's results.
type figures struct {
	messages, failures uint64
	lastErr            string
	times              []time.Duration // a ring
	results            int             // in all, of which the last are in times
}

func newFigures(samples int) figures { return figures{times: make([]time.Duration, 0, samples)} }

func (f *figures) done(messages int, took time.Duration) {
	f.messages += uint64(messages)
	if len(f.times) < cap(f.times) {
		f.times = append(f.times, took)
	} else {
		f.times[f.results%len(f.times)] = took
	}
	f.results++
}

func (f *figures) failed(messages int, err error) {
	f.failures += uint64(messages)
	f.lastErr = err.Error()
}

// States returns every target's state, and that of all together under the address "aggregate".
func (p *Pool) States() (each []State, all State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all.Address = "aggregate"
	var times []time.Duration
	for i := range p.targets {
		t := &p.targets[i]
		s := State{
			Address: t.address, Messages: t.figures.messages, Failures: t.figures.failures, Aside: t.aside, Error: t.figures.lastErr,
		}
		s.measure(slices.Clone(t.figures.times))
		each = append(each, s)
		all.Messages += s.Messages
		all.Failures += s.Failures
		times = append(times, t.figures.times...)
	}
	all.measure(times)
	return each, all
}

// measure fills in the times, which it sorts.
func (s *State) measure(times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	s.Avg = milliseconds(sum / time.Duration(len(times)))
	s.P95 = milliseconds(times[rank(95, len(times))])
	s.P99 = milliseconds(times[rank(99, len(times))])
}

// rank returns the place of a percentile among n sorted values, n at least 1: the smallest value that so many are not above.
func rank(percent, n int) int { return (percent*n+99)/100 - 1 }

// milliseconds rounds to a hundredth.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
