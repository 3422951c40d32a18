package broker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

const grantAll = `{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}`

// authDaemon records the last question and answers with a grant.
type authDaemon struct {
	*httptest.Server
	asked    atomic.Int32
	ttl      atomic.Int32 // seconds that its answers hold
	question atomic.Value // string
	fail     atomic.Bool
}

func newAuthDaemon(t *testing.T, ttl int) *authDaemon {
	t.Helper()
	d := &authDaemon{}
	d.ttl.Store(int32(ttl))
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		values := r.URL.Query()
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			if json.Unmarshal(body, &values) != nil {
				values = url.Values{"error": {string(body)}}
			}
		}
		d.question.Store(r.Method + " " + values.Encode())
		if d.fail.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"ttl":%d,"identity":"","identity_url":"","authorizations":[%s]}`, d.ttl.Load(), grantAll)
	}))
	t.Cleanup(d.Close)
	return d
}

// TestAuthQuestion: what the auth daemon is told of a client, by each method and through each door.
func TestAuthQuestion(t *testing.T) {
	t.Parallel()
	for method, shown := range map[string]string{"get": "GET", "post": "POST"} {
		d := newAuthDaemon(t, 60)
		h := build(t, func(o *broker.Options) {
			o.AuthHTTPAddresses, o.AuthHTTPRequestMethod = []string{d.Listener.Addr().String()}, method
		})
		for _, way := range []struct {
			door door
			want string
		}{
			{door{}, "common_name=&remote_ip=127.0.0.1&secret=testsecret&tls=false"},
			{door{tls: true, snappy: true}, "common_name=test.local&remote_ip=127.0.0.1&secret=testsecret&tls=true"},
			{door{unix: true}, "common_name=&remote_ip=&secret=testsecret&tls=false"},
		} {
			tr := h.transport(way.door)
			if way.door.tls {
				// Unasked a client shows no certificate, and so a policy that asks is needed.
				n := start(t, func(o *broker.Options) {
					h.authority.serve(o)
					o.AuthHTTPAddresses, o.AuthHTTPRequestMethod = []string{d.Listener.Addr().String()}, method
					o.TLSClientAuthPolicy = "require-verify"
				})
				tr.Address, tr.TLS = n.TCPAddr().String(), h.authority.Client(h.authority.Issue("test.local"))
			}
			c := tr.Connect(t)
			c.Send("AUTH\n" + prototest.Body("testsecret"))
			c.Expect(`{"identity":"","identity_url":"","permission_count":1}`)
			c.Send("SUB t ch\n")
			c.Expect("OK")
			if got := d.question.Load(); got != shown+" "+way.want {
				t.Errorf("asked %s, want %s %s", got, shown, way.want)
			}
		}
		h.stop()
	}
}

// TestAuthExpires: as long as an answer of the daemon holds it is not asked again. At the next command after that it is, with the same secret; when
// it fails then, so does the command. HTTP needs no AUTH.
func TestAuthExpires(t *testing.T) {
	t.Parallel()
	const hour = 3600
	d := newAuthDaemon(t, hour)
	n := start(t, func(o *broker.Options) { o.AuthHTTPAddresses = []string{d.Listener.Addr().String()} })
	n.post("/pub?topic=t", "x")
	signIn := func() *prototest.Client {
		c := n.dial()
		c.Send("AUTH\n" + prototest.Body("s"))
		c.Expect(`{"identity":"","identity_url":"","permission_count":1}`)
		c.Send(prototest.Pub("t", "x"))
		c.Expect("OK")
		return c
	}
	signIn()
	if asked := d.asked.Load(); asked != 1 {
		t.Errorf("the daemon was asked %d times for one AUTH", asked)
	}
	d.ttl.Store(1)
	c := signIn()
	eventually(t, "the daemon is asked again", func() bool {
		c.Send(prototest.Pub("t", "x"))
		c.Expect("OK")
		return d.asked.Load() > 2
	})
	d.fail.Store(true)
	eventually(t, "the publish is refused", func() bool {
		c.Send(prototest.Pub("t", "x"))
		f := c.Next()
		return string(f.Payload) == "E_AUTH_FAILED AUTH failed"
	})
	c.ExpectClosed()
	n.stop()
}

// TestNoCachedAnswerOutlivesWhatItStoodOn: what the token file lets everybody do is not kept with what an auth daemon has said: once it
// is withdrawn the caller has only what the daemon says; and what that says is asked anew when it is over, however often it was used.
func TestNoCachedAnswerOutlivesWhatItStoodOn(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := `{"topic":"^orders$","channels":[".*"],"permissions":["publish"]}`
		if asked.Add(1) > 1 {
			answer = ""
		}
		fmt.Fprintf(w, `{"ttl":5,"identity":"x","identity_url":"","authorizations":[%s]}`, answer)
	}))
	defer d.Close()
	f := newTokens(t, "anonymous read publish:open")
	n := start(t, func(o *broker.Options) {
		f.use(o)
		o.AuthHTTPAddresses, o.AuthHTTPAPI = []string{d.Listener.Addr().String()}, true
	})
	publish := func(topic string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url("/pub?topic="+topic), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := n.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if orders, open := publish("orders"), publish("open"); orders != 200 || open != 200 {
		t.Errorf("orders %d, open %d", orders, open)
	}
	f.write("anonymous read")
	eventually(t, "what everybody might is withdrawn", func() bool { return publish("open") == http.StatusForbidden })
	eventually(t, "the daemon's answer is over", func() bool { return publish("orders") == http.StatusForbidden })
	if asked.Load() < 2 {
		t.Errorf("the daemon was asked %d times", asked.Load())
	}
}

// TestAuthDaemonJudgesHTTP, when that is said: publish and subscribe let publish and see the topic, whole names or parts as anywhere else; what they do
// not say needs a token or the daemon's own words. An answer is kept as long as it holds, and no secret is told.
func TestAuthDaemonJudgesHTTP(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"producer": `{"topic":"^orders$","channels":[".*"],"permissions":["publish"]}`,
		"consumer": `{"topic":"^orders$","channels":["billing"],"permissions":["subscribe"]}`,
		"operator": `{"topic":".*","channels":[],"permissions":["admin"]}`,
		"nobody":   ``,
	}
	var asked atomic.Int32
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer, ok := answers[r.URL.Query().Get("secret")]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"ttl":60,"identity":"x","identity_url":"","authorizations":[%s]}`, answer)
	}))
	defer d.Close()
	var opts broker.Options
	n := start(t, func(o *broker.Options) {
		o.AuthHTTPAddresses, o.AuthHTTPAPI = []string{d.Listener.Addr().String()}, true
		opts = *o
	})
	ask := func(secret, method, path string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, n.url(path), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if secret != "" {
			req.Header.Set("Authorization", "Bearer "+secret)
		}
		resp, err := n.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || secret == "canary" && strings.Contains(string(text), secret) {
			t.Errorf("%s: %s %v", path, text, err)
		}
		return resp.StatusCode
	}
	for _, c := range []struct {
		secret, method, path string
		want                 int
	}{
		{"", "GET", "/ping", 200}, {"", "POST", "/pub?topic=orders", 401}, {"", "GET", "/stats", 401},
		{"producer", "POST", "/pub?topic=orders", 200}, {"producer", "POST", "/pub?topic=orders2", 403}, {"producer", "POST", "/topic/delete?topic=orders", 403},
		{"consumer", "POST", "/pub?topic=orders", 403}, {"consumer", "GET", "/stats", 200}, {"producer", "GET", "/stats", 403},
		{"operator", "POST", "/topic/create?topic=new", 200}, {"operator", "GET", "/config", 200}, {"consumer", "GET", "/config", 403},
		{"nobody", "POST", "/pub?topic=orders", 403}, {"canary", "POST", "/pub?topic=orders", 401},
	} {
		if got := ask(c.secret, c.method, c.path); got != c.want {
			t.Errorf("%s: %s %s: %d, want %d", c.secret, c.method, c.path, got, c.want)
		}
	}
	before := asked.Load()
	for range 5 {
		ask("producer", "POST", "/pub?topic=orders")
	}
	if asked.Load() != before {
		t.Error("the auth daemon is asked again while its answer holds")
	}
	opts.AuthHTTPAPI = false
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if got := ask("", "POST", "/pub?topic=orders"); got != 200 {
		t.Errorf("HTTP is judged without the option: %d", got)
	}
}
