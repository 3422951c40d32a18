package broker_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/grant"
	"brokerd/protocol/prototest"
)

// tokens is a token file of a test.
type tokens struct {
	t    testing.TB
	path string
}

func newTokens(t testing.TB, lines ...string) *tokens {
	f := &tokens{t, filepath.Join(t.TempDir(), "tokens")}
	f.write(lines...)
	return f
}

func (f *tokens) write(lines ...string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *tokens) add(id string, grants ...string) string {
	f.t.Helper()
	parsed, err := grant.ParseGrants(grants)
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := grant.Add(f.path, id, parsed, time.Time{})
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f *tokens) use(o *broker.Options) { o.TokenFile = f.path }

// auth signs in.
func auth(c *prototest.Client, token string, permissions int) *prototest.Client {
	id := strings.Split(token, "_")[1]
	c.Send("AUTH\n" + prototest.Body(token))
	c.Expect(fmt.Sprintf(`{"identity":%q,"identity_url":"","permission_count":%d}`, id, permissions))
	return c
}

// TestTokensOverTCP: what each grant lets a client do, what is refused and how, and what the client is told to do.
func TestTokensOverTCP(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	producer, consumer := f.add("producer", "publish:orders.*"), f.add("consumer", "consume:orders.*,x")
	n := start(t, f.use)
	p := auth(n.dial(), producer, 1)
	for _, command := range []string{prototest.Pub("orders.eu", "1"), "MPUB orders.eu\n" + prototest.Body(prototest.I32(1)+prototest.Body("2")),
		"DPUB orders.eu 1\n" + prototest.Body("3")} {
		p.Send(command)
		p.Expect("OK")
	}
	c := auth(n.dial(), consumer, 1)
	c.Send("SUB orders.eu c\n")
	c.Expect("OK")
	for name, test := range map[string]struct{ token, command, want string }{
		"no token":              {"", prototest.Pub("orders.eu", "x"), "E_AUTH_FIRST AUTH required before PUB"},
		"no token to consume":   {"", "SUB orders.eu c\n", "E_AUTH_FIRST AUTH required before SUB"},
		"another topic":         {producer, prototest.Pub("other", "x"), `E_UNAUTHORIZED AUTH failed for PUB on "other" ""`},
		"another topic, MPUB":   {producer, "MPUB other\n" + prototest.Body(prototest.I32(1)+prototest.Body("2")), `E_UNAUTHORIZED AUTH failed for MPUB on "other" ""`},
		"another topic, DPUB":   {producer, "DPUB other 1\n" + prototest.Body("2"), `E_UNAUTHORIZED AUTH failed for DPUB on "other" ""`},
		"a producer consumes":   {producer, "SUB orders.eu c\n", `E_UNAUTHORIZED AUTH failed for SUB on "orders.eu" "c"`},
		"a consumer publishes":  {consumer, prototest.Pub("orders.eu", "x"), `E_UNAUTHORIZED AUTH failed for PUB on "orders.eu" ""`},
		"a name that ends so":   {producer, prototest.Pub("notorders.eu", "x"), `E_UNAUTHORIZED AUTH failed for PUB on "notorders.eu" ""`},
		"a token with an error": {"", "AUTH\n" + prototest.Body(producer[:len(producer)-4]+"AAAA"), "E_AUTH_FAILED AUTH failed"},
		"what is no token":      {"", "AUTH\n" + prototest.Body("password"), "E_AUTH_FAILED AUTH failed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.dial()
			if test.token != "" {
				auth(c, test.token, 1)
			}
			c.Send(test.command)
			c.ExpectError(test.want)
			c.ExpectClosed()
		})
	}
}

func (n *node) demandsAuth() bool {
	c := n.dial()
	defer c.Conn.Close()
	c.Send("IDENTIFY\n" + prototest.Body(`{"feature_negotiation":true}`))
	return strings.Contains(string(c.Next().Payload), `"auth_required":true`)
}

// TestNobodyIsToldToShowATokenInClear where TLS is required: it would be refused, but not before everybody on the way has seen it.
func TestNobodyIsToldToShowATokenInClear(t *testing.T) {
	t.Parallel()
	f, a := newTokens(t), newAuthority(t)
	f.add("app", "consume:t")
	for required, demanded := range map[broker.TLSRequirement]bool{broker.TLSNotRequired: true, broker.TLSRequired: false, broker.TLSRequiredExceptHTTP: false} {
		n := start(t, func(o *broker.Options) {
			f.use(o)
			a.serve(o)
			o.TLSRequired = required
		})
		if n.demandsAuth() != demanded {
			t.Errorf("tls-required=%v: AUTH is demanded of who asks for no TLS: %v", required, !demanded)
		}
		c := n.dial()
		c.Send("IDENTIFY\n" + prototest.Body(`{"feature_negotiation":true,"tls_v1":true}`))
		if answer := string(c.Next().Payload); !strings.Contains(answer, `"auth_required":true`) {
			t.Errorf("tls-required=%v: AUTH is not demanded over TLS: %s", required, answer)
		}
		c.Conn.Close()
	}
}

// TestAnonymousLetsAccessComeInStepByStep: clients without a token go on, and are not told to send one, until the line is taken away;
// then they are cut off, and those with a token stay.
func TestAnonymousLetsAccessComeInStepByStep(t *testing.T) {
	t.Parallel()
	f := newTokens(t, "anonymous publish,consume read")
	n := start(t, f.use)
	old := n.subscribe("t", "c", 1)
	if n.demandsAuth() {
		t.Error("AUTH is demanded though anonymous may publish and consume")
	}
	token := f.add("app", "consume:t")
	var app *prototest.Client
	eventually(t, "the new token is known", func() bool {
		app = n.dial()
		app.Send("AUTH\n" + prototest.Body(token))
		return !strings.HasPrefix(string(app.Next().Payload), "E_")
	})
	app.Send("SUB t c\n")
	app.Expect("OK")
	text, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	f.write(strings.TrimSpace(rest))
	old.ExpectError(`E_UNAUTHORIZED AUTH failed for SUB on "t" "c"`)
	old.ExpectClosed()
	if !n.demandsAuth() {
		t.Error("AUTH is not demanded")
	}
	app.Send("RDY 1\n")
	p := auth(n.dial(), token, 1)
	p.Send("SUB t c\n")
	p.Expect("OK")
}

// TestWithdrawnGrantsCutLiveSessions: a consumer with credit and a producer are gone within 5 s of their token's end; who keeps its
// grants is not disturbed, and neither is anybody by a file that cannot be read.
func TestWithdrawnGrantsCutLiveSessions(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	going, staying, narrowed := f.add("going", "publish,consume:t"), f.add("staying", "publish,consume:t"), f.add("narrowed", "publish:t,u")
	o := options(t)
	f.use(&o)
	n, log := startLogged(t, o)
	session := func(token string) (producer, consumer *prototest.Client) {
		producer, consumer = auth(n.dial(), token, 1), auth(n.dial(), token, 1)
		producer.Send(prototest.Pub("t", "x"))
		producer.Expect("OK")
		consumer.Send("SUB t " + token[8:14] + "\nRDY 10\n")
		consumer.Expect("OK")
		return producer, consumer
	}
	producer, consumer := session(going)
	stays, listens := session(staying)
	other := auth(n.dial(), narrowed, 1)
	other.Send(prototest.Pub("u", "x"))
	other.Expect("OK")

	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	f.write("token nonsense")
	eventually(t, "the file was looked at", func() bool { return strings.Contains(log.String(), "the token file cannot be used") })
	stays.Send(prototest.Pub("t", "y"))
	stays.Expect("OK")
	producer.Send(prototest.Pub("t", "y"))
	producer.Expect("OK")
	f.write(strings.Replace(strings.TrimSpace(string(good)), "publish:t,u", "publish:t", 1))
	if err := grant.Remove(f.path, "going"); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*prototest.Client{"producer": producer, "consumer": consumer, "narrowed": other} {
		c.Timeout = 2 * time.Minute
		var last prototest.Frame
		for {
			frame, err := c.Read()
			if err != nil {
				break
			}
			last = frame
		}
		want := "E_AUTH_FAILED AUTH failed: the grants of token going are gone"
		if what == "narrowed" {
			want = `E_UNAUTHORIZED AUTH failed for PUB on "u" ""`
		}
		if string(last.Payload) != want {
			t.Errorf("%s: %v, want %s", what, last, want)
		}
	}
	c := n.dial()
	c.Send("AUTH\n" + prototest.Body(going))
	c.ExpectError("E_AUTH_FAILED AUTH failed")
	stays.Send(prototest.Pub("t", "z"))
	stays.Expect("OK")
	var bodies string
	for !strings.HasSuffix(bodies, "z") { // x was published before, and may come too
		bodies += string(listens.Next().Message().Body)
	}
	if strings.Count(bodies, "y") != 2 {
		t.Errorf("who keeps its grants got %q, want y, y and z among it", bodies)
	}
}

// TestTokensThatExpireCutSessions: the connection does not outlive its token, and no use of it makes it longer. A machine that is too busy to
// have the clients there before the token ends gets one that lasts longer.
func TestTokensThatExpireCutSessions(t *testing.T) {
	t.Parallel()
	for life := 3 * time.Second; !expires(t, life); life *= 4 {
		t.Logf("%v were too short", life)
	}
}

// expires tests it with a token that ends in life, and reports whether that was enough to begin.
func expires(t *testing.T, life time.Duration) bool {
	f := newTokens(t)
	grants, err := grant.ParseGrants([]string{"publish,consume"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(f.path, "short", grants, time.Now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, f.use)
	defer n.stop()
	says := func(c *prototest.Client, command string) bool { // whether it is answered with no error
		err := c.Write(command)
		if err != nil {
			return false
		}
		answer, err := c.Read()
		return err == nil && !strings.HasPrefix(string(answer.Payload), "E_")
	}
	c, p := n.dial(), n.dial()
	for _, c := range []*prototest.Client{c, p} {
		if !says(c, "AUTH\n"+prototest.Body(token)) {
			return false
		}
	}
	if !says(c, "SUB t c\n") || !says(p, prototest.Pub("t", "x")) {
		return false
	}
	c.Send("RDY 5\n")
	eventually(t, "a publish is refused", func() bool {
		p.Send(prototest.Pub("t", "x"))
		f := p.Next()
		said := string(f.Payload)
		if said == "OK" {
			return false
		}
		if said != "E_AUTH_FAILED AUTH failed" && !strings.HasPrefix(said, "E_AUTH_FAILED AUTH failed: the grants of") {
			t.Errorf("got %v", f)
		}
		return true
	})
	for {
		if _, err := c.Read(); err != nil {
			return true
		}
	}
}

// TestCertificateNamesGiveScopes: a verified name is a caller, over TCP and HTTPS; a certificate that nobody has verified is none.
func TestCertificateNamesGiveScopes(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	f := newTokens(t, "cert billing.* publish:invoices")
	h := start(t, func(o *broker.Options) {
		a.serve(o)
		f.use(o)
	})
	for name, want := range map[string]string{"billing.eu": "OK", "other": "E_AUTH_FIRST AUTH required before PUB"} {
		tr := h.tcp()
		tr.TLS = a.Client(a.Issue(name))
		c := tr.Connect(t)
		c.Send(prototest.Pub("invoices", "x"))
		if got := string(c.Next().Payload); got != want {
			t.Errorf("%s publishes: %s", name, got)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.Client(a.Issue(name))}}
		resp, err := client.Post("https://"+h.HTTPSAddr().String()+"/pub?topic=invoices", "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		client.CloseIdleConnections()
		if got := resp.StatusCode; (got == 200) != (want == "OK") {
			t.Errorf("%s publishes over HTTPS: %d", name, got)
		}
	}
	for name, want := range map[string]string{"billing.eu": "OK", "other": "E_AUTH_FAILED AUTH failed"} { // as stock clients do, which must send something
		tr := h.tcp()
		tr.TLS = a.Client(a.Issue(name))
		c := tr.Connect(t)
		c.Send("AUTH\n" + prototest.Body("certificate"))
		if got := string(c.Next().Payload); want == "OK" && !strings.HasPrefix(got, `{"identity":"billing.eu"`) || want != "OK" && got != want {
			t.Errorf("%s signs in with a word: %s", name, got)
			continue
		}
		if want == "OK" {
			c.Send(prototest.Pub("invoices", "x"))
			c.Expect("OK")
		}
	}
	g := start(t, func(o *broker.Options) {
		a.serve(o)
		f.use(o)
		o.TLSClientAuthPolicy = "require"
	})
	tr := g.tcp()
	tr.TLS = a.Client(a.SelfSigned("billing.eu"))
	c := tr.Connect(t)
	c.Send(prototest.Pub("invoices", "x"))
	c.ExpectError("E_AUTH_FIRST AUTH required before PUB")
}

// revocable is an auth daemon whose grants can be taken back.
type revocable struct {
	*httptest.Server
	grants atomic.Value // string
	broken atomic.Bool
	failed atomic.Int64 // requests while it was broken
}

func newRevocable(t *testing.T) *revocable {
	d := &revocable{}
	d.grants.Store(grantAll)
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if d.broken.Load() {
			d.failed.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"ttl":1,"identity":"u","identity_url":"","authorizations":[%s]}`, d.grants.Load())
	}))
	t.Cleanup(d.Close)
	return d
}

// TestDeletedGrantsOfTheAuthDaemonCutAConsumer: it is asked again when its answer has expired, also for a consumer that only listens. One
// that does not answer for a moment cuts nobody off.
func TestDeletedGrantsOfTheAuthDaemonCutAConsumer(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{
		"no grants":     "",
		"another topic": `{"topic":"^other$","channels":[".*"],"permissions":["subscribe"]}`,
		"publish only":  `{"topic":".*","channels":[".*"],"permissions":["publish"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newRevocable(t)
			n := start(t, func(o *broker.Options) { o.AuthHTTPAddresses = []string{d.Listener.Addr().String()} })
			c := n.dial()
			c.Send("AUTH\n" + prototest.Body("s") + "SUB t c\nRDY 5\n")
			c.Expect(`{"identity":"u","identity_url":"","permission_count":1}`)
			c.Expect("OK")
			d.broken.Store(true)
			eventually(t, "it was asked again and again", func() bool { return d.failed.Load() >= 3 })
			n.post("/pub?topic=t", "x")
			c.Send("FIN " + c.ExpectMessage("x", 1).ID + "\n")
			d.grants.Store(left)
			d.broken.Store(false)
			c.ExpectError(`E_UNAUTHORIZED AUTH failed for SUB on "t" "c"`)
			c.ExpectClosed()
			n.stop()
		})
	}
}

// TestSecretsAreNowhere: a token, a wrong one and the secret of an auth daemon are in no log at level debug, no answer and no option, whether
// they were taken or refused.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	f := newTokens(t, "anonymous read")
	good := f.add("app", "publish:t admin:none")
	wrong, secret := good[:len(good)-6]+"AAAAAA", "a-secret-of-the-auth-daemon"
	d := newRevocable(t)
	o := options(t)
	f.use(&o)
	o.AuthHTTPAddresses = []string{d.Listener.Addr().String()}
	n, log := startLogged(t, o)
	var answers strings.Builder
	for _, token := range []string{good, wrong, secret} {
		c := n.dial()
		c.Send("AUTH\n" + prototest.Body(token) + prototest.Pub("t", "x") + prototest.Pub("u", "x"))
		c.CloseWrite() // the broker ends it when it has answered
		for {
			f, err := c.Read()
			if err != nil {
				break
			}
			answers.Write(f.Payload)
		}
		for _, request := range []string{"POST /pub?topic=t", "POST /pub?topic=u", "GET /stats?format=json", "GET /config/token_file", "PUT /config/log_level", "GET /none"} {
			method, path, _ := strings.Cut(request, " ")
			req, err := http.NewRequestWithContext(t.Context(), method, n.url(path), strings.NewReader("debug"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := n.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(&answers, resp.Body); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	n.stop()
	for _, hidden := range []string{good[len(good)-20 : len(good)-6], "AAAAAA", secret} {
		if strings.Contains(log.String(), hidden) || strings.Contains(answers.String(), hidden) {
			t.Errorf("%q is in the log or an answer", hidden)
		}
	}
	if !strings.Contains(log.String(), "E_UNAUTHORIZED") && !strings.Contains(log.String(), "UNAUTHORIZED") {
		t.Errorf("what was refused is not in the log:\n%s", log)
	}
}

// startLogged starts a broker whose whole log can be read.
func startLogged(t *testing.T, o broker.Options) (*node, *cmdtest.Screen) {
	t.Helper()
	log := new(cmdtest.Screen)
	s, err := broker.New(o, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s, o), log
}
