package lately

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestSet: what was done is known for as long as is said, from the last time on, and does not stay in memory.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		if s.Has("a") {
			t.Error("nothing was done")
		}
		s.Add("a")
		time.Sleep(Within)
		s.Add("b")
		if !s.Has("a") || !s.Has("b") {
			t.Error("it was done lately")
		}
		time.Sleep(time.Nanosecond)
		if s.Has("a") || !s.Has("b") {
			t.Error("the first was done too long ago")
		}
		for i := range 100 {
			s.Add(fmt.Sprint(i))
		}
		time.Sleep(3 * Within)
		s.Add("b")
		if len(s.done) != 1 || !s.Has("b") {
			t.Errorf("%d are remembered", len(s.done))
		}
	})
}
