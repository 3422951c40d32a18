package telemetry

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/beorn7/perks/quantile"

	"brokerd/protocol/httpapi"
)

// epsilon is how far a quantile may be off in rank, nearly: 0.99 is about 0.98 to 1.
const epsilon = 0.01

// Observer estimates quantiles of durations over a sliding window. It keeps two streams of half a window each, so that
// what it says covers the last half window to the last whole one. It is safe for concurrent use.
type Observer struct {
	half time.Duration // set at construction

	mu        sync.Mutex
	current   *quantile.Stream // guarded by mu; takes observations
	previous  *quantile.Stream // guarded by mu; the half window before
	startedAt time.Time        // guarded by mu; of current
}

// NewObserver returns an empty Observer for the given quantiles, each in (0,1], and window, more than zero.
func NewObserver(quantiles []float64, window time.Duration) *Observer {
	targets := make(map[float64]float64, len(quantiles))
	for _, q := range quantiles {
		targets[q] = epsilon
	}
	return &Observer{
		half:      window / 2,
		current:   quantile.NewTargeted(targets),
		previous:  quantile.NewTargeted(targets),
		startedAt: time.Now(),
	}
}

// Observe adds one duration in nanoseconds.
func (o *Observer) Observe(ns int64) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotateLocked(now)
	o.current.Insert(float64(ns))
}

// rotateLocked forgets what has left the window.
func (o *Observer) rotateLocked(now time.Time) {
	age := now.Sub(o.startedAt)
	if age < o.half {
		return
	}
	o.current, o.previous = o.previous, o.current
	o.current.Reset()
	if age >= 2*o.half {
		o.previous.Reset()
	}
	o.startedAt = now
}

// appendSamples appends what the window holds: values, each with the number of observations that it stands for.
func (o *Observer) appendSamples(dst quantile.Samples) quantile.Samples {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotateLocked(now)
	dst = append(dst, o.previous.Samples()...)
	return append(dst, o.current.Samples()...)
}

// Summarize returns the quantiles over all observers together; nil ones are skipped. Without quantiles it returns the zero
// Latency, without observations each quantile is 0.
//
// The streams' samples are ranked together here rather than by perks' Merge, which its own page calls broken: a sample
// stands for Width observations up to its value, so that ranks add up and the error stays that of one stream.
func Summarize(quantiles []float64, observers ...*Observer) httpapi.Latency {
	if len(quantiles) == 0 {
		return httpapi.Latency{}
	}
	var samples quantile.Samples
	for _, o := range observers {
		if o != nil {
			samples = o.appendSamples(samples)
		}
	}
	slices.SortFunc(samples, func(a, b quantile.Sample) int { return cmp.Compare(a.Value, b.Value) })
	total := 0.0
	for _, s := range samples {
		total += s.Width
	}
	out := httpapi.Latency{Count: int(total), Percentiles: make([]httpapi.Percentile, len(quantiles))}
	for i, q := range quantiles {
		out.Percentiles[i] = httpapi.Percentile{Quantile: q, Value: valueAt(samples, math.Ceil(q*total))}
	}
	return out
}

// valueAt returns the value of ascending samples whose rank, counted from 1, is nearest to rank; 0 when there are no samples.
// A sample's rank is known up to its Delta; the middle is taken.
func valueAt(samples quantile.Samples, rank float64) float64 {
	value, seen, nearest := 0.0, 0.0, math.Inf(1)
	for _, s := range samples {
		seen += s.Width
		if off := math.Abs(seen + s.Delta/2 - rank); off < nearest {
			value, nearest = s.Value, off
		}
	}
	return value
}
