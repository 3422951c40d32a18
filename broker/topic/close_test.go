package topic

import (
	"context"
	"errors"
	"testing"

	"brokerd/diskqueue/nsqdata"
)

// Whoever still holds a registry that was closed gets errors, no panic and no second life.
func TestRegistryAfterClose(t *testing.T) {
	cfg := config()
	cfg.Queues = folder(t.TempDir())
	cfg.Learn = func(context.Context, string) []string { return nil }
	r := NewRegistry(cfg)
	r.Start()
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	s := mustSubscribe(t, topic, "c#ephemeral", 10, SubscribeOptions{})
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var b Batch
	b.Add([]byte("late"))
	if err := topic.Publish(&b); !errors.Is(err, ErrExiting) {
		t.Errorf("Publish: %v", err)
	}
	if err := topic.PublishDeferred(&b, 1); !errors.Is(err, ErrExiting) {
		t.Errorf("PublishDeferred: %v", err)
	}
	if _, err := r.Topic("new"); !errors.Is(err, ErrExiting) {
		t.Errorf("Topic: %v", err)
	}
	if _, err := topic.Channel("new"); !errors.Is(err, ErrExiting) {
		t.Errorf("Channel: %v", err)
	}
	if _, err := topic.Subscribe("c", SubscribeOptions{Owner: newStub(), MsgTimeout: 1}); !errors.Is(err, ErrExiting) {
		t.Errorf("Subscribe: %v", err)
	}
	c.SetPaused(true)
	topic.SetPaused(true)
	if err := c.Empty(); err != nil {
		t.Errorf("Empty: %v", err)
	}
	if n := drain(s); n != 0 {
		t.Errorf("took %d", n)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close of a subscription: %v", err)
	}
	want := nsqdata.Metadata{Topics: []nsqdata.TopicMeta{{Name: "t", Paused: true, Channels: []nsqdata.ChannelMeta{{Name: "c", Paused: true}}}}}
	if got := r.Metadata(); !sameMetadata(got, want) {
		t.Errorf("a list that is written late reads %+v", got)
	}
}

func sameMetadata(a, b nsqdata.Metadata) bool {
	if len(a.Topics) != len(b.Topics) {
		return false
	}
	for i := range a.Topics {
		x, y := a.Topics[i], b.Topics[i]
		if x.Name != y.Name || x.Paused != y.Paused || len(x.Channels) != len(y.Channels) {
			return false
		}
		for k := range x.Channels {
			if x.Channels[k].Name != y.Channels[k].Name || x.Channels[k].Paused != y.Channels[k].Paused {
				return false
			}
		}
	}
	return true
}
