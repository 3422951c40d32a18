package topic

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/vfs"
)

// TestIdleDeleteLosesNothing: who publishes or subscribes at the moment at which a topic is deleted as idle is never refused, and what was
// accepted is delivered.
func TestIdleDeleteLosesNothing(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		t.Run(level.String(), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.Queues = folder(dir)
				cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return level }
				topics, _, err := policy.ParsePatterns([]string{"* idle_delete=1s"}, false)
				if err != nil {
					t.Fatal(err)
				}
				channels, _, err := policy.ParsePatterns([]string{"*/c idle_delete=1s"}, true)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Patterns = Patterns{topics, channels}
				r := NewRegistry(cfg)
				r.Start()
				defer func() {
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}()
				born := map[uint64]bool{}
				for range 400 {
					publishAnyhow(t, r)
					born[consumeOne(t, r)] = true
					time.Sleep(900*time.Millisecond + time.Duration(rand.IntN(400))*time.Millisecond)
				}
				if len(born) < 10 {
					t.Errorf("the topic was made %d times only", len(born))
				}
			})
		})
	}
}

// publishAnyhow publishes as a session does: to a topic that was deleted meanwhile anew.
func publishAnyhow(t *testing.T, r *Registry) {
	var b Batch
	b.Add([]byte("m"))
	for {
		topic := mustTopic(t, r, "t")
		err := topic.Publish(&b)
		if errors.Is(err, ErrExiting) && r.Lookup("t") != topic {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

// consumeOne subscribes, finishes the one message that there is, and leaves; it returns which topic that was of those that ever were.
func consumeOne(t *testing.T, r *Registry) uint64 {
	topic := mustTopic(t, r, "t")
	s, err := topic.Subscribe("c", SubscribeOptions{Owner: newStub(), MsgTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.SetReady(10)
	var d Delivery
	if n := s.Take(&d); n != 1 {
		t.Fatalf("%d messages", n)
	}
	a := []Answer{{ID: first(d.Runs[0].Frames).MustID(), Verb: Finish}}
	if s.Apply(a, nil); a[0].Err != nil {
		t.Fatal(a[0].Err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return topic.Stats().Born
}

// TestDeadLetterTopicsAreNotIdle: a topic that dead letters go to is empty when all goes well, and stays.
func TestDeadLetterTopicsAreNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := durableRegistry(t, &keptLog{})
		topic, dead := mustTopic(t, r, "t"), mustTopic(t, r, "t.c.dlq")
		c, err := topic.Channel("c")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(dead.SetOptions(raw(t, `{"idle_delete":"1m"}`)), c.SetOptions(raw(t, `{"max_attempts":3}`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if r.Lookup("t.c.dlq") != dead {
			t.Error("it was deleted")
		}
		if err := c.SetOptions(raw(t, `{"max_attempts":null}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if r.Lookup("t.c.dlq") != nil {
			t.Error("it is there although nothing refers to it")
		}
	})
}

// TestIdleChannelsTakeNoMessageWithThem: a message that is published while its topic's only channel is deleted as idle waits in the topic for
// the next channel.
func TestIdleChannelsTakeNoMessageWithThem(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config()
			cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return level }
			log := &onLog{}
			cfg.Log = slog.New(log)
			r := start(t, cfg)
			topic := mustTopic(t, r, "t")
			c := mustChannel(t, topic, "c")
			setOptions(t, c, `{"idle_delete":"10s"}`)
			log.on("a channel that nothing has used is deleted", func() { publish(t, topic, 1) })
			time.Sleep(15 * time.Second)
			if left := topic.LookupChannel("c"); left != nil || topic.own.Stats().Held != 1 {
				t.Errorf("level %s: channel %v, and %d messages wait in the topic, of 1", level, left, topic.own.Stats().Held)
			}
		})
	}
}

// TestLooksThatAreLeftOutMakeNothingIdle: while somebody holds the topic, nobody looks at what is used. What is used until the end of that time is
// not deleted at the first look behind it.
func TestLooksThatAreLeftOutMakeNothingIdle(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config()
			cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return level }
			r := start(t, cfg)
			topic := mustTopic(t, r, "t")
			if err := topic.SetOptions(raw(t, `{"idle_delete":"30m"}`)); err != nil {
				t.Fatal(err)
			}
			c := mustChannel(t, topic, "c")
			setOptions(t, c, `{"idle_delete":"10m"}`)
			s := mustSubscribe(t, topic, "c", 1, SubscribeOptions{})
			time.Sleep(time.Minute)
			topic.pub.Lock()
			time.Sleep(time.Hour)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			topic.pub.Unlock()
			time.Sleep(9 * time.Minute)
			if topic.LookupChannel("c") != c {
				t.Errorf("level %s: the channel was deleted before its time", level)
			}
			time.Sleep(3 * time.Minute)
			if topic.LookupChannel("c") != nil || r.Lookup("t") != topic {
				t.Errorf("level %s: the channel is there, or its topic is not", level)
			}
			time.Sleep(22 * time.Minute)
			if r.Lookup("t") != nil {
				t.Errorf("level %s: the topic is there", level)
			}
		})
	}
}

// onLog is a log that does something when it is told of something.
type onLog struct {
	slog.Handler
	mu   sync.Mutex
	text string
	then func()
}

func (l *onLog) on(text string, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.then = text, then
}

func (l *onLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *onLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	text, then := l.text, l.then
	l.mu.Unlock()
	if r.Message == text {
		then()
	}
	return nil
}
