package replica

import (
	"sync"
	"testing"
	"time"
)

// What is posted is done once, one thing at a time, in the order in which each has posted it, and nothing is left lying.
func TestWhatIsPostedIsDoneInItsTurn(t *testing.T) {
	const posters, each = 8, 500
	tn := turn{wake: make(chan struct{}, 1)}
	var last [posters]int
	done, busy := make(chan struct{}), 0
	all := 0
	work := func() {
		tn.work(func(posted []func(time.Duration)) {
			if busy++; busy != 1 {
				t.Error("two have the turn")
			}
			for _, do := range posted {
				do(0)
			}
			busy--
		})
	}
	var loop, posts sync.WaitGroup
	loop.Go(func() {
		for {
			select {
			case <-tn.wake:
				work()
			case <-done:
				return
			}
		}
	})
	for p := range posters {
		posts.Go(func() {
			for i := range each {
				if _, err := tn.room(t.Context(), nil, true); err != nil {
					t.Error(err)
				}
				tn.post(func(time.Duration) {
					if last[p] != i {
						t.Errorf("poster %d: %d was done when %d was next", p, i, last[p])
					}
					last[p]++
					if all++; all == posters*each {
						close(done)
					}
				})
				work()
			}
		})
	}
	posts.Wait()
	<-done
	loop.Wait()
	tn.end()
	tn.post(func(time.Duration) { t.Error("it is done behind the end") })
	work()
	if _, err := tn.room(t.Context(), nil, true); err != ErrClosed {
		t.Errorf("room behind the end: %v", err)
	}
}
