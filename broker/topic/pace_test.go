package topic

import (
	"testing"
	"testing/synctest"
	"time"
)

// A publisher that waits for room is told at once when the room is there already, not after its whole patience.
func TestPublisherSeesRoomThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MemQueueSize = 10
		topic := mustTopic(t, start(t, cfg), "t")
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{})
		publish(t, topic, 10)
		var b Batch
		b.Add([]byte("one more"))
		store := topic.store.(*memoryStore)
		extent, _ := store.tail.Append(b.frames)
		if s.channel.offer(extent, 1, nil) {
			t.Fatal("the channel took more than it may")
		}
		drain(s) // between the publisher's look and its wait
		began := time.Now()
		topic.pub.Lock()
		taken := store.awaitRoomLocked(s.channel, extent, &b)
		topic.pub.Unlock()
		if !taken || time.Since(began) > 0 {
			t.Errorf("an empty channel took the message: %v, after %s", taken, time.Since(began))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A burst that a consumer keeps up with stays in memory; nobody waits once the consumer is gone.
func TestPublisherWaitsForItsConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MemQueueSize = 10
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		s := mustSubscribe(t, topic, "c", 1000, SubscribeOptions{})
		stop, done := make(chan struct{}), make(chan struct{})
		got := 0
		go func() {
			defer close(done)
			for {
				got += drain(s)
				select {
				case <-s.Wake():
				case <-stop:
					return
				}
			}
		}()
		for range 50 {
			publish(t, topic, 10)
		}
		synctest.Wait()
		close(stop)
		<-done
		if got != 500 {
			t.Errorf("got %d messages, want 500", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		began := time.Now()
		for range 50 {
			publish(t, topic, 10)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("publishes waited %s for consumers that are not there", took)
		}
	})
}
