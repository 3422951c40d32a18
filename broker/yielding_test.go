package broker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/prototest"
)

// found starts the brokers, and returns once they are one cluster.
func (s *sim) found() {
	for _, b := range s.brokers {
		b.start()
	}
	s.eventually("they are one cluster, and know its map", time.Minute, func() bool {
		return s.well() && !slices.ContainsFunc(s.brokers, func(b *simBroker) bool {
			_, _, err := b.now().member.Sure("no topic")
			return err != nil
		})
	})
}

// do makes a request that is answered 200.
func (s *sim) do(at int, query, body string) {
	s.t.Helper()
	if status, text := s.ask(at, "POST", query, body); status != http.StatusOK {
		s.t.Errorf("%s at broker %d: %d %s", query, at, status, text)
	}
}

// alone returns the brokers that have a topic of that name of their own.
func (s *sim) alone(name string) (list []int) {
	for i, b := range s.brokers {
		if t := b.now().registry.Lookup(name); t != nil && !t.Replicated() {
			list = append(list, i)
		}
	}
	return list
}

// leads returns the replicated topic of that name where it is served, nil when it is nowhere.
func (s *sim) leads(name string) *topic.Topic {
	for _, b := range s.brokers {
		if t := b.now().registry.Lookup(name); t != nil && t.Replicated() {
			return t
		}
	}
	return nil
}

// comes holds that all of some messages come to a channel of the replicated topic, each once.
func (s *sim) comes(name, channel string, want []string) {
	s.t.Helper()
	quit := make(chan struct{})
	var mu sync.Mutex
	var got []string
	var reader sync.WaitGroup
	end := sync.OnceFunc(func() { close(quit); reader.Wait() })
	defer end()
	reader.Go(func() {
		s.subscribeTo(name, channel, 100, 0, quit, func(m prototest.Delivered) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(m.Body))
		})
	})
	s.eventually(fmt.Sprintf("all that was published to %s comes to %s", name, channel), time.Minute, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) >= len(want)
	})
	end()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s/%s: %d messages, %d were published: %v", name, channel, len(got), len(want), got)
	}
}

// TestWhatComesBehindTheAnswerIsOfTheReplicatedTopic: each broker has an empty topic of the name. From the answer to its creation on all that the broker which was
// asked answers is of the replicated topic, whichever way it comes: its channels are there, and have all messages.
func TestWhatComesBehindTheAnswerIsOfTheReplicatedTopic(t *testing.T) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 81)
				s.found()
				s.n.SetDelay([2]time.Duration{delay, 2 * delay})
				for round := range 6 {
					s.createOver(fmt.Sprint("orders", round), round)
				}
				s.eventually("all is well", time.Minute, s.well)
				s.stopAll()
			})
		})
	}
}

// createOver makes a replicated topic over empty ones, at one of the brokers, and uses it at once.
func (s *sim) createOver(name string, round int) {
	s.t.Helper()
	for i := range s.brokers {
		s.do(i, "/topic/create?topic="+name, "")
		s.do(i, "/channel/create?channel=before&topic="+name, "")
	}
	at := round % len(s.brokers)
	c, err := s.dial(at)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Conn.Close()
	c.Timeout = time.Minute
	s.do(at, "/topic/create?replicas=3&topic="+name, "")
	s.do(at, "/channel/create?channel=first&topic="+name, "")
	sub, err := s.dial(at)
	if err != nil {
		s.t.Fatal(err)
	}
	sub.Timeout = time.Minute
	sub.Send("SUB " + name + " second\n")
	sub.Expect("OK")
	sub.Conn.Close()
	var want []string
	for n := range 20 {
		body := fmt.Sprint(round, "-", n)
		want = append(want, body)
		if n%2 == 0 {
			c.Send(prototest.Pub(name, body))
			c.Expect("OK")
		} else {
			s.do(at, "/pub?topic="+name, body)
		}
	}
	s.eventually("the topics of one broker are gone", 5*time.Second, func() bool { return len(s.alone(name)) == 0 })
	if served := s.leads(name); served == nil || served.Stats().MessageCount != uint64(len(want)) {
		s.t.Errorf("round %d: the replicated topic has not got all", round)
	}
	for _, channel := range []string{"before", "first", "second"} {
		s.comes(name, channel, slices.Clone(want))
	}
}

// TestAChannelOfATopicThatGivesWayIsMadeInTheOther: a broker that does not know of the replicated topic yet makes a channel in its own one. Of four brokers one
// has no replica.
func TestAChannelOfATopicThatGivesWayIsMadeInTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 82, 4)
		s.found()
		for i := range s.brokers {
			s.do(i, fmt.Sprintf("/topic/create?topic=%s", simTopic), "")
			s.do(i, fmt.Sprintf("/channel/create?topic=%s&channel=of%d", simTopic, i), "")
			s.do(i, fmt.Sprintf("/channel/create?topic=%s&channel=gone%%23ephemeral", simTopic), "")
		}
		s.do(0, "/topic/create?replicas=3&topic="+simTopic, "")
		s.eventually("the topics of one broker are gone", 5*time.Second, func() bool { return len(s.alone(simTopic)) == 0 && s.leads(simTopic) != nil })
		var has []string
		for _, c := range s.leads(simTopic).Channels() {
			has = append(has, c.Name())
		}
		if !slices.Equal(has, []string{"of0", "of1", "of2", "of3"}) {
			t.Errorf("the replicated topic has channels %v", has)
		}
		s.stopAll()
	})
}

// TestATopicInTheWayIsEmptiedFirst: a broker has taken messages for its own topic of the name. They stay, and are consumed there, while what is published now goes
// to the replicated one, over a restart too; then that is all there is. The broker says so as long as it is so.
func TestATopicInTheWayIsEmptiedFirst(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprint("leads ", leads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { inTheWay(t, leads) })
		})
	}
}

func inTheWay(t *testing.T, leads bool) {
	s := newSim(t, 83)
	s.found()
	const name = simTopic
	s.do(0, "/topic/create?topic="+name, "")
	s.do(0, "/channel/create?channel=old&topic="+name, "")
	s.do(0, "/pub?topic="+name, "kept")
	if status, text := s.ask(0, "POST", "/topic/create?replicas=3&topic="+name, ""); status != http.StatusConflict {
		t.Errorf("created over messages: %d %s", status, text)
	}
	s.do(1, "/topic/create?replicas=3&topic="+name, "")
	says := func(what string) func() bool {
		return func() bool {
			ping, text := s.ask(0, "GET", "/ping?cluster=true", "")
			_, view := s.ask(0, "GET", "/cluster", "")
			return ping != http.StatusOK && strings.Contains(text, what) && strings.Contains(view, what)
		}
	}
	s.eventually("it is said that it is in the way", 5*time.Second, says("1 of them"))
	mine := s.groupOf(name)
	s.eventually("the group has the leader that it is to have", time.Minute, func() bool {
		if s.leadsGroup(0, mine) == leads {
			return true
		}
		for i, b := range s.brokers {
			if i > 0 == leads { // who leads and is not to gives it away
				b.now().member.Resign()
			}
		}
		time.Sleep(200 * time.Millisecond)
		return false
	})
	status, text := s.ask(0, "POST", "/pub?topic="+name, "new")
	if leads && (status != http.StatusServiceUnavailable || !strings.Contains(text, "not replicated, and that holds messages") || strings.Contains(text, "does not lead it")) || !leads && status != http.StatusOK {
		t.Errorf("published while it is in the way: %d %s", status, text)
	}
	if local := s.brokers[0].now().registry.Lookup(name); local == nil || local.Replicated() {
		t.Error("it is gone, with what it holds")
	}
	s.brokers[0].kill(true)
	s.brokers[0].start()
	s.eventually("it is said again", time.Minute, says("1 of them"))
	var want []string
	if !leads {
		want = append(want, "new")
	}
	s.do(1, "/channel/create?channel=work&topic="+name, "")
	c, err := s.dial(0)
	if err != nil {
		t.Fatal(err)
	}
	c.Timeout = 10 * time.Second
	c.Send("SUB " + name + " old\nRDY 1\n")
	c.Expect("OK")
	m := c.ExpectMessage("kept", 1)
	c.Send("FIN " + m.ID + "\n")
	s.eventually("it is gone once it is empty", 10*time.Second, func() bool { return len(s.alone(name)) == 0 && s.well() })
	c.Conn.Close()
	s.do(0, "/pub?topic="+name, "newest")
	s.comes(name, "old", append(want, "newest"))
	s.stopAll()
}

// groupOf returns the group that a topic is in.
func (s *sim) groupOf(name string) uint32 {
	in, ok, err := s.brokers[1].now().member.Topic(name)
	if err != nil || !ok {
		s.t.Fatalf("%s is not replicated: %v", name, err)
	}
	return uint32(in.Group)
}

func (s *sim) leadsGroup(at int, group uint32) bool {
	m := s.brokers[at].now().member
	return m.Leader(group) == m.Self()
}

// TestATopicIsMadeAgainUnderItsConsumers: they subscribe at every broker, all the time, also while the replicated topic is deleted and made again, and make topics
// of one broker then. All that is acknowledged behind each creation comes to both channels, and the brokers are well.
func TestATopicIsMadeAgainUnderItsConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 84)
		s.found()
		s.n.SetDelay([2]time.Duration{time.Millisecond, 3 * time.Millisecond})
		var mu sync.Mutex
		seen := map[string]bool{}
		for i := range s.brokers {
			for _, channel := range []string{"one", "two"} {
				s.work.Go(func() {
					s.hangOn(i, channel, func(body string) { mu.Lock(); seen[channel+" "+body] = true; mu.Unlock() })
				})
			}
		}
		for round := range 8 {
			at := round % len(s.brokers)
			s.eventually("it is made", time.Minute, func() bool {
				status, _ := s.ask(at, "POST", "/topic/create?replicas=3&topic="+simTopic, "")
				return status == http.StatusOK
			})
			var want []string
			for _, channel := range []string{"one", "two"} {
				s.do(at, "/channel/create?channel="+channel+"&topic="+simTopic, "")
			}
			for n := range 30 {
				body := fmt.Sprint(round, "-", n)
				s.do(at, "/pub?topic="+simTopic, body)
				want = append(want, "one "+body, "two "+body)
			}
			s.eventually(fmt.Sprint("all comes of round ", round), 30*time.Second, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return !slices.ContainsFunc(want, func(key string) bool { return !seen[key] })
			})
			s.eventually("nothing is in the way", 10*time.Second, func() bool { return len(s.alone(simTopic)) == 0 && s.well() })
			s.do((at+1)%len(s.brokers), "/topic/delete?topic="+simTopic, "")
		}
		close(s.quit)
		s.work.Wait()
		s.stopAll()
	})
}

// hangOn is a consumer that stays at one broker, and subscribes again as soon as it is closed.
func (s *sim) hangOn(at int, channel string, take func(body string)) {
	for s.rest(2 * time.Millisecond) {
		c, err := s.dial(at)
		if err != nil {
			continue
		}
		c.Timeout = 500 * time.Millisecond
		err = c.Write("SUB " + simTopic + " " + channel + "\nRDY 20\n")
		for err == nil {
			var f prototest.Frame
			if f, err = c.Read(); err != nil || f.Type == prototest.Error {
				break
			}
			if f.Type == prototest.Message {
				m := f.Message()
				take(string(m.Body))
				err = c.Write("FIN " + m.ID + "\n")
			}
		}
		c.Conn.Close()
	}
}
