package topic

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A channel without a disk keeps the messages of a batch that it has room for. A larger batch must not vanish as a whole.
func TestFullEphemeralChannelKeepsWhatFits(t *testing.T) {
	cfg := config()
	cfg.MemQueueSize = 100
	topic := mustTopic(t, start(t, cfg), "t")
	c := mustChannel(t, topic, "c#ephemeral")
	publish(t, topic, 60)
	publish(t, topic, 60)
	if depth := c.Stats().Depth; depth != 100 {
		t.Errorf("two batches of 60 left %d messages, want 100", depth)
	}
	s := mustSubscribe(t, topic, "c#ephemeral", 1000, SubscribeOptions{})
	if n := drain(s); n != 100 {
		t.Errorf("took %d, want 100", n)
	}
	publish(t, topic, 500)
	if n := drain(s); n != 100 {
		t.Errorf("took %d of a batch of 500, want 100", n)
	}
	if n := c.Stats().MessageCount; n != 620 {
		t.Errorf("%d messages counted, want 620", n)
	}
}

// What a slow ephemeral channel keeps of a busy topic must not hold the memory of all that it has discarded.
func TestLossyChannelHoldsOnlyItsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := heap()
		cfg := config()
		cfg.MemQueueSize = 500
		topic := mustTopic(t, start(t, cfg), "t")
		slow := mustSubscribe(t, topic, "slow#ephemeral", 1, SubscribeOptions{MsgTimeout: time.Hour})
		fast := mustSubscribe(t, topic, "fast", 1, SubscribeOptions{MsgTimeout: time.Hour})
		var b Batch
		var d Delivery
		body := make([]byte, 1000)
		for i := range 30_000 {
			b.Add(body)
			if err := topic.Publish(&b); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				fast.finish(t, &d, 1000)
			}
			if i%200 == 0 && i > 1000 {
				slow.finish(t, &d, 1)
			}
		}
		if used := heap() - before; used > 10<<20 {
			t.Errorf("500 messages of 1000 bytes wait, and %d MiB are in use", used>>20)
		}
		for _, s := range []*Subscription{slow, fast} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// finish takes with a credit of n and finishes what it got.
func (s *Subscription) finish(t *testing.T, d *Delivery, n int) {
	t.Helper()
	s.SetReady(n)
	s.Take(d)
	var answers []Answer
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := first(frames)
			id, _ := f.ID()
			answers = append(answers, Answer{ID: id, Verb: Finish})
			frames = frames[len(f):]
		}
	}
	s.Apply(answers, nil)
	for i := range answers {
		if answers[i].Err != nil {
			t.Fatal(answers[i].Err)
		}
	}
	d.Clear()
}
