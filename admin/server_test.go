package admin_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/admin"
)

func options(change func(*admin.Options)) admin.Options {
	o := admin.DefaultOptions()
	o.HTTPAddress, o.NSQDHTTPAddresses = "127.0.0.1:0", []string{"127.0.0.1:4151"}
	if change != nil {
		change(&o)
	}
	return o
}

// TestWrongOptions: each is refused with a text that names the flag.
func TestWrongOptions(t *testing.T) {
	for want, change := range map[string]func(*admin.Options){
		"--http-address must be host:port":                                func(o *admin.Options) { o.HTTPAddress = "4171" },
		"--nsqd-http-address must be host:port":                           func(o *admin.Options) { o.NSQDHTTPAddresses = []string{"http://x:1"} },
		"--http-client-tls-key must be specified with":                    func(o *admin.Options) { o.ClientTLSCert = "x" },
		"--tls-cert must be specified with":                               func(o *admin.Options) { o.TLSKey = "x" },
		"--http-client-tls-cert: failed to LoadX509KeyPair":               func(o *admin.Options) { o.ClientTLSCert, o.ClientTLSKey = "none", "none" },
		"--http-client-tls-root-ca-file: failed to read TLS root CA file": func(o *admin.Options) { o.TLSRootCAFile = "none" },
		"--refresh-interval must be at least 100ms":                       func(o *admin.Options) { o.RefreshInterval = time.Millisecond },
		"--users-file or --admin-user, not both":                          func(o *admin.Options) { o.UsersFile, o.AdminUsers = "x", []string{"a"} },
		"--viewer-user needs an --admin-user":                             func(o *admin.Options) { o.ViewerUsers = []string{"a"} },
		"--allow-config-from-cidr":                                        func(o *admin.Options) { o.ConfigCIDR = "10.0.0.0" },
		"--trusted-proxy-cidr":                                            func(o *admin.Options) { o.TrustedProxy = []string{"x"} },
		"--graphite-url must be an http or https URL":                     func(o *admin.Options) { o.GraphiteURL = "graphite" },
		"--proxy-graphite needs --graphite-url":                           func(o *admin.Options) { o.ProxyGraphite = true },
		"--statsd-prefix must have %s once at most":                       func(o *admin.Options) { o.StatsdPrefix = "%d" },
		"--notification-http-endpoint must be an http or https":           func(o *admin.Options) { o.NotificationEndpoint = "ftp://x" },
		"--log-level must be debug, info":                                 func(o *admin.Options) { o.LogLevel = "loud" },
		"--log-format must be text or json":                               func(o *admin.Options) { o.LogFormat = "xml" },
		"--history-limit must be 0 to":                                    func(o *admin.Options) { o.HistoryLimit = -1 },
		"--token-file: ":                                                  func(o *admin.Options) { o.TokenFile = filepath.Join(t.TempDir(), "none") },
		"--users-file: users file":                                        func(o *admin.Options) { o.UsersFile = filepath.Join(t.TempDir(), "none") },
		"--audit-log":                                                     func(o *admin.Options) { o.AuditLog = t.TempDir() },
	} {
		if _, err := admin.New(options(change), slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s, err := admin.New(options(func(o *admin.Options) { o.HTTPAddress = "192.0.2.1:4171" }), slog.New(slog.DiscardHandler), nil) // for documentation: no machine has it
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("it started")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestExposure: whoever lets strangers act is told so, at the start and on the page.
func TestExposure(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	if err := admin.SetUser(users, "alice", "alice's password", "operator"); err != nil {
		t.Fatal(err)
	}
	if err := admin.SetUser(users, "alice", "alice's password", "king"); err == nil {
		t.Error("a role that is none was taken")
	}
	everywhere := "0.0.0.0:0"
	for name, test := range map[string]struct {
		change func(*admin.Options)
		want   string
	}{
		"loopback":   {func(*admin.Options) {}, `"warnings":[]`},
		"everywhere": {func(o *admin.Options) { o.HTTPAddress = everywhere }, `asks nobody to sign in: whoever reaches it can act`},
		"with users": {func(o *admin.Options) { o.HTTPAddress, o.UsersFile = everywhere, users }, `"warnings":[]`},
		"any proxy":  {func(o *admin.Options) { o.HTTPAddress, o.AdminUsers = everywhere, []string{"a"} }, `believes every peer who it is`},
		"our proxy": {func(o *admin.Options) {
			o.HTTPAddress, o.AdminUsers, o.TrustedProxy = everywhere, []string{"a"}, []string{"10.0.0.0/8"}
		}, `"warnings":[]`},
		"proxy on loopback": {func(o *admin.Options) { o.AdminUsers = []string{"a"} }, `"warnings":[]`},
	} {
		n := startAdmin(t, func(o *admin.Options) { o.NSQDHTTPAddresses = []string{"127.0.0.1:1"}; test.change(o) })
		if status, body := n.ask("GET", "/api/session", ""); status != 200 || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// TestHTTPS: with a certificate the listener speaks HTTPS.
func TestHTTPS(t *testing.T) {
	ca, cert, key := certificates(t)
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses, o.TLSCert, o.TLSKey, o.BasePath = []string{"127.0.0.1:1"}, cert, key, "nsq/"
	})
	if !strings.HasPrefix(n.URL(), "https://127.0.0.1:") || !strings.HasSuffix(n.URL(), "/nsq/") {
		t.Errorf("URL %s", n.URL())
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	n.http.Transport = trusting(pem)
	if status, body := n.ask("GET", "/ping", ""); status != 200 || body != "OK" {
		t.Errorf("%d %s", status, body)
	}
}

// TestShutdownEndsStreams: an open page does not hold the server up, and a second Shutdown does nothing.
func TestShutdownEndsStreams(t *testing.T) {
	b := startBroker(t, nil)
	n := startAdmin(t, func(o *admin.Options) { o.NSQDHTTPAddresses = []string{b.HTTPAddr().String()} })
	resp, err := n.http.Get(n.URL() + "api/events?view=overview")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for range 2 {
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
}
