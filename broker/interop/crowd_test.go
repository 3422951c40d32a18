package interop

import (
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/broker/histories"
	"brokerd/cmd/cmdtest"
)

// The channel that a crowd works on, and channels that nobody takes anything from before the end.
const crowdChannel = "work"

var untouched = []string{"kept", "kept-as-well"}

// crowd is stock clients of one replicated topic, who write down what they do and see.
type crowd struct {
	h         *histories.History
	m         *members
	topic     string
	lookups   []string
	quit      chan struct{}
	busy      sync.WaitGroup
	consumers []*nsq.Consumer

	mu   sync.Mutex
	term uint64 // the newest that was seen
}

// newCrowd makes the topic with its channels, and has as many publishers as brokers, each of which begins at another one, and two consumers.
func newCrowd(t *testing.T, m *members, topic string, lookups ...string) *crowd {
	t.Helper()
	c := &crowd{h: histories.New(), m: m, topic: topic, lookups: lookups, quit: make(chan struct{})}
	carryOut(t, m.brokers[0], "/topic/create?topic="+topic+"&replicas=3")
	for _, channel := range append(slices.Clone(untouched), crowdChannel) {
		c.eventually(t, "channel "+channel+" is made", func() bool {
			l := c.leader(t)
			if l == nil {
				return false
			}
			_, text := changeMap(t, l, "/channel/create?"+url.Values{"topic": {topic}, "channel": {channel}}.Encode())
			return text == ""
		})
	}
	for i := range 2 {
		c.consumers = append(c.consumers, c.consume(t, crowdChannel, 20, nsq.HandlerFunc(func(m *nsq.Message) error {
			c.h.Delivered(100+i, string(m.Body), m.Attempts)
			c.h.Finished(string(m.Body))
			return nil
		})))
	}
	for i := range m.brokers {
		c.busy.Go(func() { c.publish(i) })
	}
	t.Cleanup(func() { c.stopPublishing(); c.leave() })
	return c
}

// consume starts a stock consumer that finds brokers by the lookups.
func (c *crowd) consume(t *testing.T, channel string, maxInFlight int, handler nsq.Handler) *nsq.Consumer {
	t.Helper()
	cfg := cmdtest.ClientConfig()
	cfg.LookupdPollInterval, cfg.LookupdPollJitter, cfg.MaxInFlight, cfg.MaxAttempts, cfg.BackoffMultiplier = 200*time.Millisecond, 0, maxInFlight, 0, 0
	cfg.DialTimeout = 2 * time.Second // of a broker that nobody can reach
	consumer, err := nsq.NewConsumer(c.topic, channel, cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, 0)
	consumer.AddHandler(handler)
	if err := consumer.ConnectToNSQLookupds(c.lookups); err != nil {
		t.Fatal(err)
	}
	return consumer
}

// publish publishes one to three messages at a time, and goes to another broker after an error. It sends nothing twice.
func (c *crowd) publish(number int) {
	var p *nsq.Producer
	at := number
	for n := 0; ; n++ {
		select {
		case <-c.quit:
			if p != nil {
				p.Stop()
			}
			return
		case <-time.After(30 * time.Millisecond):
		}
		var bodies []string
		var sent [][]byte
		for i := range 1 + n%3 {
			bodies = append(bodies, fmt.Sprintf("%d of %d, %d", i, number, n))
			sent = append(sent, []byte(bodies[i]))
		}
		if p == nil {
			cfg := nsq.NewConfig()
			cfg.HeartbeatInterval, cfg.ReadTimeout = time.Second, 5*time.Second // of a broker that is paused
			p, _ = nsq.NewProducer(c.m.brokers[at%len(c.m.brokers)].TCP, cfg)
			p.SetLogger(nil, 0)
		}
		done := c.h.Publish(number, bodies...)
		err := p.MultiPublish(c.topic, sent)
		done.Answered(err == nil)
		if err != nil {
			p.Stop()
			p = nil
			at++
		}
	}
}

// leader returns the broker that leads the topic, as those say that answer; nil: none does. A term that is new is written down: nobody may have
// done anything for it.
func (c *crowd) leader(t *testing.T, but ...*cmdtest.Process) (leader *cmdtest.Process) {
	t.Helper()
	newest := uint64(0)
	for _, b := range c.m.brokers {
		if slices.Contains(but, b) || b.Ended() {
			continue
		}
		v := view(t, b)
		for _, g := range v.Groups {
			for _, in := range g.Topics {
				if in.Name != c.topic || g.Leader == "" || g.Term < newest {
					continue
				}
				newest, leader = g.Term, nil
				for _, o := range c.m.brokers {
					if n := nodeIn(&v, c.m.at[o], "member"); n.Folder == g.Leader && !o.Ended() && !slices.Contains(but, o) {
						leader = o
					}
				}
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if newest > c.term {
		if c.term > 0 {
			c.h.Noticed(10*time.Second, "term %d", newest)
		}
		c.term = newest
	}
	return leader
}

// eventually waits for something, and looks for new terms meanwhile.
func (c *crowd) eventually(t *testing.T, what string, ask func() bool, but ...*cmdtest.Process) {
	t.Helper()
	cmdtest.Eventually(t, what, time.Minute, func() bool {
		c.leader(t, but...)
		return ask()
	})
}

// more waits until so many more messages were acknowledged.
func (c *crowd) more(t *testing.T, n int, but ...*cmdtest.Process) {
	t.Helper()
	want := c.h.Acknowledged() + n
	c.eventually(t, "publishes are acknowledged", func() bool { return c.h.Acknowledged() >= want }, but...)
}

// through does something to a broker, waits until the others serve, undoes it, and waits until all is well.
func (c *crowd) through(t *testing.T, what string, on *cmdtest.Process, do, undo func()) {
	t.Helper()
	f := c.h.Begin("%s of %s", what, on.Label)
	began := time.Now()
	do()
	c.more(t, 20, on)
	took := time.Since(began)
	undo()
	c.m.awaitWhole(t, c.m.brokers)
	c.more(t, 60)
	f.End()
	t.Logf("%s of %s: 20 more are acknowledged after %v", what, on.Label, took.Round(time.Millisecond))
}

// awaitLeader returns who leads.
func (c *crowd) awaitLeader(t *testing.T) (leader *cmdtest.Process) {
	t.Helper()
	cmdtest.Eventually(t, "a broker leads", time.Minute, func() bool { leader = c.leader(t); return leader != nil })
	return leader
}

// follower returns one that does not lead.
func (c *crowd) follower(t *testing.T) *cmdtest.Process {
	t.Helper()
	leader := c.awaitLeader(t)
	return c.m.brokers[slices.IndexFunc(c.m.brokers, func(b *cmdtest.Process) bool { return b != leader })]
}

func (c *crowd) stopPublishing() {
	select {
	case <-c.quit:
	default:
		close(c.quit)
	}
	c.busy.Wait()
}

func (c *crowd) leave() {
	for _, consumer := range c.consumers {
		leave(consumer)
	}
	c.consumers = nil
}

// judge ends the crowd's work, reads what the topic holds, holds the history to what is promised, and has the topic deleted.
func (c *crowd) judge(t *testing.T) {
	t.Helper()
	c.stopPublishing()
	last, since := -1, time.Now()
	c.eventually(t, "all that was acknowledged is finished, or nothing comes any more", func() bool {
		n := c.h.Open()
		if n != last {
			last, since = n, time.Now()
		}
		return n == 0 || time.Since(since) > time.Minute
	})
	c.leave()
	for _, channel := range untouched {
		list, again := c.list(t, channel)
		if again && channel != untouched[len(untouched)-1] {
			t.Logf("a message of channel %s was delivered twice, as the lead was lost: its order says nothing", channel)
			continue
		}
		c.h.List(list)
		break
	}
	t.Logf("%+v\n%s", c.h.Sum(), c.h.Faults())
	if err := c.h.Check(histories.Rules{Forget: 10 * time.Second}); err != nil {
		t.Error(err)
	}
	carryOut(t, c.m.brokers[0], "/topic/delete?topic="+c.topic)
}

// list takes all from a channel, one after the other; again says that one came more than once.
func (c *crowd) list(t *testing.T, channel string) (list []string, again bool) {
	t.Helper()
	var mu sync.Mutex
	seen, acked := map[string]bool{}, c.h.Acknowledged()
	consumer := c.consume(t, channel, 1, nsq.HandlerFunc(func(m *nsq.Message) error {
		mu.Lock()
		defer mu.Unlock()
		again = again || m.Attempts > 1
		if body := string(m.Body); !seen[body] {
			seen[body] = true
			list = append(list, body)
		}
		return nil
	}))
	defer leave(consumer)
	last, since := -1, time.Now()
	c.eventually(t, "channel "+channel+" is read", func() bool {
		mu.Lock()
		n := len(list)
		mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		quiet := time.Since(since)
		if quiet > time.Minute {
			return true
		}
		l := c.leader(t)
		if l == nil || n < acked || quiet < 300*time.Millisecond {
			return false
		}
		left := cmdtest.ChannelOf(l.Topic(t, c.topic), channel)
		return left.Depth == 0 && left.InFlightCount == 0
	})
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(list), again
}
