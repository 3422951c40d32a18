package topic

import "testing"

// A sample rate delivers about that share of the messages, and the rest counts as dealt with: nothing stays behind.
func TestSampleRate(t *testing.T) {
	r := start(t, config())
	topic := mustTopic(t, r, "t")
	s := mustSubscribe(t, topic, "c", 1<<20, SubscribeOptions{SampleRate: 30})
	got := 0
	for range 10 {
		publish(t, topic, 1000)
		got += drain(s)
	}
	if got < 2600 || got > 3400 { // nine standard deviations
		t.Errorf("got %d of 10000 messages at 30 %%", got)
	}
	st := s.Channel().Stats()
	if st.Depth != 0 || st.InFlight != got || st.MessageCount != 10000 {
		t.Errorf("depth %d, %d in flight, %d messages", st.Depth, st.InFlight, st.MessageCount)
	}
}
