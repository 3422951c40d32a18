package broker_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// quiet takes what go-nsq logs.
var quiet = log.New(io.Discard, "", 0)

// stockConfig returns go-nsq's configuration for a door; without one it is go-nsq's own default.
func (h *house) stockConfig(d door) *nsq.Config {
	cfg := cmdtest.ClientConfig()
	cfg.Snappy, cfg.Deflate = d.snappy, d.deflate
	if d.tls {
		cfg.TlsV1, cfg.TlsConfig = true, h.authority.Client()
	}
	return cfg
}

func (n *node) producer(cfg *nsq.Config) *nsq.Producer {
	n.t.Helper()
	p, err := nsq.NewProducer(n.TCPAddr().String(), cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	p.SetLogger(quiet, nsq.LogLevelMax)
	n.t.Cleanup(p.Stop)
	return p
}

// consumer connects a stock consumer with so many handlers. It is stopped, and waited for, at the test's end at the latest.
func (n *node) consumer(topic, channel string, cfg *nsq.Config, handlers int, handle nsq.HandlerFunc) *nsq.Consumer {
	n.t.Helper()
	c, err := nsq.NewConsumer(topic, channel, cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	c.SetLogger(quiet, nsq.LogLevelMax)
	c.AddConcurrentHandlers(handle, handlers)
	if err := c.ConnectToNSQD(n.TCPAddr().String()); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { stopConsumer(n.t, c) })
	return c
}

func stopConsumer(t testing.TB, c *nsq.Consumer) {
	t.Helper()
	c.Stop()
	select {
	case <-c.StopChan:
	case <-time.After(2 * time.Minute):
		t.Error("the consumer did not stop")
	}
}

// tally counts how often each message was handled and finished. It is safe for concurrent use.
type tally struct {
	mu       sync.Mutex
	handled  map[string]int
	finished map[string]int
	wrong    []string
}

func newTally() *tally { return &tally{handled: map[string]int{}, finished: map[string]int{}} }

// handle notes one delivery, and that its attempt is the one that must come now.
func (y *tally) handle(m *nsq.Message) (deliveries int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	body := string(m.Body)
	y.handled[body]++
	if int(m.Attempts) != y.handled[body] {
		y.wrong = append(y.wrong, fmt.Sprintf("%s: attempt %d is delivery %d", body, m.Attempts, y.handled[body]))
	}
	return y.handled[body]
}

func (y *tally) finish(m *nsq.Message) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.finished[string(m.Body)]++
}

func (y *tally) done() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.finished)
}

// check demands that each of the bodies was finished once, in the delivery that want tells, and nothing else.
func (y *tally) check(t *testing.T, bodies []string, want func(i int) int) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for i, body := range bodies {
		if y.finished[body] != 1 || y.handled[body] != want(i) {
			t.Errorf("%s was handled %d times and finished %d times, want %d and 1", body, y.handled[body], y.finished[body], want(i))
		}
	}
	if len(y.handled) != len(bodies) {
		t.Errorf("%d different messages came, %d were published", len(y.handled), len(bodies))
	}
	for _, w := range y.wrong {
		t.Error(w)
	}
}

func numbered(prefix string, count int) []string {
	var list []string
	for i := range count {
		list = append(list, fmt.Sprintf("%s %d", prefix, i))
	}
	return list
}

// publishInAllWays publishes the bodies by PUB, asynchronous PUB, MPUB, asynchronous MPUB and DPUB in turn, and waits for
// every answer.
func publishInAllWays(t *testing.T, p *nsq.Producer, topic string, bodies []string) {
	t.Helper()
	answers, owed := make(chan *nsq.ProducerTransaction, len(bodies)), 0
	note := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for i := 0; i < len(bodies); i += 8 {
		part := make([][]byte, 0, 8)
		for _, b := range bodies[i:min(i+8, len(bodies))] {
			part = append(part, []byte(b))
		}
		switch (i / 8) % 4 {
		case 0:
			note(p.MultiPublish(topic, part))
		case 1:
			owed++
			note(p.MultiPublishAsync(topic, part, answers))
		case 2:
			for _, b := range part {
				note(p.Publish(topic, b))
			}
		case 3:
			for k, b := range part {
				owed++
				if k%2 == 0 {
					note(p.PublishAsync(topic, b, answers))
				} else {
					note(p.DeferredPublishAsync(topic, time.Duration(k)*time.Millisecond, b, answers))
				}
			}
		}
	}
	for range owed {
		if a := <-answers; a.Error != nil {
			t.Error(a.Error)
		}
	}
}

// TestStockClients: go-nsq's producers and consumers through every door it has, with handlers that finish, touch, requeue and
// fail: nothing is lost, nothing comes twice, attempts are exact, and what was asked for was negotiated.
func TestStockClients(t *testing.T) {
	t.Parallel()
	h := build(t, nil)
	for _, d := range doors {
		if d.unix {
			continue // go-nsq speaks TCP only
		}
		t.Run(d.name, func(t *testing.T) { h.stockClients(t, d, "stock."+strings.ReplaceAll(d.name, "+", "-")) })
	}
}

func (h *house) stockClients(t *testing.T, d door, topic string) {
	n, y := h.node, newTally()
	cfg := h.stockConfig(d)
	cfg.MaxInFlight, cfg.DefaultRequeueDelay, cfg.MaxBackoffDuration = 100, 0, 0
	handle := func(m *nsq.Message) error {
		switch deliveries, kind := y.handle(m), m.Body[len(m.Body)-1]; {
		case kind == '3' && deliveries == 1:
			m.RequeueWithoutBackoff(time.Millisecond)
			return nil
		case kind == '5' && deliveries <= 2:
			return errors.New("once more")
		case kind == '7':
			m.Touch()
		}
		y.finish(m)
		return nil
	}
	consumers := []*nsq.Consumer{n.consumer(topic, "c", cfg, 4, handle), n.consumer(topic, "c", cfg, 4, handle)}
	bodies := numbered("message", 800)
	publishInAllWays(t, n.producer(cfg), topic, bodies[:400])
	publishInAllWays(t, n.producer(cfg), topic, bodies[400:])
	cmdtest.Eventually(t, "everything is consumed", 20*time.Second, func() bool { return y.done() == len(bodies) })
	eventually(t, "everything is finished", func() bool {
		c := n.channel(topic, "c")
		return c.Depth+int64(c.InFlightCount+c.DeferredCount) == 0
	})
	y.check(t, bodies, func(i int) int {
		switch i % 10 {
		case 3:
			return 2
		case 5:
			return 3
		}
		return 1
	})
	s := n.channel(topic, "c")
	if s.MessageCount != 800 || s.RequeueCount != 80+160 || s.TimeoutCount != 0 || s.DisconnectRequeueCount != 0 || len(s.Clients) != 2 {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Clients {
		if c.TLS != d.tls || c.Snappy != d.snappy || c.Deflate != d.deflate {
			t.Errorf("not what was asked for: %+v", c)
		}
	}
	for _, c := range consumers {
		stopConsumer(t, c)
	}
	eventually(t, "the consumers have left", func() bool { return n.channel(topic, "c").ClientCount == 0 })
}

// TestStockConsumerCounts is go-nsq's own consumer test: two messages over HTTP, one more, and one that fails and comes back
// at once until its fifth attempt are exactly eight calls of the handler.
func TestStockConsumerCounts(t *testing.T) {
	t.Parallel()
	h := build(t, nil)
	for _, d := range doors {
		if d.unix {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			topic := "counts." + strings.ReplaceAll(d.name, "+", "-")
			n, y := h.node, newTally()
			cfg := h.stockConfig(d)
			cfg.DefaultRequeueDelay, cfg.MaxBackoffDuration, cfg.MaxAttempts = 0, 50*time.Millisecond, 5
			n.post("/pub?topic="+topic, "single")
			n.publish(topic, "double 1", "double 2")
			gaveUp := make(chan struct{})
			n.post("/pub?topic="+topic, "TOBEFAILED")
			n.consumer(topic, "ch", cfg, 1, func(m *nsq.Message) error {
				if y.handle(m); string(m.Body) == "TOBEFAILED" {
					if m.Attempts == 5 {
						close(gaveUp)
					}
					return errors.New("fail this message")
				}
				y.finish(m)
				return nil
			})
			select {
			case <-gaveUp:
			case <-time.After(2 * time.Minute):
				t.Fatal("the failing message did not come five times")
			}
			eventually(t, "all is over", func() bool {
				c := n.channel(topic, "ch")
				return y.done() == 3 && c.Depth+int64(c.InFlightCount+c.DeferredCount) == 0
			})
			if total := y.handled["TOBEFAILED"] + len(y.finished); total != 8 || len(y.wrong) != 0 {
				t.Errorf("the handler was called %d times; %v", total, y.wrong)
			}
		})
	}
}

// TestStockBackoff: a consumer that backs off, which goes through RDY 0 and RDY 1, gets everything in the end.
func TestStockBackoff(t *testing.T) {
	t.Parallel()
	n, y := start(t, nil), newTally()
	cfg := cmdtest.ClientConfig()
	cfg.MaxInFlight, cfg.DefaultRequeueDelay = 20, 0
	cfg.BackoffMultiplier, cfg.MaxBackoffDuration = time.Millisecond, 10*time.Millisecond
	bodies := numbered("message", 40)
	n.publish("t", bodies...)
	n.consumer("t", "c", cfg, 4, func(m *nsq.Message) error {
		if y.handle(m) == 1 && m.Body[len(m.Body)-1] == '1' {
			return errors.New("backs off")
		}
		y.finish(m)
		return nil
	})
	cmdtest.Eventually(t, "everything is consumed", 20*time.Second, func() bool { return y.done() == len(bodies) })
	y.check(t, bodies, func(i int) int {
		if i%10 == 1 {
			return 2
		}
		return 1
	})
}

// TestStockStop: a consumer that is stopped while messages are in its hands finishes these, gets no more, and leaves the rest.
func TestStockStop(t *testing.T) {
	t.Parallel()
	n, y := start(t, nil), newTally()
	cfg := cmdtest.ClientConfig()
	cfg.MaxInFlight = 10
	bodies := numbered("message", 100)
	n.publish("t", bodies...)
	hold, held := make(chan struct{}), make(chan struct{}, len(bodies))
	c := n.consumer("t", "c", cfg, 10, func(m *nsq.Message) error {
		y.handle(m)
		held <- struct{}{}
		<-hold
		y.finish(m)
		return nil
	})
	for range 10 { // all that it may have: else it closes when it has none for a moment, and what comes then is not finished though it was handled
		<-held
	}
	c.Stop()
	close(hold)
	stopConsumer(t, c)
	eventually(t, "the consumer has left", func() bool { return n.channel("t", "c").ClientCount == 0 })
	s := n.channel("t", "c")
	if left := int(s.Depth) + s.InFlightCount; left+y.done() != len(bodies) || s.InFlightCount != 0 || y.done() > 20 {
		t.Errorf("%d were finished, %d wait, %d are in flight", y.done(), s.Depth, s.InFlightCount)
	}
	n.consumer("t", "c", cfg, 4, func(m *nsq.Message) error {
		y.finish(m)
		return nil
	})
	eventually(t, "the rest is consumed", func() bool { return y.done() == len(bodies) })
}

// TestStockAuth: go-nsq answers a broker that demands AUTH.
func TestStockAuth(t *testing.T) {
	t.Parallel()
	daemon := httptest.NewServer(http.HandlerFunc(prototest.GrantBySecret))
	defer daemon.Close()
	n := start(t, func(o *broker.Options) { o.AuthHTTPAddresses = []string{daemon.Listener.Addr().String()} })
	defer n.stop()
	cfg := cmdtest.ClientConfig()
	cfg.AuthSecret = "all"
	p := n.producer(cfg)
	if err := p.Publish("prototest.t", []byte("x")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	c := n.consumer("prototest.t", "c", cfg, 1, func(m *nsq.Message) error {
		got <- string(m.Body)
		return nil
	})
	if body := <-got; body != "x" {
		t.Errorf("got %q", body)
	}
	if s := n.channel("prototest.t", "c").Clients[0]; !s.Authed || s.AuthIdentity != "who" || s.AuthIdentityURL != "http://who" {
		t.Errorf("%+v", s)
	}
	stopConsumer(t, c)
	refused := cmdtest.ClientConfig()
	refused.AuthSecret = "refused"
	if err := n.producer(refused).Publish("prototest.t", []byte("x")); err == nil || !strings.Contains(err.Error(), "E_AUTH_FAILED") {
		t.Errorf("a wrong secret got %v", err)
	}
}

// heartbeats counts those that a stock client logs.
type heartbeats struct{ atomic.Int64 }

// Output takes a line of the log.
func (h *heartbeats) Output(_ int, line string) error {
	if strings.Contains(line, "heartbeat received") {
		h.Add(1)
	}
	return nil
}

// TestStockHeartbeat: the interval that go-nsq's test asks for is refused with the text that it looks for; the shortest one
// survives a pause longer than itself.
func TestStockHeartbeat(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	cfg := cmdtest.ClientConfig()
	cfg.HeartbeatInterval = 100 * time.Millisecond
	if err := n.producer(cfg).Ping(); err == nil ||
		!strings.HasSuffix(err.Error(), "E_BAD_BODY IDENTIFY heartbeat interval (100) is invalid") {
		t.Errorf("100 ms got %v", err)
	}
	for interval := time.Second; !n.outlivesHeartbeats(interval); interval *= 4 { // a machine that is busy may be late by two of them
		t.Logf("%v are too short", interval)
	}
}

// outlivesHeartbeats reports whether a producer has published over one connection, with heartbeats between.
func (n *node) outlivesHeartbeats(interval time.Duration) bool {
	cfg := cmdtest.ClientConfig()
	cfg.HeartbeatInterval = interval
	p := n.producer(cfg)
	var heard heartbeats
	p.SetLogger(&heard, nsq.LogLevelDebug)
	topic := interval.String()
	stands := func(published uint64) bool { // the connection that it began with
		return slices.ContainsFunc(n.stats().Producers, func(c httpapi.Client) bool {
			return c.PubCounts[0].Topic == topic && c.PubCounts[0].Count == published
		})
	}
	for published := range uint64(2) {
		if err := p.Publish(topic, []byte("x")); err != nil {
			if published == 0 {
				n.t.Fatal(err)
			}
			return false
		}
		before := heard.Load()
		cmdtest.Eventually(n.t, "heartbeats come", time.Minute, func() bool { return heard.Load() > before+1 || !stands(published+1) })
		if !stands(published + 1) {
			return false
		}
	}
	return true
}

// TestStockErrors: what go-nsq tells its user is what the broker said.
func TestStockErrors(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.MaxMsgSize = 100 })
	for _, c := range []struct {
		publish func(*nsq.Producer) error
		want    string
	}{
		{func(p *nsq.Producer) error { return p.Publish("bad$", []byte("x")) }, `E_BAD_TOPIC PUB topic name "bad$" is not valid`},
		{func(p *nsq.Producer) error { return p.Publish("t", make([]byte, 101)) }, "E_BAD_MESSAGE PUB message too big 101 > 100"},
		{func(p *nsq.Producer) error { return p.MultiPublish("t", [][]byte{{1}, make([]byte, 101)}) },
			"E_BAD_MESSAGE MPUB message too big 101 > 100"},
		{func(p *nsq.Producer) error { return p.DeferredPublish("t", 2*time.Hour, []byte("x")) },
			"E_INVALID DPUB timeout 7200000 out of range 0-3600000"},
	} {
		if err := c.publish(n.producer(cmdtest.ClientConfig())); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
