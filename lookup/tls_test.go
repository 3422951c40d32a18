package lookup

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
	"brokerd/protocol/prototest"
)

// dialTLS connects as a broker that speaks TLS.
func (s *Server) dialTLS(t testing.TB, cfg *tls.Config) (*peer, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.TCPAddr().String(), cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	p := &peer{t, conn, bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, lookupwire.Magic+string(lookupwire.AppendIdentify(nil, info("tls.example")))); err != nil {
		return nil, err
	}
	_, err = lookupwire.ReadReply(p.in, nil, 1<<20)
	return p, err
}

// TestBrokersSpeakTLSOrNotOnOnePort: TLS begins of itself; plain text goes on unless it is refused, and is told why.
func TestBrokersSpeakTLSOrNotOnOnePort(t *testing.T) {
	a := prototest.NewAuthority(t)
	for _, required := range []bool{false, true} {
		s := startWith(t, func(o *Options) {
			o.HTTPSAddress = "127.0.0.1:0"
			o.TLSCert, o.TLSKey, o.TLSRootCAFile = a.Files("lookup")
			o.TLSRequired = required
		})
		p, err := s.dialTLS(t, a.Client())
		if err != nil {
			t.Fatal(err)
		}
		p.say("REGISTER t c")
		plain := s.dial(t)
		plain.send(string(lookupwire.AppendIdentify(nil, info("plain.example"))))
		got := plain.reply()
		if refused := strings.HasPrefix(got, "E_UNAUTHORIZED this lookup speaks TLS only"); refused != required {
			t.Errorf("tls-required=%v: plain text is answered %q", required, got)
		}
		client := httpapi.NewHTTPClient(httpapi.ClientConfig{TLS: a.Client()})
		defer client.Close()
		var found httpapi.Lookup
		if err := client.Get(t.Context(), "http://"+s.HTTPAddr().String()+"/lookup?topic=t", &found); err != nil || len(found.Producers) != 1 {
			t.Errorf("tls-required=%v: over HTTP: %v %v", required, found, err) // a client follows TLS_REQUIRED to HTTPS
		}
		if m := s.snapshot(); m.CertificateFrom.IsZero() || !m.CertificateFrom.Before(time.Now()) || !m.Certificate.After(time.Now()) {
			t.Errorf("metrics say of the certificate that it is valid from %v until %v", m.CertificateFrom, m.Certificate)
		}
		if err := client.Get(t.Context(), "https://"+s.HTTPSAddr().String()+"/lookup?topic=t", &found); err != nil || len(found.Producers) != 1 {
			t.Errorf("tls-required=%v: over HTTPS: %v %v", required, found, err)
		}
	}
}

// TestRegistrationByCertificate: a verified certificate has the grants of the line that its name fits; another authority's counts for nothing, and
// is refused where certificates are demanded.
func TestRegistrationByCertificate(t *testing.T) {
	a, other := prototest.NewAuthority(t), prototest.NewAuthority(t)
	path := t.TempDir() + "/tokens"
	addToken(t, path, "somebody", "read")
	appendTo(t, path, "cert broker.* manage:t\n")
	for _, policy := range []string{"", "require-verify"} {
		s := startWith(t, func(o *Options) {
			o.HTTPSAddress, o.TLSClientAuthPolicy, o.TokenFile = "127.0.0.1:0", policy, path
			o.TLSCert, o.TLSKey, o.TLSRootCAFile = a.Files("lookup")
		})
		p, err := s.dialTLS(t, a.Client(a.Issue("broker.eu")))
		if err != nil {
			t.Fatal(err)
		}
		p.say("REGISTER t c")
		p.send("REGISTER u c\n")
		if got := p.reply(); !strings.HasPrefix(got, "E_UNAUTHORIZED REGISTER certificate broker.eu has not scope manage") {
			t.Errorf("policy %q: a topic that was not granted: %s", policy, got)
		}
		foreign, err := s.dialTLS(t, a.Client(other.Issue("broker.eu")))
		if err == nil {
			foreign.send("REGISTER t c\n")
			_, err = lookupwire.ReadReply(foreign.in, nil, 1<<20)
		}
		if err == nil {
			t.Errorf("policy %q: a certificate of another authority registers", policy)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.Client(a.Issue("broker.eu"))}}
		resp, err := client.Get("https://" + s.HTTPSAddr().String() + "/lookup?topic=t")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if resp.StatusCode != http.StatusForbidden { // it may manage, not read
			t.Errorf("policy %q: HTTPS answers %d", policy, resp.StatusCode)
		}
	}
}

// TestLookupsCertificateIsReadAnew by a reload, on both ports.
func TestLookupsCertificateIsReadAnew(t *testing.T) {
	a := prototest.NewAuthority(t)
	var opts Options
	s := startWith(t, func(o *Options) {
		o.HTTPSAddress = "127.0.0.1:0"
		o.TLSCert, o.TLSKey, o.TLSRootCAFile = a.Files("lookup")
		opts = *o
	})
	a.Serial = 77
	a.Files("lookup")
	s.reloadWith(t, opts)
	for _, address := range []string{s.TCPAddr().String(), s.HTTPSAddr().String()} {
		conn, err := tls.Dial("tcp", address, a.Client())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 77 {
			t.Errorf("%s shows serial %d", address, got)
		}
	}
	opts.TLSCert, opts.TLSKey = "", ""
	if err := s.Reload(opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "needs a restart") {
		t.Errorf("turning TLS off: %v", err)
	}
}

// TestTLSOptions says which do not go together.
func TestTLSOptions(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"go together":                  func(o *Options) { o.TLSCert = "x" },
		"--tls-required needs":         func(o *Options) { o.TLSRequired = true },
		"--tls-client-auth-policy mus": func(o *Options) { o.TLSClientAuthPolicy = "maybe" },
		"--tls-client-auth-policy nee": func(o *Options) { o.TLSClientAuthPolicy = "require" },
		"needs --tls-root-ca-file":     func(o *Options) { o.TLSCert, o.TLSKey, o.TLSClientAuthPolicy = "x", "y", "require-verify" },
		"--https-address must be":      func(o *Options) { o.HTTPSAddress = "nowhere" },
	} {
		opts := testOptions()
		spoil(&opts)
		if err := opts.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted one with %q", err, want)
		}
	}
}

// TestRequiringTLSEndsConnectionsInClear: who comes back over one in clear would show his token, and be refused then.
func TestRequiringTLSEndsConnectionsInClear(t *testing.T) {
	a := prototest.NewAuthority(t)
	var opts Options
	s := startWith(t, func(o *Options) {
		o.HTTPSAddress = "127.0.0.1:0"
		o.TLSCert, o.TLSKey, o.TLSRootCAFile = a.Files("lookup")
		opts = *o
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func() (reused bool, status int) {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr().String()+"/ping", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return reused, resp.StatusCode
	}
	ask()
	if reused, status := ask(); !reused || status != http.StatusOK {
		t.Fatalf("connections are not kept at all: %v %d", reused, status)
	}
	opts.TLSRequired = true
	s.reloadWith(t, opts)
	if reused, status := ask(); reused || status != http.StatusForbidden {
		t.Errorf("reused %v, answered %d", reused, status)
	}
}
