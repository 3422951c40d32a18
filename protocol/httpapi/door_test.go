package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/protocol/grant"
)

// asked returns a request that came to the given address of this daemon, with headers in pairs.
func asked(to, method, target string, headers ...string) *http.Request {
	req := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	addr := &net.TCPAddr{IP: net.ParseIP(to), Port: 4151}
	return req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, net.Addr(addr)))
}

func newTestRouter(door Door) *Router {
	r := NewRouter(slog.New(slog.DiscardHandler), door)
	fine := func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return "OK", nil }
	r.Handle("GET", "/ping", Public(), Plain(fine))
	r.Handle("GET", "/figures", NeedsSome(grant.Read), V1(fine))
	r.Handle("POST", "/act", NeedsOnTopic(grant.Manage), V1(fine))
	r.Handle("PUT", "/option", Needs(grant.Admin).Local(), V1(fine))
	r.Handle("GET", "/forgotten", Rule{}, V1(fine))
	return r
}

func status(r *Router, req *http.Request) (int, string) {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// TestPagesOfOtherSitesDoNotAct: what a browser sends for another site is refused unless that site is known; programs are not
// concerned, nor is reading, whose answer the browser keeps from the page.
func TestPagesOfOtherSitesDoNotAct(t *testing.T) {
	r := newTestRouter(Door{Origins: []string{"https://tools.example"}})
	for name, test := range map[string]struct {
		headers []string
		want    int
	}{
		"curl":                      {nil, 200},
		"our page":                  {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://broker.example"}, 200},
		"our page, an old browser":  {[]string{"Origin", "http://broker.example"}, 200},
		"typed by the user":         {[]string{"Sec-Fetch-Site", "none"}, 200},
		"a known site":              {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://tools.example"}, 200},
		"another site":              {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, 403},
		"a sister site":             {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"another site, old browser": {[]string{"Origin", "http://evil.example"}, 403},
		"another port":              {[]string{"Origin", "http://broker.example:8080"}, 403},
		"a sandboxed frame":         {[]string{"Origin", "null"}, 403},
		"a name that begins so":     {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://tools.example.evil.example"}, 403},
	} {
		for _, to := range []string{"10.0.0.1", "127.0.0.1", "::1"} {
			target := "http://broker.example/act?topic=t"
			if to != "10.0.0.1" {
				target = "http://localhost/act?topic=t"
				test.headers = append([]string{}, test.headers...)
				for i, h := range test.headers {
					test.headers[i] = strings.Replace(h, "//broker.example", "//localhost", 1)
				}
			}
			got, body := status(r, asked(to, "POST", target, test.headers...))
			if got != test.want || got == 403 && !strings.Contains(body, "--http-allow-origin") || strings.Contains(body, "--http-allow-origin=null") ||
				strings.Contains(body, "--http-allow-origin= ") {
				t.Errorf("%s to %s: %d %s", name, to, got, body)
			}
		}
		if got, _ := status(r, asked("10.0.0.1", "GET", "http://broker.example/figures", test.headers...)); got != 200 {
			t.Errorf("%s reads: %d", name, got)
		}
	}
}

// TestForeignNamesOnTheLoopback: there any call needs a name that is known, or an address; elsewhere names are not looked at.
func TestForeignNamesOnTheLoopback(t *testing.T) {
	self, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRouter(Door{Hosts: []string{"broker.test", "*.below.test"}})
	for host, known := range map[string]bool{
		"localhost": true, "localhost:4151": true, "LOCALHOST.": true, "a.localhost": true, "127.0.0.1:4151": true, "[::1]:4151": true, "::1": true,
		"10.1.2.3": true, self: true, strings.ToUpper(self): true, "broker.test:80": true, "x.below.test": true, "": true,
		"evil.example": false, "evil.example:4151": false, "below.test": false, "xbelow.test": false, "broker.test.evil.example": false,
		"127.0.0.1.evil.example": false, "localhost.evil.example": false, "1.2.3": false,
	} {
		for _, request := range []string{"GET /ping", "GET /figures", "POST /act?topic=t", "GET /none", "OPTIONS /act"} {
			method, path, _ := strings.Cut(request, " ")
			for to, loopback := range map[string]bool{"127.0.0.1": true, "127.1.2.3": true, "::1": true, "10.0.0.1": false} {
				req := asked(to, method, path)
				req.Host = host
				got, body := status(r, req)
				if refused := got == 403; refused != (loopback && !known) || refused && !strings.Contains(body, "--http-allow-host") {
					t.Errorf("%s to %s, called %q: %d %s", request, to, host, got, body)
				}
			}
		}
	}
	all := newTestRouter(Door{Hosts: []string{"*"}})
	if got, _ := status(all, asked("127.0.0.1", "GET", "http://evil.example/ping")); got != 200 {
		t.Errorf("* does not stand for all names: %d", got)
	}
}

// TestWhatIsForThisMachine: without a token file a local rule lets in the loopback only, and nobody whom a proxy there stands for.
func TestWhatIsForThisMachine(t *testing.T) {
	open, closed := newTestRouter(Door{Insecure: true}), newTestRouter(Door{})
	for from, local := range map[string]bool{"127.0.0.1:5": true, "[::1]:5": true, "[::ffff:127.0.0.1]:5": true, "10.0.0.2:5": false, "@": false} {
		req := asked("10.0.0.1", "PUT", "/option")
		req.RemoteAddr = from
		if got, body := status(closed, req); (got == 200) != local || !local && !strings.Contains(body, "--insecure") {
			t.Errorf("from %s: %d %s", from, got, body)
		}
		if got, _ := status(open, req); got != 200 {
			t.Errorf("from %s with --insecure: %d", from, got)
		}
		req.Header.Set("X-Forwarded-For", "10.0.0.2")
		if got, _ := status(closed, req); got != 403 {
			t.Errorf("through a proxy from %s: %d", from, got)
		}
	}
	req := httptest.NewRequest("PUT", "/option", nil)
	req.RemoteAddr = "@"
	socket := net.Addr(&net.UnixAddr{Name: "/run/b", Net: "unix"})
	if got, _ := status(closed, req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, socket))); got != 200 {
		t.Errorf("over a unix socket: %d", got)
	}
}

// TestTokens: with a token file every route but the public one needs a scope, a rule that was forgotten lets nobody in, and whatever is
// refused says what is missing and never shows a token.
func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	token := func(id string, grants ...string) string {
		parsed, err := grant.ParseGrants(grants)
		if err != nil {
			t.Fatal(err)
		}
		text, err := grant.Add(path, id, parsed, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	reader, manager, root := token("reader", "read:x"), token("manager", "manage:orders.*"), token("root", "admin")
	file, err := grant.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRouter(Door{Guard: Tokens{file}})
	wrong := root[:len(root)-4] + "AAAA"
	for _, test := range []struct {
		token, request string
		want           int
		text           string
	}{
		{"", "GET /ping", 200, "OK"},
		{"", "GET /figures", 401, "this needs scope read"},
		{"", "POST /act?topic=orders.eu", 401, `scope manage on topic \"orders.eu\"`},
		{"", "PUT /option", 401, "scope admin on all topics"},
		{wrong, "GET /figures", 401, "TOKEN_REFUSED: the token is not known"},
		{"nonsense", "GET /figures", 401, "TOKEN_REFUSED: not a token"},
		{reader, "GET /figures", 200, "OK"},
		{reader, "POST /act?topic=x", 403, `token reader has not scope manage on topic \"x\"`},
		{manager, "GET /figures", 403, "FORBIDDEN"},
		{manager, "POST /act?topic=orders.eu", 200, "OK"},
		{manager, "POST /act?topic=orders", 403, "FORBIDDEN"},
		{manager, "POST /act?topic=other&topic=orders.eu", 403, "FORBIDDEN"},
		{manager, "POST /act", 200, "OK"},
		{reader, "POST /act", 403, "FORBIDDEN"},
		{manager, "POST /act?topic=%zz", 400, "INVALID_REQUEST"},
		{manager, "PUT /option", 403, "FORBIDDEN"},
		{root, "PUT /option", 200, "OK"},
		{root, "POST /act?topic=any", 200, "OK"},
		{root, "GET /forgotten", 403, "FORBIDDEN"},
	} {
		method, target, _ := strings.Cut(test.request, " ")
		req := asked("10.0.0.1", method, target)
		if test.token != "" {
			req.Header.Set("Authorization", "bearer "+test.token)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != test.want || !strings.Contains(w.Body.String(), test.text) || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s with %.20s: %d %s", test.request, test.token, w.Code, w.Body)
		}
		if test.token != "" && strings.Contains(w.Body.String(), test.token[len(test.token)-8:]) {
			t.Errorf("%s: the answer shows the token: %s", test.request, w.Body)
		}
	}
}

// TestHostsAndOriginsThatCannotBe are told apart from those that can.
func TestHostsAndOriginsThatCannotBe(t *testing.T) {
	for host, ok := range map[string]bool{"a.example": true, "*.a.example": true, "*": true, "": false, "*.": false, "a:1": false, "http://a": false, "a*b": false} {
		if err := CheckHost(host); (err == nil) != ok {
			t.Errorf("%q: %v", host, err)
		}
	}
	for origin, ok := range map[string]bool{"https://a.example": true, "http://a:8080": true, "a.example": false, "https://": false, "https://a/b": false, "https://a/": false, "https://u@a": false, "null": false} {
		if err := CheckOrigin(origin); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
}
