package storage

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// TestOptionsThroughCrashes: options whose setting was answered are there after a kill and a power cut, those of topics and those of channels,
// over checkpoints too; a channel that drops its oldest is within its bound then, has the newest, and its sum holds.
func TestOptionsThroughCrashes(t *testing.T) {
	for seed := range uint64(60 / failingStep) {
		synctest.Test(t, func(t *testing.T) { optionsRun(t, seed) })
	}
}

func optionsRun(t *testing.T, seed uint64) {
	n := newNode(t, seed)
	defer func() {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	}()
	w := &optionsWorld{node: n, bound: 5}
	w.set("c", fmt.Sprintf(`{"max_depth":%d,"overflow":"drop-oldest"}`, w.bound))
	for range 1 + n.rng.IntN(4) {
		for range 10 + n.rng.IntN(80) {
			w.step()
		}
		n.crash.power = nil
		if n.rng.IntN(2) == 0 {
			n.crash.power = rand.New(rand.NewPCG(seed, 7))
		}
		cut := n.crash.power != nil
		n.kill()
		w.check(cut)
	}
}

// optionsWorld is one topic with one channel, and what was said of them.
type optionsWorld struct {
	*node
	bound    int
	topicTTL int // days, by the last answer; 0: the default
	flight   int // max_in_flight of the channel
	waiting  []string
	next     int
}

func (w *optionsWorld) channel() *topic.Channel {
	t, err := w.r.Topic("t0")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := t.Channel("c")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *optionsWorld) set(of, text string) {
	w.t.Helper()
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &changes); err != nil {
		w.t.Fatal(err)
	}
	c := w.channel()
	err := c.Topic().SetOptions(changes)
	if of != "" {
		err = c.SetOptions(changes)
	}
	if err != nil {
		w.t.Fatalf("seed %d: %s: %v", w.seed, text, err)
	}
}

func (w *optionsWorld) step() {
	c := w.channel()
	switch w.rng.IntN(8) {
	case 0:
		w.topicTTL = w.rng.IntN(3)
		w.set("", map[bool]string{true: `{"ttl":null}`, false: fmt.Sprintf(`{"ttl":"%dd"}`, w.topicTTL)}[w.topicTTL == 0])
	case 1:
		w.flight = 10 + w.rng.IntN(3)
		w.set("c", fmt.Sprintf(`{"max_in_flight":%d}`, w.flight))
	case 2:
		w.bound = 3 + w.rng.IntN(6)
		w.set("c", fmt.Sprintf(`{"max_depth":%d}`, w.bound))
	case 3:
		w.finish(c, 1+w.rng.IntN(3))
	default:
		var b topic.Batch
		for range 1 + w.rng.IntN(4) {
			body := fmt.Sprintf("m%d", w.next)
			w.next++
			b.Add([]byte(body))
			w.waiting = append(w.waiting, body)
		}
		if err := c.Topic().PublishAs(&b, 0, topic.Fsync); err != nil {
			w.t.Fatal(err)
		}
	}
	if over := len(w.waiting) - w.bound; over > 0 {
		w.waiting = w.waiting[over:]
	}
	if s := c.Stats(); s.Held != len(w.waiting) || !s.Balanced {
		w.t.Fatalf("seed %d: %d are held of a bound of %d, want %d; balanced %v", w.seed, s.Held, w.bound, len(w.waiting), s.Balanced)
	}
}

// finish takes some messages, which must be the oldest, and finishes them.
func (w *optionsWorld) finish(c *topic.Channel, limit int) {
	for i, body := range w.take(c, limit, topic.Finish) {
		if body != w.waiting[i] {
			w.t.Fatalf("seed %d: got %s, want %s", w.seed, body, w.waiting[i])
		}
	}
	w.waiting = w.waiting[min(limit, len(w.waiting)):]
}

func (w *optionsWorld) take(c *topic.Channel, limit int, answer topic.Verb) (bodies []string) {
	s, err := c.Topic().Subscribe("c", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
	s.SetReady(limit)
	var answers []topic.Answer
	for d := (topic.Delivery{}); s.Take(&d) > 0; d.Clear() {
		each(&d, func(f protocol.MessageFrame) {
			bodies = append(bodies, string(f.Body()))
			answers = append(answers, topic.Answer{ID: f.MustID(), Verb: answer})
		})
	}
	s.Apply(answers, nil)
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
	return bodies
}

// check looks at what has come back. FINs of the last moment may be lost, and so may discards: what was finished or dropped may be there
// again, but never more than the bound, and never in place of the newest.
func (w *optionsWorld) check(cut bool) {
	c := w.channel()
	ttl := map[bool]string{true: "0s", false: fmt.Sprintf("%dd", w.topicTTL)}[w.topicTTL == 0]
	if got := fmt.Sprint(c.Topic().Options()["ttl"].Value); got != ttl {
		w.t.Fatalf("seed %d, power cut %v: ttl of the topic is %s, want %s", w.seed, cut, got, ttl)
	}
	of := c.Options()
	for name, want := range map[string]int{"max_depth": w.bound, "max_in_flight": w.flight} {
		if got := fmt.Sprint(of[name].Value); got != fmt.Sprint(want) {
			w.t.Fatalf("seed %d, power cut %v: %s of the channel is %s, want %d", w.seed, cut, name, got, want)
		}
	}
	if s := c.Stats(); s.Held > w.bound || !s.Balanced {
		w.t.Fatalf("seed %d, power cut %v: %d are held of a bound of %d, balanced %v", w.seed, cut, s.Held, w.bound, s.Balanced)
	}
	there := map[string]bool{}
	for _, body := range w.take(c, 1000, topic.Finish) {
		there[body] = true
	}
	for _, body := range w.waiting {
		if !there[body] {
			w.t.Fatalf("seed %d, power cut %v: %s is gone, there is %v", w.seed, cut, body, there)
		}
	}
	w.waiting = nil
}
