package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A quantile is never under the true one, and at most 1 % over it; the largest is exact.
func TestHistogramIsWithinAPercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var h, a, b Histogram
		values := make([]time.Duration, 1+random.IntN(5000))
		for i := range values {
			values[i] = time.Duration(random.Int64N(1 << random.IntN(41)))
			h.Add(values[i])
			if i%3 == 0 {
				a.Add(values[i])
			} else {
				b.Add(values[i])
			}
		}
		a.Merge(&b)
		slices.Sort(values)
		for _, q := range []float64{0, .1, .5, .9, .99, .999, 1} {
			exact := values[max(0, min(len(values)-1, int(float64(len(values))*q+.9999999)-1))]
			got := h.Quantile(q)
			if got < exact || float64(got) > float64(exact)*1.01+1 {
				t.Fatalf("quantile %v of %d values is %v, exactly %v", q, len(values), got, exact)
			}
			if merged := a.Quantile(q); merged != got {
				t.Fatalf("quantile %v is %v of one histogram and %v of two merged", q, got, merged)
			}
		}
		if s := h.Summary(); s.Max != float64(values[len(values)-1])/1e6 || s.Count != int64(len(values)) {
			t.Fatalf("summary %+v, wanted the largest value %v of %d", s, values[len(values)-1], len(values))
		}
	}
}

func TestNothingAllocatedForAMessage(t *testing.T) {
	var h Histogram
	h.Add(time.Second)
	s := new(seen)
	s.add(0)
	f := newFrames([]string{"a", "b"}, 10, 200, 0, 1<<48)
	number := int64(0)
	for name, step := range map[string]func(){
		"histogram": func() { h.Add(time.Duration(number)) },
		"seen":      func() { s.add(number % pageBits) },
		"frames":    func() { f.next(time.Unix(0, number), number, 10) },
	} {
		if n := testing.AllocsPerRun(1000, func() { number++; step() }); n != 0 {
			t.Errorf("%s allocates %v times for a message", name, n)
		}
	}
}
