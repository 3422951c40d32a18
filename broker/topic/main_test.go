package topic

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/nsqdata"
	"brokerd/protocol"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// What tests expect of package channel.
const (
	largeBody    = 16 << 10                // bytes from which on a message in flight does without its body
	maxWakes     = 4                       // consumers that wait for one goroutine's turn
	credits      = 64                      // part of its credit that a consumer gets at once as long as it is not known how fast it is
	horizon      = time.Millisecond        // of work that it gets at once
	buryAgain    = time.Minute             // after which a dead letter topic that has refused messages is tried again
	blockedAfter = 10 * time.Second        // a key stands still
	lookLatest   = 1100 * time.Millisecond // after which it is looked for what is over, at the latest
)

// folder is a QueueStore on real files.
type folder string

func (dir folder) Exists(name string) bool { return nsqdata.Exists(string(dir), name) }

func (dir folder) Open(name string) (*nsqdata.Queue, error) {
	return nsqdata.Open(name, nsqdata.QueueOptions{Dir: string(dir), MaxBytesPerFile: 1 << 20, MinMsgSize: nsqdata.RecordHeaderSize,
		MaxMsgSize: 1 << 20, SyncEvery: 2500, SyncTimeout: time.Minute})
}

// stub is a connection that only notes that it was woken or closed.
type stub struct {
	woken  chan struct{}
	once   sync.Once
	closed chan struct{}
	then   func() // called by Close, on a goroutine of its own
}

func newStub() *stub { return &stub{woken: make(chan struct{}, 1), closed: make(chan struct{})} }

func (s *stub) Wake() {
	select {
	case s.woken <- struct{}{}:
	default: // the last one has not been heard yet
	}
}

// Wake tells that the consumer, a stub, was woken.
func (s *Subscription) Wake() <-chan struct{} { return s.Owner().(*stub).woken }

func (s *stub) Close() {
	s.once.Do(func() {
		close(s.closed)
		if s.then != nil {
			go s.then()
		}
	})
}

// config returns the settings that most tests use.
func config() Config {
	return Config{MemQueueSize: 10000, MaxMsgTimeout: 15 * time.Minute, MaxReqTimeout: time.Hour}
}

// start returns a registry that runs until the test ends, when its books are checked.
func start(t testing.TB, cfg Config) *Registry {
	t.Helper()
	r := NewRegistry(cfg)
	r.Start()
	t.Cleanup(func() {
		checkBooks(t, r)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// checkBooks fails unless each message that any channel has accepted is in exactly one state.
func checkBooks(t testing.TB, r *Registry) {
	t.Helper()
	for _, topic := range r.Topics() {
		for _, c := range append([]*Channel{topic.own}, topic.Channels()...) {
			c.mu.Lock()
			err := c.machine.Check()
			c.mu.Unlock()
			if err != nil {
				t.Errorf("topic %s: %v", topic.name, err)
			}
		}
	}
}

func mustTopic(t testing.TB, r *Registry, name string) *Topic {
	t.Helper()
	topic, err := r.Topic(name)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func mustChannel(t testing.TB, topic *Topic, name string) *Channel {
	t.Helper()
	c, err := topic.Channel(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSubscribe(t testing.TB, topic *Topic, channel string, ready int, o SubscribeOptions) *Subscription {
	t.Helper()
	if o.Owner == nil {
		o.Owner = newStub()
	}
	if o.MsgTimeout == 0 {
		o.MsgTimeout = time.Minute
	}
	s, err := topic.Subscribe(channel, o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetReady(ready)
	return s
}

// publish publishes n messages with the bodies m1 to mn.
func publish(t testing.TB, topic *Topic, n int) {
	t.Helper()
	var b Batch
	for i := range n {
		b.Add(fmt.Appendf(nil, "m%d", i+1))
	}
	if err := topic.Publish(&b); err != nil {
		t.Fatal(err)
	}
}

// drain takes until nothing more is there and returns how many messages that were.
func drain(s *Subscription) (n int) {
	var d Delivery
	for {
		k := s.Take(&d)
		if k == 0 {
			return n
		}
		n += k
		d.Clear()
	}
}

// woken reports whether a wake-up waits for the consumer, and takes it.
func woken(s *Subscription) bool {
	select {
	case <-s.Wake():
		return true
	default:
		return false
	}
}

// first returns the message at the start of frames.
func first(frames []byte) protocol.MessageFrame { return protocol.FirstMessage(frames) }
