package load

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that grow with the value, 128 to each power of two: a quantile is at most 0.8 %
// too high. The zero value is ready. It takes up to 36 KiB. It is not safe for concurrent use.
type Histogram struct {
	counts []int64
	total  int64
	sum    float64 // nanoseconds
	max    int64   // nanoseconds
}

const (
	subBits = 7
	sub     = 1 << subBits
	longest = 1 << 42 // nanoseconds, over an hour; what is longer counts as that
)

// Add counts one duration; a negative one counts as none.
func (h *Histogram) Add(d time.Duration) {
	v := min(max(int64(d), 0), longest)
	i := bucketOf(v)
	if i >= len(h.counts) {
		h.grow(i)
	}
	h.counts[i]++
	h.total++
	h.sum += float64(v)
	h.max = max(h.max, v)
}

func (h *Histogram) grow(i int) {
	counts := make([]int64, (i/sub+1)*sub)
	copy(counts, h.counts)
	h.counts = counts
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if len(other.counts) > len(h.counts) {
		h.grow(len(other.counts) - 1)
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Quantile returns the duration that the share q, 0 to 1, of all is not over; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := max(int64(math.Ceil(q*float64(h.total))), 1)
	var seen int64
	for i, n := range h.counts {
		if seen += n; seen >= want {
			return time.Duration(min(highestOf(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// Summary returns the usual quantiles, or nil when nothing was added.
func (h *Histogram) Summary() *Latency {
	if h.total == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return &Latency{
		Count: h.total, Mean: h.sum / float64(h.total) / 1e6,
		P50: ms(h.Quantile(.5)), P90: ms(h.Quantile(.9)), P99: ms(h.Quantile(.99)), P999: ms(h.Quantile(.999)),
		Max: float64(h.max) / 1e6,
	}
}

// bucketOf returns the bucket of a value: values below 2*sub have one each, above that sub buckets share a power of two.
func bucketOf(v int64) int {
	if v < 2*sub {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return shift*sub + int(v>>shift)
}

// highestOf returns the highest value of a bucket.
func highestOf(i int) int64 {
	if i < 2*sub {
		return int64(i)
	}
	shift := i/sub - 1
	return int64(i-shift*sub+1)<<shift - 1
}
