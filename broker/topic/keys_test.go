package topic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// orderedBatch returns a batch of messages, each BODY or KEY=BODY.
func orderedBatch(messages ...string) *Batch {
	var b Batch
	for _, m := range messages {
		mark := b.Mark()
		key, body, ok := strings.Cut(m, "=")
		if !ok {
			key, body = "", m
		}
		b.Add([]byte(body))
		b.Order(mark, key)
	}
	return &b
}

func publishOrdered(t testing.TB, topic *Topic, messages ...string) {
	t.Helper()
	if err := topic.Publish(orderedBatch(messages...)); err != nil {
		t.Fatal(err)
	}
}

// keysSeen returns KEY=BODY of all that is there, the keys as sums.
func keysSeen(t testing.TB, topic *Topic) (list []string) {
	t.Helper()
	for _, m := range browsed(t, topic.Browse, Look{From: 1, Limit: 3000, Body: 20}) {
		body := strings.TrimRight(string(m.Body), "x")
		if m.Key == 0 {
			list = append(list, body)
			continue
		}
		list = append(list, fmt.Sprintf("%08x=%s", m.Key, body))
	}
	return list
}

// TestKeysStayWithTheirMessages: the key of a message is the same in memory, on disk, in a compacted block, after a start from the log, in a
// dead letter topic, and back from there.
func TestKeysStayWithTheirMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		l := cfg.Journal.(*keptLog)
		cfg.MemQueueSize, cfg.Segments = 10, keptSegments{vfs.NewMem()}
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		var want []string
		pad := strings.Repeat("x", 3000)
		for i := range 1000 {
			switch key := fmt.Sprintf("k%d", i%7); {
			case i%5 == 4:
				publishOrdered(t, topic, fmt.Sprint(i)+pad)
				want = append(want, fmt.Sprintf("%d", i))
			default:
				publishOrdered(t, topic, fmt.Sprintf("%s=%d%s", key, i, pad))
				want = append(want, fmt.Sprintf("%08x=%d", journal.KeySum([]byte(key)), i))
			}
			if i%10 == 9 { // so that nodes have many messages
				publish(t, topic, 1)
				want = append(want, "m1")
			}
		}
		same := func(where string, r *Registry, want []string) {
			t.Helper()
			if got := keysSeen(t, r.Lookup("t")); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Fatalf("%s:\n%v, want\n%v", where, got, want)
			}
		}
		same("at first", r, want)
		checkpoint(t, r) // closes nodes
		for range 10 {
			publish(t, topic, 3)
			want = append(want, "m1", "m2", "m3")
		}
		same("on disk", r, want)
		same("after a start", recovered(t, l), want)

		sub := mustSubscribe(t, topic, "c", 10000, SubscribeOptions{})
		var left []string
		n := 0
		eachTaken(sub, func(m protocol.MessageFrame) Answer {
			w := want[n]
			if n++; n%90 == 0 {
				left = append(left, w)
				return Answer{Verb: Requeue, Delay: 1 << 40}
			}
			return Answer{Verb: Finish}
		})
		if done, err := r.Compact(context.Background(), func(int) error { return nil }); err != nil || !done {
			t.Fatal(done, err)
		}
		checkpoint(t, r)
		same("compacted", r, left)
		sub.SetReady(0)
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}

		setOptions(t, c, `{"max_attempts":1}`) // all were delivered as often
		synctest.Wait()
		dead := r.Lookup("t.c.dlq")
		if got := keysSeen(t, dead); strings.Join(got, " ") != strings.Join(left, " ") {
			t.Fatalf("dead letters %v, want %v", got, left)
		}
		setOptions(t, c, `{"max_attempts":5}`)
		if _, err := topic.Redrive("c", RedriveOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same("sent back", r, left)
		same("sent back, after a start", recovered(t, l), left)
	})
}

// TestKeysOfRules: a rule finds the key in the body, the word wins over it, and what is in no order is taken unless keys are required.
func TestKeysOfRules(t *testing.T) {
	topic := mustTopic(t, durableRegistry(t, &keptLog{}), "t")
	mustChannel(t, topic, "c")
	setTopicOptions(t, topic, `{"key_from":"until:|"}`)
	publishOrdered(t, topic, "a|1", "b=a|2", "no key")
	sum := func(key, body string) string { return fmt.Sprintf("%08x=%s", journal.KeySum([]byte(key)), body) }
	want := []string{sum("a", "a|1"), sum("b", "a|2"), "no key"}
	if got := keysSeen(t, topic); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", got, want)
	}
	setTopicOptions(t, topic, `{"key_required":true}`)
	if err := topic.Publish(orderedBatch("a|3", "no key")); !errors.Is(err, ErrKeyRequired) {
		t.Errorf("without a key: %v", err)
	}
	publishOrdered(t, topic, "c=no key", "b|4")
	want = append(want, sum("c", "no key"), sum("b", "b|4"))
	if got := keysSeen(t, topic); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", got, want)
	}
	memory := mustTopic(t, topic.registry, "memory")
	for _, text := range []string{`{"key_required":true}`, `{"key_from":"body"}`} {
		if err := memory.SetOptions(raw(t, text)); err == nil || !strings.Contains(err.Error(), "kept in the log") {
			t.Errorf("%s at level memory: %v", text, err)
		}
	}
}
