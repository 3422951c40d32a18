package broker

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// send publishes some messages at one broker after the other, and returns what the last one answers, empty for nothing.
func (s *sim) send(bodies ...string) (answer string) {
	for at := range s.brokers {
		c, err := s.dial(at)
		if err != nil {
			continue
		}
		if err = c.Write(prototest.Mpub(simTopic, bodies...)); err == nil {
			if f, err := c.Read(); err == nil {
				answer = string(f.Payload)
			}
		}
		c.Conn.Close()
		if answer == "OK" {
			break
		}
	}
	return answer
}

// drainAll consumes both channels until all that was sent has come.
func (s *sim) drainAll(want map[string]bool) {
	s.t.Helper()
	var mu sync.Mutex
	left := map[string]int{}
	for body := range want {
		left[body] = 2
	}
	quit := make(chan struct{})
	var readers sync.WaitGroup
	for _, channel := range []string{simChannel, simKept} {
		seen := map[string]bool{}
		readers.Go(func() {
			s.subscribe(channel, 50, 0, quit, func(m prototest.Delivered) {
				mu.Lock()
				defer mu.Unlock()
				if body := string(m.Body); !seen[body] && want[body] {
					seen[body] = true
					if left[body]--; left[body] == 0 {
						delete(left, body)
					}
				}
			})
		})
	}
	s.eventually("all comes that was acknowledged", 5*time.Minute, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(left) == 0
	})
	close(quit)
	readers.Wait()
}

func (s *sim) stopAll() {
	s.t.Helper()
	for _, b := range s.brokers {
		if err := b.stop(); err != nil {
			s.t.Error(err)
		}
	}
}

// TestAClusterOnFullDisks: a backlog fills the disks of all, so that publishes are refused. What was acknowledged comes, and once it was consumed publishes are taken
// again, without anybody's help.
func TestAClusterOnFullDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 81)
		s.prepare()
		for _, b := range s.brokers {
			b.disk.SetLimit(b.disk.Used() + 1<<20)
		}
		acked, refused := map[string]bool{}, 0
		for n := 0; refused < 3; n++ {
			var bodies []string
			for i := range 20 {
				bodies = append(bodies, fmt.Sprint(n, ".", i, strings.Repeat("x", 1000)))
			}
			if s.send(bodies...) != "OK" {
				refused++
				continue
			}
			for _, body := range bodies {
				acked[body] = true
			}
			if len(acked) > 10_000 {
				t.Fatal("nothing is refused")
			}
		}
		s.drainAll(acked)
		s.eventually("publishes are taken again", 2*time.Minute, func() bool { return s.send("again") == "OK" })
		s.eventually("all is well", time.Minute, s.well)
		s.stopAll()
	})
}

// TestALeaderThatCannotReadIsReplaced: its disk does not give back what it has, and those of the others do.
func TestALeaderThatCannotReadIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 83)
		s.prepare()
		acked := map[string]bool{}
		for n := range 50 {
			body := fmt.Sprint(n, strings.Repeat("x", 1000))
			s.eventually("it is taken", time.Minute, func() bool { return s.send(body) == "OK" })
			acked[body] = true
		}
		s.serving().fault.SetRules(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Path: "*.seg", Err: syscall.EIO})
		s.drainAll(acked)
		for _, b := range s.brokers {
			b.fault.SetRules()
		}
		s.eventually("all is well", time.Minute, s.well)
		s.stopAll()
	})
}
