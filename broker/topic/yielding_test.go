package topic

import (
	"errors"
	"testing"
)

// TestATopicThatKeepsMessagesGivesNoWay: they may be read again, and replicated topics keep none. Once it is told to keep nothing it goes.
func TestATopicThatKeepsMessagesGivesNoWay(t *testing.T) {
	r := durableRegistry(t, &keptLog{})
	topic := mustTopic(t, r, "t")
	setTopicOptions(t, topic, `{"retain_time":"24h"}`)
	sub := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	publish(t, topic, 3)
	finishAll(sub)
	if err := r.InTheWay("t"); !errors.Is(err, ErrInTheWay) {
		t.Errorf("it keeps messages, and is in the way: %v", err)
	}
	r.SetReplicated("t", true)
	if err := topic.Pass(func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.Yield("t"); !errors.Is(err, ErrInTheWay) || topic.GivesWay() || r.Lookup("t") != topic {
		t.Fatalf("it gives way with what it keeps: %v", err)
	}
	setTopicOptions(t, topic, `{"retain_time":null}`)
	r.Retain()
	if err := r.Yield("t"); err != nil || r.Lookup("t") != nil {
		t.Errorf("it keeps nothing any more: %v", err)
	}
}
