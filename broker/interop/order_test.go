package interop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// orderKeys is how many keys there are.
const orderKeys = 1000

// keyOrder is what consumers tell of messages, KEY SEQ.
type keyOrder struct {
	mu       sync.Mutex
	out      map[string]int // by key: what a consumer works on
	newest   map[string]int // by key: that was seen
	seen     int            // different messages
	problems []string
}

func newKeyOrder() *keyOrder { return &keyOrder{out: map[string]int{}, newest: map[string]int{}} }

func (o *keyOrder) wrong(format string, args ...any) {
	if len(o.problems) < 20 {
		o.problems = append(o.problems, fmt.Sprintf(format, args...))
	}
}

// begin says that a consumer has begun to work on a message. Those of a key are numbered from 1.
func (o *keyOrder) begin(body string) {
	var key string
	var seq int
	if _, err := fmt.Sscan(body, &key, &seq); err != nil {
		o.wrong("body %q", body)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if other, ok := o.out[key]; ok {
		o.wrong("message %d of %s comes while %d is worked on", seq, key, other)
	}
	o.out[key] = seq
	switch newest := o.newest[key]; {
	case seq == newest+1:
		o.newest[key] = seq
		o.seen++
	case seq > newest:
		o.wrong("message %d of %s comes, and of those before it %d was the last", seq, key, newest)
	}
}

// end says that it has ended that work, before it answers.
func (o *keyOrder) end(body string) {
	key, _, _ := strings.Cut(body, " ")
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.out, key)
}

// idle reports whether nobody works on anything.
func (o *keyOrder) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.out) == 0
}

func (o *keyOrder) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}

// HandleMessage works on a message for up to 5 ms; one in twenty goes back.
func (o *keyOrder) HandleMessage(m *nsq.Message) error {
	m.DisableAutoResponse()
	o.begin(string(m.Body))
	<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond) // the work
	o.end(string(m.Body))
	if rand.IntN(20) == 0 {
		m.RequeueWithoutBackoff(0)
	} else {
		m.Finish()
	}
	return nil
}

// told takes a line that a script prints.
func (o *keyOrder) told(line string) {
	switch what, body, _ := strings.Cut(line, " "); what {
	case "begin":
		o.begin(body)
	case "end":
		o.end(body)
	}
}

// TestKilledBrokerKeepsOrder: ten stock consumers and four producers share a thousand keys, of which the broker is told by words behind the topic,
// while it is killed again and again. No key is ever out of order, nor worked on twice at once.
func TestKilledBrokerKeepsOrder(t *testing.T) {
	t.Parallel()
	t.Run("go-nsq", func(t *testing.T) { keepsOrder(t, startGoNSQ) })
	for _, library := range libraries {
		t.Run(library.name, func(t *testing.T) {
			script := library.script(t, "order/reader")
			keepsOrder(t, func(t *testing.T, o *keyOrder, address string) func() bool {
				script.Args = append(script.Args, address, topic, channel)
				startScript(t, script, o.told)
				return o.idleForAWhile()
			})
		})
	}
}

// startGoNSQ starts the consumers, and returns what reports whether they are done with what they have read of a broker that is gone: until then they
// keep its connections.
func startGoNSQ(t *testing.T, o *keyOrder, address string) (done func() bool) {
	var all []*nsq.Consumer
	for range 10 {
		consumer := newConsumer(t, o, 100)
		if err := consumer.ConnectToNSQD(address); err != nil {
			t.Fatal(err)
		}
		all = append(all, consumer)
	}
	return func() bool {
		return o.idle() && !slices.ContainsFunc(all, func(c *nsq.Consumer) bool { return c.Stats().Connections > 0 })
	}
}

// idleForAWhile returns what reports whether nobody has worked on anything for a while: of a script nothing says how much it has read.
func (o *keyOrder) idleForAWhile() func() bool {
	seen, since := -1, time.Now()
	return func() bool {
		if n := o.count(); n != seen || !o.idle() {
			seen, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	}
}

func newConsumer(t *testing.T, handler nsq.Handler, inFlight int) *nsq.Consumer {
	t.Helper()
	config := cmdtest.ClientConfig()
	config.MaxInFlight, config.MaxAttempts = inFlight, 0
	config.LookupdPollInterval = 200 * time.Millisecond // how soon it connects again
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	consumer.AddConcurrentHandlers(handler, 20)
	t.Cleanup(func() {
		consumer.Stop()
		<-consumer.StopChan
	})
	return consumer
}

func keepsOrder(t *testing.T, start func(t *testing.T, o *keyOrder, address string) (done func() bool)) {
	b := newBroker(t, "brokerd", "brokerd-disk", t.TempDir(), "--mem-queue-size=200")
	flags := b.Args
	options := "--topic-options=" + topic + " ordered=true dedup_window=1h"
	reborn(b, flags, "disk")
	b.Args = append(b.Args, options)
	b.Start(t)
	b.Create(t, topic, channel)
	o := newKeyOrder()
	done := start(t, o, b.TCP)
	const producers = 4
	var stop atomic.Bool
	var wg sync.WaitGroup
	var published atomic.Int64
	ahead := func() bool { return published.Add(1) > int64(o.count()+5000) } // what there is must be done at the end
	var sent [producers]int
	for p := range producers {
		wg.Go(func() { sent[p] = publishInOrder(t, b.TCP, p*orderKeys/producers, orderKeys/producers, ahead, &stop) })
	}
	for round := range max(2, rounds(t)/2) {
		before := o.count()
		cmdtest.Eventually(t, "messages come", time.Minute, func() bool { return o.count() > before+20 })
		<-time.After(time.Duration(30+rand.IntN(400)) * time.Millisecond) // a random moment is what is tested
		b.Kill(t)
		cmdtest.Eventually(t, "consumers are done with what they had", time.Minute, done)
		t.Logf("life %d: %s, %d messages so far", round+2, reborn(b, flags, "disk"), o.count())
		b.Args = append(b.Args, options)
		b.Start(t)
	}
	before := o.count()
	cmdtest.Eventually(t, "messages come in the last life", time.Minute, func() bool { return o.count() > before+20 })
	stop.Store(true)
	wg.Wait()
	all := 0
	for _, n := range sent {
		all += n
	}
	cmdtest.Eventually(t, "everything is finished", 2*time.Minute, func() bool {
		c := b.Channel(t, topic, channel)
		return c.Depth == 0 && c.InFlightCount == 0 && c.DeferredCount == 0
	})
	cmdtest.Eventually(t, "everything is told", 10*time.Second, func() bool { return o.count() >= all })
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, problem := range o.problems {
		t.Error(problem)
	}
	if o.seen != all {
		t.Errorf("%d messages were seen, of %d", o.seen, all)
	}
}

// publishInOrder publishes to some keys in turn, each message until it is answered OK, and returns how many there were. It waits a little behind
// each while ahead says so.
func publishInOrder(t *testing.T, address string, first, keys int, ahead func() bool, stop *atomic.Bool) (sent int) {
	producer, err := newProducer(address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer producer.Stop()
	for ; !stop.Load(); sent++ {
		key, seq := fmt.Sprintf("k%d", first+sent%keys), sent/keys+1
		words := fmt.Sprintf("%s key=%s dedup=%s-%d", topic, key, key, seq)
		for producer.Publish(words, fmt.Appendf(nil, "%s %d", key, seq)) != nil {
			<-time.After(5 * time.Millisecond) // between two tries
		}
		if ahead() {
			<-time.After(20 * time.Millisecond) // consumers are behind
		}
	}
	return sent
}
