package interop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// inbox is what a consumer got: each body, and the attempts of its last delivery.
type inbox struct {
	mu         sync.Mutex
	bodies     map[string]uint16
	deliveries int
}

func newInbox() *inbox { return &inbox{bodies: make(map[string]uint16)} }

// HandleMessage keeps m; go-nsq finishes it.
func (i *inbox) HandleMessage(m *nsq.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bodies[string(m.Body)] = m.Attempts
	i.deliveries++
	return nil
}

func (i *inbox) has(body string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.bodies[body]
	return ok
}

// size returns how many different bodies there are, and how many deliveries there were.
func (i *inbox) size() (bodies, deliveries int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.bodies), i.deliveries
}

// consume starts a stock consumer, not yet connected; it is stopped at the end of the test.
func consume(t *testing.T, topic, channel string, handler nsq.Handler) *nsq.Consumer {
	t.Helper()
	config := cmdtest.ClientConfig()
	config.MaxInFlight = 100
	config.MaxAttempts = 0 // no limit
	config.LookupdPollInterval = 200 * time.Millisecond
	config.LookupdPollJitter = 0
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	consumer.AddHandler(handler)
	t.Cleanup(func() { leave(consumer) })
	return consumer
}

// leave stops a consumer and waits until it is gone. It may be called more than once.
func leave(consumer *nsq.Consumer) {
	consumer.Stop()
	<-consumer.StopChan
}

// stream publishes numbered messages to one broker, one after another, each until it is acknowledged.
type stream struct {
	label   string
	acked   atomic.Int64 // messages, numbered from 0 without a gap
	refused atomic.Int64 // attempts
	quit    chan struct{}
	ended   chan struct{}
}

// body returns the message of a number.
func (s *stream) body(number int64) string { return fmt.Sprintf("%s:%d", s.label, number) }

// publishTo starts a stream with a stock producer. It ends with end, or at the end of the test.
func publishTo(t *testing.T, address, topic, label string) *stream {
	t.Helper()
	producer, err := newProducer(address)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{label: label, quit: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer func() { producer.Stop() }()
		pace := time.NewTicker(publishPace)
		defer pace.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-pace.C:
			}
			if producer.Publish(topic, []byte(s.body(s.acked.Load()))) == nil {
				s.acked.Add(1)
				continue
			}
			s.refused.Add(1)
			// go-nsq's producer has a data race with itself when it connects again: a new one takes its place.
			producer.Stop()
			if producer, err = newProducer(address); err != nil {
				t.Errorf("a producer of %s: %v", label, err)
				return
			}
		}
	}()
	t.Cleanup(s.end)
	return s
}

func newProducer(address string) (*nsq.Producer, error) {
	producer, err := nsq.NewProducer(address, cmdtest.ClientConfig())
	if err != nil {
		return nil, err
	}
	producer.SetLogger(nil, nsq.LogLevelError)
	return producer, nil
}

// end stops the stream and waits until it is. It may be called more than once.
func (s *stream) end() {
	select {
	case <-s.ended:
	default:
		close(s.quit)
		<-s.ended
	}
}

// drainOf consumes all that a broker has on a channel, and returns the bodies. Where there is no such channel it makes it.
func drainOf(t *testing.T, b *cmdtest.Process, topic, channel string) map[string]bool {
	t.Helper()
	c := prototest.Dial(t, "tcp", b.TCP)
	c.Send("SUB " + topic + " " + channel + "\nRDY 1000\n")
	got := map[string]bool{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			f, err := c.Read()
			if err != nil {
				return
			}
			if f.Type == prototest.Message {
				m := f.Message()
				got[string(m.Body)] = true
				if c.Write("FIN "+m.ID+"\n") != nil {
					return
				}
			}
		}
	}()
	cmdtest.Eventually(t, "all is consumed", 30*time.Second, func() bool {
		s := b.Channel(t, topic, channel)
		return s.ChannelName != "" && s.Depth == 0 && s.InFlightCount == 0 && s.DeferredCount == 0
	})
	c.Conn.Close()
	<-ended
	return got
}
