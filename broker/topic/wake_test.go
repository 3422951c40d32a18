package topic

import (
	"testing"
)

// A consumer whose share of a publish was sampled away must still be woken by the next one.
func TestSampledConsumerIsWokenAgain(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{SampleRate: 1})
	drain(s)
	got := 0
	for range 1000 { // 1 % of them; that none arrives has the odds of 1 to 23000
		publish(t, topic, 1)
		if !woken(s) {
			t.Fatalf("a publish woke nobody, after %d deliveries", got)
		}
		got += drain(s)
		if got == 10 {
			return
		}
	}
	if got == 0 {
		t.Error("of 1000 messages none was delivered")
	}
}
