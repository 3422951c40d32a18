package topic

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"brokerd/diskqueue/journal"
)

// TestARewindDropsNothing: with what a channel has from before the place it must keep to its bounds, or what it brings would be dropped.
func TestARewindDropsNothing(t *testing.T) {
	topic := mustTopic(t, durableRegistry(t, &keptLog{}), "t")
	setTopicOptions(t, topic, `{"retain_time":"1h"}`)
	c := mustChannel(t, topic, "c")
	setOptions(t, c, `{"max_depth":10,"overflow":"drop-oldest"}`)
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f := flight{}
	send := func(from, to int) []string {
		var b Batch
		for i := from; i <= to; i++ {
			b.Add(fmt.Appendf(nil, "m%d", i))
		}
		if err := topic.Publish(&b); err != nil {
			t.Fatal(err)
		}
		return f.takeAll(s)
	}
	send(1, 5) // which stay in flight
	for _, from := range []int{6, 11} {
		for _, body := range send(from, from+4) {
			f.answer(t, s, body, Finish, 0)
		}
	}
	s.SetReady(0)
	for pos, want := range map[Position]error{6: ErrTooMany, 11: nil} {
		if _, err := c.Rewind(Place{kind: atPosition, pos: pos}, false); !errors.Is(err, want) {
			t.Errorf("a rewind to %d of a channel that has 5 messages in flight, with max_depth 10: %v, want %v", pos, err, want)
		}
	}
	send(16, 16)
	if st := c.Stats(); st.InFlight != 5 || st.Depth != 5 || st.Counts.Discarded[journal.DroppedOldest] != 1 {
		t.Errorf("after one more message: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
