package apptest

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"

	"github.com/nsqio/go-nsq"
)

// Inbox is what a stock consumer got: how often each body was delivered.
type Inbox struct {
	mu     sync.Mutex
	bodies map[string]int
	order  []string
}

// HandleMessage keeps m; go-nsq finishes it.
func (i *Inbox) HandleMessage(m *nsq.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bodies[string(m.Body)]++
	i.order = append(i.order, string(m.Body))
	return nil
}

// Bodies returns each body with the number of its deliveries.
func (i *Inbox) Bodies() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.bodies)
}

// Order returns the bodies in the order of their deliveries.
func (i *Inbox) Order() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.order)
}

// Consume starts a stock consumer with one handler at each of the brokers; it is stopped at the end of the test.
func Consume(t testing.TB, topic, channel string, brokers ...*cmdtest.Process) *Inbox {
	t.Helper()
	inbox := &Inbox{bodies: make(map[string]int)}
	config := cmdtest.ClientConfig()
	config.MaxInFlight = 1000
	config.MaxAttempts = 0
	config.LookupdPollInterval = 200 * time.Millisecond
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	consumer.AddHandler(inbox)
	for _, broker := range brokers {
		if err := consumer.ConnectToNSQD(broker.TCP); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		consumer.Stop()
		<-consumer.StopChan
	})
	return inbox
}

// Publish publishes the bodies to the broker with a stock producer, in batches.
func Publish(t testing.TB, broker *cmdtest.Process, topic string, bodies ...string) {
	t.Helper()
	producer, err := nsq.NewProducer(broker.TCP, cmdtest.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Stop()
	producer.SetLogger(nil, nsq.LogLevelError)
	for some := range slices.Chunk(bodies, 200) {
		messages := make([][]byte, len(some))
		for i, body := range some {
			messages[i] = []byte(body)
		}
		if err := producer.MultiPublish(topic, messages); err != nil {
			t.Fatal(err)
		}
	}
}
