package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneOfThreeOnAFullDisk: it does not stop the others, and is what they are once there is room on its disk, without a start.
func TestOneOfThreeOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 81)
		s.prepare()
		one := s.brokers[1]
		if s.leader() == one {
			one = s.brokers[2]
		}
		one.disk.SetLimit(one.disk.Used() + 300<<10)
		acked := map[string]bool{}
		for n := range 100 {
			var bodies []string
			for i := range 20 {
				bodies = append(bodies, fmt.Sprint(n, ".", i, strings.Repeat("x", 1000)))
			}
			s.eventually("it is taken", time.Minute, func() bool { return s.send(bodies...) == "OK" })
			for _, body := range bodies {
				acked[body] = true
			}
		}
		s.drainAll(acked)
		time.Sleep(30 * time.Second) // with a full disk
		one.disk.SetLimit(0)
		s.eventually("all is well", time.Minute, s.well)
		s.stopAll()
	})
}
