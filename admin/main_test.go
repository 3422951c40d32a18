package admin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/lookup"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) {
	admin.Unhurried()
	leaktest.Main(m)
}

// quiet logs errors only.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
}

// end ends a server with the test.
func end(t testing.TB, shutdown func(context.Context) error) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
	})
}

// startLookup starts a lookup in this process.
func startLookup(t testing.TB) *lookup.Server {
	t.Helper()
	o := lookup.DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	s, err := lookup.New(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	end(t, s.Shutdown)
	return s
}

// startBroker starts a broker in this process that registers with the lookups.
func startBroker(t testing.TB, change func(*broker.Options), lookups ...*lookup.Server) *broker.Server {
	t.Helper()
	o := broker.DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", t.TempDir()
	o.HTTPClientConnectTimeout, o.HTTPClientRequestTimeout = cmdtest.Patience, cmdtest.Patience // of asking lookups for channels
	for _, l := range lookups {
		o.LookupdTCPAddresses = append(o.LookupdTCPAddresses, l.TCPAddr().String())
	}
	if change != nil {
		change(&o)
	}
	s, err := broker.New(o, quiet(t), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	end(t, s.Shutdown)
	return s
}

// node is an admind in this process and a client of it.
type node struct {
	*admin.Server
	t     testing.TB
	level *slog.LevelVar
	http  *http.Client
}

// startAdmin starts an admind.
func startAdmin(t testing.TB, change func(*admin.Options)) *node {
	t.Helper()
	o := admin.DefaultOptions()
	o.HTTPAddress, o.RefreshInterval = "127.0.0.1:0", 100*time.Millisecond
	o.ConnectTimeout, o.RequestTimeout = 2*time.Minute, 2*time.Minute
	change(&o)
	n := &node{t: t, level: new(slog.LevelVar), http: &http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Minute}}
	s, err := admin.New(o, quiet(t), n.level)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Server = s
	end(t, s.Shutdown)
	t.Cleanup(n.http.CloseIdleConnections)
	return n
}

// ask sends a request and returns the status and body.
func (n *node) ask(method, path, body string, headers ...string) (status int, answer string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, strings.TrimSuffix(n.URL(), "/")+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, text := cmdtest.Do(n.t, n.http, req)
	return resp.StatusCode, text
}

// get decodes the answer to a GET, which must be 200.
func (n *node) get(path string, into any) {
	n.t.Helper()
	status, body := n.ask("GET", path, "")
	if status != 200 {
		n.t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		n.t.Fatalf("%s: %v: %s", path, err, body)
	}
}

// settles asks until the answer is 200 and as it should be: a daemon that takes a moment is not waited for, and what it said in the last round stands
// in for it.
func settles[T any](n *node, what, path string, holds func(answer T) bool) {
	n.t.Helper()
	eventually(n.t, what, func() bool {
		status, body := n.ask("GET", path, "")
		var answer T
		return status == 200 && json.Unmarshal([]byte(body), &answer) == nil && holds(answer)
	})
}

// act demands status 200 and no warning.
func (n *node) act(method, path, body string) {
	n.t.Helper()
	if status, answer := n.ask(method, path, body); status != 200 || !strings.HasPrefix(answer, `{"message":""`) {
		n.t.Errorf("%s %s %s: %d %s", method, path, body, status, answer)
	}
}

// client asks daemons.
func client(t testing.TB) *httpapi.HTTPClient {
	c := httpapi.NewHTTPClient(httpapi.ClientConfig{RequestTimeout: 2 * time.Minute})
	t.Cleanup(c.Close)
	return c
}

// eventually asks again until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	cmdtest.Eventually(t, what, 2*time.Minute, ask)
}
