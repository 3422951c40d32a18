package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// What a broker is left with when it is stopped: 1,000 messages of which a channel finished some, asked for some to come
// later, and had some in its hands; the same messages in a channel that is paused; and a paused topic, whose messages no
// channel has yet.
const (
	ordersLeft   = 1000
	doneBefore   = 300
	delayed      = 50
	inHands      = 100 // max in flight of the consumer
	heldMessages = 300
)

// TestFoldersAreServedByTheOtherMake stops one make of broker, starts another on its folder, and then the first one again.
func TestFoldersAreServedByTheOtherMake(t *testing.T) {
	t.Parallel()
	for _, way := range []struct{ first, second string }{
		{"brokerd", "brokerd"}, {"brokerd", "nsqd"}, {"nsqd", "brokerd"},
		{"nsqd", "nsqd"}, // shows that what is expected here is what NSQ does
	} {
		t.Run(way.first+" to "+way.second, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			// Only at level memory are the queues in NSQ's own files. Little memory and small files, so that there are
			// messages in memory, and several files.
			flags := []string{"--mem-queue-size=100", "--max-bytes-per-file=32768"}
			first := newBroker(t, way.first, "first-"+way.first, folder, atLevel(way.first, "memory", flags...)...)
			second := newBroker(t, way.second, "second-"+way.second, folder, atLevel(way.second, "memory", flags...)...)

			first.Start(t)
			finished, letGo := leaveWork(t, first)
			first.Stop(t)
			letGo()
			second.Start(t)
			expectWork(t, second, finished)
			publishBatch(t, second.TCP, "orders", "later", 200)
			second.Stop(t)
			first.Start(t)
			for _, channel := range []string{"billing", "paused"} {
				expectBodies(t, "later", 200, nil, collect(t, first, "orders", channel, 200))
			}
			first.Stop(t)
		})
	}
}

// leaveWork puts a broker into the state that is described above, and returns which bodies channel billing finished. Its
// consumer keeps its hands full until it is told to let go.
func leaveWork(t *testing.T, b *cmdtest.Process) (finished map[string]bool, letGo func()) {
	t.Helper()
	b.Create(t, "orders", "billing", "paused")
	b.Create(t, "held", "archive")
	b.Create(t, "idle")
	b.Act(t, "/channel/pause", "orders", "paused")
	b.Act(t, "/topic/pause", "held", "")
	publishBatch(t, b.TCP, "orders", "order", ordersLeft)
	publishBatch(t, b.TCP, "held", "held", heldMessages)

	h := &slacker{finished: make(map[string]bool)}
	consumer := consume(t, "orders", "billing", h)
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	cmdtest.Eventually(t, "the consumer has its hands full", 10*time.Second, func() bool {
		c := b.Channel(t, "orders", "billing")
		return h.count() == doneBefore+delayed+inHands && // all that it was sent
			c.InFlightCount == inHands && c.DeferredCount == delayed && c.Depth == ordersLeft-doneBefore-delayed-inHands
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.finished, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, m := range h.inHands { // go-nsq waits for their answers before it stops
			m.Finish()
		}
		leave(consumer)
	}
}

// slacker finishes some messages, wants some again much later, and answers nothing to the others.
type slacker struct {
	mu       sync.Mutex
	handled  int
	finished map[string]bool
	inHands  []*nsq.Message
}

// count returns how many messages it was handed.
func (h *slacker) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handled
}

// HandleMessage does what it is in the mood for.
func (h *slacker) HandleMessage(m *nsq.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.handled++; {
	case h.handled <= doneBefore:
		h.finished[string(m.Body)] = true
		return nil
	case h.handled <= doneBefore+delayed:
		m.DisableAutoResponse()
		m.RequeueWithoutBackoff(10 * time.Minute)
	default:
		m.DisableAutoResponse()
		h.inHands = append(h.inHands, m)
	}
	return nil
}

// expectWork holds a broker that was started on the folder to what was left in it, and consumes everything.
func expectWork(t *testing.T, b *cmdtest.Process, finished map[string]bool) {
	t.Helper()
	orders, held := b.Topic(t, "orders"), b.Topic(t, "held")
	if b.Topic(t, "idle").TopicName == "" {
		t.Error("the idle topic is gone")
	}
	billing, paused := cmdtest.ChannelOf(orders, "billing"), cmdtest.ChannelOf(orders, "paused")
	if billing.Depth != ordersLeft-doneBefore || billing.Paused || billing.InFlightCount+billing.DeferredCount != 0 {
		t.Errorf("billing was left with %d, is %+v", ordersLeft-doneBefore, billing)
	}
	if paused.Depth != ordersLeft || !paused.Paused || orders.Paused {
		t.Errorf("the paused channel was left with %d, is %+v", ordersLeft, paused)
	}
	if held.Depth != heldMessages || !held.Paused || cmdtest.ChannelOf(held, "archive").Depth != 0 {
		t.Errorf("the paused topic was left with %d, is %+v", heldMessages, held)
	}
	b.Act(t, "/channel/unpause", "orders", "paused")
	b.Act(t, "/topic/unpause", "held", "")

	got := collect(t, b, "orders", "billing", ordersLeft-doneBefore)
	expectBodies(t, "order", ordersLeft, finished, got)
	again := 0
	for _, attempts := range got {
		if attempts == 2 {
			again++
		}
	}
	if again != delayed+inHands {
		t.Errorf("%d messages came in their second attempt, wanted the %d that were requeued or in flight", again, delayed+inHands)
	}
	expectBodies(t, "order", ordersLeft, nil, collect(t, b, "orders", "paused", ordersLeft))
	expectBodies(t, "held", heldMessages, nil, collect(t, b, "held", "archive", heldMessages))
}

// publishBatch publishes n messages through a stock producer.
func publishBatch(t *testing.T, address, topic, label string, n int) {
	t.Helper()
	producer, err := newProducer(address)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Stop()
	var batch [][]byte
	for i := range n {
		batch = append(batch, []byte(bodyOf(label, i)))
	}
	if err := producer.MultiPublish(topic, batch); err != nil {
		t.Fatal(err)
	}
}

// bodyOf returns the n-th message of a label, of some hundred bytes.
func bodyOf(label string, n int) string {
	return fmt.Sprintf("%s %d %s", label, n, strings.Repeat(".", 100))
}

// collect consumes a channel until it is empty and n messages have come, and returns the attempts of each body.
func collect(t *testing.T, b *cmdtest.Process, topic, channel string, n int) map[string]uint16 {
	t.Helper()
	in := newInbox()
	consumer := consume(t, topic, channel, in)
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	var c httpapi.Channel
	cmdtest.Eventually(t, fmt.Sprintf("%s:%s of %s is empty", topic, channel, b.Label), 20*time.Second, func() bool {
		bodies, _ := in.size()
		c = b.Channel(t, topic, channel)
		return bodies >= n && c.Depth == 0 && c.InFlightCount == 0
	})
	leave(consumer)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.deliveries != len(in.bodies) {
		t.Errorf("%s:%s delivered %d messages %d times", topic, channel, len(in.bodies), in.deliveries)
	}
	return in.bodies
}

// expectBodies holds that n bodies of a label have come, but not those left out, and nothing else.
func expectBodies(t *testing.T, label string, n int, leftOut map[string]bool, got map[string]uint16) {
	t.Helper()
	missing := 0
	for i := range n {
		body := bodyOf(label, i)
		_, came := got[body]
		if leftOut[body] && came {
			t.Errorf("%.20q came again after it was finished", body)
		}
		if !leftOut[body] && !came {
			missing++
		}
	}
	if missing > 0 || len(got) != n-len(leftOut) {
		t.Errorf("%d bodies of %s came, wanted %d; %d are missing", len(got), label, n-len(leftOut), missing)
	}
}

// TestQueuesOfAnNSQDThatItsListHasNot: an nsqd is stopped, and its list of topics is one of before it had topic orders, as a crash
// leaves it, or is gone. A broker at level disk takes all of it over; what it exports an nsqd serves.
func TestQueuesOfAnNSQDThatItsListHasNot(t *testing.T) {
	for name, lose := range map[string]func(list string) error{
		"an older list": func(list string) error { return os.WriteFile(list, []byte(`{"topics":[],"version":"1.3.0"}`), 0o600) },
		"no list":       os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			nsqd := newBroker(t, "nsqd", "nsqd", folder, "--mem-queue-size=100", "--max-bytes-per-file=32768")
			nsqd.Start(t)
			nsqd.Create(t, "orders", "billing")
			publishBatch(t, nsqd.TCP, "orders", "order", ordersLeft)
			nsqd.Create(t, "held")
			publishBatch(t, nsqd.TCP, "held", "held", heldMessages)
			nsqd.Stop(t)
			if err := lose(filepath.Join(folder, "nsqd.dat")); err != nil {
				t.Fatal(err)
			}
			b := newBroker(t, "brokerd", "brokerd", folder, "--durability=disk")
			b.Start(t)
			if c, h := b.Channel(t, "orders", "billing"), b.Topic(t, "held"); c.Depth != ordersLeft || h.Depth != heldMessages {
				t.Errorf("it has %d in orders:billing and %d in held", c.Depth, h.Depth)
			}
			b.Stop(t)
			out := filepath.Join(t.TempDir(), "out")
			export := cmdtest.Tool(t, "brokerd", "export", folder, out)
			if code := export.Wait(t, 20*time.Second); code != 0 {
				t.Fatalf("export: exit code %d\n%s", code, export.LastWords())
			}
			nsqd = newBroker(t, "nsqd", "nsqd again", out, "--mem-queue-size=100")
			nsqd.Start(t)
			expectBodies(t, "order", ordersLeft, nil, collect(t, nsqd, "orders", "billing", ordersLeft))
			expectBodies(t, "held", heldMessages, nil, collect(t, nsqd, "held", "archive", heldMessages))
			nsqd.Stop(t)
		})
	}
}
