package forward

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/peer"
)

// silence has nothing come from a node or to it, while its links stay: its process is paused, or its machine dead.
func (w *world) silence(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = func(from, to string, _ peer.Kind, _ []byte) bool { return name != "" && (from == name || to == name) }
}

// TestALeaderFallsSilent: publishes and acts that were on their way to it go to the next one as soon as that is known, once each, also from a node without a replica; and what comes later.
func TestALeaderFallsSilent(t *testing.T) {
	run(t, 40, func(w *world) {
		for name, n := range w.nodes {
			n.f.Serve(func(act []byte) ([]byte, bool) { return append([]byte(name+" did "), act...), true })
			if err := n.publish(name); err != nil { // d knows who leads
				t.Fatal(err)
			}
		}
		for round, leads := range [][2]string{{"a", "c"}, {"c", "b"}} {
			w.silence(leads[0])
			results, asks := make(chan error, 10), 0
			for _, name := range []string{"a", "b", "c", "d"} {
				if name == leads[0] || name == leads[1] {
					continue
				}
				asks += 2
				go func() { results <- w.nodes[name].publish(fmt.Sprint(name, " ", round)) }()
				go func() {
					answer, unsure, err := w.nodes[name].f.Act(context.Background(), "orders", []byte("this"))
					if err == nil && (string(answer) != leads[1]+" did this" || !unsure) { // the silent one was asked, too
						err = fmt.Errorf("%s asks: %q, unsure %v", name, answer, unsure)
					}
					results <- err
				}()
			}
			time.Sleep(1200 * time.Millisecond)
			w.lead(leads[1], 0)
			synctest.Wait()
			within(t, 0, 600*time.Millisecond, func() {
				for range asks {
					if err := <-results; err != nil {
						t.Error(err)
					}
				}
			})
			within(t, 0, 50*time.Millisecond, func() {
				if err := w.nodes["d"].publish(fmt.Sprint("d later ", round)); err != nil {
					t.Error(err)
				}
			})
			w.silence("")
			for _, other := range []string{"a", "b", "c", "d"} { // links over which something was lost end
				if other != leads[0] {
					w.cut(leads[0], other, false)
				}
			}
		}
		if got := slices.Sorted(slices.Values(w.bodies())); !slices.Equal(got, []string{"a", "a 1", "b", "b 0", "c", "d", "d 0", "d 1", "d later 0", "d later 1"}) {
			t.Errorf("taken: %q", got)
		}
	})
}

// TestALeaderThatTakesLongIsNotAskedTwice: a node without a replica asks the others who leads meanwhile, and hears that it is the one it has asked.
func TestALeaderThatTakesLongIsNotAskedTwice(t *testing.T) {
	run(t, 41, func(w *world) {
		did := 0
		w.nodes["a"].f.Serve(func([]byte) ([]byte, bool) {
			did++
			time.Sleep(3 * time.Second)
			return []byte("done"), true
		})
		answer, unsure, err := w.nodes["d"].f.Act(context.Background(), "orders", []byte("this"))
		if err != nil || string(answer) != "done" || did != 1 || unsure {
			t.Errorf("%q, unsure %v, %v, done %d times", answer, unsure, err, did)
		}
		w.mu.Lock()
		w.reign.hold = true
		before := w.frames[framePublish]
		w.mu.Unlock()
		result := make(chan error, 1)
		go func() { result <- w.nodes["d"].publish("d 1") }()
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		w.reign.hold = false
		w.reign.commitLocked(len(w.reign.pending))
		if n := w.frames[framePublish] - before; n != 2 {
			t.Errorf("%d frames of publishes, not a probe and a publish", n)
		}
		w.mu.Unlock()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
