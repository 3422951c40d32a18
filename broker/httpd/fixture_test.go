package httpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fakeBroker is the daemon around a real registry.
type fakeBroker struct {
	registry *topic.Registry

	mu        sync.Mutex // guards what follows
	health    error
	saveErr   error
	saved     int
	lookups   []string
	level     string
	producers []httpapi.Client
	aside     int // set before it serves
}

func (b *fakeBroker) Registry() *topic.Registry { return b.registry }

func (b *fakeBroker) Began() time.Time { return time.Unix(1737370000, 0) }

func (b *fakeBroker) Health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.health
}

func (b *fakeBroker) Info() httpapi.Info {
	return httpapi.Info{Version: "1.3.0", BroadcastAddress: "host", Hostname: "host", HTTPPort: 4151, TCPPort: -1,
		StartTime: 1737370000, MaxHeartbeatInterval: int64(time.Minute), MaxOutputBufferSize: 65536,
		MaxOutputBufferTimeout: int64(30 * time.Second), MaxDeflateLevel: 6}
}

func (b *fakeBroker) Storage() httpapi.Storage {
	return httpapi.Storage{DataPath: "/data", Durability: "disk", TotalBytes: 1000, FreeBytes: 400, MinFreeBytes: 10}
}

func (b *fakeBroker) Producers() []httpapi.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.producers)
}

func (b *fakeBroker) Config(name string) (any, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch name {
	case "nsqlookupd_tcp_addresses":
		return append([]string{}, b.lookups...), true
	case "log_level":
		return map[string]int{"info": 2, "fatal": 5}[b.level], true
	case "data_path":
		return "/tmp/x", true
	case "max_msg_size":
		return int64(1024), true
	case "snappy":
		return true, true
	}
	return nil, false
}

func (b *fakeBroker) SetAside() int { return b.aside }

func (b *fakeBroker) Ready() error { return b.Health() }

func (b *fakeBroker) Drain() (httpapi.Drain, bool) { return httpapi.Drain{}, false }

func (b *fakeBroker) StartDrain(bool, bool) error { return nil }

func (b *fakeBroker) EndDrain() error { return nil }

func (b *fakeBroker) Settings() httpapi.Settings { return httpapi.Settings{} }

func (b *fakeBroker) Reload() error { return nil }

func (b *fakeBroker) SetLogLevel(word string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if word != "info" && word != "fatal" {
		return errors.New("no such level")
	}
	b.level = word
	return nil
}

func (b *fakeBroker) SetLookupdAddresses(addresses []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups = addresses
	return nil
}

func (b *fakeBroker) SaveMetadata() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved++
	return b.saveErr
}

// consumer is a connection that subscribed.
type consumer struct {
	stats httpapi.Client
	woken chan struct{}
}

func (c *consumer) Wake() {
	select {
	case c.woken <- struct{}{}:
	default: // the last one has not been heard yet
	}
}

func (c *consumer) Close()                {}
func (c *consumer) Stats() httpapi.Client { return c.stats }

// fixture is a server on a loopback port and a client of it.
type fixture struct {
	t      *testing.T
	broker *fakeBroker
	server *Server
	client *http.Client
	addr   string // host:port
	base   string // http://host:port
	closed bool   // the registry
}

// closeRegistry makes the broker stop taking messages.
func (f *fixture) closeRegistry() {
	if f.closed {
		return
	}
	f.closed = true
	if err := f.broker.registry.Close(); err != nil {
		f.t.Error(err)
	}
}

// newFixture starts a server whose limits are so small that they are met with little.
func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	registry := topic.NewRegistry(topic.Config{MemQueueSize: 10000, MaxReqTimeout: time.Hour, MaxMsgTimeout: time.Minute})
	registry.Start()
	f := &fixture{t: t, broker: &fakeBroker{registry: registry, level: "info"}}
	cfg := Config{Broker: f.broker, Log: slog.New(slog.DiscardHandler), MaxMsgSize: 100, MaxBodySize: 1000, MaxDefer: time.Hour}
	if change != nil {
		change(&cfg)
	}
	f.server = New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	f.base = "http://" + f.addr
	f.client = &http.Client{Transport: &http.Transport{}, Timeout: cmdtest.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	f.serve(func() error { return f.server.Serve(l) })
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		if err := f.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		f.closeRegistry()
	})
	return f
}

// serve runs s until the server is shut down.
func (f *fixture) serve(s func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s(); err != nil {
			f.t.Error(err)
		}
	}()
	f.t.Cleanup(func() {
		if err := f.server.Shutdown(context.Background()); err != nil {
			f.t.Error(err)
		}
		<-done
	})
}

// do sends one request and returns the answer with its body.
func (f *fixture) do(method, path, body string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.base+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	return f.send(req)
}

func (f *fixture) send(req *http.Request) (*http.Response, string) {
	f.t.Helper()
	return cmdtest.Do(f.t, f.client, req)
}

// step is one request and its answer; an answer in capitals with a code other than 200 stands for its JSON.
type step struct {
	request string // method and path
	body    string
	code    int
	answer  string
}

func (f *fixture) run(steps []step) {
	f.t.Helper()
	for _, s := range steps {
		method, path, _ := strings.Cut(s.request, " ")
		resp, got := f.do(method, path, s.body)
		want := s.answer
		if s.code != http.StatusOK {
			want = `{"message":"` + want + `"}`
		}
		if resp.StatusCode != s.code || got != want {
			f.t.Errorf("%s %.40q: got %d %s, want %d %s", s.request, s.body, resp.StatusCode, got, s.code, want)
		}
		if h := resp.Header.Get("X-NSQ-Content-Type"); h != "nsq; version=1.0" {
			f.t.Errorf("%s: X-NSQ-Content-Type %q", s.request, h)
		}
	}
}

// topic returns the topic, made when there is none.
func (f *fixture) topic(name string) *topic.Topic {
	f.t.Helper()
	t, err := f.broker.registry.Topic(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

func (f *fixture) channel(t, c string) *topic.Channel {
	f.t.Helper()
	ch, err := f.topic(t).Channel(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return ch
}

// subscribe makes a consumer of a channel that says stats of itself.
func (f *fixture) subscribe(t, c string, stats httpapi.Client) {
	f.t.Helper()
	s, err := f.topic(t).Subscribe(c, topic.SubscribeOptions{Owner: &consumer{stats: stats}, MsgTimeout: time.Minute})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.t.Error(err)
		}
	})
}

func (f *fixture) depth(name string) int64 {
	f.t.Helper()
	return f.topic(name).Stats().Depth
}

// finishOne publishes a message, takes it as a consumer of the channel, and finishes it.
func finishOne(t *testing.T, tp *topic.Topic, channel string) {
	t.Helper()
	owner := &consumer{woken: make(chan struct{}, 1)}
	s, err := tp.Subscribe(channel, topic.SubscribeOptions{Owner: owner, MsgTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.SetReady(1)
	var b topic.Batch
	b.Add([]byte("m"))
	if err := tp.Publish(&b); err != nil {
		t.Fatal(err)
	}
	var d topic.Delivery
	for s.Take(&d) == 0 {
		<-owner.woken
	}
	id, _ := protocol.FirstMessage(d.Runs[0].Frames).ID()
	answers := []topic.Answer{{ID: id, Verb: topic.Finish}}
	s.Apply(answers, nil)
	if answers[0].Err != nil {
		t.Fatal(answers[0].Err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
