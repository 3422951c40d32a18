package forward

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/topic"
)

// TestWhatComesBehindOneThatFailedAnswersNothing: of two publishes the first is not committed when the lead is lost, and the second was refused, or
// was taken by the same node's next reign. What is said of the second one says nothing of the first.
func TestWhatComesBehindOneThatFailedAnswersNothing(t *testing.T) {
	run(t, 10, func(w *world) {
		w.mu.Lock()
		w.reign.hold = true
		w.mu.Unlock()
		var first, second error
		var done sync.WaitGroup
		done.Go(func() { first = w.nodes["b"].publish("b 1") })
		time.Sleep(100 * time.Millisecond)
		w.mu.Lock()
		w.reign.refuses = true
		w.mu.Unlock()
		done.Go(func() { second = w.nodes["b"].publish("b 2") })
		time.Sleep(100 * time.Millisecond)
		w.lead("", 0)
		synctest.Wait()
		done.Wait()
		if !errors.Is(first, ErrUnanswered) {
			t.Errorf("the first one, which is nowhere, was answered: %v", first)
		}
		if second == nil {
			t.Error("the second one was acknowledged")
		}
		if got := w.bodies(); len(got) != 0 {
			t.Errorf("taken: %q", got)
		}
	})
}

// TestWhoWasSaidToLeadDies: a node without a replica is told by the others who leads; when that one dies it asks them again, for publishes and acts.
func TestWhoWasSaidToLeadDies(t *testing.T) {
	run(t, 11, func(w *world) {
		w.nodes["c"].f.Serve(func([]byte) ([]byte, bool) { return []byte("done"), true })
		if err := w.nodes["d"].publish("d 1"); err != nil {
			t.Fatal(err)
		}
		g := w.nodes["d"].f.known(1)
		g.mu.Lock()
		g.hint = "a" // as one of the others has said
		g.mu.Unlock()
		for _, other := range []string{"b", "c", "d"} {
			w.cut("a", other, true)
		}
		w.lead("c", 0)
		within(t, 0, time.Second, func() {
			if err := w.nodes["d"].publish("d 2"); err != nil {
				t.Errorf("a publish: %v", err)
			}
		})
		g.mu.Lock()
		g.hint = "a"
		g.mu.Unlock()
		within(t, 0, time.Second, func() {
			if _, _, err := w.nodes["d"].f.Act(context.Background(), "orders", []byte("this")); err != nil {
				t.Errorf("an act: %v", err)
			}
		})
	})
}

// TestALeaderThatDoesNotAnswer: what it was sent is lost, and the link goes on: that is noticed in the time that a publish has.
func TestALeaderThatDoesNotAnswer(t *testing.T) {
	for _, lost := range []int{0, 1} { // the probe, or the publish
		run(t, 12, func(w *world) {
			seen := 0
			w.mu.Lock()
			w.lose = func(_, _ string, kind peer.Kind, _ []byte) bool {
				if kind != framePublish {
					return false
				}
				seen++
				return seen == lost+1
			}
			w.mu.Unlock()
			if err := w.nodes["b"].publish("b 1"); err == nil {
				t.Error("what was lost was acknowledged")
			}
			within(t, 0, time.Second, func() {
				if err := w.nodes["b"].publish("b 2"); err != nil {
					t.Errorf("%d: after that: %v", lost, err)
				}
			})
		})
	}
}

// TestALocalTopicComesInTheWay: while a publish looks for who leads, a topic of this node alone gets the name. It has none of the messages any more, so
// that it must not be told to take them.
func TestALocalTopicComesInTheWay(t *testing.T) {
	run(t, 13, func(w *world) {
		w.mu.Lock()
		w.topics["orders"] = Topic{Group: 1, Number: 2} // it is not there yet
		w.mu.Unlock()
		var b topic.Batch
		b.Add([]byte("b 1"))
		result := make(chan error, 1)
		go func() { result <- w.nodes["b"].f.Publish("orders", &b, 0) }()
		time.Sleep(100 * time.Millisecond)
		if _, err := w.nodes["b"].r.Topic("orders"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err == nil || errors.Is(err, topic.ErrNotReplicated) && b.Len() == 0 {
			t.Errorf("%v, and %d messages are left", err, b.Len())
		}
	})
}

// TestALocalTopicsChannelsAreToBeMadeFirst: a publish at a node with a topic of its own that is to give way waits until the replicated one has its channels, and
// says so when that takes too long.
func TestALocalTopicsChannelsAreToBeMadeFirst(t *testing.T) {
	run(t, 14, func(w *world) {
		w.lead("a", 0)
		b := w.nodes["b"]
		local, err := b.r.Topic("orders")
		if err == nil {
			_, err = local.Channel("c")
		}
		if err != nil {
			t.Fatal(err)
		}
		b.r.SetReplicated("orders", true)
		if err := b.publish("b 1"); err != ErrUnpassed || !errors.Is(err, topic.ErrElsewhere) {
			t.Errorf("its channel is not made: %v", err)
		}
		result := make(chan error, 1)
		go func() { result <- b.publish("b 2") }()
		time.Sleep(time.Second)
		if err := local.Pass(func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Errorf("it is made: %v", err)
		}
	})
}

// TestWhatNoNodeSays: numbers that would be none when something is added to them are refused; in a record of the group they would keep every replica from
// reading its checkpoint.
func TestWhatNoNodeSays(t *testing.T) {
	for what, change := range map[string]func(*request){
		"":             func(*request) {},
		"a number":     func(r *request) { r.number = math.MaxUint64 },
		"a low number": func(r *request) { r.low = r.number + 1 },
		"a delay":      func(r *request) { r.delay = math.MaxInt64 },
		"a time":       func(r *request) { r.due = math.MinInt64 },
	} {
		r := request{place: place{7, 2, 3}, number: 9, low: 4, topic: 5, delay: time.Second, due: 8, count: 1, frames: []byte("frames")}
		change(&r)
		if _, err := parseRequest(append(r.appendHead(nil), r.frames...)); (err == nil) != (what == "") {
			t.Errorf("%q: %v", what, err)
		}
	}
}
