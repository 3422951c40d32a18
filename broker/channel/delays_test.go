package channel

import "testing"

func TestDelayOfEachClassStaysWithinItsBound(t *testing.T) {
	for i, bound := range DelayBounds {
		var d Delays
		d.add(bound, 2)
		d.add(bound+1, 1)
		if d.Counts[i] != 2 || d.Counts[i+1] != 1 || d.Count() != 3 {
			t.Errorf("at %v: %v", bound, d.Counts)
		}
	}
}
