package member

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSince: what many want done at once is done once, or twice for those that came while it was under way; all are told what became of it.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSince()
		var runs atomic.Int32
		failed := errors.New("it cannot be done")
		var all sync.WaitGroup
		want := func(result error) {
			began := time.Now()
			all.Go(func() {
				var at time.Time
				err := s.of(func() error {
					runs.Add(1)
					at = time.Now()
					time.Sleep(time.Second)
					return result
				})
				if err != result || !at.IsZero() && at.Before(began) {
					t.Errorf("%v, wanted %v", err, result)
				}
			})
			synctest.Wait()
		}
		for _, result := range []error{nil, failed} {
			runs.Store(0)
			for range 50 {
				want(result)
			}
			time.Sleep(500 * time.Millisecond)
			want(result) // it began before
			all.Wait()
			if n := runs.Load(); n != 2 {
				t.Errorf("it was done %d times", n)
			}
		}
	})
}
