package peer

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// takes runs two ends of a link, one of which notes when frames of which stream come.
func takes(rate int, sends func(l *link, got func() map[uint32]time.Duration)) {
	ours, theirs := net.Pipe()
	la, lb := newLink(ours, Hello{Lane: Bulk}, true), newLink(theirs, Hello{Lane: Bulk}, false)
	la.rate = rate
	var mu sync.Mutex
	came, began := map[uint32]time.Duration{}, time.Now()
	var loops sync.WaitGroup
	loops.Go(func() { _ = la.run(func(Kind, uint32, []byte, bool) {}) })
	loops.Go(func() {
		_ = lb.run(func(_ Kind, stream uint32, _ []byte, _ bool) {
			mu.Lock()
			defer mu.Unlock()
			came[stream] = time.Since(began)
		})
	})
	sends(la, func() map[uint32]time.Duration {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		got := map[uint32]time.Duration{}
		for stream, at := range came {
			got[stream] = at
		}
		return got
	})
	la.close()
	lb.close()
	loops.Wait()
}

// A frame that may leave later does with the next one that may not, or with a beat.
func TestWhatMayLeaveLaterDoesWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes(0, func(l *link, got func() map[uint32]time.Duration) {
			got() // the writer has nothing to do
			fatal(t, l.send(later, FirstFree, 1))
			time.Sleep(silence / 3)
			if len(got()) != 0 {
				t.Errorf("it has left by itself: %v", got())
			}
			fatal(t, l.send(soon, FirstFree, 2))
			if len(got()) != 2 {
				t.Errorf("with another one came %v", got())
			}
			fatal(t, l.send(later, FirstFree, 3))
			l.beat(time.Now())
			if len(got()) != 3 {
				t.Errorf("with a beat came %v", got())
			}
		})
	})
}

// What may be sent whatever rate there is holds nothing up, and is not held up by what is sent with it.
func TestTheRateHoldsBackOnlyWhatItIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes(1000, func(l *link, got func() map[uint32]time.Duration) {
			body := make([]byte, 5000)
			for i := range uint32(4) {
				fatal(t, l.send(first, FirstFree, i, body))
				if _, came := got()[i]; !came {
					t.Fatalf("frame %d is held back", i)
				}
			}
			fatal(t, l.send(soon, FirstFree, 10, body))
			got() // it is written, and the link rests
			fatal(t, l.send(soon, FirstFree, 11, body))
			time.Sleep(time.Minute)
			if took := got()[11] - got()[10]; took < 5*time.Second || took > 6*time.Second {
				t.Errorf("5 KB took %v at 1,000 bytes a second", took)
			}
		})
	})
}
