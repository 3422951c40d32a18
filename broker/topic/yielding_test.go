package topic

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
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

// TestNoDeadLettersComeToATopicThatGivesWay: they wait on their channel, as they do once it has gone. Those that it has can go back.
func TestNoDeadLettersComeToATopicThatGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		sub := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		setOptions(t, sub.channel, `{"max_attempts":1,"dead_letter":"dead"}`)
		publish(t, topic, 1)
		failAll(t, sub)
		dead := r.Lookup("dead")
		if n := dead.Stats().Depth; n != 1 {
			t.Fatalf("%d dead letters", n)
		}
		r.SetReplicated("dead", true)
		publish(t, topic, 2)
		failAll(t, sub)
		time.Sleep(2 * buryAgain)
		synctest.Wait()
		if n, s := dead.Stats().Depth, sub.channel.Stats(); n != 1 || s.Buried != 2 || !s.Balanced {
			t.Errorf("%d dead letters, %d wait", n, s.Buried)
		}
		r.SetReplicated("t", true) // nor does anything come back to one
		setOptions(t, sub.channel, `{"max_attempts":null}`)
		sub.SetReady(0)
		if _, err := topic.Redrive("c", RedriveOptions{From: "dead"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * redriveAgain)
		if n := dead.Stats().Depth; n != 1 {
			t.Errorf("%d dead letters are left of 1", n)
		}
		r.SetReplicated("t", false)
		time.Sleep(2 * redriveAgain)
		synctest.Wait()
		if n := dead.Stats().Depth; n != 0 {
			t.Errorf("%d dead letters stay", n)
		}
	})
}

// at is the handler of a log that calls something with each line.
type at struct {
	slog.Handler
	line func(message string)
}

func (a at) Handle(_ context.Context, r slog.Record) error { a.line(r.Message); return nil }

// TestATopicThatGivesWayTakesNothingAlong: the replicated topic is deleted while one of this broker alone gives way to it, at level memory, and another one of
// the name is made. What is published to that stays, also what is on disk.
func TestATopicThatGivesWayTakesNothingAlong(t *testing.T) {
	cfg := config()
	cfg.MemQueueSize, cfg.Queues = 0, folder(t.TempDir())
	var r *Registry
	made := func() {
		r.SetReplicated("t", false)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		publish(t, topic, 5)
	}
	cfg.Log = slog.New(at{slog.NewTextHandler(io.Discard, nil), func(message string) {
		if strings.Contains(message, "gives way") && r.create.TryLock() { // else whoever makes it waits
			r.create.Unlock()
			made()
		}
	}})
	r = start(t, cfg)
	old := mustTopic(t, r, "t")
	mustChannel(t, old, "c")
	publish(t, old, 10)
	sub := mustSubscribe(t, old, "c", 100, SubscribeOptions{})
	finishAll(sub)
	r.SetReplicated("t", true)
	if err := old.Pass(func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.Yield("t"); err != nil {
		t.Fatal(err)
	}
	if r.Lookup("t") == nil {
		made()
	}
	if n := drain(mustSubscribe(t, mustTopic(t, r, "t"), "c", 100, SubscribeOptions{})); n != 5 {
		t.Errorf("%d of 5 messages come", n)
	}
}
