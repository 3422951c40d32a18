package figures

import (
	"slices"
	"testing"

	"brokerd/apps/internal/bench/load"
)

func TestMedians(t *testing.T) {
	result := func(rate, cpu float64) *load.Result {
		return &load.Result{Messages: 1, PerSecond: rate, Broker: &load.Usage{CPUMicros: cpu}}
	}
	list := Medians([]*load.Result{result(3, 10), nil, result(1, 30), result(2, 20)})
	for name, want := range map[string]float64{Rate: 2, CPU: 20, ProblemCount: 0} {
		if got, ok := Find(list, name); !ok || got != want {
			t.Errorf("%s is %v, %v, wanted %v", name, got, ok, want)
		}
	}
	if _, ok := Find(list, P50); ok {
		t.Error("there is a latency that nobody measured")
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of four is %v", got)
	}
	if !slices.Equal(Medians(nil), nil) || Median(nil) != 0 {
		t.Error("the medians of nothing are something")
	}
}

func TestFormat(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "0.123": .1234, "1.23": 1.234, "12.3": 12.34, "123": 123.4,
		"1,234,568": 1234567.8, "-12.3": -12.34, "-1,235": -1235} {
		if got := Format(v); got != want {
			t.Errorf("%v is written %q, wanted %q", v, got, want)
		}
	}
	if got := Ratio(3, 2); got != "1.50x" {
		t.Errorf("3 is %s 2", got)
	}
	if got := Ratio(3, 0); got != "-" {
		t.Errorf("3 is %s nothing", got)
	}
}
