package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// located returns what each channel has of a message, as channel=state.
func located(t *testing.T, topic *Topic, pos Position) (text string, l Located) {
	t.Helper()
	l, err := topic.Locate(t.Context(), pos, Look{Body: -1, Scan: 1 << 20})
	if err != nil {
		t.Fatal(pos, err)
	}
	for i := range l.Channels {
		on := &l.Channels[i]
		text += fmt.Sprintf("%s=%s/%d ", on.Channel, on.State, on.Attempts)
	}
	return text, l
}

// TestLocate: of each message every channel says what it has of it, a channel that came later that nobody knows, and looking changes nothing.
func TestLocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := mustTopic(t, logged(t, Disk), "t")
		if err := topic.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"24h"`)}); err != nil {
			t.Fatal(err)
		}
		c := mustChannel(t, topic, "c")
		mustChannel(t, topic, "d")
		publish(t, topic, 5)
		var b Batch
		b.Add([]byte("later"))
		if err := topic.PublishDeferred(&b, time.Hour); err != nil {
			t.Fatal(err)
		}
		s := mustSubscribe(t, topic, "c", 3, SubscribeOptions{Name: "host:1"})
		var d Delivery
		s.Take(&d)
		one := first(d.Runs[0].Frames)
		two := first(d.Runs[0].Frames[len(one):])
		s.Apply([]Answer{{ID: one.MustID(), Verb: Finish}, {ID: two.MustID(), Verb: Requeue}}, nil)
		s.SetReady(0)
		mustChannel(t, topic, "e")
		for pos, want := range []string{1: "c=finished/0 d=waiting/0 e=unknown/0 ", 2: "c=waiting/1 d=waiting/0 e=unknown/0 ",
			3: "c=in_flight/1 d=waiting/0 e=unknown/0 ", 5: "c=waiting/0 d=waiting/0 e=unknown/0 ", 6: "c=deferred/0 d=deferred/0 e=unknown/0 "} {
			if want == "" {
				continue
			}
			got, l := located(t, topic, Position(pos))
			if got != want || !l.Kept || l.Pos != Position(pos) || l.OnDisk {
				t.Errorf("%d: %s, want %s: %+v", pos, got, want, l)
			}
			if on := l.Channels[0]; pos == 3 && (on.Client != "host:1" || on.Deadline.Sub(on.Delivered) != time.Minute) {
				t.Errorf("in flight is %+v", on)
			}
			if on := l.Channels[1]; pos == 5 && on.Ahead != 4 {
				t.Errorf("%d go before the fifth", on.Ahead)
			}
			if on := l.Channels[0]; pos == 6 && time.Until(on.Due) != time.Hour {
				t.Errorf("deferred is %+v", on)
			}
		}
		if _, err := c.Rewind(Place{kind: atBeginning}, false); err != nil {
			t.Fatal(err)
		}
		if got, _ := located(t, topic, 1); got != "c=waiting/0 d=waiting/0 e=unknown/0 " {
			t.Errorf("after a rewind: %s", got)
		}
		if _, _, _, err := topic.ChannelAt("f", Place{kind: atPosition, pos: 4}); err != nil {
			t.Fatal(err)
		}
		s2 := mustSubscribe(t, topic, "f", 10, SubscribeOptions{})
		finishAll(s2)
		for pos, want := range map[Position]State{3: Unknown, 4: Finished, 5: Finished, 6: Finished} {
			if _, l := located(t, topic, pos); l.Channels[3].State != want {
				t.Errorf("%d on a channel that began at 4 is %+v, want %s", pos, l.Channels[3], want)
			}
		}
		for _, pos := range []Position{7, 1000} {
			if _, err := topic.Locate(t.Context(), pos, Look{}); !errors.Is(err, ErrNoMessage) {
				t.Errorf("%d is located: %v", pos, err)
			}
		}
		_ = s.Close()
		_ = s2.Close()
	})
}

// finishAll takes and finishes until nothing more comes.
func finishAll(s *Subscription) {
	var d Delivery
	for s.Take(&d) > 0 {
		var answers []Answer
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				answers = append(answers, Answer{ID: f.MustID(), Verb: Finish})
			}
		}
		d.Clear()
		s.Apply(answers, nil)
	}
}

// TestLocateADeadLetter: a message that was delivered too often is found in its dead letter topic; once it has gone back it is that channel's
// alone.
func TestLocateADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := logged(t, Disk)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_attempts":2}`)
		mustChannel(t, topic, "d")
		publish(t, topic, 2)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		failAll(t, s)
		got, l := located(t, topic, 2)
		if on := l.Channels[0]; got != "c=dead_letter/0 d=waiting/0 " || on.LetterTopic != "t.c.dlq" || on.Letter != 2 || on.LetterID == l.ID {
			t.Fatalf("%s: %+v", got, on)
		}
		if got, _ := located(t, r.Lookup("t.c.dlq"), 2); got != "=waiting/0 " {
			t.Errorf("without a channel the dead letter is on %s", got)
		}
		s.SetReady(0)
		if _, err := topic.Redrive("c", RedriveOptions{Limit: 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, _ := located(t, topic, 3); got != "c=waiting/0 d=not_for_it/0 " {
			t.Errorf("what was sent back: %s", got)
		}
		if got, _ := located(t, topic, 1); got != "c=finished/0 d=waiting/0 " {
			t.Errorf("what it was before: %s", got)
		}
		s.SetReady(10)
		failAll(t, s)
		if _, err := topic.Locate(t.Context(), 3, Look{}); !errors.Is(err, ErrNoMessage) {
			t.Errorf("what everybody is done with is there: %v", err)
		}
		_ = s.Close()
	})
}

// TestFinishByHand: whatever a channel has of a message is over, a consumer's answer fails, credit comes back, other channels keep theirs; and
// it is so after a crash.
func TestFinishByHand(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { finishSome(t, rand.New(rand.NewPCG(seed, 1)), seed) })
	}
}

func finishSome(t *testing.T, rng *rand.Rand, seed uint64) {
	cfg := config()
	cfg.MemQueueSize = 1 + rng.IntN(30)
	files, log := vfs.NewMem(), &keptLog{}
	cfg.Journal, cfg.Segments, cfg.Level = log, keptSegments{files}, func(string) Level { return Disk }
	topic := mustTopic(t, start(t, cfg), "t")
	w := &handWork{t: t, rng: rng, seed: seed, topic: topic, c: mustChannel(t, topic, "c"), held: map[Position]bool{}}
	other := mustChannel(t, topic, "other")
	if rng.IntN(2) == 0 {
		if err := topic.SetOptions(map[string]json.RawMessage{"ordered": json.RawMessage("true"), "key_from": json.RawMessage(`"body"`)}); err != nil {
			t.Fatal(err)
		}
	}
	w.sub = mustSubscribe(t, topic, "c", 1+rng.IntN(5), SubscribeOptions{})
	steps := []func(){w.publish, w.take, func() { time.Sleep(time.Duration(rng.IntN(40)) * time.Second) }, w.finish}
	for range 60 {
		steps[rng.IntN(len(steps))]()
	}
	synctest.Wait()
	if n := w.c.Stats().Counts.Discarded[journal.ByHand]; n != w.finished {
		t.Errorf("seed %d: %d count as finished by hand, and %d were", seed, n, w.finished)
	}
	if n := other.Stats(); int(n.Depth)+n.Deferred != w.published {
		t.Errorf("seed %d: the other channel has %d and %d of %d", seed, n.Depth, n.Deferred, w.published)
	}
	if n := w.c.Stats().Held; n != w.left() {
		t.Errorf("seed %d: %d are left, want %d", seed, n, w.left())
	}
	_ = w.sub.Close()
	w.crash(log)
}

// handWork is what came to a channel, of which somebody finishes some by hand.
type handWork struct {
	t         *testing.T
	rng       *rand.Rand
	seed      uint64
	topic     *Topic
	c         *Channel
	sub       *Subscription
	held      map[Position]bool // of all that were published
	published int
	finished  uint64
}

func (w *handWork) publish() {
	var b Batch
	for range 1 + w.rng.IntN(5) {
		w.published++
		w.held[Position(w.published)] = true
		b.Add(fmt.Appendf(nil, "k%d", w.rng.IntN(3)))
	}
	if err := w.topic.PublishDeferred(&b, time.Duration(w.rng.IntN(2))*time.Minute); err != nil {
		w.t.Fatal(err)
	}
}

// take has some messages be in flight, come back, or be deferred.
func (w *handWork) take() {
	var d Delivery
	w.sub.Take(&d)
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := first(frames)
			frames = frames[len(f):]
			if delay := w.rng.IntN(3); delay > 0 {
				w.sub.Apply([]Answer{{ID: f.MustID(), Verb: Requeue, Delay: time.Duration(delay-1) * time.Minute}}, nil)
			}
		}
	}
}

// finish finishes one by hand, or one that is not there any more, or never was.
func (w *handWork) finish() {
	if w.published == 0 {
		return
	}
	pos := Position(1 + w.rng.IntN(w.published+1))
	was, err := w.c.FinishByHand(pos)
	if done := err == nil; done != w.held[pos] || done != was.held() || err != nil && !errors.Is(err, ErrNoMessage) {
		w.t.Fatalf("seed %d: %d is finished by hand: %v, %+v; it was there: %v", w.seed, pos, err, was, w.held[pos])
	}
	if w.held[pos] {
		w.finished++
		w.held[pos] = false
	}
}

func (w *handWork) left() (n int) {
	for _, held := range w.held {
		if held {
			n++
		}
	}
	return n
}

// crash proves that the log says the same.
func (w *handWork) crash(log *keptLog) {
	v := NewRecovery(journal.NewState())
	for i, record := range log.records {
		if err := v.Apply(journal.Offset{Offset: int64(i)}, record.kind, record.data); err != nil {
			w.t.Fatal(err)
		}
	}
	v.State.Settle()
	for _, state := range v.State.Topics {
		for _, ch := range state.Channels {
			if ch.Name != "c" {
				continue
			}
			after := ch.Out.Len()
			for _, r := range ch.Waiting {
				after += r.Len()
				for pos := r.First; pos <= r.Last; pos++ {
					if !w.held[pos] {
						w.t.Errorf("seed %d: after a crash %d waits that was finished by hand", w.seed, pos)
					}
				}
			}
			if n := ch.Counts.Discarded[journal.ByHand]; after != w.left() || n != w.finished {
				w.t.Errorf("seed %d: after a crash %d are left, want %d, and %d finished by hand, want %d", w.seed, after, w.left(), n, w.finished)
			}
		}
	}
}
