package topic

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

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

// TestSampledMessagesStaySampled: what a consumer's sample leaves out of deliveries, or what is over by then, is counted under its reason after a
// restart too, also when others are delivered behind it by the same take; on an ordered channel as on any.
func TestSampledMessagesStaySampled(t *testing.T) {
	for _, options := range []string{`{}`, `{"ordered":true}`} {
		synctest.Test(t, func(t *testing.T) {
			l := &keptLog{}
			topic := mustTopic(t, durableRegistry(t, l), "t")
			setTopicOptions(t, topic, options)
			s := mustSubscribe(t, topic, "c", 1000, SubscribeOptions{SampleRate: 50})
			for i := range 300 {
				var b Batch
				b.Add([]byte("m"))
				b.Order(Mark{}, strconv.Itoa(i))
				if i%3 == 0 {
					b.TTL = time.Second
				}
				if err := topic.Publish(&b); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Second)
			drain(s)
			want := s.Channel().Stats()
			if want.Counts.Discarded[journal.Sampled] == 0 || want.Counts.Discarded[journal.Expired] == 0 {
				t.Fatalf("%+v", want.Counts)
			}
			got := mustChannel(t, recovered(t, l).Lookup("t"), "c").Stats()
			if got.Counts.Discarded != want.Counts.Discarded || got.Held != want.Held {
				t.Errorf("%s: a restart counts %v and holds %d; it was %v and %d", options, got.Counts.Discarded, got.Held, want.Counts.Discarded, want.Held)
			}
		})
	}
}
