package telemetry

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/httpapi"
)

// checkQuantiles demands that each quantile of values 0 to n-1, seen once each, is near its rank. perks keeps
// epsilon only nearly: 0.0106 was seen, with one stream as with three.
func checkQuantiles(t *testing.T, got httpapi.Latency, n int) {
	t.Helper()
	if got.Count != n {
		t.Errorf("count %d, want %d", got.Count, n)
	}
	for _, p := range got.Percentiles {
		if off := math.Abs(p.Value/float64(n) - p.Quantile); off > 1.5*epsilon+1/float64(n) {
			t.Errorf("quantile %v is %v of %d: off by %v", p.Quantile, p.Value, n, off)
		}
	}
}

// TestObserverQuantiles: few values are exact, many are within epsilon, and several observers together as well, however
// their values are spread over them.
func TestObserverQuantiles(t *testing.T) {
	quantiles := []float64{1, 0.999, 0.99, 0.95, 0.5}
	for _, n := range []int{1, 10, 499, 20_000} {
		for _, spread := range []string{"random", "by size"} {
			observers := []*Observer{NewObserver(quantiles, time.Hour), nil, NewObserver(quantiles, time.Hour), NewObserver(quantiles, time.Hour)}
			for i, v := range rand.New(rand.NewPCG(1, uint64(n))).Perm(n) {
				o := i % 3
				if spread == "by size" {
					o = v * 3 / n
				}
				observers[o+(o+1)/2].Observe(int64(v)) // 0, 2, 3
			}
			checkQuantiles(t, Summarize(quantiles, observers...), n)
		}
	}
}

// TestObserverWindow: an observation is forgotten between half a window and a window after it was made.
func TestObserverWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quantiles := []float64{0.5}
		o := NewObserver(quantiles, 10*time.Minute)
		count := func() int { return Summarize(quantiles, o).Count }
		for range 1000 {
			o.Observe(1)
		}
		time.Sleep(5 * time.Minute)
		if count() != 1000 {
			t.Errorf("%d observations after half a window", count())
		}
		o.Observe(2)
		time.Sleep(5 * time.Minute)
		if count() != 1 {
			t.Errorf("%d observations after a window", count())
		}
		o.Observe(3)
		time.Sleep(10 * time.Minute)
		if got := Summarize(quantiles, o); got.Count != 0 || got.Percentiles[0].Value != 0 {
			t.Errorf("%+v after an idle window", got)
		}
	})
}

// TestSummarizeNothing: off is null, on without observations is zeros.
func TestSummarizeNothing(t *testing.T) {
	if got := Summarize(nil, nil); got.Count != 0 || got.Percentiles != nil {
		t.Errorf("off: %+v", got)
	}
	if got := Summarize([]float64{0.99}, nil); len(got.Percentiles) != 1 || got.Percentiles[0] != (httpapi.Percentile{Quantile: 0.99}) {
		t.Errorf("on: %+v", got)
	}
}

// TestReadMemory compares with the runtime's own account.
func TestReadMemory(t *testing.T) {
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	got := ReadMemory()
	near := func(name string, got, want uint64) {
		if math.Abs(float64(got)-float64(want)) > 0.2*float64(want)+1<<20 {
			t.Errorf("%s: %d, the runtime says %d", name, got, want)
		}
	}
	near("heap_objects", got.HeapObjects, ms.HeapObjects)
	near("heap_idle_bytes", got.HeapIdleBytes, ms.HeapIdle)
	near("heap_in_use_bytes", got.HeapInUseBytes, ms.HeapInuse)
	near("heap_released_bytes", got.HeapReleasedBytes, ms.HeapReleased)
	near("next_gc_bytes", got.NextGCBytes, ms.NextGC)
	if got.GCTotalRuns < ms.NumGC || got.HeapObjects == 0 || got.NextGCBytes == 0 {
		t.Errorf("%+v, the runtime says %d runs", got, ms.NumGC)
	}
	if got.GCPauseUsec95 > got.GCPauseUsec99 || got.GCPauseUsec99 > got.GCPauseUsec100 {
		t.Errorf("pauses are not in order: %+v", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	o := NewObserver([]float64{0.99, 0.95}, 10*time.Minute)
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		o.Observe(int64(r.Uint32()))
	}
}
