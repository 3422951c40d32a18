package admin_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestReloadChangesWhoMayDoWhat: a token file, users, roles behind a proxy and the audit log are taken by a reload, all or nothing.
func TestReloadChangesWhoMayDoWhat(t *testing.T) {
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses = []string{"127.0.0.1:1"}
		opts = *o
	})
	opts.HTTPAddress = "127.0.0.1:0"
	dir := t.TempDir()
	tokens, acts := filepath.Join(dir, "tokens"), filepath.Join(dir, "acts")
	grants, err := grant.ParseGrants([]string{"read"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(tokens, "prometheus", grants, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want int, path string, headers ...string) {
		t.Helper()
		if status, body := n.ask("GET", path, "", headers...); status != want {
			t.Errorf("%s %s: %d %s, want %d", path, headers, status, body, want)
		}
	}
	expect(200, "/api/search?q=")
	for want, spoil := range map[string]func(*admin.Options){
		"token file":  func(o *admin.Options) { o.TokenFile = "/nowhere" },
		"users file":  func(o *admin.Options) { o.UsersFile = "/nowhere" },
		"--user-role": func(o *admin.Options) { o.UserRoles = []string{"alice:king"} },
		"--audit-log": func(o *admin.Options) { o.AuditLog = "/nowhere/acts" },
	} {
		fresh := opts
		fresh.AllowedHosts = []string{"spoiled.example"}
		spoil(&fresh)
		if err := n.Reload(fresh, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted one about %s", err, want)
		}
		if _, body := n.ask("GET", "/config/http_allow_hosts", ""); strings.Contains(body, "spoiled") {
			t.Errorf("%s: something has changed: %s", want, body)
		}
	}
	opts.TokenFile, opts.AuditLog = tokens, acts
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	expect(401, "/api/search?q=")
	expect(200, "/api/session")
	expect(200, "/ping")
	expect(200, "/api/search?q=", "Authorization", "Bearer "+token)
	if status, _ := n.ask("POST", "/api/topics", `{"topic":"x"}`, "Authorization", "Bearer "+token); status != 403 {
		t.Errorf("who may read makes a topic: %d", status)
	}
	if text, err := os.ReadFile(acts); err != nil || !strings.Contains(string(text), `"user":"token prometheus"`) || !strings.Contains(string(text), `"result":"refused"`) {
		t.Errorf("the audit log: %s %v", text, err)
	}
	opts.UserRoles, opts.ACLHeader = []string{"alice:operator=orders"}, "X-User"
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if _, body := n.ask("GET", "/api/session", "", "X-User", "alice"); !strings.Contains(body, `"role":"operator"`) || !strings.Contains(body, `"manages":["orders"]`) {
		t.Errorf("alice is %s", body)
	}
}

// TestReloadShowsRenewedSecretsToDaemons: after a reload daemons are shown the new certificate and the new token, and one that another
// authority vouches for is believed; the listener shows the new certificate, and takes callers' of the new authority.
func TestReloadShowsRenewedSecretsToDaemons(t *testing.T) {
	first, second := prototest.NewAuthority(t), prototest.NewAuthority(t)
	shown, token := new(atomic.Int64), new(atomic.Value)
	token.Store("")
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(r.TLS.PeerCertificates[0].SerialNumber.Int64())
		token.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		http.NotFound(w, r)
	}))
	var issuer atomic.Pointer[prototest.Authority]
	issuer.Store(first)
	daemon.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{issuer.Load().Issue("broker")}}, nil
	}}
	daemon.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	daemon.StartTLS()
	defer daemon.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpapi.RespondTLSRequired(w, daemon.Listener.Addr().(*net.TCPAddr).Port)
	}))
	defer plain.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	grants, err := grant.ParseGrants([]string{"read"})
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(id string) string {
		t.Helper()
		text, err := grant.Add(filepath.Join(dir, "scratch"), id, grants, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var opts admin.Options
	now := fresh("one")
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses = []string{plain.Listener.Addr().String()}
		o.TLSCert, o.TLSKey, o.ClientCAFile = first.Files("admin")
		o.ClientTLSCert, o.ClientTLSKey, o.TLSRootCAFile = o.TLSCert, o.TLSKey, o.ClientCAFile
		o.TokenFile, o.ClientToken = write("tokens", "cert caller read\n"), write("own", now)
		opts = *o
	})
	asks := func(a *prototest.Authority) int { // 0: the handshake fails
		t.Helper()
		transport := &http.Transport{TLSClientConfig: first.Client(a.Issue("caller"))}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(strings.TrimSuffix(n.URL(), "/") + "/api/search?q=")
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	eventually(t, "the daemon is shown certificate and token", func() bool { return shown.Load() == 2 && token.Load() == now })
	if of, other := asks(first), asks(second); of != 200 || other != 0 {
		t.Errorf("callers of the authority get %d, others %d", of, other)
	}
	now = fresh("two")
	write("own", now)
	first.Serial = 5
	first.Files("admin")
	write("both", string(read(t, opts.ClientCAFile))+string(read(t, second.Write("second.pem", "CERTIFICATE", second.Root()))))
	opts.ClientCAFile, opts.TLSRootCAFile = filepath.Join(dir, "both"), filepath.Join(dir, "both")
	issuer.Store(second)
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is shown what is new", func() bool { return shown.Load() == 5 && token.Load() == now })
	if of, other := asks(first), asks(second); of != 200 || other != 200 {
		t.Errorf("callers of the one authority get %d, of the other %d", of, other)
	}
	spoiled := opts
	spoiled.ClientToken = "/nowhere"
	if err := n.Reload(spoiled, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--http-client-token-file") {
		t.Errorf("error %v", err)
	}
}

// read returns a file's text.
func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAReloadOpensItsFilesBeforeAnyoneWaits: settings can be read while an audit log is opened, on a disk that may hang.
func TestAReloadOpensItsFilesBeforeAnyoneWaits(t *testing.T) {
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses = []string{"127.0.0.1:1"}
		opts = *o
	})
	opts.AuditLog = filepath.Join(t.TempDir(), "nowhere", "acts")
	release := n.HoldSettings() // who opens it under the lock waits here, until the test times out
	defer release()
	if err := n.ReloadSince(0, opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Error(err)
	}
}

// TestAnAdminThatStopsTakesNoSettings, such as those of a reload that a stop did not wait for.
func TestAnAdminThatStopsTakesNoSettings(t *testing.T) {
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses = []string{"127.0.0.1:1"}
		opts = *o
	})
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts.LogLevel = "error"
	before := n.level.Level()
	if err := n.Reload(opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "is stopping") || n.level.Level() != before {
		t.Errorf("%v, and the log level is %v", err, n.level.Level())
	}
}

// TestAReloadDoesNotTakeBackWhatIsSetMeanwhile: what is set through /config while files are read holds, and the reload says so.
func TestAReloadDoesNotTakeBackWhatIsSetMeanwhile(t *testing.T) {
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses = []string{"127.0.0.1:1"}
		opts = *o
	})
	opts.HTTPAddress = "127.0.0.1:0"
	for _, c := range []struct{ key, value, want, later string }{
		{"log_level", "fatal", "5", "2"},
		{"nsqlookupd_http_addresses", `["127.0.0.1:2"]`, `["127.0.0.1:2"]`, `["127.0.0.1:1"]`},
	} {
		before := n.Changes()
		if status, body := n.ask("PUT", "/config/"+c.key, c.value); status != 200 || body != c.want {
			t.Fatalf("%s: %d %s", c.key, status, body)
		}
		if err := n.ReloadSince(before, opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "was changed through /config while") {
			t.Errorf("%s: the reload that it came into: %v", c.key, err)
		}
		if _, body := n.ask("GET", "/config/"+c.key, ""); body != c.want {
			t.Errorf("%s is %s", c.key, body)
		}
		if _, body := n.ask("GET", "/config", ""); !strings.Contains(body, `"PUT /config/`+c.key+`"`) {
			t.Errorf("%s: the list of settings does not say where it came from: %s", c.key, body)
		}
		if err := n.Reload(opts, httpapi.Origins{}); err != nil {
			t.Error(err)
		}
		if _, body := n.ask("GET", "/config/"+c.key, ""); body != c.later {
			t.Errorf("%s is %s after a reload that begins later", c.key, body)
		}
	}
}
