package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
)

// second makes a second topic of the group.
func (w *world) second(leader string) {
	w.t.Helper()
	w.mu.Lock()
	w.topics["bills"] = Topic{Group: 1, Number: 2}
	w.mu.Unlock()
	led := w.nodes[leader].led
	if err := led.Create(2, "bills"); err != nil {
		w.t.Fatal(err)
	}
	led.Serve()
}

// TestAPublishThatComesAgainBeforeItsTopicGoes: it was begun in a reign that is over, and comes to the same topic again before that is dropped. It is neither
// answered nor lost, whatever becomes of its record, and whichever acks it asks for.
func TestAPublishThatComesAgainBeforeItsTopicGoes(t *testing.T) {
	for keep := range 2 {
		for _, acks := range []topic.Acks{policy.AcksAll, policy.AcksOne} {
			for _, next := range []string{"a", "c"} {
				run(t, 30, func(w *world) {
					w.holdBack(true)
					result := make(chan error, 1)
					go func() { result <- w.nodes["a"].publishAs(acks, "a 1") }()
					synctest.Wait()
					w.mu.Lock()
					w.reign.commitLocked(keep)
					w.reign.over = true
					w.reign.movedLocked()
					w.mu.Unlock()
					time.Sleep(100 * time.Millisecond) // in which it is tried several times
					w.lead(next, 0)
					if err := <-result; err != nil {
						t.Errorf("%d kept, acks %s, %s leads then: %v", keep, acks, next, err)
					}
					if got := w.bodies(); !slices.Equal(got, []string{"a 1"}) {
						t.Errorf("%d kept, acks %s, %s leads then: taken %q", keep, acks, next, got)
					}
				})
			}
		}
	}
}

// TestOneThatMayHaveBeenTakenKeepsItsNumber: there was no room to answer it early when it was begun, and there is when it is tried again.
func TestOneThatMayHaveBeenTakenKeepsItsNumber(t *testing.T) {
	run(t, 31, func(w *world) {
		w.holdBack(true)
		a := w.nodes["a"]
		a.f.early.bytes.Store(mostEarly)
		result := make(chan error, 1)
		go func() { result <- a.publishAs(policy.AcksNone, "a 1") }()
		synctest.Wait()
		a.f.early.bytes.Store(0)
		w.lead("", 1)
		w.lead("c", 0)
		if err := <-result; err != nil {
			t.Error(err)
		}
		a.f.Settle(context.Background())
		if got := w.bodies(); !slices.Equal(got, []string{"a 1"}) {
			t.Errorf("taken: %q", got)
		}
	})
}

// TestOneThatWasPassedIsNotTakenForRefused: its topic was not there yet, so that one that came later was taken before it. It is answered when the leader has it,
// and sent again when that is lost.
func TestOneThatWasPassedIsNotTakenForRefused(t *testing.T) {
	run(t, 32, func(w *world) {
		b := w.nodes["b"]
		w.mu.Lock()
		w.topics["bills"] = Topic{Group: 1, Number: 2}
		w.mu.Unlock()
		first := make(chan error, 1)
		go func() { first <- b.publishTo("bills", policy.AcksOne, "b 1") }()
		time.Sleep(20 * time.Millisecond)
		if err := b.publishAs(policy.AcksAll, "b 2"); err != nil {
			t.Fatal(err)
		}
		w.second("a")
		w.mu.Lock()
		w.reign.hold = true
		w.mu.Unlock()
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		w.lead("c", 0)
		b.f.Settle(context.Background())
		if got := w.bodies(); !slices.Equal(got, []string{"b 2", "b 1"}) {
			t.Errorf("taken: %q, %+v", got, b.f.Counts())
		}
	})
}

// TestWhatIsGivenUpOnTheWayLeavesRoom: publishes that are given up while they are on their way to the leader do not count for the window once they are answered.
func TestWhatIsGivenUpOnTheWayLeavesRoom(t *testing.T) {
	run(t, 33, func(w *world) {
		b := w.nodes["b"]
		w.lead("", 0)
		for i := range 4 {
			if err := b.publishAs(policy.AcksNone, fmt.Sprint("b ", i+1, strings.Repeat(".", window/5))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(keptFor - time.Second)
		w.lead("a", 0)
		w.holdBack(true)
		time.Sleep(2 * time.Second) // sent, and given up
		w.goOn()
		time.Sleep(time.Second)
		if left := b.f.Early(); left != 0 {
			t.Fatalf("%d are left", left)
		}
		within(t, 0, time.Second, func() {
			if err := b.publishAs(policy.AcksAll, "b 9 "+strings.Repeat(".", window/2)); err != nil {
				t.Errorf("one that comes later: %v", err)
			}
		})
	})
}

// TestATopicThatIsBarredKeepsNothingUp: at who leads a topic of that node alone has the name, and holds messages. What was answered early is refused, and counted;
// publishes to other topics of the group go on.
func TestATopicThatIsBarredKeepsNothingUp(t *testing.T) {
	run(t, 34, func(w *world) {
		w.second("a")
		c, b := w.nodes["c"], w.nodes["b"]
		own, err := c.r.Topic("bills")
		if err != nil {
			t.Fatal(err)
		}
		var batch topic.Batch
		batch.Add([]byte("own"))
		if err := own.Publish(&batch); err != nil {
			t.Fatal(err)
		}
		w.lead("", 0)
		if err := b.publishTo("bills", policy.AcksNone, "b 1"); err != nil { // and then it comes to whoever leads next
			t.Fatal(err)
		}
		w.barred = true
		w.lead("c", 0)
		within(t, 0, time.Second, func() {
			if err := b.publishAs(policy.AcksAll, "b 2"); err != nil {
				t.Errorf("to another topic: %v", err)
			}
		})
		if n := b.f.Counts(); n.EarlyRefused != 1 || b.f.Early() != 0 {
			t.Errorf("%+v", n)
		}
		within(t, 4*time.Second, 6*time.Second, func() {
			if err := b.publishTo("bills", policy.AcksAll, "b 3"); err == nil || errors.Is(err, topic.ErrNotReplicated) {
				t.Errorf("one that waits: %v", err)
			}
		})
	})
}
