package broker_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/lookup"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// tlsPeer is a lookup that only shakes hands, and remembers which certificate it was shown last.
func tlsPeer(t *testing.T, a *authority) (address string, shown *atomic.Int64) {
	t.Helper()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.Issue("lookup")}, ClientAuth: tls.RequireAnyClientCert}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	shown = new(atomic.Int64)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secure := conn.(*tls.Conn)
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if secure.Handshake() == nil {
				shown.Store(secure.ConnectionState().PeerCertificates[0].SerialNumber.Int64())
			}
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
	})
	return l.Addr().String(), shown
}

// TestEveryLinkShowsTheRenewedCertificate: after a reload each listener and each connection to a lookup shows the new certificate,
// and another authority that the file has now is trusted for lookups, auth daemons and clients.
func TestEveryLinkShowsTheRenewedCertificate(t *testing.T) {
	a, next := newAuthority(t), newAuthority(t)
	link, shown := tlsPeer(t, a)
	asked := new(atomic.Int64)
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(`{"ttl":60,"identity":"u","authorizations":[` + grantAll + `]}`))
	}))
	daemon.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{next.Issue("auth")}}
	daemon.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	daemon.StartTLS()
	defer daemon.Close()
	o := options(t)
	a.serve(&o)
	o.LookupdTLS, o.LookupdTCPAddresses, o.AuthHTTPAddresses = true, []string{link}, []string{daemon.URL}
	n := startWith(t, o)
	eventually(t, "the lookup is shown a certificate", func() bool { return shown.Load() == 2 })
	signIn := func() string {
		c := n.askTLS()
		defer c.Conn.Close()
		if err := secure(c, a.Client()); err != nil {
			t.Fatal(err)
		}
		c.Send("AUTH\n" + prototest.Body("secret"))
		return string(c.Next().Payload)
	}
	if got := signIn(); !strings.HasPrefix(got, "E_AUTH_FAILED") {
		t.Errorf("an auth daemon of another authority was believed: %s", got)
	}
	a.renew(&o, 9)
	theirs, err := os.ReadFile(next.Write("their-ca.pem", "CERTIFICATE", next.Root()))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(o.TLSRootCAFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.TLSRootCAFile, append(ours, theirs...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(o, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if got := serialOf(t, n.HTTPSAddr().String(), a.Client()); got != 9 {
		t.Errorf("HTTPS shows %d", got)
	}
	eventually(t, "the lookup is shown the new certificate", func() bool { return shown.Load() == 9 })
	if got := signIn(); !strings.HasPrefix(got, `{"identity":"u"`) || asked.Load() == 0 {
		t.Errorf("an auth daemon of the new authority was not believed: %s", got)
	}
}

// TestOwnTokenIsRenewed: the token that lookups are shown follows its file: a broker whose token was withdrawn comes back with the one that its
// file has then, and a reload may name another file.
func TestOwnTokenIsRenewed(t *testing.T) {
	t.Parallel()
	f := newTokens(t, "anonymous read")
	own := filepath.Join(t.TempDir(), "own")
	keep := func(path, id string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(f.add(id, "manage,read")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Duration(len(id)) * time.Hour) // the file system's clock may be coarse
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	keep(own, "a")
	l := startLookupWith(t, func(o *lookup.Options) { o.TokenFile = f.path })
	o := options(t)
	o.LookupdTCPAddresses, o.LookupdTokenFile = []string{l.TCPAddr().String()}, own
	n := startWith(t, o)
	n.publish("t", "x")
	eventually(t, "the broker is registered", func() bool { return listed(t, l, "t") == 1 })
	withdraw := func(id string) {
		t.Helper()
		if err := grant.Remove(f.path, id); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broker whose token is gone was cut off", func() bool { return listed(t, l, "t") == 0 })
	}
	withdraw("a")
	keep(own, "bb")
	eventually(t, "the broker is registered again", func() bool { return listed(t, l, "t") == 1 })
	withdraw("bb")
	o.LookupdTokenFile = own + "-other"
	if err := n.Reload(o, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--lookupd-token-file") {
		t.Errorf("a file that is not there: %v", err)
	}
	keep(o.LookupdTokenFile, "ccc")
	if err := n.Reload(o, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker is registered by the other file", func() bool { return listed(t, l, "t") == 1 })
}

// startLookupWith starts a lookup in this process with options that change has been at.
func startLookupWith(t *testing.T, change func(*lookup.Options)) *lookup.Server {
	t.Helper()
	o := lookup.DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	change(&o)
	l, err := lookup.New(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}
