package topic

import (
	"context"
	"testing"
)

// TestATopicOfABrokerAloneHasNothingToWaitFor: where there is no lookup nobody is asked for a new topic's channels, and a message is on them when
// its publish has returned.
func TestATopicOfABrokerAloneHasNothingToWaitFor(t *testing.T) {
	alone := true
	cfg := config()
	cfg.Alone = func() bool { return alone }
	cfg.Learn = func(context.Context, string) []string {
		if alone {
			t.Error("a lookup was asked where there is none")
		}
		return []string{"elsewhere"}
	}
	r := start(t, cfg)
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	publish(t, topic, 3)
	if own, got := topic.Stats().Depth, c.Stats().Depth; own != 0 || got != 3 {
		t.Errorf("%d messages are in the topic, %d on its channel", own, got)
	}
	alone = false // from now on there is one
	later := mustTopic(t, r, "later")
	r.wg.Wait() // what it learns by
	if later.LookupChannel("elsewhere") == nil {
		t.Error("what the lookup knows was not learnt")
	}
}
