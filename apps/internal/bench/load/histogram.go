package load

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts durations so that a quantile is at most 1 % too high; mean and maximum are exact. The zero value is ready. It is not
// safe for concurrent use.
type Histogram struct {
	counts *hdrhistogram.Histogram // nil until something was added
	sum    float64                 // nanoseconds
	max    int64                   // nanoseconds
}

const (
	longest = 1 << 42 // nanoseconds, over an hour; what is longer counts as that
	digits  = 2       // that are exact
)

// Add counts one duration; a negative one counts as none.
func (h *Histogram) Add(d time.Duration) {
	v := min(max(int64(d), 0), longest)
	h.ready()
	if err := h.counts.RecordValue(v); err != nil {
		panic(err) // v is in range
	}
	h.sum += float64(v)
	h.max = max(h.max, v)
}

func (h *Histogram) ready() {
	if h.counts == nil {
		h.counts = hdrhistogram.New(1, longest, digits)
	}
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.counts == nil {
		return
	}
	h.ready()
	h.counts.Merge(other.counts)
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Quantile returns the duration that the share q, 0 to 1, of all is not over; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.counts == nil {
		return 0
	}
	total := float64(h.counts.TotalCount())
	rank := max(math.Ceil(q*total), 1) // which the library would round to the nearest
	return time.Duration(min(h.counts.ValueAtQuantile(rank/total*100), h.max))
}

// Summary returns the usual quantiles, or nil when nothing was added.
func (h *Histogram) Summary() *Latency {
	if h.counts == nil {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	count := h.counts.TotalCount()
	return &Latency{
		Count: count, Mean: h.sum / float64(count) / 1e6,
		P50: ms(h.Quantile(.5)), P90: ms(h.Quantile(.9)), P99: ms(h.Quantile(.99)), P999: ms(h.Quantile(.999)),
		Max: float64(h.max) / 1e6,
	}
}
