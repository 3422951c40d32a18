package interop

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// publishKinds are the ways to publish. Each sends bodies that nobody else sends.
var publishKinds = map[string]func(p *nsq.Producer, bodies []string) error{
	"pub": func(p *nsq.Producer, bodies []string) error { return p.Publish(topic, []byte(bodies[0])) },
	"mpub": func(p *nsq.Producer, bodies []string) error {
		var batch [][]byte
		for _, b := range bodies {
			batch = append(batch, []byte(b))
		}
		return p.MultiPublish(topic, batch)
	},
	"dpub": func(p *nsq.Producer, bodies []string) error {
		delay, _ := deferral(bodies[0])
		return p.DeferredPublish(topic, delay, []byte(bodies[0]))
	},
}

// filler makes bodies long enough for overflow to be files of some size.
var filler = strings.Repeat(".", 200)

// bodiesOf returns the n-th publish of a kind.
func bodiesOf(kind string, n int) []string {
	switch kind {
	case "mpub":
		var bodies []string
		for k := range 10 {
			bodies = append(bodies, fmt.Sprintf("mpub %d/%d %s", n, k, filler))
		}
		return bodies
	case "dpub":
		return []string{fmt.Sprintf("dpub %d %d %s", n, 50+n*37%1500, filler)}
	}
	return []string{fmt.Sprintf("pub %d %s", n, filler)}
}

// deferral returns the delay of a message that was deferred when it was published.
func deferral(body string) (time.Duration, bool) {
	fields := strings.Fields(body)
	if fields[0] != "dpub" {
		return 0, false
	}
	ms, err := strconv.Atoi(fields[2])
	return time.Duration(ms) * time.Millisecond, err == nil
}

// publish starts a stock producer that publishes until settle. What is not answered is not published again: each body goes
// out once.
func (l *ledger) publish(t *testing.T, address, kind string) {
	t.Helper()
	l.pubs.Go(func() {
		var producer *nsq.Producer // nil while there is no connection
		defer func() {
			if producer != nil {
				producer.Stop()
			}
		}()
		pace := time.NewTicker(publishPace)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.quit:
				return
			case <-pace.C:
			}
			if producer == nil {
				producer = connect(t, address)
				continue
			}
			bodies := bodiesOf(kind, n)
			l.sent(bodies)
			began := time.Now()
			err := publishKinds[kind](producer, bodies)
			l.took(time.Since(began))
			if err == nil {
				l.acknowledged(bodies)
				continue
			}
			l.unanswered(bodies)
			producer.Stop()
			producer = nil
		}
	})
	t.Cleanup(func() {
		select {
		case <-l.quit:
		default:
			close(l.quit)
		}
		l.pubs.Wait()
	})
}

// connect returns a stock producer that is connected, nil when that fails.
//
// go-nsq's producer has data races with itself: when it connects again, so that a new one takes its place after each error;
// and when it notices the end of a connection before anything else has told that goroutine of the beginning. The log, which
// both then pass through, tells it.
func connect(t *testing.T, address string) *nsq.Producer {
	producer, err := nsq.NewProducer(address, cmdtest.ClientConfig())
	if err != nil {
		t.Errorf("a producer for %s: %v", address, err)
		return nil
	}
	log := &silence{}
	producer.SetLogger(log, nsq.LogLevelError)
	if producer.Ping() != nil {
		producer.Stop()
		return nil
	}
	log.Output(0, "")
	return producer
}

// silence is a log that nobody reads.
type silence struct{ mu sync.Mutex }

// Output drops a line.
func (s *silence) Output(int, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil
}

func (l *ledger) sent(bodies []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range bodies {
		l.entries[b] = &entry{sent: time.Now()}
	}
}

// took books how long a publish was under way.
func (l *ledger) took(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, d)
}

func (l *ledger) acknowledged(bodies []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range bodies {
		l.entries[b].acked = true
	}
}

// unanswered books publishes that may have been accepted or not.
func (l *ledger) unanswered(bodies []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure += len(bodies)
}

// consume starts a stock consumer, which is stopped at the end of the test, and a watch on how far the test itself is kept from
// running.
func (l *ledger) consume(t *testing.T, address string) {
	t.Helper()
	config := cmdtest.ClientConfig()
	config.MaxInFlight = 50
	config.MaxAttempts = 0 // no limit
	config.MaxBackoffDuration = 0
	config.LookupdPollInterval = 20 * time.Millisecond // how soon it connects again
	config.LookupdPollJitter = 0
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	consumer.AddConcurrentHandlers(l, 8)
	t.Cleanup(func() { leave(consumer) })
	if err := consumer.ConnectToNSQD(address); err != nil {
		t.Fatal(err)
	}
	l.pubs.Go(l.watchStalls)
}

// watchStalls measures by how much a ticker of the test comes late.
func (l *ledger) watchStalls() {
	const every = 10 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-l.quit:
			return
		case <-ticker.C:
		}
		now := time.Now()
		l.mu.Lock()
		l.stalls = max(l.stalls, now.Sub(last)-every)
		l.mu.Unlock()
		last = now
	}
}
