package topic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// Everything happens at once for a while: publishers, consumers that answer in every way and come and go, a pauser, an
// emptier of another channel, channels that are made and deleted. Then the counted channel is drained: each message was
// finished once, and delivered twice only when that had a reason.
func TestStress(t *testing.T) {
	for _, c := range []struct {
		name    string
		mem     int
		disk    bool
		durable bool
	}{{name: "in memory", mem: 1 << 30}, {name: "through the disk", mem: 200, disk: true}, {name: "without memory", disk: true},
		{name: "durable in memory", mem: 1 << 30, durable: true}, {name: "durable through segments", mem: 100, durable: true}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.MemQueueSize = c.mem
			if c.disk {
				cfg.Queues = folder(t.TempDir())
			}
			if c.durable {
				makeDurable(&cfg)
			}
			newStress(t, cfg).run(300 * time.Millisecond)
		})
	}
}

// makeDurable gives the registry a log and segments in memory.
func makeDurable(cfg *Config) {
	cfg.Journal, cfg.Segments = &keptLog{}, keptSegments{vfs.NewMem()}
	cfg.Level = func(string) Level { return Disk }
}

type stress struct {
	t         *testing.T
	r         *Registry
	topic     *Topic
	channel   *Channel
	stop      chan struct{}
	published atomic.Uint64
	requeued  atomic.Uint64
	finished  atomic.Uint64

	mu   sync.Mutex
	seen map[uint64]int // finished, by number
}

func newStress(t *testing.T, cfg Config) *stress {
	r := start(t, cfg)
	topic := mustTopic(t, r, "t")
	return &stress{t: t, r: r, topic: topic, channel: mustChannel(t, topic, "counted"), stop: make(chan struct{}), seen: map[uint64]int{}}
}

func (s *stress) run(d time.Duration) {
	var publishers, others sync.WaitGroup
	for range 3 {
		publishers.Go(s.publish)
	}
	for range 4 {
		others.Go(s.consume)
	}
	for _, f := range []func() error{s.pause, s.empty, s.churn, s.look} {
		others.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for !s.stopped() {
				if err := f(); err != nil {
					s.t.Error(err)
					return
				}
				<-tick.C
			}
		})
	}
	time.AfterFunc(d, func() { close(s.stop) })
	publishers.Wait()
	others.Wait()
	s.channel.SetPaused(false)
	s.drain()
	s.judge()
}

func (s *stress) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *stress) publish() {
	var b Batch
	for !s.stopped() {
		for range 1 + rand.IntN(20) {
			n := s.published.Add(1)
			b.Add(binary.BigEndian.AppendUint64(nil, n))
		}
		var err error
		if rand.IntN(20) == 0 {
			err = s.topic.PublishDeferred(&b, time.Duration(rand.IntN(20))*time.Millisecond)
		} else {
			err = s.topic.Publish(&b)
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		for s.published.Load()-s.finished.Load() > 2000 && !s.stopped() {
			runtime.Gosched()
		}
	}
}

// consume is a consumer that answers at random, and now and then leaves and comes back.
func (s *stress) consume() {
	for !s.stopped() {
		sub, err := s.topic.Subscribe("counted", SubscribeOptions{Owner: newStub(), MsgTimeout: time.Hour})
		if err != nil {
			s.t.Error(err)
			return
		}
		var d Delivery
		for rounds := rand.IntN(30); rounds > 0 && !s.stopped(); rounds-- {
			sub.SetReady(1 + rand.IntN(300))
			if sub.Take(&d) > 0 {
				s.answer(sub, &d, true)
				continue
			}
			if st := sub.Stats(); st.InFlight >= st.Ready {
				break // all its credit is held by what it does not answer
			}
			select {
			case <-sub.Wake():
			case <-s.stop:
			}
		}
		if err := sub.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// answer finishes what was delivered, or some of it in another way.
func (s *stress) answer(sub *Subscription, d *Delivery, random bool) {
	var answers []Answer
	var numbers []uint64
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := first(frames)
			frames = frames[len(f):]
			id, ok := f.ID()
			if !ok {
				s.t.Error("an id is none")
			}
			a := Answer{ID: id, Verb: Finish}
			if random {
				switch rand.IntN(20) {
				case 0:
					a.Verb = Requeue
				case 1:
					a.Verb, a.Delay = Requeue, time.Duration(rand.IntN(10))*time.Millisecond
				case 2:
					a.Verb = Touch
				case 3:
					continue // comes back when the consumer leaves
				}
			}
			answers = append(answers, a)
			numbers = append(numbers, binary.BigEndian.Uint64(f.Body()))
		}
	}
	d.Clear()
	sub.Apply(answers, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range answers {
		switch {
		case a.Err != nil:
			s.t.Errorf("answer %d about %s: %v", a.Verb, a.ID, a.Err)
		case a.Verb == Finish:
			s.finished.Add(1)
			s.seen[numbers[i]]++
		case a.Verb == Requeue:
			s.requeued.Add(1)
		}
	}
}

func (s *stress) pause() error {
	s.channel.SetPaused(true)
	s.channel.SetPaused(false)
	if rand.IntN(10) == 0 {
		s.topic.SetPaused(true)
		s.topic.SetPaused(false)
	}
	return nil
}

// empty empties another channel, with a consumer that takes from it.
func (s *stress) empty() error {
	sub, err := s.topic.Subscribe("emptied", SubscribeOptions{Owner: newStub(), MsgTimeout: time.Minute})
	if err != nil {
		return err
	}
	var d Delivery
	for range 20 {
		sub.SetReady(50)
		sub.Take(&d)
		d.Clear()
		if err := sub.Channel().Empty(); err != nil {
			return err
		}
	}
	return sub.Close()
}

// churn makes and deletes channels, some of them ephemeral, while consumers come and go.
func (s *stress) churn() error {
	name := fmt.Sprintf("churn%d", rand.IntN(3))
	if rand.IntN(2) == 0 {
		name += protocol.EphemeralSuffix
	}
	sub, err := s.topic.Subscribe(name, SubscribeOptions{Owner: newStub(), MsgTimeout: time.Minute})
	if err != nil {
		return err
	}
	sub.SetReady(10)
	var d Delivery
	sub.Take(&d)
	var left sync.WaitGroup
	left.Go(func() {
		if err := sub.Close(); err != nil {
			s.t.Error(err)
		}
	})
	err = s.topic.DeleteChannel(name)
	left.Wait()
	if errors.Is(err, ErrChannelNotFound) {
		return nil
	}
	return err
}

// look reads the figures and checks the books.
func (s *stress) look() error {
	s.topic.Stats()
	s.r.Metadata()
	s.channel.mu.Lock()
	defer s.channel.mu.Unlock()
	return s.channel.machine.Check()
}

// drain finishes all that is left. A consumer that is not woken ends the test by its time limit.
func (s *stress) drain() {
	sub := mustSubscribe(s.t, s.topic, "counted", 1000, SubscribeOptions{MsgTimeout: time.Hour})
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	var d Delivery
	for s.finished.Load() < s.published.Load() {
		if sub.Take(&d) > 0 {
			s.answer(sub, &d, false)
			continue
		}
		select {
		case <-sub.Wake():
		case <-limit.C:
			s.t.Errorf("%d of %d messages finished, and nothing more comes: %+v", s.finished.Load(), s.published.Load(), s.channel.Stats())
			return
		}
	}
	if err := sub.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *stress) judge() {
	published := s.published.Load()
	for n := uint64(1); n <= published; n++ {
		if s.seen[n] != 1 {
			s.t.Errorf("message %d was finished %d times", n, s.seen[n])
		}
	}
	st := s.channel.Stats()
	if st.MessageCount != published || st.RequeueCount != s.requeued.Load() || st.TimeoutCount != 0 || st.Depth != 0 || st.InFlight != 0 {
		s.t.Errorf("published %d, requeued %d: %+v", published, s.requeued.Load(), st)
	}
	s.t.Logf("%d messages, %d requeued, %d returned", published, st.RequeueCount, st.DisconnectRequeueCount)
}
