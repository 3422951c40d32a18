package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
)

// within fails unless something takes so long, in virtual time.
func within(t *testing.T, least, most time.Duration, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took < least || took > most {
		t.Errorf("it took %v, want %v to %v", took, least, most)
	}
}

// TestPublishesOnAnyNode: those that lead, follow, and have no replica take publishes, with what they say of the messages; who has sent them is told
// what they have become if he asks for it.
func TestPublishesOnAnyNode(t *testing.T) {
	run(t, 1, func(w *world) {
		for _, name := range []string{"a", "b", "c", "d"} {
			if err := w.nodes[name].publish(name+" 1", name+" 2"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := w.bodies(); !slices.Equal(got, []string{"a 1", "a 2", "b 1", "b 2", "c 1", "c 2", "d 1", "d 2"}) {
			t.Errorf("taken: %q", got)
		}
		var b topic.Batch
		for i := range 3 {
			b.Add([]byte(fmt.Sprint("e ", i)))
		}
		b.Receipts = true
		if err := w.nodes["d"].f.Publish("orders", &b, time.Hour); err != nil {
			t.Fatal(err)
		}
		if r := b.Receipt(); r.Count != 3 || r.Position != 9 || r.ID == 0 || b.Len() != 0 {
			t.Errorf("%+v", r)
		}
		if n := w.nodes["a"].r.Lookup("orders").Stats().Ahead; n.Hour+n.Day != 3 {
			t.Errorf("deferred: %+v", n)
		}
		if err := w.nodes["b"].f.Publish("bills", &b, 0); err != nil {
			t.Errorf("nothing, to a topic that is not replicated: %v", err)
		}
		b.Add([]byte("x"))
		if err := w.nodes["b"].f.Publish("bills", &b, 0); !errors.Is(err, topic.ErrNotReplicated) || b.Len() != 1 {
			t.Errorf("a topic that is not replicated: %v", err)
		}
		var large topic.Batch
		large.Add(make([]byte, topic.MostReplicated))
		within(t, 0, 0, func() {
			if err := w.nodes["b"].f.Publish("orders", &large, 0); !errors.Is(err, topic.ErrReplicated) {
				t.Errorf("one that is too large: %v", err)
			}
		})
		b.TTL = time.Second
		if err := w.nodes["b"].f.Publish("orders", &b, 0); !errors.Is(err, topic.ErrReplicated) {
			t.Errorf("with a ttl: %v", err)
		}
	})
}

// A forwarded publish ends in ok, no, or unknown within its time, wherever something is lost: nothing is sent, the publish is lost, or its answer.
func TestEachForwardedPublishEndsWithinItsTime(t *testing.T) {
	const limit = 5*time.Second + 50*time.Millisecond
	run(t, 2, func(w *world) {
		w.lead("", 0)
		within(t, 5*time.Second, limit, func() {
			if err := w.nodes["b"].publish("b 1"); !errors.Is(err, ErrNobodyLeads) {
				t.Errorf("nobody leads: %v", err)
			}
		})
		w.lead("a", 0)
		w.cut("a", "b", true)
		within(t, 5*time.Second, limit, func() {
			if err := w.nodes["b"].publish("b 2"); !errors.Is(err, ErrNobodyLeads) {
				t.Errorf("there is no link to who leads: %v", err)
			}
		})
		w.heal()
		if err := w.nodes["b"].publish("b 3"); err != nil {
			t.Errorf("there is one again: %v", err)
		}
		for i, lost := range []peer.Kind{framePublish, frameAnswers} {
			w.mu.Lock()
			answers := 0
			w.lose = func(_, _ string, kind peer.Kind, payload []byte) bool { // but for the probe and its answer
				if kind == frameAnswers {
					answers++
				}
				return kind == lost && !(kind == framePublish && len(payload) == placeSize) && !(kind == frameAnswers && answers == 1)
			}
			w.mu.Unlock()
			w.cut("a", "b", false)
			within(t, 5*time.Second, limit, func() {
				if err := w.nodes["b"].publish(fmt.Sprint("b ", 4+i)); !errors.Is(err, ErrUnanswered) || !errors.Is(err, topic.ErrNotLeader) {
					t.Errorf("frames of kind %d are lost: %v", lost, err)
				}
			})
		}
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
		w.cut("a", "b", false) // as a link over which something is lost ends
		if err := w.nodes["b"].publish("b 6"); err != nil {
			t.Errorf("all is well again: %v", err)
		}
		if got := w.bodies(); !slices.Equal(got, []string{"b 3", "b 5", "b 6"}) {
			t.Errorf("taken: %q", got)
		}
	})
}

// A publish that is sent again while the first one is on its way, or taken, is stored once, and answered.
func TestSentTwiceStoredOnce(t *testing.T) {
	run(t, 3, func(w *world) {
		w.mu.Lock()
		w.reign.hold = true
		w.mu.Unlock()
		var done sync.WaitGroup
		for i := range 5 {
			done.Go(func() {
				if err := w.nodes["b"].publish(fmt.Sprint("b ", i)); err != nil {
					t.Error(err)
				}
			})
		}
		for range 5 { // the publishes are in the leader's log, not committed, and come again by another link
			time.Sleep(100 * time.Millisecond)
			w.cut("a", "b", false)
		}
		time.Sleep(100 * time.Millisecond)
		w.mu.Lock()
		w.reign.hold = false
		w.reign.commitLocked(len(w.reign.pending))
		w.mu.Unlock()
		done.Wait()
		if got := w.bodies(); len(got) != 5 {
			t.Errorf("taken: %q", got)
		}
	})
}

// TestLeadersProcessDies: publishes at other nodes wait, none is lost, and each is taken once, whatever the next leader knows of it; those that
// the old leader took by its own clients too.
func TestLeadersProcessDies(t *testing.T) {
	for keep := range 7 {
		run(t, 4, func(w *world) {
			w.mu.Lock()
			w.reign.hold = true
			w.mu.Unlock()
			var done sync.WaitGroup
			for i, name := range []string{"a", "b", "d", "a", "b", "d"} {
				done.Go(func() {
					if err := w.nodes[name].publish(fmt.Sprint(name, " ", i)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
				time.Sleep(50 * time.Millisecond)
			}
			w.lead("", keep)
			time.Sleep(2 * time.Second)
			w.lead("c", 0)
			done.Wait()
			if got := slices.Sorted(slices.Values(w.bodies())); !slices.Equal(got, []string{"a 0", "a 3", "b 1", "b 4", "d 2", "d 5"}) {
				t.Errorf("%d were kept, and taken are %q", keep, got)
			}
		})
	}
}

// TestLeaderCutOffFromBoth: its own clients' publishes wait, then fail; nothing of them is acknowledged.
func TestLeaderCutOffFromBoth(t *testing.T) {
	run(t, 5, func(w *world) {
		w.mu.Lock()
		w.reign.hold = true
		w.mu.Unlock()
		result := make(chan error, 1)
		go func() { result <- w.nodes["a"].publish("a 1") }()
		time.Sleep(time.Second)
		for _, other := range []string{"b", "c"} {
			w.cut("a", other, true)
		}
		w.lead("b", 0) // and a hears of it, as its quorum is gone
		within(t, 4*time.Second, 4100*time.Millisecond, func() {
			if err := <-result; !errors.Is(err, ErrUnanswered) {
				t.Errorf("%v", err)
			}
		})
		if err := w.nodes["d"].publish("d 1"); err != nil {
			t.Errorf("beside the others: %v", err)
		}
	})
}

// TestARefusedPublishIsNotTakenForOneThatWas: one is refused, a later one taken, and all is sent again to the next leader.
func TestARefusedPublishIsNotTakenForOneThatWas(t *testing.T) {
	run(t, 6, func(w *world) {
		w.mu.Lock()
		w.reign.refuses = true
		w.mu.Unlock()
		if err := w.nodes["b"].publish("b 1"); err == nil || !errors.As(err, new(*refusal)) || err.Error() != errFull.Error() {
			t.Errorf("refused: %v", err)
		}
		w.mu.Lock()
		w.reign.refuses = false
		answers := 0
		w.lose = func(_, _ string, kind peer.Kind, _ []byte) bool { // but for the answer to the probe
			if kind == frameAnswers {
				answers++
			}
			return kind == frameAnswers
		}
		w.mu.Unlock()
		var done sync.WaitGroup
		for i := 2; i < 4; i++ {
			done.Go(func() {
				if err := w.nodes["b"].publish(fmt.Sprint("b ", i)); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(50 * time.Millisecond)
		}
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
		w.lead("c", 0)
		done.Wait()
		if got := w.bodies(); !slices.Equal(got, []string{"b 2", "b 3"}) || answers == 0 {
			t.Errorf("taken: %q, %d answers were lost", got, answers)
		}
	})
}

// TestATopicThatIsNotThereYet: it is in the map, and its leader has not made it: a publish waits, and so does an act, wherever it is asked for. What is about
// one that is deleted is refused at once.
func TestATopicThatIsNotThereYet(t *testing.T) {
	run(t, 7, func(w *world) {
		w.mu.Lock()
		w.topics["orders"] = Topic{Group: 1, Number: 2}
		w.mu.Unlock()
		a := w.nodes["a"]
		a.f.Serve(func(act []byte) ([]byte, bool) { return act, a.r.Lookup("orders") != nil })
		result, acted := make(chan error, 1), make(chan error, 2)
		act := func(by string) {
			_, _, err := w.nodes[by].f.Act(context.Background(), "orders", []byte("this"))
			acted <- err
		}
		if err := a.led.Delete(1); err != nil {
			t.Fatal(err)
		}
		go func() { result <- w.nodes["b"].publish("b 1") }()
		go act("a")
		go act("b")
		time.Sleep(time.Second)
		if len(acted) > 0 {
			t.Errorf("it is not there, and is acted on: %v", <-acted)
		}
		if err := a.led.Create(2, "orders"); err != nil {
			t.Fatal(err)
		}
		a.led.Serve()
		if one, other := <-acted, <-acted; (one == nil) == (other == nil) || !errors.Is(errors.Join(one, other), ErrHere) {
			t.Errorf("once it is there: %v, %v", one, other)
		}
		if err := <-result; err != nil || len(w.bodies()) != 1 {
			t.Errorf("once it is there: %v", err)
		}
		w.mu.Lock()
		w.topics["orders"] = Topic{Group: 1, Number: 2, Deleting: true}
		w.mu.Unlock()
		within(t, 0, 0, func() {
			if err := w.nodes["b"].publish("b 2"); !errors.Is(err, topic.ErrElsewhere) {
				t.Errorf("it is being deleted: %v", err)
			}
		})
		if err := a.led.Delete(2); err != nil {
			t.Fatal(err)
		}
		for _, by := range []string{"a", "b"} {
			within(t, 0, time.Second, func() {
				if act(by); !errors.Is(<-acted, topic.ErrElsewhere) {
					t.Errorf("%s acts on one that is being deleted", by)
				}
			})
		}
	})
}

// TestNothingRunsWithoutPublishes: goroutines of groups end a moment after the last publish.
func TestNothingRunsWithoutPublishes(t *testing.T) {
	run(t, 8, func(w *world) {
		for _, name := range []string{"b", "d"} {
			if err := w.nodes[name].publish(name + " 1"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for _, name := range []string{"a", "b", "d"} {
			g := w.nodes[name].f.known(1)
			g.mu.Lock()
			if g.runs || len(g.queue) > 0 {
				t.Errorf("%s still does something", name)
			}
			g.mu.Unlock()
		}
	})
}

// TestActsAreCarriedOutByTheLeader: from wherever they are asked for, after a change of leader too; nobody leads, and they end in time.
func TestActsAreCarriedOutByTheLeader(t *testing.T) {
	run(t, 9, func(w *world) {
		for name, n := range w.nodes {
			n.f.Serve(func(act []byte) ([]byte, bool) { return append([]byte(name+" did "), act...), true })
		}
		for _, leader := range []string{"a", "c", "b"} {
			w.lead(leader, 0)
			for _, name := range []string{"a", "b", "c", "d"} {
				answer, _, err := w.nodes[name].f.Act(context.Background(), "orders", []byte("this"))
				if name == leader {
					if !errors.Is(err, ErrHere) {
						t.Errorf("at the leader: %v", err)
					}
				} else if err != nil || string(answer) != leader+" did this" {
					t.Errorf("%s asks: %q, %v", name, answer, err)
				}
			}
		}
		if _, _, err := w.nodes["d"].f.Act(context.Background(), "bills", nil); !errors.Is(err, topic.ErrNotReplicated) {
			t.Errorf("a topic that is not replicated: %v", err)
		}
		w.lead("", 0)
		result := make(chan error, 1)
		go func() {
			_, _, err := w.nodes["d"].f.Act(context.Background(), "orders", []byte("this"))
			result <- err
		}()
		synctest.Wait()
		within(t, 5*time.Second, 5050*time.Millisecond, func() {
			if err := <-result; !errors.Is(err, ErrNobodyLeads) {
				t.Errorf("nobody leads: %v", err)
			}
		})
	})
}

// TestAnActThatIsNotAnsweredMayHaveBeenDone: who was asked takes longer than who asks waits, or its answer is lost.
func TestAnActThatIsNotAnsweredMayHaveBeenDone(t *testing.T) {
	run(t, 10, func(w *world) {
		var quick atomic.Bool
		var done atomic.Int32
		w.nodes["a"].f.Serve(func([]byte) ([]byte, bool) {
			done.Add(1)
			if !quick.Load() {
				time.Sleep(6 * time.Second)
			}
			return []byte("done"), true
		})
		ask := func() error {
			_, _, err := w.nodes["d"].f.Act(context.Background(), "orders", []byte("this"))
			return err
		}
		if err := ask(); !errors.Is(err, ErrUnanswered) {
			t.Errorf("it takes longer: %v", err)
		}
		time.Sleep(2 * time.Second)
		quick.Store(true)
		w.mu.Lock()
		w.lose = func(_, _ string, kind peer.Kind, _ []byte) bool { return kind == frameActed }
		w.mu.Unlock()
		if err := ask(); !errors.Is(err, ErrUnanswered) {
			t.Errorf("its answer is lost: %v", err)
		}
		w.mu.Lock()
		w.lose = func(_, _ string, kind peer.Kind, _ []byte) bool { return kind == frameAct }
		w.mu.Unlock()
		w.cut("a", "d", true)
		w.cut("b", "d", true)
		w.cut("c", "d", true)
		if err := ask(); !errors.Is(err, ErrNobodyLeads) || done.Load() != 2 {
			t.Errorf("nobody can be asked: %v; done %d times", err, done.Load())
		}
		w.heal()
		w.mu.Lock()
		w.lose = nil
		w.mu.Unlock()
	})
}

// FuzzFrames: whatever another node sends, it is read as it was meant, or refused.
func FuzzFrames(f *testing.F) {
	whole := request{place: place{7, 2, 3}, number: 9, low: 4, topic: 5, receipt: true, early: true, acks: policy.AcksOne, delay: time.Second, due: 8, count: 1, frames: []byte("frames")}
	f.Add(append(whole.appendHead(nil), whole.frames...))
	f.Add((&request{place: place{7, 2, 0}}).appendHead(nil))
	f.Add(appendAnswer(appendAnswer(make([]byte, 16), answer{seq: 3, code: codeTaken}), answer{4, codeRefused, appendRefusal(nil, topic.ErrReplicated)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRequest(b); err == nil {
			if again := append(r.appendHead(nil), r.frames...); !slices.Equal(again, b) {
				t.Errorf("%x became %x", b, again)
			}
		}
		origin, epoch, list, err := parseAnswers(b)
		if err != nil {
			return
		}
		again := appendPlace(nil, place{origin: origin, epoch: epoch})[:16]
		for _, a := range list {
			again = appendAnswer(again, a)
			if a.code == codeRefused && parseRefusal(a.data) == nil {
				t.Error("a refusal that says nothing")
			}
		}
		if !slices.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
