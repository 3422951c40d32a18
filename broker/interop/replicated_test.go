package interop

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// replicated is a replicated topic under load: a publisher that finds who leads, and a consumer that asks a lookup as any does.
type replicated struct {
	m      *members
	client http.Client
	quit   chan struct{}
	done   sync.WaitGroup

	mu       sync.Mutex
	acked    map[string]bool
	sent     map[string]bool
	finished map[string]int
	refused  int
	strange  []string
}

// leaderOf returns the broker that leads the group of a topic, as another one says, nil when none does.
func (m *members) leaderOf(t *testing.T, asked *cmdtest.Process, topic string) *cmdtest.Process {
	t.Helper()
	v := view(t, asked)
	for _, g := range v.Groups {
		for _, in := range g.Topics {
			if in.Name != topic {
				continue
			}
			for _, b := range m.brokers {
				if n := nodeIn(&v, m.at[b], "member"); n.Folder != "" && n.Folder == g.Leader {
					return b
				}
			}
		}
	}
	return nil
}

// awaitServed returns the broker that serves a topic.
func (m *members) awaitServed(t *testing.T, topic string, but *cmdtest.Process) (leader *cmdtest.Process) {
	t.Helper()
	cmdtest.Eventually(t, "a broker serves "+topic, time.Minute, func() bool {
		for _, b := range m.brokers {
			if b == but {
				continue
			}
			if leader = m.leaderOf(t, b, topic); leader != nil && leader != but {
				_, text := changeMap(t, leader, "/channel/create?topic="+topic+"&channel=c")
				return text == ""
			}
		}
		return false
	})
	return leader
}

// HandleMessage is go-nsq's.
func (r *replicated) HandleMessage(m *nsq.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if body := string(m.Body); r.sent[body] {
		r.finished[body]++
	} else {
		r.strange = append(r.strange, body)
	}
	return nil
}

// publishPace is the least time between two publishes of one producer: as fast as they can producers would take most of a machine that other tests share.
const publishPace = 6 * time.Millisecond

// publish publishes one message after the other to whoever says that it leads, and notes what was answered.
func (r *replicated) publish(prefix string) {
	at := 0
	pace := time.NewTicker(publishPace)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-r.quit:
			return
		case <-pace.C:
		}
		body := fmt.Sprint(prefix, n)
		r.mu.Lock()
		r.sent[body] = true
		r.mu.Unlock()
		answer, err := r.client.Post("http://"+r.m.brokers[at].HTTP+"/pub?topic=orders", "", strings.NewReader(body))
		ok := err == nil && answer.StatusCode == http.StatusOK
		if err == nil {
			answer.Body.Close()
		}
		r.mu.Lock()
		if ok {
			r.acked[body] = true
		} else {
			r.refused++
		}
		r.mu.Unlock()
		if !ok { // it is another one, or nobody now
			at = (at + 1) % len(r.m.brokers)
			time.Sleep(5 * time.Millisecond) // between two tries
		}
	}
}

// count returns how many messages were acknowledged, and how many of them were not finished.
func (r *replicated) count() (acked, missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for body := range r.acked {
		if r.finished[body] == 0 {
			missing++
		}
	}
	return len(r.acked), missing
}

// TestReplicatedTopicOutlivesItsLeaders: while a stock consumer and publishers work, whoever leads the topic is killed or paused, again and
// again, and comes back: every message that was acknowledged is finished, and no other is delivered than was sent. What is asked of a broker that
// does not lead is done by who does. A deleted topic is gone on all, and can be made again.
func TestReplicatedTopicOutlivesItsLeaders(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	m := foundMembers(t, patient, "--lookupd-tcp-address="+lookup.TCP)
	carryOut(t, m.brokers[0], "/topic/create?topic=orders&replicas=3")
	leader := m.awaitServed(t, "orders", nil)
	led := func() *cmdtest.Process { return m.awaitServed(t, "orders", nil) } // on a busy machine it may be another one by now
	for _, b := range m.brokers {
		if b == led() {
			continue
		}
		for _, path := range []string{"/topic/create?topic=orders", "/channel/create?topic=orders&channel=d", "/channel/pause?topic=orders&channel=d",
			"/channel/empty?topic=orders&channel=d", "/topic/pause?topic=orders", "/topic/unpause?topic=orders", "/topic/empty?topic=orders"} {
			if status, text := decided(t, b, path); status != http.StatusOK {
				t.Errorf("%s at a broker that does not lead: %d %s", path, status, text)
			}
		}
		cmdtest.Eventually(t, "the channel is paused by who leads", time.Minute, func() bool { return led().Channel(t, "orders", "d").Paused })
		cmdtest.Eventually(t, "a follower says what it has heard", time.Minute, func() bool {
			return b.Channel(t, "orders", "d").Paused && (b.Topic(t, "orders").Role == "follower" || b == led())
		})
	}
	for i, b := range m.brokers { // as nsqadmin does, which asks each for the same
		if status, text := decided(t, b, "/channel/delete?topic=orders&channel=d"); status != http.StatusOK {
			t.Errorf("deleted at broker %d: %d %s", i+1, status, text)
		}
	}

	r := &replicated{m: m, client: http.Client{Timeout: 3 * time.Second}, quit: make(chan struct{}), acked: map[string]bool{}, sent: map[string]bool{}, finished: map[string]int{}}
	cfg := cmdtest.ClientConfig()
	cfg.LookupdPollInterval, cfg.MaxInFlight, cfg.LookupdPollJitter = 200*time.Millisecond, 50, 0
	consumer, err := nsq.NewConsumer("orders", "c", cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, 0)
	consumer.AddHandler(r)
	if err := consumer.ConnectToNSQLookupd(lookup.HTTP); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"a", "b"} {
		r.done.Go(func() { r.publish(prefix) })
	}
	more := func(n int) {
		before, _ := r.count()
		cmdtest.Eventually(t, "publishes are acknowledged", time.Minute, func() bool { now, _ := r.count(); return now >= before+n })
	}
	more(100)
	leader = led()
	for round := range 4 {
		end, back := "SIGKILL", func() { leader.Start(t) }
		began := time.Now()
		if round == 2 {
			end, back = "SIGSTOP", func() { leader.Signal(t, syscall.SIGCONT) }
			leader.Signal(t, syscall.SIGSTOP)
		} else {
			leader.Kill(t)
		}
		next := m.awaitServed(t, "orders", leader)
		more(20)
		acked, _ := r.count()
		t.Logf("%s of %s: %s serves, and %d are acknowledged, after %s", end, leader.Label, next.Label, acked, time.Since(began).Round(time.Millisecond))
		back()
		m.awaitWhole(t, m.brokers)
		more(100)
		leader = next
	}
	close(r.quit)
	r.done.Wait()
	cmdtest.Eventually(t, "all that was acknowledged is finished", time.Minute, func() bool { _, missing := r.count(); return missing == 0 })
	consumer.Stop()
	<-consumer.StopChan
	acked, _ := r.count()
	again := 0
	for _, n := range r.finished {
		again += n - 1
	}
	t.Logf("%d acknowledged, %d refused or unknown, %d delivered again, none lost", acked, r.refused, again)
	if len(r.strange) > 0 {
		t.Errorf("never sent: %q", r.strange)
	}

	carryOut(t, m.brokers[1], "/topic/delete?topic=orders")
	cmdtest.Eventually(t, "it is gone on all", time.Minute, func() bool {
		return !slices.ContainsFunc(m.brokers, func(b *cmdtest.Process) bool { return strings.Contains(get(t, b.HTTP, "/cluster"), `"orders"`) })
	})
	carryOut(t, m.brokers[2], "/topic/create?topic=orders&replicas=3")
	leader = m.awaitServed(t, "orders", nil)
	if status, text := decided(t, leader, "/topic/delete?topic=orders"); status != http.StatusOK {
		t.Errorf("deleted at its leader: %d %s", status, text)
	}
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
