package forward

import (
	"context"
	"encoding/json"
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

// holdBack has nothing be committed; with stuck the leader's own disk has nothing more either.
func (w *world) holdBack(stuck bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reign.hold, w.reign.stuck = true, stuck
}

// goOn has all be committed again.
func (w *world) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reign.hold, w.reign.stuck = false, false
	w.reign.commitLocked(len(w.reign.pending))
}

// set sets options of the topic, which a leads.
func (w *world) set(options string) {
	w.t.Helper()
	var changes map[string]json.RawMessage
	err := json.Unmarshal([]byte(options), &changes)
	if err == nil {
		err = w.nodes["a"].r.Lookup("orders").SetOptions(changes)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// nobody is a consumer that is told nothing.
type nobody struct{}

func (nobody) Wake()  {}
func (nobody) Close() {}

// TestWhenAPublishIsAnswered is the table of acks, row by row, at the leader, at a follower, and at a node without a replica, for what a publish says and
// for what the topic's option does: what has it must have happened, and nothing more.
func TestWhenAPublishIsAnswered(t *testing.T) {
	const far = 100 * time.Millisecond // more than all that is on its way takes
	for _, c := range []struct {
		acks  topic.Acks
		at    string // which node it comes to
		alone string // what it needs: nothing, leader (has it in memory), own (leader's disk), commit
	}{
		{policy.AcksNone, "a", "nothing"}, {policy.AcksNone, "b", "nothing"}, {policy.AcksNone, "d", "leader"},
		{policy.AcksOne, "a", "own"}, {policy.AcksOne, "b", "own"}, {policy.AcksOne, "d", "own"},
		{policy.AcksAll, "a", "commit"}, {policy.AcksAll, "b", "commit"}, {policy.AcksAll, "d", "commit"},
	} {
		for _, option := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s at %s, by option %v", c.acks, c.at, option), func(t *testing.T) {
				run(t, 20, func(w *world) {
					acks := c.acks
					if option {
						w.set(fmt.Sprintf(`{"acks":%q}`, acks))
						acks = policy.AcksUnsaid
						time.Sleep(far)
					}
					shown, err := w.nodes["a"].r.Lookup("orders").Subscribe("c", topic.SubscribeOptions{Owner: nobody{}})
					if err != nil {
						t.Fatal(err)
					}
					shown.SetReady(10)
					w.holdBack(true)
					answer := make(chan error, 1)
					go func() { answer <- w.nodes[c.at].publishAs(acks, c.at+" 1") }()
					answered := func(when string, want bool) {
						t.Helper()
						time.Sleep(far)
						select {
						case err := <-answer:
							if err != nil || !want {
								t.Errorf("%s it was answered: %v", when, err)
							}
							answer <- err
						default:
							if want {
								t.Errorf("%s it was not answered", when)
							}
						}
					}
					synctest.Wait()
					if c.alone == "nothing" && len(answer) == 0 {
						t.Error("the node has it, and it was not answered at once")
					}
					answered("when the leader has it in memory", c.alone == "nothing" || c.alone == "leader")
					w.mu.Lock()
					w.reign.stuck = false
					w.reign.own = 1000
					w.reign.movedLocked()
					w.mu.Unlock()
					answered("when the leader has it on its disk", c.alone != "commit")
					if n := shown.Take(new(topic.Delivery)); n != 0 {
						t.Errorf("%d messages are delivered that are not committed", n)
					}
					w.goOn()
					answered("when it is committed", true)
					if n := shown.Take(new(topic.Delivery)); n != 1 {
						t.Errorf("%d messages are delivered, want 1", n)
					}
					if left := w.nodes[c.at].f.Early(); left != 0 {
						t.Errorf("%d are still held", left)
					}
				})
			})
		}
	}
}

// TestAPublishThatAsksForAReceiptWaits, whatever acks says: only then it is certain what its messages have become.
func TestAPublishThatAsksForAReceiptWaits(t *testing.T) {
	run(t, 21, func(w *world) {
		for _, name := range []string{"a", "b", "d"} {
			b := topic.Batch{Acks: policy.AcksNone, Receipts: true}
			b.Add([]byte(name + " 1"))
			if err := w.nodes[name].f.Publish("orders", &b, 0); err != nil || b.Receipt().Count != 1 {
				t.Errorf("%s: %v, %+v", name, err, b.Receipt())
			}
		}
	})
}

// TestLessThanTheTopicAllows: acks_min is held to on every node.
func TestLessThanTheTopicAllows(t *testing.T) {
	run(t, 22, func(w *world) {
		w.set(`{"acks_min":"1"}`)
		time.Sleep(time.Second)
		for _, name := range []string{"a", "b", "d"} {
			if err := w.nodes[name].publishAs(policy.AcksNone, name+" 1"); !errors.Is(err, topic.ErrAcks) {
				t.Errorf("%s: less than is allowed: %v", name, err)
			}
			if err := w.nodes[name].publishAs(policy.AcksOne, name+" 2"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, n := range w.nodes {
			n.f.Settle(context.Background())
		}
		if got := slices.Sorted(slices.Values(w.bodies())); !slices.Equal(got, []string{"a 2", "b 2", "d 2"}) {
			t.Errorf("taken: %q", got)
		}
	})
}

// TestWithoutALeaderForAWhile: a producer beside a follower goes on with acks 0 while nobody leads, until so many bytes wait as may; then it waits as others
// do. With a leader all of it is taken, once, in order.
func TestWithoutALeaderForAWhile(t *testing.T) {
	run(t, 23, func(w *world) {
		w.lead("", 0)
		b := w.nodes["b"]
		size, sent := 512<<10, 0
		large := strings.Repeat("x", size)
		within(t, 0, 0, func() {
			for ; (sent+1)*size < mostEarly; sent++ {
				if err := b.publishAs(policy.AcksNone, fmt.Sprintf("b %d %s", sent+1, large)); err != nil {
					t.Fatal(err)
				}
			}
		})
		if sent < 10 || b.f.Early() != sent {
			t.Errorf("%d were answered, and %d are held", sent, b.f.Early())
		}
		within(t, 5*time.Second, 5100*time.Millisecond, func() {
			if err := b.publishAs(policy.AcksNone, "b 0 "+large); !errors.Is(err, ErrNobodyLeads) {
				t.Errorf("one that there is no room for: %v", err)
			}
		})
		time.Sleep(time.Minute)
		w.lead("c", 0)
		if err := b.publishAs(policy.AcksAll, fmt.Sprintf("b %d last", sent+1)); err != nil {
			t.Errorf("one that waits for its commit: %v", err)
		}
		if left := b.f.Settle(context.Background()); left != 0 {
			t.Errorf("%d are left", left)
		}
		l := ledger{}
		l.check(t, w.bodies())
		if got := len(w.bodies()); got != sent+1 {
			t.Errorf("%d were taken, want %d", got, sent+1)
		}
	})
}

// TestTheLeadMovesUnderWhatWasAnswered: one publisher sends with all kinds of acks while the lead moves away from its node, to it, and past it, and back within the
// same moment. Each message is taken once, in order, whatever of what was begun is kept.
func TestTheLeadMovesUnderWhatWasAnswered(t *testing.T) {
	for keep := range 4 {
		for _, way := range [][]string{{"a", "b"}, {"b", "a"}, {"b", "c"}, {"a", "a"}, {"a", "b", "a"}, {"b", "a", "b"}, {"d"}} {
			run(t, 24, func(w *world) {
				p, n := "a", 0
				if way[0] == "d" {
					p, way = "d", []string{"b", "c"}
				}
				send := func(acks ...topic.Acks) {
					for _, a := range acks {
						n++
						if err := w.nodes[p].publishAs(a, fmt.Sprint(p, " ", n)); err != nil {
							t.Errorf("%d, acks %s: %v", n, a, err)
						}
					}
				}
				for _, next := range way {
					w.lead(next, 0)
					send(policy.AcksAll, policy.AcksNone, policy.AcksOne, policy.AcksNone)
					w.holdBack(false)
					send(policy.AcksOne, policy.AcksNone, policy.AcksOne, policy.AcksNone, policy.AcksNone)
					time.Sleep(w.chance(5 * time.Millisecond))
					w.lead("", keep)
					if p == "a" { // d does not know what the topic allows
						send(policy.AcksNone, policy.AcksNone)
					}
				}
				w.lead("c", 0)
				send(policy.AcksNone, policy.AcksAll)
				if got := w.bodies(); len(got) != n {
					t.Errorf("%v, %d kept: of %d taken are %q", way, keep, n, got)
				}
				(&ledger{}).check(t, w.bodies())
			})
		}
	}
}

// TestWhatWasAnsweredWaitsForRoom: a leader that is short of room takes it once it has some, before what came later, whether it was answered by who leads, by
// who follows, or at a node without a replica. Others fail meanwhile, and are told why.
func TestWhatWasAnsweredWaitsForRoom(t *testing.T) {
	refuse := func(w *world, on bool) {
		w.mu.Lock()
		w.reign.refuses = on
		w.mu.Unlock()
		w.short.Store(on)
	}
	for _, p := range []string{"a", "b", "d"} {
		for _, acks := range []topic.Acks{policy.AcksNone, policy.AcksOne} {
			run(t, 30, func(w *world) {
				n := w.nodes[p]
				w.holdBack(false)
				if err := n.publishAs(acks, "answered"); err != nil {
					t.Fatal(err)
				}
				w.lead("c", 0) // which has nothing of it
				refuse(w, true)
				if err := n.publishAs(policy.AcksAll, "later"); err == nil || !errors.Is(err, ErrShort) && !strings.Contains(err.Error(), errFull.Error()) && !errors.Is(err, ErrUnansweredShort) {
					t.Errorf("%s, acks %v: behind what waits for room: %v", p, acks, err)
				}
				time.Sleep(time.Minute)
				refuse(w, false)
				if err := n.publishAs(policy.AcksAll, "last"); err != nil {
					t.Error(err)
				}
				n.f.Settle(context.Background())
				if got := w.bodies(); len(got) < 2 || got[0] != "answered" || got[len(got)-1] != "last" {
					t.Errorf("%s, acks %v: taken: %q", p, acks, got)
				}
				if c := n.f.Counts(); c.EarlyRefused+c.EarlyGivenUp != 0 {
					t.Errorf("%s, acks %v: %+v", p, acks, c)
				}
			})
		}
	}
}

// TestARefusalAfterTheAnswer: nobody can be told, so that it is counted; what comes behind it is taken. So it is when the topic is deleted, and when nobody leads
// for longer than such publishes are kept.
func TestARefusalAfterTheAnswer(t *testing.T) {
	for _, p := range []string{"a", "b"} {
		run(t, 25, func(w *world) {
			n := w.nodes[p]
			w.set(`{"max_depth":1}`)
			if err := n.publishAs(policy.AcksNone, p+" 1", p+" 2"); err != nil {
				t.Error(err)
			}
			n.f.Settle(context.Background())
			w.set(`{"max_depth":0}`)
			if err := n.publishAs(policy.AcksNone, p+" 3"); err != nil {
				t.Error(err)
			}
			n.f.Settle(context.Background())
			if c := n.f.Counts(); c.EarlyRefused != 2 || c.Early != 2 {
				t.Errorf("%+v", c)
			}
			if got := w.bodies(); !slices.Equal(got, []string{p + " 3"}) {
				t.Errorf("taken: %q", got)
			}
			w.lead("", 0)
			if err := n.publishAs(policy.AcksNone, p+" 4"); err != nil {
				t.Error(err)
			}
			w.mu.Lock()
			delete(w.topics, "orders")
			w.mu.Unlock()
			time.Sleep(time.Second)
			if c := n.f.Counts(); c.EarlyRefused != 3 || n.f.Early() != 0 {
				t.Errorf("the topic was deleted: %+v", c)
			}
			w.mu.Lock()
			w.topics["orders"] = Topic{Group: 1, Number: 1}
			w.mu.Unlock()
			if err := n.publishAs(policy.AcksNone, p+" 5"); err != nil {
				t.Error(err)
			}
			time.Sleep(keptFor + time.Second)
			if c := n.f.Counts(); c.EarlyGivenUp != 1 || n.f.Early() != 0 {
				t.Errorf("nobody leads: %+v", c)
			}
			w.lead("c", 0)
		})
	}
}

// TestStoppingSendsOn: a node that stops sends on what it has answered, unless that takes too long: then it is lost, and counted.
func TestStoppingSendsOn(t *testing.T) {
	run(t, 26, func(w *world) {
		w.lead("", 0)
		b := w.nodes["b"]
		if err := b.publishAs(policy.AcksNone, "b 1"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		within(t, time.Second, time.Second, func() {
			if left := b.f.Settle(ctx); left != 1 {
				t.Errorf("%d are left, want 1", left)
			}
		})
		w.lead("c", 0)
		if left := b.f.Settle(context.Background()); left != 0 || len(w.bodies()) != 1 {
			t.Errorf("%d are left, and %q are taken", left, w.bodies())
		}
		w.lead("", 0)
		if err := b.publishAs(policy.AcksNone, "b 2"); err != nil {
			t.Fatal(err)
		}
		b.f.Close()
		if c := b.f.Counts(); c.EarlyGivenUp != 1 || b.f.Early() != 0 {
			t.Errorf("closed: %+v", c)
		}
		if err := b.publishAs(policy.AcksNone, "b 3"); !errors.Is(err, topic.ErrExiting) || b.f.Early() != 0 {
			t.Errorf("after that: %v", err)
		}
	})
}

// TestNothingIsAnsweredEarlyWhileDisksAreNearlyFull: who leads may refuse it, and nobody could be told any more.
func TestNothingIsAnsweredEarlyWhileDisksAreNearlyFull(t *testing.T) {
	run(t, 29, func(w *world) {
		w.mu.Lock()
		w.reign.refuses = true
		w.mu.Unlock()
		w.short.Store(true)
		for _, name := range []string{"a", "b", "d"} {
			if err := w.nodes[name].publishAs(policy.AcksNone, name); err == nil || !strings.Contains(err.Error(), errFull.Error()) {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.mu.Lock()
		w.reign.refuses = false
		w.mu.Unlock()
		if err := w.nodes["b"].publishAs(policy.AcksNone, "b 1"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if got := w.bodies(); !slices.Equal(got, []string{"b 1"}) {
			t.Errorf("taken: %q", got)
		}
		for name, n := range w.nodes {
			if c := n.f.Counts(); c.EarlyRefused+c.EarlyGivenUp != 0 {
				t.Errorf("%s has lost %+v", name, c)
			}
		}
	})
}
