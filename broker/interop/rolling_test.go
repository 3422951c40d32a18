package interop

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// chooser is a producer that may choose among nodes: a stock producer for each, of which it uses one until that refuses.
type chooser struct {
	label     string
	addresses []string
	producer  *nsq.Producer // nil while there is no connection
	at        int

	acked  atomic.Int64
	errors int
	gap    time.Duration // longest time between two publishes that were acknowledged
}

// publish publishes numbered messages until it is told to stop.
func (c *chooser) publish(t *testing.T, stop <-chan struct{}) {
	defer c.leave()
	tick := time.NewTicker(publishPace)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if c.producer == nil {
			c.next(t)
			continue
		}
		if err := c.producer.Publish(topic, fmt.Appendf(nil, "%s:%d", c.label, c.acked.Load())); err != nil {
			c.errors++
			c.leave()
			continue
		}
		c.acked.Add(1)
		c.gap = max(c.gap, time.Since(last))
		last = time.Now()
	}
}

// next goes to another node, if that is there.
func (c *chooser) next(t *testing.T) {
	c.at = (c.at + 1) % len(c.addresses)
	c.producer = connect(t, c.addresses[c.at])
}

func (c *chooser) leave() {
	if c.producer != nil {
		c.producer.Stop()
		c.producer = nil
	}
}

// arrivals is an inbox that knows how long nothing came.
type arrivals struct {
	*inbox
	last time.Time
	gap  time.Duration
}

func (a *arrivals) HandleMessage(m *nsq.Message) error {
	a.mu.Lock()
	now := time.Now()
	if !a.last.IsZero() {
		a.gap = max(a.gap, now.Sub(a.last))
	}
	a.last = now
	a.mu.Unlock()
	return a.inbox.HandleMessage(m)
}

// rolling is three brokers with two lookups, stock consumers that are told the lookups, and producers that choose among the brokers.
type rolling struct {
	lookups, brokers []*cmdtest.Process
	producers        []*chooser
	inboxes          []*arrivals
	stop             chan struct{}
	publishing       sync.WaitGroup
}

func startRolling(t *testing.T) *rolling {
	t.Helper()
	r := &rolling{stop: make(chan struct{})}
	t.Cleanup(r.halt)
	for range 2 {
		r.lookups = append(r.lookups, cmdtest.Lookup(t, "lookupd"))
	}
	var addresses, lookups []string
	for i := range 3 {
		b := cmdtest.NewBroker(t, "brokerd", t.TempDir(), unhurried, "--node-id="+strconv.Itoa(i+1),
			"--lookupd-tcp-address="+r.lookups[0].TCP, "--lookupd-tcp-address="+r.lookups[1].TCP)
		b.Label = fmt.Sprintf("brokerd-%d", i+1)
		b.Start(t)
		b.Create(t, topic, channel)
		r.brokers, addresses = append(r.brokers, b), append(addresses, b.TCP)
	}
	for _, l := range r.lookups {
		lookups = append(lookups, l.HTTP)
	}
	for range 2 {
		in := &arrivals{inbox: newInbox()}
		c := consume(t, topic, channel, in)
		if err := c.ConnectToNSQLookupds(lookups); err != nil {
			t.Fatal(err)
		}
		r.inboxes = append(r.inboxes, in)
	}
	for i := range 4 {
		c := &chooser{label: fmt.Sprintf("p%d", i), addresses: addresses, at: i % 3}
		r.producers = append(r.producers, c)
		r.publishing.Go(func() { c.publish(t, r.stop) })
	}
	return r
}

// halt stops the producers. It may be called more than once.
func (r *rolling) halt() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.publishing.Wait()
}

func (r *rolling) published() (n int64) {
	for _, p := range r.producers {
		n += p.acked.Load()
	}
	return n
}

// received returns how many different messages came to any consumer, and how many deliveries there were.
func (r *rolling) received() (distinct, deliveries int) {
	all := map[string]bool{}
	for _, in := range r.inboxes {
		in.mu.Lock()
		for body := range in.bodies {
			all[body] = true
		}
		deliveries += in.deliveries
		in.mu.Unlock()
	}
	return len(all), deliveries
}

// end stops the producers and demands that all that was published came once. It returns the longest gaps.
func (r *rolling) end(t *testing.T) (publishing, delivery time.Duration, refused int) {
	t.Helper()
	r.halt()
	n := int(r.published())
	cmdtest.Eventually(t, "all that was published came", 30*time.Second, func() bool { d, _ := r.received(); return d >= n })
	distinct, deliveries := r.received()
	if distinct != n || deliveries != n {
		t.Errorf("published %d: lost %d, repeated %d", n, n-distinct, deliveries-distinct)
	}
	for _, p := range r.producers {
		publishing, refused = max(publishing, p.gap), refused+p.errors
	}
	for _, in := range r.inboxes {
		delivery = max(delivery, in.gap)
	}
	t.Logf("%d published, lost %d, repeated %d, %d publishes refused, longest gap of a producer %v, of a consumer %v",
		n, n-distinct, deliveries-distinct, refused, publishing.Round(time.Millisecond), delivery.Round(time.Millisecond))
	return publishing, delivery, refused
}

// awaitMore waits until more is published, and a message that only this broker has comes to a consumer.
func (r *rolling) awaitMore(t *testing.T, b *cmdtest.Process, number int64) {
	t.Helper()
	at, probe := r.published(), fmt.Sprintf("probe:%d", number)
	cmdtest.Eventually(t, "publishing goes on", 20*time.Second, func() bool { return r.published() > at+200 })
	for _, in := range r.inboxes {
		_, before := in.size()
		cmdtest.Eventually(t, "every consumer gets messages", 20*time.Second, func() bool { _, now := in.size(); return now > before })
	}
	b.Publish(t, topic, probe)
	cmdtest.Eventually(t, b.Label+"'s messages come", 20*time.Second, func() bool {
		return slices.ContainsFunc(r.inboxes, func(in *arrivals) bool { return in.has(probe) })
	})
}

// TestRollingRestart drains, ends and starts one of three nodes after the other, in make crash ten times: stock clients lose nothing, get
// nothing twice, every consumer goes on getting messages, and no producer sees more than an error a restart.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	restarts := 3
	if os.Getenv("BROKERD_CRASH_ROUNDS") != "" {
		restarts = 10
	}
	for name, end := range map[string]func(*testing.T, *cmdtest.Process){
		"drain":   func(t *testing.T, b *cmdtest.Process) { put(t, b, "/config/drain", "true"); expectExit(t, b) },
		"SIGTERM": func(t *testing.T, b *cmdtest.Process) { b.Stop(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRolling(t)
			limit := restarts * len(r.producers)
			for i := range restarts {
				b := r.brokers[i%len(r.brokers)]
				end(t, b)
				b.Start(t)
				for _, l := range r.lookups {
					cmdtest.Eventually(t, l.Label+" knows all brokers", 20*time.Second, func() bool {
						var found httpapi.Lookup
						return l.Ask(t, "/lookup?topic="+topic, &found) == nil && len(found.Producers) == 3
					})
				}
				r.awaitMore(t, b, int64(i))
			}
			r.extra(int64(restarts))
			if _, _, refused := r.end(t); refused > limit {
				t.Errorf("%d publishes were refused in %d restarts", refused, restarts)
			}
		})
	}
}

// extra counts messages that the test has published itself.
func (r *rolling) extra(n int64) {
	r.producers = append(r.producers, &chooser{})
	r.producers[len(r.producers)-1].acked.Store(n)
}

// put sends a PUT that must be answered with 200.
func put(t *testing.T, d *cmdtest.Process, path, body string) string {
	t.Helper()
	a := ask(t, d, http.MethodPut, path, body)
	if a.status != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", path, a.status, a.body)
	}
	return a.body
}

// expectExit waits until a process ends by itself, in order.
func expectExit(t *testing.T, d *cmdtest.Process) {
	t.Helper()
	if code := d.Wait(t, 30*time.Second); code != 0 {
		t.Errorf("%s ended with %d", d.Label, code)
	}
}

// TestDrainOfAProcess ends it with 0, or leaves it there, not ready, until SIGTERM.
func TestDrainOfAProcess(t *testing.T) {
	t.Parallel()
	b := cmdtest.Broker(t, "brokerd", nil)
	put(t, b, "/config/drain?stay=true", "true")
	cmdtest.Eventually(t, "it has drained", 5*time.Second, func() bool { return drainStateOf(t, b) == "drained" })
	if a := ask(t, b, http.MethodGet, "/ready", ""); a.status != http.StatusServiceUnavailable || b.Ended() {
		t.Errorf("/ready: %d %s", a.status, a.body)
	}
	b.Signal(t, syscall.SIGTERM)
	expectExit(t, b)
	b.Start(t)
	put(t, b, "/config/drain?empty=true", "true")
	expectExit(t, b)
}

// drainStateOf returns the state of a broker's drain.
func drainStateOf(t *testing.T, b *cmdtest.Process) string {
	t.Helper()
	var d httpapi.Drain
	b.Get(t, "/config/drain", &d)
	return d.State
}
