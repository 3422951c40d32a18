package topic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRoomAheadByExpiryIsUsed: a channel that reads no further, as so much is aside, goes on once some of that is over.
func TestRoomAheadByExpiryIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, c := orderedTopic(t, &keptLog{})
		setTopicOptions(t, topic, `{"ordered_ahead":1}`)
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		publishOrdered(t, topic, "a=a1")
		b := orderedBatch("a=a2")
		b.TTL = time.Second
		if err := topic.Publish(b); err != nil {
			t.Fatal(err)
		}
		publishOrdered(t, topic, "b=b1")
		expectBodies(t, "at first", f.takeAll(s), "a1")
		select {
		case <-s.Wake():
		default:
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := c.Stats(); st.Aside != 0 {
			t.Errorf("%d are aside", st.Aside)
		}
		select {
		case <-s.Wake():
		default:
			t.Error("nobody was woken")
		}
		expectBodies(t, "once a2 is over", f.takeAll(s), "b1")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
