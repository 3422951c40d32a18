package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/cmd/leaktest"
	"brokerd/protocol"
	"brokerd/protocol/prototest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is a session server with its topics and connections in memory, in a bubble whose time is virtual.
type world struct {
	t        *testing.T
	registry *topic.Registry
	server   *Server
	start    time.Time
	ended    chan error // what Serve returned, in the order of the ends
}

func testConfig() (Config, topic.Config) {
	return Config{
			Version: "1.3.0",
			Limits: protocol.IdentifyLimits{MaxHeartbeatInterval: time.Minute, MinOutputBufferTimeout: 25 * time.Millisecond,
				MaxOutputBufferTimeout: 30 * time.Second, MaxOutputBufferSize: 64 << 10, MaxMsgTimeout: 15 * time.Minute},
			MaxMsgSize: 1 << 20, MaxBodySize: 5 << 20, MaxRdyCount: 2500, MaxReqTimeout: time.Hour, MaxDefer: time.Hour, MsgTimeout: time.Minute,
			HeartbeatInterval: 30 * time.Second, OutputBufferTimeout: 250 * time.Millisecond, Deflate: true, Snappy: true,
			MaxDeflateLevel: 6, Log: slog.New(slog.DiscardHandler),
		}, topic.Config{
			NodeID: 1, MemQueueSize: 10000, MaxMsgTimeout: 15 * time.Minute, MaxReqTimeout: time.Hour,
			Log: slog.New(slog.DiscardHandler),
		}
}

// inBubble runs test against a server whose configuration change has been at; nil changes nothing.
func inBubble(t *testing.T, change func(*Config, *topic.Config), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg, topics := testConfig()
		if change != nil {
			change(&cfg, &topics)
		}
		w := &world{t: t, registry: topic.NewRegistry(topics), start: time.Now(), ended: make(chan error, 100)}
		cfg.Topics = w.registry
		w.server = NewServer(cfg)
		w.registry.Start()
		defer func() {
			if err := errors.Join(w.server.Close(context.Background()), w.registry.Close()); err != nil {
				t.Error(err)
			}
		}()
		test(w)
	})
}

// raw connects and sends nothing.
func (w *world) raw() *prototest.Client {
	ours, theirs := net.Pipe()
	go func() { w.ended <- w.server.Serve(theirs) }()
	c := prototest.NewClient(w.t, ours)
	c.Timeout = 24 * time.Hour
	return c
}

func (w *world) dial() *prototest.Client {
	w.t.Helper()
	c := w.raw()
	c.Send(prototest.Magic)
	return c
}

// identify connects and sends IDENTIFY with the JSON.
func (w *world) identify(body string) *prototest.Client {
	w.t.Helper()
	c := w.dial()
	c.Send("IDENTIFY\n" + prototest.Body(body))
	c.Expect("OK")
	return c
}

func (w *world) topic() *topic.Topic {
	w.t.Helper()
	t, err := w.registry.Topic("t")
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// publish publishes to the topic t without a connection.
func (w *world) publish(bodies ...string) {
	w.t.Helper()
	var b topic.Batch
	for _, body := range bodies {
		b.Add([]byte(body))
	}
	if err := w.topic().Publish(&b); err != nil {
		w.t.Fatal(err)
	}
}

// channel returns the figures of channel c of topic t.
func (w *world) channel() topic.ChannelStats {
	w.t.Helper()
	c := w.topic().LookupChannel("c")
	if c == nil {
		w.t.Fatal("there is no channel c")
	}
	return c.Stats()
}

// now is the virtual time since the test began.
func (w *world) now() time.Duration { return time.Since(w.start) }

// at demands that it is a certain time.
func (w *world) at(want time.Duration) {
	w.t.Helper()
	if got := w.now(); got != want {
		w.t.Fatalf("it is %v, want %v", got, want)
	}
}

// heard is a frame and when it came.
type heard struct {
	at time.Duration
	prototest.Frame
}

// listen reads all frames of a client from now on, heartbeats included, and when the connection ends.
func (w *world) listen(c *prototest.Client) (frames <-chan heard, end <-chan time.Duration) {
	in, over := make(chan heard, 20000), make(chan time.Duration, 1)
	go func() {
		defer close(in)
		for {
			f, err := c.ReadAny()
			if err != nil {
				over <- w.now()
				return
			}
			in <- heard{w.now(), f}
		}
	}()
	return in, over
}

// noneYet demands that nothing was heard.
func noneYet(t *testing.T, frames <-chan heard) {
	t.Helper()
	synctest.Wait()
	select {
	case f, ok := <-frames:
		t.Fatalf("heard %v (%v) too early", f, ok)
	default:
	}
}
