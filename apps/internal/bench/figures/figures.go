package figures

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brokerd/apps/internal/bench/load"
)

// Figure is one number of a result.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Names of figures.
const (
	Rate         = "messages/s"
	FillRate     = "filled messages/s"
	CPU          = "CPU us/message"
	FillCPU      = "filling CPU us/message"
	P50          = "latency p50 ms"
	P99          = "latency p99 ms"
	Max          = "latency max ms"
	LateP50      = "late p50 ms"
	LateP99      = "late p99 ms"
	LateMax      = "late max ms"
	AckP50       = "answer p50 ms"
	AckP99       = "answer p99 ms"
	AckMax       = "answer max ms"
	Lag          = "generator late p99 ms"
	Spread       = "farthest consumer from the mean %"
	Memory       = "memory MiB"
	Disk         = "disk MiB"
	FillDisk     = "filled disk MiB"
	Each         = "bytes each"
	Idle         = "idle CPU %"
	SetupRate    = "set up/s"
	ProblemCount = "problems"
)

// Of returns the figures of a result, those only that it has.
func Of(r *load.Result) []Figure {
	var list []Figure
	add := func(name string, value float64, there bool) {
		if there {
			list = append(list, Figure{name, value})
		}
	}
	add(Rate, r.PerSecond, r.Messages > 0)
	if r.Fill != nil {
		add(FillRate, r.Fill.PerSecond, true)
	}
	latency := func(l *load.Latency, p50, p99, longest string) {
		if l != nil {
			list = append(list, Figure{p50, l.P50}, Figure{p99, l.P99}, Figure{longest, l.Max})
		}
	}
	latency(r.Latency, P50, P99, Max)
	latency(r.Lateness, LateP50, LateP99, LateMax)
	latency(r.Ack, AckP50, AckP99, AckMax)
	if r.Lag != nil {
		add(Lag, r.Lag.P99, true)
	}
	if r.Share != nil {
		add(Spread, 100*r.Share.Spread(), true)
	}
	add(SetupRate, r.SetupPerSec, r.SetupPerSec > 0)
	if b := r.Broker; b != nil {
		add(CPU, b.CPUMicros, r.Messages > 0)
		if r.Fill != nil && r.Fill.Broker != nil {
			add(FillCPU, r.Fill.Broker.CPUMicros, true)
			add(FillDisk, float64(r.Fill.Broker.Disk)/(1<<20), r.Fill.Broker.Disk > 0)
		}
		add(Memory, float64(b.Memory)/(1<<20), true)
		add(Disk, float64(b.Disk)/(1<<20), b.Disk > 0)
	}
	add(Each, r.Each, r.Each != 0)
	if r.IdlePercent != nil {
		add(Idle, *r.IdlePercent, true)
	}
	add(ProblemCount, float64(len(r.Problems())), true)
	return list
}

// Medians returns the median of each figure over some results, in the order in which the figures came first. Results that
// are nil do not count.
func Medians(results []*load.Result) []Figure {
	var names []string
	values := make(map[string][]float64)
	for _, r := range results {
		if r == nil {
			continue
		}
		for _, f := range Of(r) {
			if values[f.Name] == nil {
				names = append(names, f.Name)
			}
			values[f.Name] = append(values[f.Name], f.Value)
		}
	}
	var list []Figure
	for _, name := range names {
		list = append(list, Figure{name, Median(values[name])})
	}
	return list
}

// Median returns the middle value, or the mean of the two in the middle; 0 of none.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Find returns the figure of that name.
func Find(list []Figure, name string) (value float64, ok bool) {
	i := slices.IndexFunc(list, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return 0, false
	}
	return list[i].Value, true
}

// Ratio writes how many times peer ours is, or a dash when that cannot be said.
func Ratio(ours, peer float64) string {
	if peer == 0 || ours == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fx", ours/peer)
}

// Format writes a number with about three digits that count, and commas between thousands.
func Format(v float64) string {
	switch size := max(v, -v); {
	case v == 0:
		return "0"
	case size < 1:
		return fmt.Sprintf("%.3f", v)
	case size < 10:
		return fmt.Sprintf("%.2f", v)
	case size < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return Grouped(int64(math.Round(v)))
}

// Grouped writes a number with commas between thousands.
func Grouped(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	digits := fmt.Sprint(n)
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}
