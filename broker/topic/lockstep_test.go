package topic

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// A wake-up that is lost shows where nothing else happens: a few messages at a time are published, and the next ones only when
// all consumers together have finished those. Consumers change their credit, requeue, leave and come back meanwhile.
func TestNoWakeUpIsLost(t *testing.T) {
	for _, c := range []struct {
		name     string
		mem      int
		topology bool
		durable  bool
	}{{"in memory", 10000, false, false}, {"through the disk", 0, false, false}, {"by locality", 10000, true, false},
		{"by locality through the disk", 0, true, false}, {"durable through segments", 0, false, true}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.MemQueueSize, cfg.TopologyAware, cfg.Queues = c.mem, c.topology, folder(t.TempDir())
			if c.durable {
				makeDurable(&cfg)
			}
			newStress(t, cfg).lockstep(200 * time.Millisecond)
		})
	}
}

func (s *stress) lockstep(d time.Duration) {
	done := make(chan struct{}, 1000)
	var consumers sync.WaitGroup
	for i := range 4 {
		consumers.Go(func() {
			for !s.stopped() {
				s.consumeInStep(done, SubscribeOptions{Owner: newStub(), MsgTimeout: time.Hour, Locality: Locality(i % 3)})
			}
		})
	}
	began := time.Now()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	rounds := 0
	for ; time.Since(began) < d && !s.t.Failed(); rounds++ {
		n := 1 + rand.IntN(3)
		publish(s.t, s.topic, n)
		for range n {
			select {
			case <-done:
			case <-limit.C:
				s.t.Errorf("round %d: nobody takes what waits: %+v", rounds, s.channel.Stats())
			}
		}
	}
	close(s.stop)
	consumers.Wait()
	s.t.Logf("%d rounds", rounds)
}

// consumeInStep is one life of a consumer.
func (s *stress) consumeInStep(done chan<- struct{}, o SubscribeOptions) {
	sub, err := s.topic.Subscribe("counted", o)
	if err != nil {
		s.t.Error(err)
		return
	}
	sub.SetReady(1 + rand.IntN(3))
	var wg sync.WaitGroup
	leave := make(chan struct{})
	wg.Go(func() { // the reader's part: its credit goes and comes back
		for range 20 {
			sub.SetReady(0)
			sub.SetReady(1 + rand.IntN(3))
			select {
			case <-leave:
				return
			case <-time.After(50 * time.Microsecond): // credit that comes and goes at any moment is what is tested
			}
		}
		sub.SetReady(1)
	})
	var d Delivery
	for life := rand.IntN(100); life > 0; life-- {
		if sub.Take(&d) > 0 {
			s.finishInStep(sub, &d, done)
			continue
		}
		select {
		case <-sub.Wake():
		case <-s.stop:
			life = 1
		}
	}
	close(leave)
	wg.Wait()
	if err := sub.Close(); err != nil {
		s.t.Error(err)
	}
}

// finishInStep answers all that was delivered; one in five goes back once more.
func (s *stress) finishInStep(sub *Subscription, d *Delivery, done chan<- struct{}) {
	var answers []Answer
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := first(frames)
			frames = frames[len(f):]
			a := Answer{Verb: Finish}
			a.ID, _ = f.ID()
			if rand.IntN(5) == 0 {
				a.Verb = Requeue
			}
			answers = append(answers, a)
		}
	}
	d.Clear()
	sub.Apply(answers, nil)
	for _, a := range answers {
		if a.Err != nil {
			s.t.Errorf("answer about %s: %v", a.ID, a.Err)
		}
		if a.Verb == Finish {
			done <- struct{}{}
		}
	}
}
