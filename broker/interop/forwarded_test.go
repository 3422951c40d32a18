package interop

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
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

// acks counts what was acknowledged to who has a prefix; empty: to all.
func (b *beside) acks(prefix string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, body := range b.acked {
		if strings.HasPrefix(body, prefix) {
			n++
		}
	}
	return n
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
	pace := time.NewTicker(publishPace)
	defer pace.Stop()
	for n := 0; ; n += batch {
		select {
		case <-quit:
			return
		case <-pace.C:
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

// script has a script of another library publish one message after the other, until quit.
func (b *beside) script(t *testing.T, cmd *exec.Cmd, address, prefix string) (end func()) {
	t.Helper()
	return startWriter(t, cmd, address, "orders", prefix, "acks=all", func(what, body string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch what {
		case "try":
			b.sent[body] = true
		case "sent":
			b.acked = append(b.acked, body)
		default:
			b.bad = append(b.bad, fmt.Errorf("%s: %s", body, what))
		}
	})
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

// gather consumes what a topic holds, in order, until all of some messages have come, and returns it. A message that comes again, as when the lead goes
// meanwhile, has the id that it had: it counts once.
func gather(t *testing.T, address, topic string, all []string) (bodies []string) {
	t.Helper()
	cfg := cmdtest.ClientConfig()
	cfg.MaxInFlight = 500 // one handler takes them as they come, which is the order
	consumer, err := nsq.NewConsumer(topic, "c", cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, 0)
	got := make(chan string, 1000)
	ids := map[nsq.MessageID]bool{}
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		if !ids[m.ID] {
			ids[m.ID] = true
			got <- string(m.Body)
		}
		return nil
	}))
	if err := consumer.ConnectToNSQD(address); err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, body := range all {
		missing[body] = true
	}
	late := time.After(cmdtest.Patience)
	for len(missing) > 0 {
		select {
		case body := <-got:
			bodies = append(bodies, body)
			delete(missing, body)
		case <-late:
			t.Fatalf("of %d messages %d have not come", len(all), len(missing))
		}
	}
	consumer.Stop()
	<-consumer.StopChan
	for len(got) > 0 { // more than were acknowledged
		bodies = append(bodies, <-got)
	}
	return bodies
}

// TestProducersBesideAFollowerOutliveItsLeaders: stock producers, of all libraries, publish to one broker of three, whoever leads. The leader is killed, again and
// again; when it is their broker itself it is paused, and so loses the lead. No publish fails, their connections stay, everything that was
// acknowledged is there once, and in the order of each producer.
func TestProducersBesideAFollowerOutliveItsLeaders(t *testing.T) {
	m := foundMembers(t, patient)
	carryOut(t, m.brokers[0], "/topic/create?topic=orders&replicas=3")
	leader := m.awaitServed(t, "orders", nil)
	home := m.brokers[(slices.Index(m.brokers, leader)+1)%3]
	b := &beside{sent: map[string]bool{}}
	quit := make(chan struct{})
	var producers sync.WaitGroup
	for i, batch := range []int{1, 1, 20} {
		producers.Go(func() { b.produce(t, home.TCP, fmt.Sprintf("p%d", i), batch, quit) })
	}
	var ends []func()
	for _, library := range libraries {
		t.Run(library.name, func(sub *testing.T) {
			ends = append(ends, b.script(t, library.script(sub, "repeat/writer"), home.TCP, library.name))
			cmdtest.Eventually(sub, "it publishes", time.Minute, func() bool { return b.acks(library.name) > 0 })
		})
	}
	more := func(n int) {
		t.Helper()
		before := b.acks("")
		cmdtest.Eventually(t, "publishes are acknowledged", time.Minute, func() bool { return b.acks("") >= before+n })
	}
	more(200)
	before := connections(t, home)
	kills := 0
	for range roundsOr(t, 2) {
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
	for _, end := range ends {
		end()
	}
	for _, err := range b.bad {
		t.Error(err)
	}
	if kills == 0 {
		t.Error("no leader was killed")
	}
	leader = m.awaitServed(t, "orders", nil)
	got := gather(t, leader.TCP, "orders", b.acked)
	next, seen := map[string]int{}, map[string]bool{}
	for _, body := range got {
		var who string
		var n int
		if _, err := fmt.Sscanf(body, "%s %d", &who, &n); err != nil || !b.sent[body] || seen[body] {
			t.Fatalf("%q came, %v, before: %v", body, err, seen[body])
		}
		if n != next[who] {
			t.Errorf("%q comes in place of %d", body, next[who])
		}
		next[who], seen[body] = n+1, true
	}
	t.Logf("%d acknowledged, %d kills; of each: %v", len(b.acked), kills, next)
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
