package broker

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// serving returns the broker that serves the replicated topic, nil when none does.
func (s *sim) serving() *simBroker {
	for _, b := range s.brokers {
		if server := b.now(); server != nil {
			if t := server.registry.Lookup(simTopic); t != nil && t.Replicated() {
				return b
			}
		}
	}
	return nil
}

// TestALeaderThatIsKilledIsReplacedAtOnce: over a network on which a vote takes some milliseconds the two others do not stand for election against each
// other, each time that a leader's process dies.
func TestALeaderThatIsKilledIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		s.prepare()
		s.n.SetDelay([2]time.Duration{2 * time.Millisecond, 8 * time.Millisecond})
		s.work.Go(func() { s.publish(0, rand.New(rand.NewPCG(1, 1))) })
		var took []time.Duration
		for range 12 {
			time.Sleep(2*time.Second + time.Duration(s.rng.IntN(1000))*time.Millisecond)
			s.eventually("it is served", time.Minute, func() bool { return s.serving() != nil })
			b := s.serving()
			began := time.Now()
			var dying sync.WaitGroup
			dying.Go(func() { b.kill(false) })
			time.Sleep(time.Millisecond)
			s.eventually("another one serves it", time.Minute, func() bool { return s.serving() != nil })
			took = append(took, time.Since(began))
			dying.Wait()
			b.start()
			s.eventually("all is well again", time.Minute, s.well)
		}
		for _, d := range took {
			if d > 500*time.Millisecond {
				t.Errorf("it took %v", took)
				break
			}
		}
		close(s.quit)
		s.work.Wait()
		for _, b := range s.brokers {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
