package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// long is whether tests are to take their long form, as in make crash.
var long = os.Getenv("BROKERD_CRASH_ROUNDS") != ""

// node is a broker in this process and a client of its HTTP API.
type node struct {
	*broker.Server
	t       testing.TB
	dir     string // of the data
	running bool
	http    *http.Client
}

// options returns NSQ's defaults on free loopback ports, with a data folder of the test.
func options(t testing.TB) broker.Options {
	o := broker.DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.BroadcastAddress = "127.0.0.1"
	o.DataPath = t.TempDir()
	o.HTTPClientConnectTimeout, o.HTTPClientRequestTimeout = cmdtest.Patience, cmdtest.Patience
	o.ShutdownTimeout = time.Second // a tenth of it is waited for consumers that do not answer
	o.LogFileSize = 512 << 10       // a start reads the last file whole, and tests copy and compare folders; few write as much
	return o
}

// start starts a broker with options that change has been at; nil changes nothing. It ends with the test.
func start(t testing.TB, change func(*broker.Options)) *node {
	t.Helper()
	o := options(t)
	if change != nil {
		change(&o)
	}
	return startWith(t, o)
}

func startWith(t testing.TB, o broker.Options) *node {
	t.Helper()
	s, err := broker.New(o, errorsOnly(t), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s, o)
}

// errorsOnly is a log of errors only.
func errorsOnly(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
}

// serve starts a broker that is made.
func serve(t testing.TB, s *broker.Server, o broker.Options) *node {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := &node{Server: s, t: t, dir: o.DataPath, running: true}
	n.http = &http.Client{Transport: &http.Transport{DialContext: n.dialHTTP}, Timeout: 2 * time.Minute}
	t.Cleanup(n.stop)
	return n
}

// stop ends the broker cleanly; a second call does nothing.
func (n *node) stop() {
	n.t.Helper()
	n.http.CloseIdleConnections()
	if !n.running {
		return
	}
	n.running = false
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.t.Errorf("shutting down: %v", err)
	}
}

// tcp is the plain transport to the broker.
func (n *node) tcp() prototest.Transport {
	return prototest.Transport{Network: n.TCPAddr().Network(), Address: n.TCPAddr().String()}
}

func (n *node) dial() *prototest.Client {
	n.t.Helper()
	return n.tcp().Connect(n.t)
}

// subscribe returns a client that is subscribed, with credit.
func (n *node) subscribe(topic, channel string, ready int) *prototest.Client {
	n.t.Helper()
	c := n.dial()
	c.Send(fmt.Sprintf("SUB %s %s\nRDY %d\n", topic, channel, ready))
	c.Expect("OK")
	return c
}

// port returns a TCP address's port.
func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

// dialHTTP connects to an address, or to the socket on which the broker has its HTTP API.
func (n *node) dialHTTP(ctx context.Context, network, address string) (net.Conn, error) {
	if socket, ok := n.HTTPAddr().(*net.UnixAddr); ok {
		network, address = socket.Net, socket.Name
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// url is the address of a path of the HTTP API.
func (n *node) url(path string) string {
	if n.HTTPAddr().Network() == "unix" {
		return "http://unix" + path
	}
	return "http://" + n.HTTPAddr().String() + path
}

// post sends a body and demands status 200.
func (n *node) post(path, body string) {
	n.t.Helper()
	if status, answer := n.ask(http.MethodPost, path, body); status != http.StatusOK {
		n.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
}

func (n *node) get(path string) string {
	n.t.Helper()
	status, answer := n.ask(http.MethodGet, path, "")
	if status != http.StatusOK {
		n.t.Fatalf("GET %s: %d %s", path, status, answer)
	}
	return answer
}

func (n *node) ask(method, path, body string) (status int, answer string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, n.url(path), strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	resp, text := cmdtest.Do(n.t, n.http, req)
	return resp.StatusCode, text
}

// publish publishes messages over HTTP, one per line.
func (n *node) publish(topic string, bodies ...string) {
	n.t.Helper()
	n.post("/mpub?topic="+topic, strings.Join(bodies, "\n"))
}

func (n *node) stats() httpapi.Stats {
	n.t.Helper()
	var s httpapi.Stats
	if err := json.Unmarshal([]byte(n.get("/stats?format=json&include_mem=false")), &s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// topic returns a topic's figures, nil when there is none of that name.
func (n *node) topic(name string) *httpapi.Topic {
	n.t.Helper()
	for _, t := range n.stats().Topics {
		if t.TopicName == name {
			return &t
		}
	}
	return nil
}

// channel returns a channel's figures, nil when there is none of that name.
func (n *node) channel(topic, name string) *httpapi.Channel {
	n.t.Helper()
	t := n.topic(topic)
	if t == nil {
		return nil
	}
	for _, c := range t.Channels {
		if c.ChannelName == name {
			return &c
		}
	}
	return nil
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	cmdtest.Eventually(t, what, 0, condition)
}

// unixPath returns the path of a socket to be, short enough for the system however long the test's name is.
func unixPath(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir + "/" + name
}
