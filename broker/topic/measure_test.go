package topic

import (
	"sync"
	"testing"
)

// What a channel with max_bytes holds is counted anew by acts of an operator while its topic is published to: bytes are looked at that may leave memory, and be used
// again, at any time but in the publishers' turn. It is the race detector's to tell.
func TestActsCountBytesBesidePublishes(t *testing.T) {
	r := logged(t, Disk)
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	setOptions(t, c, `{"max_bytes":"1GiB","overflow":"drop-oldest"}`)
	publish(t, topic, 2000)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for range 300 {
			publish(t, topic, 10)
		}
	})
	for pos := range Position(100) {
		if _, err := c.FinishByHand(1000 + pos); err != nil {
			t.Error(err)
		}
		if _, err := c.Skip(Place{kind: atPosition, pos: 200 + pos}, false, false); err != nil {
			t.Error(err)
		}
	}
	publisher.Wait()
	if s := c.Stats(); !s.Balanced {
		t.Errorf("the books do not balance: %+v", s)
	}
}
