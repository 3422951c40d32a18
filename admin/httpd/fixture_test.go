package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/admin/cluster"
	"brokerd/admin/fakes"
	"brokerd/admin/views"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fixture is the API over fakes, on a loopback port.
type fixture struct {
	t       *testing.T
	lookup  *fakes.Lookup
	a, b    *fakes.Broker // a is brokerd, b is nsqd; both have topic t with channel c
	cluster *cluster.Cluster
	url     string
	stop    chan struct{} // ends event streams
	log     *cmdtest.Screen
}

func (o *options) List() httpapi.Settings { return httpapi.Settings{} }

func (o *options) Reload() error { return nil }

// options is a Settings.
type options struct {
	level   string
	cluster *cluster.Cluster
}

func (o *options) SetLookups(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("none")
	}
	return o.cluster.SetLookups(addresses)
}

func (o *options) Config(key string) (any, bool) {
	switch key {
	case "log_level":
		return map[string]int{"info": 2, "fatal": 5}[o.level], true
	case "nsqlookupd_http_addresses":
		return []string{"a:1", "b:2"}, true
	case "base_path":
		return "/", true
	}
	return nil, false
}

func (o *options) SetLogLevel(word string) error {
	if word != "info" && word != "fatal" {
		return errors.New("no such level")
	}
	o.level = word
	return nil
}

var files = fstest.MapFS{
	"index.html":  {Data: []byte(`<base href="{{base}}"><script src="{{assets}}/js/app.js"></script><script type="application/json">{{session}}</script>`)},
	"js/app.js":   {Data: []byte("import './lib.js'")},
	"css/app.css": {Data: []byte("body{}")},
}

func topicT(depth int64, clients ...httpapi.Client) httpapi.Topic {
	return httpapi.Topic{TopicName: "t", Depth: depth, MessageCount: 10, Channels: []httpapi.Channel{
		{ChannelName: "c", Depth: depth, MessageCount: 10, ClientCount: len(clients), Clients: clients}}}
}

// newFixture starts it; change may change the configuration, users makes people sign in.
func newFixture(t *testing.T, change func(*Config), guard access.Config) *fixture {
	t.Helper()
	return newHastyFixture(t, 0, change, guard)
}

// newHastyFixture is one whose server gives a request so much time, and an idle connection as well; 0 is any.
func newHastyFixture(t *testing.T, timeout time.Duration, change func(*Config), guard access.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, a: fakes.NewBroker(t, "a"), b: fakes.NewBroker(t, "b"), stop: make(chan struct{}), log: new(cmdtest.Screen)}
	f.a.Storage, f.a.Levels = &httpapi.Storage{TotalBytes: 100, FreeBytes: 50}, map[string]string{"t": "disk"}
	f.a.Stats.Topics = []httpapi.Topic{topicT(1, httpapi.Client{ClientID: "id", Hostname: "app", RemoteAddress: "10.0.0.1:5", FinishCount: 7})}
	f.a.Stats.SetAside = 2
	f.a.Stats.Producers = []httpapi.Client{{Hostname: "shop", RemoteAddress: "10.0.0.2:6", PubCounts: []httpapi.PubCount{{Topic: "t", Count: 3}}}}
	f.b.Stats.Topics = []httpapi.Topic{topicT(2)}
	f.lookup = fakes.NewLookup(t, f.a, f.b)
	f.lookup.Channels["idle"] = []string{"x"}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	asks := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: cmdtest.Patience, RequestTimeout: cmdtest.Patience})
	f.cluster = cluster.New(cluster.Config{Lookups: []string{f.lookup.Address()}, HTTP: asks, Interval: 30 * time.Millisecond,
		Patience: cmdtest.Patience, Round: cmdtest.Patience, Log: log})
	maker := views.New(f.cluster, 1<<20)
	guard.Log, guard.CookiePath = log, "/"
	g, err := access.New(guard)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Cluster: f.cluster, Maker: maker, Guard: g, Trail: audit.New(nil, log), Notify: audit.NewNotifier("", nil, log), Log: log, UI: files,
		Version: "1.3.0", Hostname: "admin", Refresh: 30 * time.Millisecond, Settings: &options{"info", f.cluster}, Stop: f.stop}
	if change != nil {
		change(&cfg)
	}
	handler, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ReadTimeout, server.Config.WriteTimeout = timeout, timeout
	server.Start()
	f.url = server.URL
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.cluster.Run(ctx) })
	running.Go(func() { maker.Run(ctx) })
	running.Go(func() { cfg.Notify.Run(ctx) })
	t.Cleanup(func() {
		close(f.stop)
		server.Close()
		cancel()
		running.Wait()
		asks.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	maker.Await(ctx)
	return f
}

// usersFile has alice, an operator, and bob, a viewer, each with his name twice as password.
func usersFile(t *testing.T) string {
	t.Helper()
	var text []byte
	for _, u := range []struct {
		name string
		role access.Role
	}{{"alice", access.Operator}, {"bob", access.Viewer}} {
		hash, err := bcrypt.GenerateFromPassword([]byte(u.name+u.name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text = access.AppendUser(text, access.User{Name: u.name, Hash: hash, Roles: u.role.String()})
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// send sends a request with headers in pairs and returns the answer with its body.
func (f *fixture) send(method, path, body string, headers ...string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(text)
}

// step is one request and what it is answered with: a part of the body is enough.
type step struct {
	request string // METHOD PATH
	body    string
	status  int
	want    string
}

func (f *fixture) run(steps []step, headers ...string) {
	f.t.Helper()
	for _, s := range steps {
		method, path, _ := strings.Cut(s.request, " ")
		resp, body := f.send(method, path, s.body, headers...)
		if resp.StatusCode != s.status || !strings.Contains(body, s.want) {
			f.t.Errorf("%s %s: %d %s, want %d with %s", s.request, s.body, resp.StatusCode, body, s.status, s.want)
		}
	}
}

// get decodes the answer to a GET.
func (f *fixture) get(path string, into any) {
	f.t.Helper()
	resp, body := f.send("GET", path, "")
	if resp.StatusCode != 200 {
		f.t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		f.t.Fatalf("%s: %v: %s", path, err, body)
	}
}

// eventually asks again until the answer is yes.
func (f *fixture) eventually(what string, ask func() bool) {
	f.t.Helper()
	cmdtest.Eventually(f.t, what, 0, ask)
}
