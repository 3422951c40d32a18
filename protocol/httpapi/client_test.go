package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func newTestClient(t *testing.T, cfg ClientConfig) *HTTPClient {
	c := NewHTTPClient(cfg)
	t.Cleanup(c.Close)
	return c
}

// serve answers every request with h on a loopback port.
func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// TestClientRequest covers what goes over the wire and the decoded answer.
func TestClientRequest(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		RespondV1(w, 200, []string{r.Method, r.Header.Get("Accept"), r.Header.Get("Content-Type"), string(body)})
	})
	c := newTestClient(t, ClientConfig{RequestTimeout: patience})
	const accept = "application/vnd.nsq; version=1.0"
	ask := map[string]func(v any) error{
		"GET," + accept + ",,":                           func(v any) error { return c.Get(t.Context(), addr, v) },
		"POST," + accept + ",,":                          func(v any) error { return c.Post(t.Context(), addr, nil, v) },
		"POST," + accept + ",application/json,{\"a\":1}": func(v any) error { return c.Post(t.Context(), addr, map[string]int{"a": 1}, v) },
	}
	for want, do := range ask {
		var got []string
		if err := do(&got); err != nil || strings.Join(got, ",") != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// TestClientErrors covers the texts that NSQ's tools show.
func TestClientErrors(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			RespondV1(w, 404, "TOPIC_NOT_FOUND")
		case "/forbidden-text":
			http.Error(w, "no", http.StatusForbidden)
		case "/forbidden-json":
			RespondV1(w, 403, "NO")
		case "/not-json":
			RespondV1(w, 200, "OK")
		}
	})
	c := newTestClient(t, ClientConfig{RequestTimeout: patience})
	tests := map[string]string{
		"/refused":        `got response 404 Not Found "{\"message\":\"TOPIC_NOT_FOUND\"}"`,
		"/forbidden-text": "invalid character",
		"/forbidden-json": `got response 403 Forbidden "{\"message\":\"NO\"}"`,
		"/not-json":       "invalid character",
	}
	for path, want := range tests {
		var v any
		if err := c.Get(t.Context(), addr+path, &v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	var status *StatusError
	if err := c.Get(t.Context(), addr+"/refused", nil); !errors.As(err, &status) || status.Code != 404 {
		t.Errorf("got %v, not a StatusError", err)
	}
}

// TestClientTLSRequired: a plain port that refuses names the https port, which is asked with the same method and path.
func TestClientTLSRequired(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		RespondV1(w, 200, []string{r.Method, r.URL.String()})
	}))
	t.Cleanup(secure.Close)
	u, err := url.Parse(secure.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) { RespondTLSRequired(w, port) })
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	c := newTestClient(t, ClientConfig{RequestTimeout: patience, TLS: &tls.Config{RootCAs: roots}})
	var got []string
	if err := c.Post(t.Context(), plain+"/topic/pause?topic=t", nil, &got); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != "POST /topic/pause?topic=t" {
		t.Errorf("asked %q", got)
	}
}

// TestTokenIsNotShownInClear to a daemon that refuses plain text: not with the first request either. One that has another port of HTTPS after a
// restart is found again.
func TestTokenIsNotShownInClear(t *testing.T) {
	var inClear, shown []string
	answer := func(seen *[]string, then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			*seen = append(*seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
			then(w, r)
		}
	}
	roots, port := x509.NewCertPool(), 0
	open := func() *httptest.Server {
		secure := httptest.NewTLSServer(answer(&shown, func(w http.ResponseWriter, _ *http.Request) { RespondV1(w, 200, "there") }))
		roots.AddCert(secure.Certificate())
		port = secure.Listener.Addr().(*net.TCPAddr).Port
		return secure
	}
	secure := open()
	plain := serve(t, answer(&inClear, func(w http.ResponseWriter, _ *http.Request) { RespondTLSRequired(w, port) }))
	c := newTestClient(t, ClientConfig{RequestTimeout: patience, TLS: &tls.Config{RootCAs: roots}, Token: "secret"})
	for range 2 {
		if err := c.Post(t.Context(), plain+"/topic/create?topic=t", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	secure.Close()
	secure = open()
	defer secure.Close()
	if err := c.Get(t.Context(), plain+"/stats", nil); err == nil {
		t.Error("the port that is gone answers")
	}
	if err := c.Get(t.Context(), plain+"/stats", nil); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(inClear, ", "), "GET /ping , GET /ping "; got != want {
		t.Errorf("in clear went %q, want %q", got, want)
	}
	if got, want := strings.Join(shown, ", "), "POST /topic/create Bearer secret, POST /topic/create Bearer secret, GET /stats Bearer secret"; got != want {
		t.Errorf("over TLS went %q", got)
	}
}

// TestTokenIsShownToNobodyWhoWasNotAsked: a daemon that could not be asked whether it refuses plain text, as it was just starting, is not shown it.
func TestTokenIsShownToNobodyWhoWasNotAsked(t *testing.T) {
	var inClear atomic.Value
	var started atomic.Bool
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if token := r.Header.Get("Authorization"); token != "" {
			inClear.Store(token)
		}
		if started.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
		RespondTLSRequired(w, 1)
	})
	c := newTestClient(t, ClientConfig{RequestTimeout: patience, Token: "secret"})
	for range 2 {
		if err := c.Post(t.Context(), plain+"/topic/create?topic=t", nil, nil); err == nil {
			t.Error("it was answered")
		}
	}
	if token := inClear.Load(); token != nil {
		t.Errorf("in clear went %q", token)
	}
}

// TestTokenIsNotShownToADaemonThatCameBack with plain text refused: the connection of before is gone, and the new one is asked first.
func TestTokenIsNotShownToADaemonThatCameBack(t *testing.T) {
	for _, port := range []int{0, 1} { // also one that names no port
		var shown atomic.Int32
		var refuses, keeps atomic.Bool
		handler := func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				shown.Add(1)
			}
			if !keeps.Load() {
				w.Header().Set("Connection", "close")
			}
			if refuses.Load() {
				RespondTLSRequired(w, port)
				return
			}
			RespondV1(w, 200, "fine")
		}
		plain := httptest.NewServer(http.HandlerFunc(handler))
		t.Cleanup(plain.Close)
		c := newTestClient(t, ClientConfig{RequestTimeout: patience, Token: "secret"})
		for _, k := range []bool{false, true, true} { // one that ends every connection is used as well
			keeps.Store(k)
			if err := c.Post(t.Context(), plain.URL+"/topic/create?topic=t", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if shown.Load() != 3 {
			t.Fatalf("shown %d times to one that takes plain text", shown.Load())
		}
		refuses.Store(true)
		plain.CloseClientConnections()
		if err := c.Post(t.Context(), plain.URL+"/topic/create?topic=t", nil, nil); err == nil {
			t.Error("it was answered")
		}
		if n := shown.Load(); n != 3 {
			t.Errorf("after the restart it was shown %d times", n-3)
		}
	}
}

// TestTokenIsNotShownInClearToWhomItWasOverTLS: whoever is in the place of a daemon may say that it takes plain text now.
func TestTokenIsNotShownInClearToWhomItWasOverTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { RespondV1(w, 200, "there") }))
	t.Cleanup(secure.Close)
	var inClear atomic.Int32
	var taken atomic.Bool
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			inClear.Add(1)
		}
		if taken.Load() {
			RespondV1(w, 200, "mine")
			return
		}
		RespondTLSRequired(w, secure.Listener.Addr().(*net.TCPAddr).Port)
	})
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	c := newTestClient(t, ClientConfig{RequestTimeout: patience, TLS: &tls.Config{RootCAs: roots}, Token: "secret"})
	if err := c.Get(t.Context(), plain+"/stats", nil); err != nil {
		t.Fatal(err)
	}
	taken.Store(true)
	c.Close()
	secure.Close()
	if err := c.Get(t.Context(), plain+"/stats", nil); err == nil {
		t.Error("the port that is gone answers")
	}
	for range 2 {
		if err := c.Get(t.Context(), plain+"/stats", nil); !errors.Is(err, ErrInClear) {
			t.Errorf("got %v", err)
		}
	}
	if n := inClear.Load(); n > 0 {
		t.Errorf("it was shown in clear %d times", n)
	}
	c.SetTLS(nil) // as a reload does
	if err := c.Get(t.Context(), plain+"/stats", nil); err != nil || inClear.Load() != 1 {
		t.Errorf("after a reload: %v, shown %d times", err, inClear.Load())
	}
}

// numbered is the key of the number that a connection has, in the order in which they were made.
type numbered struct{}

// TestDaemonsBehindOneName: every second connection in clear meets a daemon that takes plain text. It keeps nobody from the one that speaks TLS, which does
// not answer at times, and moves; and no token goes to it.
func TestDaemonsBehindOneName(t *testing.T) {
	var connections, inClear, port atomic.Int32
	var down atomic.Bool
	roots := x509.NewCertPool()
	open := func() *httptest.Server {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if down.Load() {
				panic(http.ErrAbortHandler)
			}
			RespondV1(w, 200, "there")
		}))
		roots.AddCert(secure.Certificate())
		port.Store(int32(secure.Listener.Addr().(*net.TCPAddr).Port))
		return secure
	}
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			inClear.Add(1)
		}
		if r.Context().Value(numbered{}).(int32)%2 == 0 {
			RespondV1(w, 200, "mine")
			return
		}
		RespondTLSRequired(w, int(port.Load()))
	}))
	plain.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, numbered{}, connections.Add(1))
	}
	plain.Start()
	t.Cleanup(plain.Close)
	secure := open()
	c := newTestClient(t, ClientConfig{RequestTimeout: patience, TLS: &tls.Config{RootCAs: roots}, Token: "secret"})
	ask := func() error { return c.Get(t.Context(), plain.URL+"/stats", nil) }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	if err := ask(); err == nil || errors.Is(err, ErrInClear) {
		t.Errorf("one that does not answer: %v", err)
	}
	if err := ask(); !errors.Is(err, ErrInClear) {
		t.Errorf("one that takes plain text: %v", err)
	}
	down.Store(false)
	for range 2 {
		if err := ask(); err != nil {
			t.Errorf("once the other one answers again: %v", err)
		}
	}
	for range 2 {
		c.Close()
		secure.Close()
		secure = open()
		err := errors.New("not asked")
		for tries := 0; tries < 3 && err != nil; tries++ {
			err = ask()
		}
		if err != nil {
			t.Errorf("once the other one has moved: %v", err)
		}
	}
	secure.Close()
	if n := inClear.Load(); n > 0 {
		t.Errorf("it was shown in clear %d times", n)
	}
}

// TestAPageInPlaceOfPing: what stands before a daemon may answer its /ping with a long page. It takes plain text, as its status says.
func TestAPageInPlaceOfPing(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ping" {
				RespondV1(w, 200, r.Header.Get("Authorization"))
				return
			}
			if !chunked {
				w.Header().Set("Content-Length", strconv.Itoa(2*maxRefusal))
			}
			io.WriteString(w, strings.Repeat("x", 2*maxRefusal)) // nobody reads it all
		})
		c := newTestClient(t, ClientConfig{RequestTimeout: patience, Token: "secret"})
		if got, err := c.Do(t.Context(), http.MethodGet, addr+"/stats", nil); err != nil || string(got) != "Bearer secret" {
			t.Errorf("chunked %v: %q, %v", chunked, got, err)
		}
	}
}

// TestClientTimeouts: neither a silent server nor a cancelled caller holds a request.
func TestClientTimeouts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connects, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newTestClient(t, ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 20 * time.Millisecond})
	var timeout net.Error
	if err := c.Get(t.Context(), "http://"+l.Addr().String(), nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Get(ctx, "http://"+l.Addr().String(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

// pipes is a listener in memory: it accepts what is sent to it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestConnectionsAreKept: those who ask one daemon at once find their connections again.
func TestConnectionsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var here sync.WaitGroup
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			here.Done()
			here.Wait() // for all of them
			RespondV1(w, 200, "OK")
		})}
		l := make(pipes)
		go server.Serve(l) // it ends with the test
		defer server.Close()
		var connections atomic.Int32
		c := NewHTTPClient(ClientConfig{RequestTimeout: patience})
		defer c.Close()
		c.dial = func(context.Context, string, string) (net.Conn, error) {
			connections.Add(1)
			ours, theirs := net.Pipe()
			l <- theirs
			return ours, nil
		}
		for range 3 {
			here.Add(idlePerHost)
			var asks sync.WaitGroup
			for range idlePerHost {
				asks.Go(func() {
					if err := c.Get(t.Context(), "http://daemon:1/stats", nil); err != nil {
						t.Error(err)
					}
				})
			}
			asks.Wait()
			synctest.Wait() // until they lie there again
		}
		if n := connections.Load(); n != idlePerHost {
			t.Errorf("%d connections for three times %d at once", n, idlePerHost)
		}
	})
}

// TestDo: bodies go and come as they are, with any method, and a refusal is a *StatusError.
func TestDo(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path == "/refused" {
			RespondV1(w, 400, "INVALID_VALUE")
			return
		}
		RespondV1(w, 200, r.Method+" "+string(body))
	})
	c := newTestClient(t, ClientConfig{RequestTimeout: patience})
	for method, body := range map[string]string{http.MethodPut: "debug", http.MethodGet: "", http.MethodPost: `["a:1"]`} {
		answer, err := c.Do(t.Context(), method, addr, []byte(body))
		if want := method + " " + body; err != nil || string(answer) != want {
			t.Errorf("got %q, %v, want %q", answer, err, want)
		}
	}
	var refused *StatusError
	if _, err := c.Do(t.Context(), http.MethodPut, addr+"/refused", nil); !errors.As(err, &refused) || refused.Code != 400 {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestWhatAdmindReadsIsNotLogged: an admind's questions that are answered leave no line at level info; anybody else's do, and so do its acts and what fails.
func TestWhatAdmindReadsIsNotLogged(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	r := NewRouter(logger, Door{})
	for _, method := range []string{"GET", "POST"} {
		r.Handle(method, "/stats", Public(), Logged(logger, V1(func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return "OK", nil })))
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	admind, other := newTestClient(t, ClientConfig{UserAgent: AdmindAgent + "1.3.0"}), newTestClient(t, ClientConfig{})
	for _, err := range []error{admind.Get(t.Context(), server.URL+"/stats", nil), other.Get(t.Context(), server.URL+"/stats?other", nil),
		admind.Post(t.Context(), server.URL+"/stats?act", nil, nil)} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := admind.Get(t.Context(), server.URL+"/none", nil); err == nil {
		t.Error("no error")
	}
	server.Close() // which waits for the lines
	for _, want := range []string{"uri=\"/stats?other\"", "uri=\"/stats?act\"", "uri=/none"} {
		if !strings.Contains(log.String(), want) && !strings.Contains(log.String(), strings.ReplaceAll(want, `"`, "")) {
			t.Errorf("no line with %s in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "uri=/stats ") {
		t.Errorf("admind's reading is logged:\n%s", log.String())
	}
}
