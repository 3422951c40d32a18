package interop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestCountedIsStored: after rounds of publishing, finishing, giving back, emptying and deleting that each end in a kill, what a broker
// counts is what it has: as many messages come as /stats says wait, and every channel adds up. The report's broker drifted up and refused publishes
// at 40 % of its limit.
func TestCountedIsStored(t *testing.T) {
	t.Parallel()
	const topics, rounds = 4, 3
	b := cmdtest.NewBroker(t, "brokerd", t.TempDir(), "--mem-queue-size=50")
	b.Start(t)
	for round := range rounds {
		churn(t, b, topics, uint64(round))
		b.Kill(t)
		b.Start(t)
	}
	for i := range topics {
		name := churned(i)
		counted := b.Topic(t, name)
		for _, c := range counted.Channels {
			got := consumeAll(t, b, name, c.ChannelName)
			if want := c.Depth + int64(c.DeferredCount); got != want {
				t.Errorf("%s/%s: %d messages are counted, %d come", name, c.ChannelName, want, got)
			}
		}
	}
	metrics := scrape(t, b)
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "brokerd_channel_unbalanced") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			t.Error("does not add up: ", line)
		}
	}
	if !strings.Contains(metrics, "brokerd_channel_unbalanced{") {
		t.Error("no channel tells whether it adds up")
	}
	b.Stop(t)
}

func churned(i int) string { return fmt.Sprintf("churn-%d", i) }

// churn has producers, consumers and an operator work at random for a second or so, of which the broker's end is part.
func churn(t *testing.T, b *cmdtest.Process, topics int, seed uint64) {
	t.Helper()
	for i := range topics {
		b.Create(t, churned(i), "kept", "emptied")
	}
	var working sync.WaitGroup
	var consumers []*nsq.Consumer
	var handled atomic.Int64
	for i := range topics {
		handle := func(m *nsq.Message) error {
			n := handled.Add(1)
			switch {
			case n%7 == 0:
				m.RequeueWithoutBackoff(time.Hour) // it stays deferred
			case n%5 == 0:
				m.RequeueWithoutBackoff(0)
			}
			return nil
		}
		c := consume(t, churned(i), "kept", nsq.HandlerFunc(handle))
		if err := c.ConnectToNSQD(b.TCP); err != nil {
			t.Fatal(err)
		}
		consumers = append(consumers, c)
		working.Go(func() {
			p, err := newProducer(b.TCP)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Stop()
			for n := range 300 {
				if err := p.Publish(churned(i), fmt.Appendf(nil, "%d-%d-%s", i, n, strings.Repeat("x", n%400))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for range 12 {
		name := churned(random.IntN(topics))
		switch random.IntN(3) {
		case 0:
			b.Act(t, "/channel/empty", name, "emptied")
		case 1:
			b.Act(t, "/channel/delete", name, "emptied")
			b.Create(t, name, "emptied")
		case 2:
			b.Create(t, "passing", "c")
			b.Publish(t, "passing", "x")
			b.Act(t, "/topic/delete", "passing", "")
		}
	}
	working.Wait()
	for _, c := range consumers {
		leave(c)
	}
}

// consumeAll finishes all that a channel has, deferred messages excepted that are not due, and returns how many those and these are.
func consumeAll(t *testing.T, b *cmdtest.Process, topic, channel string) int64 {
	t.Helper()
	var got atomic.Int64
	c := consume(t, topic, channel, nsq.HandlerFunc(func(*nsq.Message) error { got.Add(1); return nil }))
	if err := c.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	defer leave(c)
	left := httpapi.Channel{}
	cmdtest.Eventually(t, "nothing waits", 30*time.Second, func() bool {
		left = b.Channel(t, topic, channel)
		return left.Depth == 0 && left.InFlightCount == 0
	})
	return got.Load() + int64(left.DeferredCount)
}

// TestADeletedTopicGivesItsPlaceBack: a thousand topics are made, published to and deleted where there is room for two, and nothing of
// them is left: no place, no channel, no block on disk. The report's server kept what was reserved.
func TestADeletedTopicGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	b := cmdtest.Broker(t, "brokerd", nil, "--max-topics=2", "--max-channels=2", "--mem-queue-size=0")
	for i := range 1000 {
		name := fmt.Sprintf("passing-%d", i)
		b.Create(t, name, "c")
		b.Publish(t, name, "x")
		b.Act(t, "/topic/delete", name, "")
	}
	metrics := scrape(t, b)
	for _, want := range []string{"brokerd_topics 0", "brokerd_channels 0", "brokerd_segment_blocks 0"} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics have not %q", want)
		}
	}
	var s httpapi.Stats
	b.Get(t, "/stats?format=json", &s)
	if len(s.Topics) != 0 {
		t.Errorf("%d topics are there", len(s.Topics))
	}
	b.Create(t, "one", "c")
	b.Create(t, "two", "c")
	if a := ask(t, b, "POST", "/topic/create?topic=three", ""); a.status != 429 {
		t.Errorf("a third topic: %d %s", a.status, a.body)
	}
	b.Stop(t)
}
