package topic

import (
	"testing"
)

// A channel is emptied while a consumer reads its messages from disk: none of them may come back.
func TestEmptyWhileReadingFromDisk(t *testing.T) {
	cfg := config()
	cfg.MemQueueSize, cfg.Queues = 0, folder(t.TempDir())
	r := start(t, cfg)
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	s := mustSubscribe(t, topic, "c", 1<<20, SubscribeOptions{})
	const published = 3000
	for round := range 3 {
		publish(t, topic, published)
		began, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			var d Delivery
			s.Take(&d)
			close(began)
			drain(s)
		}()
		<-began
		if err := c.Empty(); err != nil {
			t.Fatal(err)
		}
		<-done
		after := c.Stats()
		if after.Depth != 0 || after.InFlight != 0 {
			t.Fatalf("round %d: emptied, but %d wait and %d are in flight", round, after.Depth, after.InFlight)
		}
		if want := uint64(published * (round + 1)); after.MessageCount != want {
			t.Fatalf("round %d: %d messages were counted, want %d", round, after.MessageCount, want)
		}
		checkBooks(t, r)
	}
}
