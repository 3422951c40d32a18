package load

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// Of numbers that come in any order and more than once, to several at a time, each is new exactly once.
func TestSeenTellsNewFromOld(t *testing.T) {
	const n = 3*pageBits + 17
	s := new(seen)
	var fresh, again atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		order := rand.New(rand.NewPCG(uint64(worker), 1)).Perm(n)
		wg.Go(func() {
			for _, i := range order {
				if s.add(int64(i)) {
					fresh.Add(1)
				} else {
					again.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if fresh.Load() != n || again.Load() != 3*n {
		t.Errorf("%d new and %d old, wanted %d and %d", fresh.Load(), again.Load(), n, 3*n)
	}
}

// Pages are given up once all their numbers came, so that a run of any length takes little memory.
func TestSeenGivesUpWholePages(t *testing.T) {
	s := new(seen)
	for i := range int64(10 * pageBits) {
		if i != 5 {
			s.add(i)
		}
	}
	kept := 0
	for _, slot := range *s.pages.Load() {
		if p := slot.page.Load(); p != nil && p != complete {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("%d pages are kept, wanted only the one with a number missing", kept)
	}
	if !s.add(5) || s.add(5) || s.add(pageBits) {
		t.Error("a number that was missing, or one of a page given up, was judged wrongly")
	}
}
