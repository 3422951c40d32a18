package targets

import "time"

// How often epsilon-greedy explores: go-hostpool's figures, which NSQ's tools have.
const (
	firstEpsilon = 0.3
	epsilonDecay = 0.9
	minEpsilon   = 0.01
)

// greedyLocked chooses by speed among the targets that may be used; ok is false when it is to be by turns: while exploring, and
// while a speed is not known.
func (p *Pool) greedyLocked(now time.Time) (i int, ok bool) {
	if p.rng.Float64() < p.epsilon {
		p.epsilon = max(p.epsilon*epsilonDecay, minEpsilon)
		return 0, false
	}
	weights := make([]float64, len(p.targets))
	var sum float64
	for i := range p.targets {
		t := &p.targets[i]
		if !t.usable(now) {
			continue
		}
		if average := t.speed.average(now); average > 0 {
			weights[i] = 1 / average.Seconds()
			sum += weights[i]
		}
	}
	if sum == 0 {
		return 0, false
	}
	at := p.rng.Float64() * sum
	for i, w := range weights {
		if at < w {
			return i, true
		}
		at -= w
	}
	return 0, false // what rounding leaves over
}

// The window over which a target's speed is known.
const (
	buckets   = 120
	bucketFor = 5 * time.Minute / buckets
)

// window is the times of the last 5 minutes, in buckets of 2.5 seconds; older ones count less. Its zero value is empty.
type window struct {
	newest int64 // number of the newest bucket, counted from the Unix epoch
	count  [buckets]int64
	sum    [buckets]time.Duration
}

// advance empties the buckets that have become too old.
func (w *window) advance(now time.Time) {
	n := now.UnixNano() / int64(bucketFor)
	if n-w.newest >= buckets {
		*w = window{newest: n}
		return
	}
	for ; w.newest < n; w.newest++ {
		next := (w.newest + 1) % buckets
		w.count[next], w.sum[next] = 0, 0
	}
}

func (w *window) add(took time.Duration, now time.Time) {
	w.advance(now)
	at := w.newest % buckets
	w.count[at]++
	w.sum[at] += took
}

// average returns the mean of the buckets' means, weighted by their age from 1 to 1/120; 0 when there are none.
func (w *window) average(now time.Time) time.Duration {
	w.advance(now)
	var sum, weights float64
	for age := range int64(buckets) {
		at := (w.newest - age + buckets) % buckets
		if w.count[at] == 0 {
			continue
		}
		weight := float64(buckets-age) / buckets
		sum += weight * float64(w.sum[at]) / float64(w.count[at])
		weights += weight
	}
	if weights == 0 {
		return 0
	}
	return max(time.Duration(sum/weights), 1)
}
