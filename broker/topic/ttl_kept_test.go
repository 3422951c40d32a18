package topic

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

// TestTimesToLiveOfAKeptTopic: a topic that keeps messages has times that do not fall when the clock is set back. By the option ttl of its channels none is over
// before it is as old as that, counted from its publish; it may be later by as much as the clock was set back.
func TestTimesToLiveOfAKeptTopic(t *testing.T) {
	for _, by := range []time.Duration{-30 * time.Minute, 30 * time.Minute, 0} {
		synctest.Test(t, func(t *testing.T) {
			r := logged(t, Disk)
			topic := mustTopic(t, r, "t")
			c := mustChannel(t, topic, "c")
			if err := topic.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"24h"`), "ttl": json.RawMessage(`"10m"`)}); err != nil {
				t.Fatal(err)
			}
			publishWith(t, topic, 1, 0)
			time.Sleep(9 * time.Minute)
			r.skew = by
			publishWith(t, topic, 2, 0) // who notices first that the clock was set
			publishWith(t, topic, 1, 0)
			late := max(0, -by)
			for _, step := range []struct {
				sleep time.Duration
				want  int64
			}{{30 * time.Second, 4}, {time.Minute, 3}, {8 * time.Minute, 3}, {late + time.Minute, 0}} {
				time.Sleep(step.sleep)
				if got := c.Stats().Depth; got != step.want {
					t.Errorf("with the clock set by %v %d messages wait %v later, want %d", by, got, step.sleep, step.want)
				}
			}
		})
	}
}
