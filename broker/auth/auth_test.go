package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol/grant"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const granted = `{"ttl":10,"identity":"u","identity_url":"http://u","authorizations":[` +
	`{"topic":"^orders","channels":[".*"],"permissions":["subscribe","publish"]},` +
	`{"topic":"log","channels":["^archive$"],"permissions":["subscribe"]}]}`

var client = Identity{RemoteIP: "10.0.0.7", TLS: true, CommonName: "cn & co", Secret: "s=1"}

// daemon starts an auth daemon that answers as told.
func daemon(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func hostPort(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestQuestion(t *testing.T) {
	for method, want := range map[string]string{
		"":     "GET /auth?common_name=cn+%26+co&remote_ip=10.0.0.7&secret=s%3D1&tls=true  application/vnd.nsq; version=1.0 ",
		"get":  "GET /auth?common_name=cn+%26+co&remote_ip=10.0.0.7&secret=s%3D1&tls=true  application/vnd.nsq; version=1.0 ",
		"post": `POST /auth application/json application/vnd.nsq; version=1.0 {"common_name":["cn \u0026 co"],"remote_ip":["10.0.0.7"],"secret":["s=1"],"tls":["true"]}`,
	} {
		var got atomic.Value
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got.Store(fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("Accept"), " ", string(body)))
			io.WriteString(w, granted)
		}))
		t.Cleanup(s.Close)
		c := newClient(t, Config{Addresses: []string{hostPort(s)}, Method: method})
		if _, err := c.Query(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if got.Load() != want {
			t.Errorf("%q asks\n%s, want\n%s", method, got.Load(), want)
		}
	}
}

func TestAllowed(t *testing.T) {
	s, err := parseAnswer([]byte(granted), time.Now(), false)
	if err != nil || s.Identity != "u" || s.IdentityURL != "http://u" || len(s.Authorizations) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, c := range []struct {
		topic, channel string
		want           bool
	}{
		{"orders", "", true}, {"orders.eu", "any", true}, {"my.orders", "any", false},
		{"a_log_b", "archive", true}, // patterns match anywhere
		{"a_log_b", "archive2", false},
		{"a_log_b", "", false}, // not granted, and no channel pattern matches nothing
		{"other", "archive", false},
	} {
		if got := s.Allowed(c.topic, c.channel); got != c.want {
			t.Errorf("Allowed(%q, %q) = %v", c.topic, c.channel, got)
		}
	}
	for entry, want := range map[string]bool{
		`{"topic":".*","channels":[],"permissions":["publish"]}`:       false,
		`{"topic":".*","channels":["x"],"permissions":["publish"]}`:    false,
		`{"topic":".*","channels":[".*"],"permissions":["subscribe"]}`: false,
		`{"topic":".*","channels":[""],"permissions":["publish"]}`:     true,
	} {
		s, err := parseAnswer([]byte(`{"ttl":1,"authorizations":[`+entry+`]}`), time.Now(), false)
		if err != nil || s.Allowed("t", "") != want {
			t.Errorf("%s: publish allowed %v, %v", entry, !want, err)
		}
	}
}

func TestExpired(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for ttl, ends := range map[string]time.Duration{"10": 10 * time.Second, "9223372036854775807": maxTTL} {
		s, err := parseAnswer([]byte(`{"ttl":`+ttl+`}`), now, false)
		if err != nil || s.Expired(now.Add(ends)) || !s.Expired(now.Add(ends+1)) {
			t.Errorf("ttl %s: %+v, %v", ttl, s, err)
		}
	}
}

func TestRefusedAnswers(t *testing.T) {
	for want, c := range map[string]struct {
		status int
		body   string
	}{
		"got response 500":              {500, granted},
		"got response 403":              {403, "no"},
		"failed to decode":              {200, `{"ttl":`},
		"invalid TTL 0":                 {200, `{}`},
		"invalid TTL -5":                {200, `{"ttl":-5}`},
		`unknown permission "consume"`:  {200, `{"ttl":1,"authorizations":[{"permissions":["consume"]}]}`},
		`unable to compile topic "("`:   {200, `{"ttl":1,"authorizations":[{"topic":"("}]}`},
		`unable to compile channel "["`: {200, `{"ttl":1,"authorizations":[{"channels":["["]}]}`},
		"over 1048576 bytes":            {200, strings.Repeat(" ", maxAnswer+1) + granted},
	} {
		s := daemon(t, c.status, c.body)
		_, err := newClient(t, Config{Addresses: []string{hostPort(s)}}).Query(t.Context(), client)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), hostPort(s)) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

func TestNoAuthorizationIsAnAnswer(t *testing.T) {
	s := daemon(t, 200, `{"ttl":1,"authorizations":[]}`)
	state, err := newClient(t, Config{Addresses: []string{s.URL}}).Query(t.Context(), client)
	if err != nil || len(state.Authorizations) != 0 || state.Allowed("t", "") {
		t.Errorf("%+v, %v", state, err)
	}
}

func TestEachDaemonIsTriedOnce(t *testing.T) {
	var asked atomic.Int32
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(bad.Close)
	c := newClient(t, Config{Addresses: []string{hostPort(bad), bad.URL + "/x", hostPort(bad)}})
	if _, err := c.Query(t.Context(), client); err == nil || asked.Load() != 3 {
		t.Errorf("%d asked, %v", asked.Load(), err)
	}
	good := daemon(t, 200, granted)
	c = newClient(t, Config{Addresses: []string{hostPort(bad), good.URL, hostPort(bad)}})
	for range 10 { // whichever is first
		if _, err := c.Query(t.Context(), client); err != nil {
			t.Error(err)
		}
	}
}

func TestHTTPS(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, granted) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, port, err := net.SplitHostPort(hostPort(secure))
	if err != nil {
		t.Fatal(err)
	}
	plain := daemon(t, 403, `{"message": "TLS_REQUIRED", "https_port": `+port+`}`)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	for _, address := range []string{hostPort(plain), secure.URL + "/auth"} {
		for _, method := range []string{"get", "post"} {
			trusted := newClient(t, Config{Addresses: []string{address}, Method: method, TLS: &tls.Config{RootCAs: roots}})
			if _, err := trusted.Query(t.Context(), client); err != nil {
				t.Errorf("%s %s: %v", method, address, err)
			}
			if _, err := newClient(t, Config{Addresses: []string{address}, Method: method}).Query(t.Context(), client); err == nil {
				t.Errorf("%s %s: an unknown certificate was trusted", method, address)
			}
		}
	}
}

// An error goes to the log, the secret must not.
func TestErrorsDoNotTellTheSecret(t *testing.T) {
	gone := daemon(t, 200, "")
	gone.Close()
	for _, method := range []string{"get", "post"} {
		c := newClient(t, Config{Addresses: []string{hostPort(gone)}, Method: method})
		_, err := c.Query(t.Context(), Identity{Secret: "hush"})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestHangingDaemon(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); hanging.Close() })
	c := newClient(t, Config{Addresses: []string{hostPort(hanging)}, RequestTimeout: 50 * time.Millisecond})
	if _, err := c.Query(t.Context(), client); err == nil {
		t.Error("no error after the request timeout")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, Config{Addresses: []string{hostPort(hanging)}}).Query(ctx, client); err == nil {
		t.Error("no error when nobody waits any more")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, granted) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := newClient(t, Config{Addresses: []string{hostPort(s)}})
	for range 5 {
		if _, err := c.Query(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 1 {
		t.Errorf("%d connections for 5 queries", connections.Load())
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Addresses: []string{"h:1"}, Method: "put"}, {Addresses: []string{"ftp://h"}}, {Addresses: []string{""}}, {Addresses: []string{"h:x y"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(granted))
	f.Add([]byte(`{"ttl":1,"authorizations":[{"topic":"(","channels":["["]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseAnswer(body, time.Now(), false)
		if err == nil {
			s.Allowed("topic", "")
			s.Allowed("topic", "channel")
		}
	})
}

// TestAnchoredPatternsMatchWholeNames: orders is not notorders2 with --auth-anchored, and is as in nsqd without.
func TestAnchoredPatternsMatchWholeNames(t *testing.T) {
	body := `{"ttl":1,"authorizations":[{"topic":"orders","channels":["c","d|e"],"permissions":["subscribe"]},{"topic":"a|b","channels":[".*"],"permissions":["publish"]}]}`
	for _, c := range []struct {
		topic, channel  string
		loose, anchored bool
	}{
		{"orders", "c", true, true}, {"notorders2", "c", true, false}, {"orders", "cc", true, false}, {"orders", "e", true, true}, {"orders", "dx", true, false},
		{"a", "", true, true}, {"b", "", true, true}, {"ab", "", true, false}, {"bx", "", true, false}, {"orders\nx", "c", true, false},
	} {
		for anchored, want := range map[bool]bool{false: c.loose, true: c.anchored} {
			s, err := parseAnswer([]byte(body), time.Now(), anchored)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Allowed(c.topic, c.channel); got != want {
				t.Errorf("%q %q, anchored %v: %v", c.topic, c.channel, anchored, got)
			}
		}
	}
}

// TestACertificateCountsWhileTheDaemonDoesNotAnswer: over HTTP as over TCP, and it is not kept for what the daemon would have said: not for somebody
// else who shows the same names and is not verified, nor once the daemon answers again.
func TestACertificateCountsWhileTheDaemonDoesNotAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("cert billing publish:invoices\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := grant.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var answers atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !answers.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		io.WriteString(w, granted)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, Config{Addresses: []string{hostPort(s)}})
	judge := NewHTTP(&Access{Tokens: grant.NewSlot(file), Daemon: func() *Client { return c }})
	may := func(topic string, verified bool) bool {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: "billing"}}
		req := httptest.NewRequest("POST", "/pub", nil)
		req.Header.Set("Authorization", "Bearer word")
		req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		if verified {
			req.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
		}
		who, err := judge.Caller(req)
		return err == nil && who.May(grant.Publish, topic)
	}
	for range 2 {
		if !may("invoices", true) {
			t.Error("a verified certificate does not count")
		}
	}
	if may("invoices", false) {
		t.Error("a certificate that nobody has verified counts")
	}
	answers.Store(true)
	judge.Forget() // as a second does
	if may("invoices", true) || !may("orders", true) {
		t.Error("the daemon's answer does not count once there is one")
	}
}

// asked answers in the place of auth daemons.
type asked func(*http.Request) (*http.Response, error)

func (f asked) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestADaemonThatIsGoneIsNotAskedByEachRequest: who shows the same secret again is judged without it for a second, and those who wait for a place then as
// well; that a caller went away says nothing about the daemon.
func TestADaemonThatIsGoneIsNotAskedByEachRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("cert billing publish:invoices\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := grant.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var questions atomic.Int32
		c := newClient(t, Config{Addresses: []string{"127.0.0.1:1"}, RequestTimeout: 5 * time.Second})
		c.http.Transport = asked(func(req *http.Request) (*http.Response, error) {
			questions.Add(1)
			<-req.Context().Done() // it is gone, and nothing says so
			return nil, req.Context().Err()
		})
		judge := NewHTTP(&Access{Tokens: grant.NewSlot(file), Daemon: func() *Client { return c }})
		ask := func(ctx context.Context, secret string, verified bool) (bool, time.Duration) {
			began := time.Now()
			cert := &x509.Certificate{Subject: pkix.Name{CommonName: "billing"}}
			req := httptest.NewRequestWithContext(ctx, "POST", "/pub", nil)
			req.Header.Set("Authorization", "Bearer "+secret)
			req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
			if verified {
				req.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
			}
			who, err := judge.Caller(req)
			return err == nil && who.May(grant.Publish, "invoices"), time.Since(began)
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ask(gone, "word", true)
		if may, took := ask(t.Context(), "word", true); !may || took != 5*time.Second {
			t.Errorf("behind one that has gone away: %v after %v", may, took)
		}
		for range 100 {
			if may, took := ask(t.Context(), "word", true); !may || took != 0 {
				t.Fatalf("again: %v after %v", may, took)
			}
		}
		if may, took := ask(t.Context(), "word", false); may || took != 0 {
			t.Errorf("without a certificate that is verified: %v after %v", may, took)
		}
		if n := questions.Load(); n != 2 {
			t.Errorf("it was asked %d times", n)
		}
		time.Sleep(failedFor)
		var all sync.WaitGroup
		for range 4 * maxAsking {
			all.Go(func() {
				if may, took := ask(t.Context(), "word", true); !may || took != 5*time.Second {
					t.Errorf("one of many, a second later: %v after %v", may, took)
				}
			})
		}
		all.Wait()
		if n := questions.Load(); n != 2+maxAsking {
			t.Errorf("it was asked %d times", n)
		}
		for i := range maxKnown + 10 {
			keep(judge, judge.failed, [32]byte{byte(i), byte(i >> 8)}, failure{})
		}
		if n := len(judge.failed); n > maxKnown {
			t.Errorf("%d failures are kept", n)
		}
	})
}
