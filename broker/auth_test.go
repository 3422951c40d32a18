package broker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

const grantAll = `{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}`

// authDaemon records the last question and answers with a grant.
type authDaemon struct {
	*httptest.Server
	asked    atomic.Int32
	question atomic.Value // string
	fail     atomic.Bool
}

func newAuthDaemon(t *testing.T, ttl int) *authDaemon {
	t.Helper()
	d := &authDaemon{}
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
		fmt.Fprintf(w, `{"ttl":%d,"identity":"","identity_url":"","authorizations":[%s]}`, ttl, grantAll)
	}))
	t.Cleanup(d.Close)
	return d
}

// TestAuthQuestion: what the auth daemon is told of a client, by each method and through each door.
func TestAuthQuestion(t *testing.T) {
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

// TestAuthExpires: at the next command after its end the daemon is asked again with the same secret; when it fails then, so
// does the command. HTTP needs no AUTH.
func TestAuthExpires(t *testing.T) {
	t.Parallel()
	d := newAuthDaemon(t, 1)
	n := start(t, func(o *broker.Options) { o.AuthHTTPAddresses = []string{d.Listener.Addr().String()} })
	n.post("/pub?topic=t", "x")
	c := n.dial()
	c.Send("AUTH\n" + prototest.Body("s"))
	c.Expect(`{"identity":"","identity_url":"","permission_count":1}`)
	c.Send(prototest.Pub("t", "x"))
	c.Expect("OK")
	if asked := d.asked.Load(); asked != 1 {
		t.Errorf("the daemon was asked %d times for one AUTH", asked)
	}
	eventually(t, "the daemon is asked again", func() bool {
		c.Send(prototest.Pub("t", "x"))
		c.Expect("OK")
		return d.asked.Load() == 2
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
