package broker

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"brokerd/broker/httpd"
	"brokerd/broker/topic"
)

// TestAReplicatedTopicIsReachedOnceItIsMade although each broker had an empty topic of its name: where it was made nobody finds that one from then on. One
// that holds messages by then is told of.
func TestAReplicatedTopicIsReachedOnceItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 11)
		s.prepare()
		alone := func(b *simBroker, name string) *topic.Topic {
			t.Helper()
			made, err := b.now().registry.Topic(name)
			if err == nil {
				_, err = made.Channel("d")
			}
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		for i := range 30 {
			name := fmt.Sprint("orders-", i)
			for _, b := range s.brokers {
				alone(b, name)
			}
			b := s.brokers[i%len(s.brokers)]
			if err := b.now().clusterOf().CreateTopic(t.Context(), name, false); err != nil {
				t.Fatal(err)
			}
			if found := b.now().registry.Lookup(name); found != nil && !found.Replicated() {
				t.Errorf("%s is made, and %s finds its own topic", name, b.host)
			}
		}
		b := s.brokers[0]
		var batch topic.Batch
		batch.Add([]byte("m"))
		if err := alone(b, "holds").Publish(&batch); err != nil {
			t.Fatal(err)
		}
		if err := b.now().clusterOf().CreateTopic(t.Context(), "holds", false); !errors.Is(err, httpd.ErrClusterRefused) || !errors.Is(err, topic.ErrInTheWay) {
			t.Errorf("one that holds a message: %v", err)
		}
		close(s.quit)
		s.work.Wait()
		for _, b := range s.brokers {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
