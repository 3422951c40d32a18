package storage

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// crowd is one topic that many work at, at the same time: producers, consumers of two channels, and an operator who pauses, rewinds, sends dead
// letters back and changes options. The node is killed in the middle of it.
type crowd struct {
	*node
	tp    *topic.Topic
	early bool // the channel c0 is there from the beginning

	mu    sync.Mutex                 // guards what follows
	acked map[string]bool            // answered before a crash
	begun map[string]map[string]bool // by channel: bodies that a consumer has begun to finish
	next  int
}

func (w *crowd) begin() {
	w.node.limit(0)
	var err error
	if w.tp, err = w.r.Topic("r0"); err == nil && w.early {
		_, err = w.tp.Channel("c0")
	}
	if err != nil {
		w.fail("making the topic: %v", err)
	}
	if err := w.tp.SetOptions(map[string]json.RawMessage{"ordered": json.RawMessage("true"), "max_attempts": json.RawMessage("3")}); err != nil {
		w.fail("setting options: %v", err)
	}
}

// until calls f again and again, with numbers of its own, until done says so.
func (w *crowd) until(wg *sync.WaitGroup, done func() bool, f func(rng *rand.Rand)) {
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 5))
	wg.Go(func() {
		for !done() {
			f(rng)
			time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		}
	})
}

func (w *crowd) publish(rng *rand.Rand) {
	var b topic.Batch
	var bodies []string
	for range 1 + rng.IntN(3) {
		w.mu.Lock()
		body := fmt.Sprintf("m%d-%0*d", w.next, rng.IntN(300), 0)
		w.next++
		w.mu.Unlock()
		mark := b.Mark()
		b.Add([]byte(body))
		b.Order(mark, fmt.Sprint("key ", rng.IntN(6)))
		bodies = append(bodies, body)
	}
	delay := time.Duration(0)
	if rng.IntN(3) == 0 {
		delay = time.Duration(rng.IntN(2000)) * time.Millisecond
	}
	if w.tp.PublishAs(&b, delay, topic.Disk) != nil || w.crash.done() { // after the crash nobody has got that answer
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, body := range bodies {
		w.acked[body] = true
	}
}

// consume takes something and finishes or requeues it, or leaves it to its timeout.
func (w *crowd) consume(rng *rand.Rand, channel string) {
	s, err := w.tp.Subscribe(channel, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: 500 * time.Millisecond})
	if err != nil {
		return
	}
	defer s.Close()
	s.SetReady(1 + rng.IntN(20))
	var d topic.Delivery
	for range rng.IntN(5) {
		s.Take(&d)
		var answers []topic.Answer
		each(&d, func(f protocol.MessageFrame) {
			switch rng.IntN(6) {
			case 0:
			case 1:
				answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Requeue, Delay: time.Duration(rng.IntN(2)) * 100 * time.Millisecond})
			default:
				if !w.crash.done() {
					w.mu.Lock()
					w.begun[channel][string(f.Body())] = true
					w.mu.Unlock()
				}
				answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
			}
		})
		d.Clear()
		s.Apply(answers, nil)
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
}

func (w *crowd) operate(rng *rand.Rand) {
	name := fmt.Sprint("c", rng.IntN(2))
	c := w.tp.LookupChannel(name)
	switch rng.IntN(8) {
	case 0, 1, 2:
		_ = w.tp.SetPaused(!w.tp.Paused())
	case 3:
		if c == nil {
			_, _ = w.tp.Channel(name)
		}
	case 4:
		if c != nil {
			_ = c.SetPaused(!c.Paused())
		}
	case 5:
		_, _ = w.tp.Redrive(name, topic.RedriveOptions{})
	case 6:
		value := []string{`"1h"`, "null"}[rng.IntN(2)]
		_ = w.tp.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(value), "ordered": json.RawMessage(fmt.Sprint(rng.IntN(3) > 0))})
	case 7:
		if place, err := topic.ParsePlace(fmt.Sprint("pos:", 1+rng.Uint64N(uint64(w.tp.Shown())+1)), time.Now()); err == nil && c != nil {
			_, _ = c.Rewind(place, false)
		}
	}
	time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
}

// live has all of them work for a while, kills the node meanwhile, and starts it again.
func (w *crowd) live() {
	w.crash = crash{left: 50 + w.rng.IntN(1500)}
	w.disk.Observe(w.tick)
	end := time.Now().Add(time.Duration(1+w.rng.IntN(8)) * time.Second)
	done := func() bool { return w.crash.done() || time.Now().After(end) }
	var wg sync.WaitGroup
	for range 3 {
		w.until(&wg, done, w.publish)
	}
	for k := range 4 {
		w.until(&wg, done, func(rng *rand.Rand) { w.consume(rng, fmt.Sprint("c", k%2)) })
	}
	w.until(&wg, done, w.operate)
	wg.Wait()
	w.endLife(false)
	w.fs = w.crash.clone
	w.crash = crash{left: -1}
	w.start()
	w.begin()
}

// checkAll has everything come, and fails when a message that was acknowledged does not.
func (w *crowd) checkAll() {
	_ = w.tp.SetPaused(false)
	if err := w.tp.SetOptions(map[string]json.RawMessage{"max_attempts": json.RawMessage("null")}); err != nil {
		w.fail("setting options: %v", err)
	}
	for _, name := range []string{"c0", "c1"} {
		c, err := w.tp.Channel(name)
		if err != nil {
			w.fail("making a channel: %v", err)
		}
		_ = c.SetPaused(false)
		s, err := w.tp.Subscribe(name, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
		if err != nil {
			w.fail("subscribing: %v", err)
		}
		s.SetReady(1000)
		var d topic.Delivery
		for round := range 100 {
			if round%10 == 5 {
				_, _ = w.tp.Redrive(name, topic.RedriveOptions{})
			}
			for s.Take(&d) > 0 {
				var answers []topic.Answer
				each(&d, func(f protocol.MessageFrame) {
					w.begun[name][string(f.Body())] = true
					answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
				})
				s.Apply(answers, nil)
				d.Clear()
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if err := s.Close(); err != nil {
			w.fail("closing: %v", err)
		}
		if st := c.Stats(); st.Held > 0 || !st.Balanced || st.Counts.Discarded[journal.Unreadable] > 0 {
			w.fail("%s: %+v", name, st)
		}
	}
	for body := range w.acked {
		if !w.begun["c0"][body] && (w.early || !w.begun["c1"][body]) {
			w.fail("%.8q was acknowledged and never came", body)
		}
	}
}

func crowdRun(t *testing.T, seed uint64) {
	w := &crowd{node: newNode(t, seed), acked: map[string]bool{}, begun: map[string]map[string]bool{"c0": {}, "c1": {}}}
	w.early = w.rng.IntN(2) == 0
	w.begin()
	defer func() { // or the bubble does not end
		if t.Failed() && w.k != nil && w.k.stop != nil {
			_ = w.stop()
		}
	}()
	for range 1 + w.rng.IntN(3) {
		w.live()
	}
	w.checkAll()
	if err := w.stop(); err != nil {
		t.Fatalf("seed %d: closing: %v", seed, err)
	}
}

// TestManyAtOnceThroughKills: what is acknowledged comes, whatever was done at the same time: while a topic's backlog moves to its channels, a
// checkpoint is written, and segments are written together anew.
func TestManyAtOnceThroughKills(t *testing.T) {
	for seed := range uint64(someCrashes()) {
		seed += *crashFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { crowdRun(t, seed) })
		})
		if !ok {
			t.FailNow()
		}
	}
}
