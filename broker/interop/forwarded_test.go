package interop

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// beside is stock producers at one broker, and what they were told.
type beside struct {
	mu    sync.Mutex
	acked []string // by each, in its order
	sent  map[string]bool
	bad   []error
}

// acks counts what was acknowledged.
func (b *beside) acks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// produce publishes one message after the other by a connection of its own, some of them in batches, until quit.
func (b *beside) produce(t *testing.T, address, prefix string, batch int, quit <-chan struct{}) {
	p, err := nsq.NewProducer(address, cmdtest.ClientConfig())
	if err != nil {
		t.Error(err)
		return
	}
	defer p.Stop()
	p.SetLogger(nil, 0)
	for n := 1; ; n += batch {
		select {
		case <-quit:
			return
		default:
		}
		var bodies [][]byte
		for i := range batch {
			bodies = append(bodies, fmt.Appendf(nil, "%s %d", prefix, n+i))
		}
		b.mu.Lock()
		for _, body := range bodies {
			b.sent[string(body)] = true
		}
		b.mu.Unlock()
		if batch == 1 {
			err = p.Publish("orders", bodies[0])
		} else {
			err = p.MultiPublish("orders", bodies)
		}
		b.mu.Lock()
		if err != nil {
			b.bad = append(b.bad, fmt.Errorf("%s %d: %w", prefix, n, err))
		} else {
			for _, body := range bodies {
				b.acked = append(b.acked, string(body))
			}
		}
		b.mu.Unlock()
	}
}

// connections returns the addresses that producers come from.
func connections(t *testing.T, b *cmdtest.Process) (from []string) {
	t.Helper()
	var stats httpapi.Stats
	b.Get(t, "/stats?format=json", &stats)
	for _, c := range stats.Producers {
		from = append(from, c.RemoteAddress)
	}
	slices.Sort(from)
	return from
}

// gather consumes what a topic holds, in order, and returns it.
func gather(t *testing.T, address string, want int) (bodies []string) {
	t.Helper()
	cfg := cmdtest.ClientConfig()
	cfg.MaxInFlight = 1
	consumer, err := nsq.NewConsumer("orders", "c", cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, 0)
	got := make(chan string, 1000)
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		got <- string(m.Body)
		return nil
	}))
	if err := consumer.ConnectToNSQD(address); err != nil {
		t.Fatal(err)
	}
	late := time.After(time.Minute)
	for len(bodies) < want {
		select {
		case body := <-got:
			bodies = append(bodies, body)
		case <-late:
			t.Fatalf("%d of %d messages came", len(bodies), want)
		}
	}
	consumer.Stop()
	<-consumer.StopChan
	for len(got) > 0 { // more than were acknowledged
		bodies = append(bodies, <-got)
	}
	return bodies
}

// TestProducersBesideAFollowerOutliveItsLeaders: stock producers publish to one broker of three, whoever leads. The leader is killed, again and
// again; when it is their broker itself it is paused, and so loses the lead. No publish fails, their connections stay, everything that was
// acknowledged is there once, and in the order of each producer.
func TestProducersBesideAFollowerOutliveItsLeaders(t *testing.T) {
	m := foundMembers(t)
	carryOut(t, m.brokers[0], "/topic/create?topic=orders&replicas=3")
	leader := m.awaitServed(t, "orders", nil)
	home := m.brokers[(slices.Index(m.brokers, leader)+1)%3]
	b := &beside{sent: map[string]bool{}}
	quit := make(chan struct{})
	var producers sync.WaitGroup
	for i, batch := range []int{1, 1, 20} {
		producers.Go(func() { b.produce(t, home.TCP, fmt.Sprintf("p%d", i), batch, quit) })
	}
	more := func(n int) {
		t.Helper()
		before := b.acks()
		cmdtest.Eventually(t, "publishes are acknowledged", time.Minute, func() bool { return b.acks() >= before+n })
	}
	more(200)
	before := connections(t, home)
	kills := 0
	for range 4 {
		began, back := time.Now(), func() {}
		if leader == home {
			leader.Signal(t, syscall.SIGSTOP)
			cmdtest.Eventually(t, "another one leads", time.Minute, func() bool {
				other := m.leaderOf(t, m.brokers[(slices.Index(m.brokers, home)+1)%3], "orders")
				return other != nil && other != home
			})
			leader.Signal(t, syscall.SIGCONT)
		} else {
			kills++
			leader.Kill(t)
			killed := leader
			back = func() { killed.Start(t) }
		}
		more(50)
		t.Logf("%s has led; publishes go on after %s", leader.Label, time.Since(began).Round(time.Millisecond))
		back()
		m.awaitWhole(t, m.brokers)
		leader = m.awaitServed(t, "orders", nil)
		more(50)
	}
	if after := connections(t, home); !slices.Equal(before, after) || len(after) == 0 {
		t.Errorf("the producers come by %q, and came by %q", after, before)
	}
	close(quit)
	producers.Wait()
	for _, err := range b.bad {
		t.Error(err)
	}
	if kills == 0 {
		t.Error("no leader was killed")
	}
	leader = m.awaitServed(t, "orders", nil)
	got := gather(t, leader.TCP, len(b.acked))
	last, seen := map[string]int{}, map[string]bool{}
	for _, body := range got {
		var who string
		var n int
		if _, err := fmt.Sscanf(body, "%s %d", &who, &n); err != nil || !b.sent[body] || seen[body] {
			t.Fatalf("%q came, %v, before: %v", body, err, seen[body])
		}
		if n != last[who]+1 {
			t.Errorf("%q comes behind %d", body, last[who])
		}
		last[who], seen[body] = n, true
	}
	for _, body := range b.acked {
		if !seen[body] {
			t.Errorf("%q was acknowledged, and is nowhere", body)
		}
	}
	t.Logf("%d acknowledged, %d kills", len(b.acked), kills)
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
