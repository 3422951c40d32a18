package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestPlainRoutes covers the answers without the V1 header.
func TestPlainRoutes(t *testing.T) {
	f := newFixture(t, nil)
	check := func(method, path string, code int, want string) {
		t.Helper()
		resp, body := f.do(method, path, "")
		if resp.StatusCode != code || body != want || resp.Header.Get("X-NSQ-Content-Type") != "" {
			t.Errorf("%s %s: got %d %q, header %q", method, path, resp.StatusCode, body, resp.Header.Get("X-NSQ-Content-Type"))
		}
		if ct := resp.Header.Get("Content-Type"); body != "" && ct != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: Content-Type %q", method, path, ct)
		}
	}
	check("GET", "/ping", 200, "OK")
	check("PUT", "/debug/setblockrate?rate=0", 200, "")
	check("PUT", "/debug/setblockrate?rate=x", 400, `invalid block rate : strconv.Atoi: parsing "x": invalid syntax`)
	check("POST", "/debug/freememory", 200, "")
	f.broker.health = errors.New("disk full")
	check("GET", "/ping", 500, "NOK - disk full")
	if h := f.stats("").Health; h != "NOK - disk full" {
		t.Errorf("health in /stats: %s", h)
	}
}

// TestRoutes covers what is answered outside the routes, /info, and that profiles are there.
func TestRoutes(t *testing.T) {
	f := newFixture(t, nil)
	f.run([]step{
		{"POST /stats", "", 405, "METHOD_NOT_ALLOWED"},
		{"GET /pub?topic=t", "", 405, "METHOD_NOT_ALLOWED"},
		{"GET /not_found", "", 404, "NOT_FOUND"},
		{"POST /put?topic=t", "m", 404, "NOT_FOUND"},
		{"POST /create_topic?topic=t", "", 404, "NOT_FOUND"},
		{"GET /info", "", 200, `{"version":"1.3.0","broadcast_address":"host","hostname":"host","http_port":4151,"tcp_port":-1,` +
			`"start_time":1737370000,"max_heartbeat_interval":60000000000,"max_output_buffer_size":65536,` +
			`"max_output_buffer_timeout":30000000000,"max_deflate_level":6,"topology_zone":"","topology_region":""}`},
	})
	for _, name := range []string{"", "cmdline", "symbol", "heap", "goroutine", "block", "threadcreate", "trace?seconds=0.01"} {
		if resp, _ := f.do("GET", "/debug/pprof/"+name, ""); resp.StatusCode != 200 {
			t.Errorf("pprof %q: %d", name, resp.StatusCode)
		}
	}
}

// TestConfig covers the options that can be read and the two that can be changed.
func TestConfig(t *testing.T) {
	f := newFixture(t, nil)
	const lookups, level = " /config/nsqlookupd_tcp_addresses", " /config/log_level"
	f.run([]step{
		{"GET" + lookups, "", 200, "[]"},
		{"PUT" + lookups, `["a:4160", "b:4160"]`, 200, `["a:4160","b:4160"]`},
		{"GET" + lookups, "", 200, `["a:4160","b:4160"]`},
		{"PUT" + lookups, `a:4160`, 400, "INVALID_VALUE"},
		{"PUT" + lookups, `[1]`, 400, "INVALID_VALUE"},
		{"PUT" + lookups, `[]`, 200, "[]"},
		{"PUT" + level, "fatal", 200, "5"},
		{"PUT" + level, "bad", 400, "INVALID_VALUE"},
		{"GET" + level, "", 200, "5"},
		{"PUT" + level, "", 413, "INVALID_VALUE"},
		{"PUT" + level, strings.Repeat("x", 101), 413, "INVALID_VALUE"},
		{"PUT /config/data_path", "/elsewhere", 400, "INVALID_OPTION"},
		{"PUT /config/unknown", "", 413, "INVALID_VALUE"},
		{"GET /config/unknown", "", 400, "INVALID_OPTION"},
		{"GET /config/data_path", "", 200, "/tmp/x"},
		{"GET /config/max_msg_size", "", 200, "1024"},
		{"GET /config/snappy", "", 200, "true"},
	})
}

// TestLogLines: every request leaves a line but publishes.
func TestLogLines(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})
	f := newFixture(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(w, nil)) })
	f.run([]step{
		{"POST /pub?topic=t", "m", 200, "OK"},
		{"POST /mpub?topic=t", "m", 200, "OK"},
		{"POST /topic/create?topic=t", "", 200, ""},
		{"GET /nowhere", "", 404, "NOT_FOUND"},
	})
	f.do("GET", "/ping", "")
	f.server.Shutdown(context.Background()) // the lines are written behind the answers
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"status=200 method=POST uri=\"/topic/create?topic=t\"", "status=404 method=GET uri=/nowhere", "uri=/ping"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line with %s in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "pub") {
		t.Errorf("a publish was logged:\n%s", log.String())
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestNotHTTP: a client of another protocol is told so in four bytes that go-nsq looks for.
func TestNotHTTP(t *testing.T) {
	f := newFixture(t, nil)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "  V2\x00\x00\x00\x01{}\nnot http\n\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.") || !strings.Contains(line, " 400 ") {
		t.Errorf("got %q, %v", line, err)
	}
}

// TestTLS: https serves the API while the plain port refuses every request and names the https port.
func TestTLS(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefusePlain, c.HTTPSPort = true, 4152 })
	for _, request := range []string{"POST /pub?topic=t", "GET /ping", "GET /nowhere"} {
		method, path, _ := strings.Cut(request, " ")
		resp, body := f.do(method, path, "m")
		if resp.StatusCode != 403 || body != `{"message": "TLS_REQUIRED", "https_port": 4152}` ||
			resp.Header.Get("X-NSQ-Content-Type") != "nsq; version=1.0" {
			t.Errorf("%s: got %d %s", request, resp.StatusCode, body)
		}
	}
	f.base = "https://" + f.listenTLS().String()
	f.run([]step{{"POST /pub?topic=t", "m", 200, "OK"}})
}

// listenTLS serves over TLS with a certificate made for tests and returns the address.
func (f *fixture) listenTLS() net.Addr {
	f.t.Helper()
	own := httptest.NewUnstartedServer(nil)
	own.StartTLS() // for its certificate
	cert := own.TLS.Certificates[0]
	own.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.serve(func() error { return f.server.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{cert}}) })
	f.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return l.Addr()
}

// TestRefusingPlainTextEndsItsConnections: who comes back over one would show his token, and be refused then.
func TestRefusingPlainTextEndsItsConnections(t *testing.T) {
	var cfg Config
	f := newFixture(t, func(c *Config) { cfg = *c })
	reused := func() (was bool) {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) { was = c.Reused },
		}), "GET", f.base+"/ping", nil)
		if err != nil {
			t.Fatal(err)
		}
		f.send(req)
		return was
	}
	if reused(); !reused() {
		t.Fatal("connections are not kept at all")
	}
	f.server.SetConfig(cfg)
	if !reused() {
		t.Error("a reload that changes nothing ends connections")
	}
	cfg.RefusePlain = true
	f.server.SetConfig(cfg)
	if reused() || reused() {
		t.Error("a connection in clear is used again")
	}
	cfg.RefusePlain = false
	f.server.SetConfig(cfg)
	if reused(); !reused() {
		t.Error("connections are not kept any more")
	}
}

// TestUnixSocket: the API is the same over a unix socket.
func TestUnixSocket(t *testing.T) {
	f := newFixture(t, nil)
	path := filepath.Join(t.TempDir(), "http.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(func() error { return f.server.Serve(l) })
	f.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	f.run([]step{{"POST /mpub?topic=t", "a\nb", 200, "OK"}})
	if d := f.depth("t"); d != 2 {
		t.Errorf("depth %d", d)
	}
}

// TestDeclaredLength: a client that announces a body and sends nothing costs no memory for it, and one that announces more than
// is allowed is refused before it sends.
func TestDeclaredLength(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxMsgSize, c.MaxBodySize = 1<<30, 1<<30 })
	const clients = 32
	before := f.stats("").Memory.HeapInUseBytes
	for range clients {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /pub?topic=t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(f.stats("").Memory.HeapInUseBytes) - int64(before); grown > 16<<20 {
		t.Errorf("%d declared bodies took %d bytes", clients, grown)
	}
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /pub?topic=t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741825\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, " 413 ") {
		t.Errorf("got %q, %v", line, err)
	}
}

// TestStorage holds the answer to the byte: admind reads it.
func TestStorage(t *testing.T) {
	f := newFixture(t, nil)
	f.run([]step{{"GET /storage", "", 200,
		`{"data_path":"/data","durability":"disk","total_bytes":1000,"free_bytes":400,"min_free_bytes":10}`},
		{"POST /storage", "", 405, "METHOD_NOT_ALLOWED"}})
}
