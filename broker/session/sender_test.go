package session

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestDutyLosesNoWork: whoever brings work finds somebody to do it, there is never more than one at it, and nobody is once retire
// has returned.
func TestDutyLosesNoWork(t *testing.T) {
	const bringers, each = 8, 5000
	var d duty
	var work, done, inside atomic.Int64
	var all sync.WaitGroup
	toil := func() {
		for {
			if inside.Add(1) != 1 {
				t.Error("two are at it")
			}
			done.Add(work.Swap(0))
			inside.Add(-1)
			if !d.end() {
				return
			}
		}
	}
	for range bringers {
		all.Go(func() {
			for i := range each {
				work.Add(1)
				switch {
				case !d.begin():
				case i%2 == 0:
					toil()
				default:
					all.Go(toil)
				}
			}
		})
	}
	all.Wait()
	if done.Load() != bringers*each {
		t.Errorf("%d of %d pieces of work were done", done.Load(), bringers*each)
	}
	if !d.begin() {
		t.Fatal("nobody is at it, and nobody may begin")
	}
	retired := make(chan struct{})
	go func() {
		d.retire()
		close(retired)
	}()
	for d.state.Load() != leaving {
	}
	if d.begin() {
		t.Error("one may begin while another leaves")
	}
	select {
	case <-retired:
		t.Error("retire did not wait for who was at it")
	default:
	}
	if d.end() {
		t.Error("who leaves is told to go on")
	}
	<-retired
	if d.begin() {
		t.Error("one may begin after retire")
	}
}

// TestRetireOfNobody: where nobody is at it retire does not wait.
func TestRetireOfNobody(t *testing.T) {
	var d duty
	d.retire()
	if d.begin() {
		t.Error("one may begin after retire")
	}
}
