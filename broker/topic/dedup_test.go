package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
)

func setTopicOptions(t testing.TB, topic *Topic, text string) {
	t.Helper()
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &changes); err != nil {
		t.Fatal(err)
	}
	if err := topic.SetOptions(changes); err != nil {
		t.Fatal(err)
	}
}

// keyedBatch returns a batch of messages, each BODY or KEY=BODY.
func keyedBatch(topic string, messages ...string) *Batch {
	var b Batch
	for _, m := range messages {
		mark := b.Mark()
		key, body, ok := strings.Cut(m, "=")
		if !ok {
			key, body = "", m
		}
		b.Add([]byte(body))
		if key != "" {
			b.Deduplicate(mark, topic, key, false)
		}
	}
	return &b
}

// publishKeyed publishes messages together and returns which of them were duplicates, with the positions of the first ones.
func publishKeyed(t testing.TB, topic *Topic, messages ...string) []Duplicate {
	t.Helper()
	b := keyedBatch(topic.Name(), messages...)
	if err := topic.Publish(b); err != nil {
		t.Fatal(err)
	}
	r := b.Receipt()
	if r.Count+len(r.Duplicates) != len(messages) {
		t.Errorf("%d messages were stored and %d were duplicates, of %d", r.Count, len(r.Duplicates), len(messages))
	}
	return r.Duplicates
}

// waiting returns the bodies of all that waits on a channel, in order; they come back to it.
func waiting(t testing.TB, topic *Topic, channel string) (bodies []string) {
	t.Helper()
	s := mustSubscribe(t, topic, channel, 1000, SubscribeOptions{})
	var d Delivery
	for s.Take(&d) > 0 {
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				bodies = append(bodies, string(f.Body()))
			}
		}
		d.Clear()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// dedupTopic is a topic in a log with a window of ten minutes, and a channel.
func dedupTopic(t *testing.T, l *keptLog) *Topic {
	t.Helper()
	topic := mustTopic(t, durableRegistry(t, l), "t")
	mustChannel(t, topic, "c")
	setTopicOptions(t, topic, `{"dedup_window":"10m"}`)
	return topic
}

// TestDuplicates: of each key one message is stored, of an MPUB the others are, duplicates within it too, and the answer says which.
func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		for i, c := range []struct {
			send []string
			want []Duplicate
		}{
			{[]string{"a=1"}, nil},
			{[]string{"a=another body"}, []Duplicate{{0, 1}}},
			{[]string{"2", "2"}, nil}, // without a key nothing is a duplicate
			{[]string{"b=4", "c=5", "a=no", "d=6", "7", "e=8", "f=9", "g=10", "h=11", "i=12"}, []Duplicate{{2, 1}}},
			{[]string{"x=13", "x=no", "y=14", "x=no"}, []Duplicate{{1, 13}, {3, 13}}},
			{[]string{"y=no", "x=no"}, []Duplicate{{0, 14}, {1, 13}}},
		} {
			if got := publishKeyed(t, topic, c.send...); !reflect.DeepEqual(got, c.want) {
				t.Errorf("publish %d: duplicates %v, want %v", i, got, c.want)
			}
		}
		if got := strings.Join(waiting(t, topic, "c"), " "); got != "1 2 2 4 5 6 7 8 9 10 11 12 13 14" {
			t.Errorf("stored is %s", got)
		}
		if s := topic.Stats(); s.Duplicates != 6 || s.MessageCount != 14 || s.DedupKeys != 11 || s.DedupForgotten != 0 {
			t.Errorf("%+v", s)
		}
		mpub := keyedBatch("t", "1", "2", "3")
		mpub.Deduplicate(Mark{}, "t", "m", true)
		if err := topic.Publish(mpub); err != nil {
			t.Fatal(err)
		}
		if got := publishKeyed(t, topic, "m/0=no", "m/2=no", "m=yes", "m/3=yes"); !reflect.DeepEqual(got, []Duplicate{{0, 15}, {1, 17}}) {
			t.Errorf("keys of an MPUB: %v", got)
		}
	})
}

// TestDuplicateOfADeferredMessage: it is not stored, whenever the first one is due.
func TestDuplicateOfADeferredMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		if err := topic.PublishDeferred(keyedBatch("t", "a=1"), time.Minute); err != nil {
			t.Fatal(err)
		}
		b := keyedBatch("t", "a=2")
		b.TTL = time.Hour
		if err := topic.PublishDeferred(b, time.Second); err != nil {
			t.Fatal(err)
		}
		if s := topic.Stats(); s.Channels[0].Deferred != 1 || s.Duplicates != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestWindow: it counts from the first accept, to the second; neither a duplicate, nor FIN, emptying, the end of the message's time
// to live or a restart after any of these changes it, and what is forgotten is accepted as new.
func TestWindow(t *testing.T) {
	for _, what := range []string{"kept", "finished", "emptied", "repeated", "expired", "restarted", "finished restarted", "emptied restarted", "expired restarted"} {
		t.Run(what, func(t *testing.T) {
			what, restarted := strings.CutSuffix(what, "restarted")
			synctest.Test(t, func(t *testing.T) {
				l := &keptLog{}
				topic := dedupTopic(t, l)
				time.Sleep(300 * time.Millisecond) // not at a full second
				publishKeyed(t, topic, "a=1", "other=2")
				again := func(key string, want bool) {
					t.Helper()
					if got := len(publishKeyed(t, topic, key+"=x")) > 0; got != want {
						t.Errorf("%s, after %v: duplicate %v, want %v", what, time.Since(start2000), got, want)
					}
				}
				switch strings.TrimSpace(what) {
				case "expired":
					setTTL(t, topic, "1m")
					time.Sleep(2 * time.Minute)
					if n := len(waiting(t, topic, "c")); n > 0 {
						t.Errorf("%d messages are there whose time is over", n)
					}
					setTTL(t, topic, "0s")
				case "finished":
					s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
					var d Delivery
					s.Take(&d)
					for _, run := range d.Runs {
						for frames := run.Frames; len(frames) > 0; {
							f := first(frames)
							frames = frames[len(f):]
							s.Apply([]Answer{{ID: f.MustID(), Verb: Finish}}, nil)
						}
					}
					s.Close()
				case "emptied":
					if err := errors.Join(topic.Empty(), topic.Channels()[0].Empty()); err != nil {
						t.Fatal(err)
					}
				case "repeated":
					time.Sleep(5 * time.Minute)
					again("a", true)
				}
				if restarted {
					topic = recovered(t, l).Lookup("t")
				}
				time.Sleep(time.Until(start2000.Add(10*time.Minute + 300*time.Millisecond - 1)))
				again("a", true)
				time.Sleep(time.Second + 2)
				again("a", false)
				again("a", true)
				again("other", false)
			})
		})
	}
}

// start2000 is when a bubble of virtual time begins.
var start2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestDeletedAndSwitchedOff: a topic's keys go with it, and with the option.
func TestDeletedAndSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		r := topic.registry
		publishKeyed(t, topic, "a=1")
		setTopicOptions(t, topic, `{"dedup_window":null}`)
		if d := publishKeyed(t, topic, "a=2"); len(d) > 0 || topic.Stats().DedupKeys != 0 {
			t.Errorf("without a window: %v, %+v", d, topic.Stats())
		}
		setTopicOptions(t, topic, `{"dedup_window":"10m"}`)
		if d := publishKeyed(t, topic, "a=3"); len(d) > 0 {
			t.Errorf("what came before the window was set is a duplicate: %v", d)
		}
		err := topic.SetDurability(Memory)
		var bad *policy.Error
		if !errors.As(err, &bad) || bad.Name != "dedup_window" {
			t.Errorf("to level memory while the window is set: %v", err)
		}
		if err := r.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		topic = mustTopic(t, r, "t")
		setTopicOptions(t, topic, `{"dedup_window":"10m"}`)
		if d := publishKeyed(t, topic, "a=4"); len(d) > 0 {
			t.Errorf("a topic that was made anew knows a key: %v", d)
		}
	})
}

// TestDedupMax: beyond it the oldest keys are forgotten early, and that is counted; a lower one takes its time.
func TestDedupMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		setTopicOptions(t, topic, `{"dedup_max":3}`)
		for i := range 5 {
			publishKeyed(t, topic, fmt.Sprintf("k%d=x", i))
		}
		if s := topic.Stats(); s.DedupKeys != 3 || s.DedupForgotten != 2 {
			t.Errorf("%+v", s)
		}
		if d := publishKeyed(t, topic, "k4=x", "k2=x", "k1=x"); len(d) != 2 { // k1 is new, and k2 goes for it
			t.Errorf("duplicates %v", d)
		}
		if d := publishKeyed(t, topic, "k2=x"); len(d) != 0 {
			t.Errorf("duplicates %v", d)
		}
		setTopicOptions(t, topic, `{"dedup_max":100000}`)
		var many []string
		for i := range 10_000 {
			many = append(many, fmt.Sprintf("m%d=x", i))
		}
		publishKeyed(t, topic, many...)
		setTopicOptions(t, topic, `{"dedup_max":10}`)
		time.Sleep(2 * trimInterval)
		synctest.Wait()
		if s := topic.Stats(); s.DedupKeys != 10 {
			t.Errorf("%d keys are left", s.DedupKeys)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if s := topic.Stats(); s.DedupKeys != 0 || topic.registry.keys.used.Load() != 0 {
			t.Errorf("%d keys are left after the window, %d bytes", s.DedupKeys, topic.registry.keys.used.Load())
		}
	})
}

// TestDedupMemory: all topics together keep to --dedup-memory, at the cost of the topic with the most keys.
func TestDedupMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		cfg.DedupMemory = 1 << 20
		r := start(t, cfg)
		small := mustTopic(t, r, "small")
		large := mustTopic(t, r, "large")
		for _, topic := range []*Topic{small, large} {
			setTopicOptions(t, topic, `{"dedup_window":"10m"}`)
		}
		publishKeyed(t, small, "a=1", "b=2")
		for i := range 50 {
			var many []string
			for k := range 1000 {
				many = append(many, fmt.Sprintf("m%d-%d=x", i, k))
			}
			publishKeyed(t, large, many...)
			synctest.Wait()
		}
		if n := r.keys.used.Load(); n > cfg.DedupMemory {
			t.Errorf("keys take %d bytes", n)
		}
		if s := large.Stats(); s.DedupForgotten == 0 || int(s.DedupForgotten)+int(s.DedupKeys) != 50_000 {
			t.Errorf("%d keys are left and %d forgotten", s.DedupKeys, s.DedupForgotten)
		}
		if d := publishKeyed(t, small, "a=1", "b=2"); len(d) != 2 {
			t.Errorf("the small topic has lost keys: %v", d)
		}
		if d := publishKeyed(t, large, "m49-999=x"); len(d) != 1 {
			t.Error("the newest key was forgotten")
		}
	})
}

// TestDuplicateWaitsForTheFirst: it is answered when that is safe, fails when that fails, and can be repeated then: the message is stored
// once, for consumers and for whoever reads the log.
func TestDuplicateWaitsForTheFirst(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGated(t)
			g.log.set(true)
			setTopicOptions(t, g.topic, `{"dedup_window":"10m"}`)
			g.log.set(false)
			send := func(name string, messages ...string) {
				g.wg.Go(func() {
					err := g.topic.Publish(keyedBatch("t", messages...))
					g.mu.Lock()
					defer g.mu.Unlock()
					g.errs[name] = err
				})
				synctest.Wait()
			}
			send("first", "a=1")
			send("again", "new=2", "a=no")
			if _, answered := g.errs["again"]; answered {
				t.Fatal("a duplicate was answered before the first one was safe")
			}
			var end error
			if fails {
				end = errDisk
			}
			g.log.set(true)
			g.log.finish(t, 0, end)
			if got := g.errs["again"]; (got != nil) != fails || fails && (!errors.Is(got, errFirstFailed) || !Refuses(got)) {
				t.Errorf("the first one failed: %v, the duplicate's answer: %v", fails, got)
			}
			if fails {
				g.expect()
				send("once more", "a=1", "new=2")
				send("and again", "new=no", "a=no")
				if err := errors.Join(g.errs["once more"], g.errs["and again"]); err != nil {
					t.Error(err)
				}
			}
			again := recovered(t, g.log.keptLog).Lookup("t")
			if got := strings.Join(waiting(t, again, "c"), " "); got != "1 2" {
				t.Errorf("who reads the log finds %s", got)
			}
			if d := publishKeyed(t, again, "a=no", "new=no"); len(d) != 2 {
				t.Errorf("after a restart: duplicates %v", d)
			}
			g.expect("1", "2")
		})
	}
}

// TestRefusedPublishLeavesNoKey: neither one that a bound refuses, nor one that the disk does.
func TestRefusedPublishLeavesNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &keptLog{}
		topic := dedupTopic(t, l)
		setTopicOptions(t, topic, `{"max_depth":3}`)
		publishKeyed(t, topic, "a=1")
		b := keyedBatch("t", "a=no", "b=2", "c=3", "a=no", "d=4", "e=5")
		err := topic.Publish(b)
		var bound *BoundError
		if !errors.As(err, &bound) || bound.Room != 4 || b.Len() != 6 {
			t.Fatalf("%v, room for %+v, %d messages left", err, bound, b.Len())
		}
		b.Keep(bound.Room)
		if err := topic.Publish(b); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(waiting(t, topic, "c"), " "); got != "1 2 3" {
			t.Errorf("stored is %s", got)
		}
		setTopicOptions(t, topic, `{"max_depth":null}`)
		l.fail(errDisk)
		if err := topic.Publish(keyedBatch("t", "d=4", "e=5")); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		l.fail(nil)
		topic.registry.SetHealth(nil)
		if d := publishKeyed(t, topic, "e=5", "d=4", "c=no"); !reflect.DeepEqual(d, []Duplicate{{2, 3}}) {
			t.Errorf("duplicates %v", d)
		}
		again := recovered(t, l).Lookup("t")
		if got := strings.Join(waiting(t, again, "c"), " "); got != "1 2 3 5 4" {
			t.Errorf("who reads the log finds %s", got)
		}
		if d := publishKeyed(t, again, "a=x", "b=x", "c=x", "d=x", "e=x"); len(d) != 5 {
			t.Errorf("after a restart: duplicates %v", d)
		}
	})
}

// TestKeysOfBodies: a rule takes the key where the publish has none.
func TestKeysOfBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		setTopicOptions(t, topic, `{"dedup_from":"until:|"}`)
		d := publishKeyed(t, topic, "a|1", "b|2", "a|3", "none", "none", "a=b|x", "word=a|x")
		if !reflect.DeepEqual(d, []Duplicate{{2, 1}, {5, 1}}) {
			t.Errorf("duplicates %v", d)
		}
		setTopicOptions(t, topic, `{"dedup_from":"body"}`)
		if d := publishKeyed(t, topic, "same", "same", "same "); !reflect.DeepEqual(d, []Duplicate{{1, 6}}) {
			t.Errorf("duplicates %v", d)
		}
	})
}

// TestKeysStayInLine: whatever is dropped of a batch, the rest keeps its keys.
func TestKeysStayInLine(t *testing.T) {
	key := func(text string) journal.Key { return journal.NewKey("t", []byte(text)) }
	b := keyedBatch("t", "1", "a=2", "3", "b=4")
	if want := []journal.Key{{}, key("a"), {}, key("b")}; !slices.Equal(b.keys, want) {
		t.Errorf("keys %v", b.keys)
	}
	b.Keep(3)
	mark := b.Mark()
	b.Add([]byte("5"))
	b.Deduplicate(mark, "t", "c", false)
	b.Rollback(mark)
	b.Add([]byte("6"))
	b.Add([]byte("7"))
	if len(b.keys) > 3 || b.keys[1] != key("a") {
		t.Errorf("keys %v of %d messages", b.keys, b.Len())
	}
	b.Reset()
	b.Add([]byte("8"))
	if len(b.keys) != 0 {
		t.Error("a batch that was reset has keys")
	}
}

// TestAcks: a publish that asks for 0 is answered before it is safe, and shown once it is; when the disk refuses it, it is taken back and
// counted. One that asks for less than is allowed is refused.
func TestAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		send := func(acks policy.Acks, body string) error {
			b := Batch{Acks: acks}
			b.Add([]byte(body))
			return g.topic.Publish(&b)
		}
		if err := send(policy.AcksNone, "a"); err != nil {
			t.Fatal(err)
		}
		g.publish(0, "b")
		g.expect()
		g.log.finish(t, 0, nil)
		g.expect("a")
		g.log.finish(t, 0, nil)
		g.expect("b")
		if err := send(policy.AcksNone, "c"); err != nil {
			t.Fatal(err)
		}
		g.log.finish(t, 0, errDisk)
		g.log.set(true)
		g.expect()
		if s := g.topic.Stats(); s.AcksLost != 1 || s.MessageCount != 2 {
			t.Errorf("%+v", s)
		}
		setTopicOptions(t, g.topic, `{"acks_min":"1"}`)
		if err := send(policy.AcksNone, "d"); !errors.Is(err, ErrAcks) || Refuses(err) || g.topic.TakesAcks(policy.AcksNone) == nil {
			t.Errorf("acks 0 under acks_min 1: %v", err)
		}
		if err := errors.Join(send(policy.AcksOne, "e"), send(policy.AcksAll, "f"), send(policy.AcksUnsaid, "g"), g.topic.TakesAcks(policy.AcksOne)); err != nil {
			t.Error(err)
		}
		setTopicOptions(t, g.topic, `{"acks_min":null,"acks":0}`)
		g.log.set(false)
		if err := send(policy.AcksUnsaid, "h"); err != nil {
			t.Fatal(err)
		}
		g.log.finish(t, 0, nil)
		g.expect("e", "f", "g", "h")
	})
}

// TestAcksDoNotFillMemory: while the disk stands still no more than some MiB are answered before they are safe.
func TestAcksDoNotFillMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		answered := make(chan struct{}, 100)
		g.wg.Go(func() {
			for range 12 {
				b := Batch{Acks: policy.AcksNone}
				b.Add(make([]byte, 1<<20))
				if err := g.topic.Publish(&b); err != nil {
					t.Error(err)
				}
				answered <- struct{}{}
			}
		})
		synctest.Wait()
		if n := len(answered); n == 0 || n > trailingBytes>>20 {
			t.Errorf("%d MiB were answered", n)
		}
		g.log.set(true)
		for range 2 { // whoever waits for the disk in the publishers' place, and the publisher
			g.log.finish(t, 0, nil)
		}
		g.wg.Wait()
		synctest.Wait()
		if n := len(g.bodies()); n == 0 {
			t.Error("nothing is shown")
		}
	})
}

// TestMovedMessagesAreNotChecked: a dead letter arrives, and goes back, and what is read again comes, however the topics remember its key; a
// repeated publish is still known.
func TestMovedMessagesAreNotChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		setTopicOptions(t, topic, `{"dedup_from":"body","retain_time":"1h"}`)
		c := topic.Channels()[0]
		setOptions(t, c, `{"max_attempts":1}`)
		dead := mustTopic(t, topic.registry, "t.c.dlq")
		setTopicOptions(t, dead, `{"dedup_window":"10m","dedup_from":"body"}`)
		publishKeyed(t, topic, "one", "two")
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		for round := range 3 {
			n := failAll(t, s)
			if n != 2 {
				t.Fatalf("round %d: %d messages came", round, n)
			}
			if _, err := topic.Redrive("c", RedriveOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if d := publishKeyed(t, topic, "one", "two"); len(d) != 2 {
			t.Errorf("duplicates %v", d)
		}
		s.Close()
		if m, err := c.Rewind(Place{kind: atBeginning}, false); err != nil || m.Messages != 4 { // two that wait, and what they were before
			t.Errorf("%+v, %v", m, err)
		}
	})
}
