package topic

import (
	"sync"
	"testing"
)

// Deleting a channel closes each of its consumers, whatever they do about it meanwhile.
func TestDeleteClosesEveryConsumer(t *testing.T) {
	topic := mustTopic(t, start(t, config()), "t")
	for range 100 {
		var consumers []*stub
		var left sync.WaitGroup
		for range 8 {
			owner := newStub()
			s := mustSubscribe(t, topic, "c", 1, SubscribeOptions{Owner: owner})
			left.Add(1)
			owner.then = func() {
				defer left.Done()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			consumers = append(consumers, owner)
		}
		if err := topic.DeleteChannel("c"); err != nil {
			t.Fatal(err)
		}
		for i, owner := range consumers {
			select {
			case <-owner.closed:
			default:
				t.Fatalf("consumer %d was not closed", i)
			}
		}
		left.Wait()
	}
}

// Who subscribes while a channel is being deleted gets a new one, whose messages the rest of the deletion leaves alone.
func TestSubscribeWhileDeleting(t *testing.T) {
	cfg := config()
	cfg.MemQueueSize, cfg.Queues = 1, folder(t.TempDir())
	topic := mustTopic(t, start(t, cfg), "t")
	old := mustChannel(t, topic, "c")
	publish(t, topic, 10)
	if !old.beginExit() { // the first half of DeleteChannel
		t.Fatal("exits already")
	}
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{})
	if s.Channel() == old {
		t.Fatal("subscribed to a channel that exits")
	}
	publish(t, topic, 5)
	if err := topic.dropChannel(old); err != nil { // the second half
		t.Fatal(err)
	}
	publish(t, topic, 5)
	if n := drain(s); n != 10 {
		t.Errorf("got %d messages, want the 10 published since", n)
	}
}
