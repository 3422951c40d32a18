package broker

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestADrainGivesTheLeadAway: a broker that drains delivers nothing. The topics that it leads are led by another one for as long as it does, and
// clients of the others go on.
func TestADrainGivesTheLeadAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 77)
		s.prepare()
		for number := range 2 {
			s.work.Go(func() { s.publish(number, rand.New(rand.NewPCG(uint64(number), 1))) })
		}
		s.work.Go(s.consume)
		time.Sleep(time.Second)
		drains := s.leader()
		if err := drains.now().StartDrain(Drain{Stay: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s.leader() == drains {
			t.Error("the broker that drains still leads")
		}
		before := s.h.Acknowledged()
		time.Sleep(10 * time.Second)
		if acked, open := s.h.Acknowledged()-before, s.h.Open(); acked < 50 || open > 20 {
			t.Errorf("%d messages were acknowledged in 10 s, and %d of all have not come", acked, open)
		}
		if err := drains.now().EndDrain(); err != nil {
			t.Error(err)
		}
		s.judge()
	})
}
