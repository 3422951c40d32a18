package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// askTLS sends IDENTIFY for TLS and demands that it is granted; the handshake is the caller's.
func (n *node) askTLS() *prototest.Client {
	n.t.Helper()
	c := n.dial()
	c.Send("IDENTIFY\n" + prototest.Body(`{"feature_negotiation":true,"tls_v1":true}`))
	if f := c.Next(); !bytes.Contains(f.Payload, []byte(`"tls_v1":true`)) {
		n.t.Fatalf("IDENTIFY was answered by %v", f)
	}
	return c
}

// secure makes the handshake with the configuration and reports whether the broker then says OK.
func secure(c *prototest.Client, cfg *tls.Config) error {
	if err := c.StartTLS(cfg); err != nil {
		return err
	}
	f, err := c.Read() // where TLS 1.3 tells that a certificate was not liked
	if err == nil && string(f.Payload) != "OK" {
		err = fmt.Errorf("got %v, want OK", f)
	}
	return err
}

// TestTLSIsNotOfferedWithoutACertificate: the answer says so, and the client may go on in plain text.
func TestTLSIsNotOfferedWithoutACertificate(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	c := n.dial()
	c.Send("IDENTIFY\n" + prototest.Body(`{"feature_negotiation":true,"tls_v1":true}`))
	if f := c.Next(); !bytes.Contains(f.Payload, []byte(`"tls_v1":false`)) {
		t.Errorf("got %v", f)
	}
	c.Send(prototest.Pub("t", "x"))
	c.Expect("OK")
	if n.HTTPSAddr() != nil {
		t.Error("HTTPS is served without a certificate")
	}
}

// TestClientCertificates: who is let in by which policy, to the wire and to HTTPS; a policy closes plain HTTP and plain TCP.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	certs := map[string][]tls.Certificate{
		"none": nil, "self-signed": {a.SelfSigned("nobody")}, "signed": {a.Issue("test.local")},
	}
	for _, policy := range []struct {
		name    string
		letsIn  []string
		refuses bool // plain connections
	}{
		{"", []string{"none", "self-signed", "signed"}, false},
		{"require", []string{"self-signed", "signed"}, true},
		{"require-verify", []string{"signed"}, true},
	} {
		n := start(t, func(o *broker.Options) {
			a.serve(o)
			o.TLSClientAuthPolicy = policy.name
		})
		for shown, list := range certs {
			t.Run(policy.name+"/"+shown, func(t *testing.T) {
				want := strings.Contains(strings.Join(policy.letsIn, " ")+" ", shown+" ")
				if err := secure(n.askTLS(), a.Client(list...)); (err == nil) != want {
					t.Errorf("on the wire: %v", err)
				}
				status, err := ping(t, n, a.Client(list...))
				if (err == nil && status == http.StatusOK) != want {
					t.Errorf("over HTTPS: %d, %v", status, err)
				}
			})
		}
		status, answer := n.ask(http.MethodGet, "/ping", "")
		wanted := fmt.Sprintf(`{"message": "TLS_REQUIRED", "https_port": %d}`, port(n.HTTPSAddr()))
		if policy.refuses && (status != http.StatusForbidden || answer != wanted) || !policy.refuses && answer != "OK" {
			t.Errorf("%q: plain HTTP got %d %s", policy.name, status, answer)
		}
	}
}

// ping asks over HTTPS.
func ping(t *testing.T, n *node, cfg *tls.Config) (status int, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+n.HTTPSAddr().String()+"/ping", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 2 * time.Minute}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// TestTLSRequiredExceptHTTP: with tcp-https HTTP stays open although client certificates are verified on the wire.
func TestTLSRequiredExceptHTTP(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := start(t, func(o *broker.Options) {
		a.serve(o)
		o.TLSClientAuthPolicy, o.TLSRequired = "require-verify", broker.TLSRequiredExceptHTTP
	})
	n.post("/pub?topic=t", "x")
	c := n.askTLS()
	if err := secure(c, a.Client(a.Issue("test.local"))); err != nil {
		t.Fatal(err)
	}
	c.Send("SUB t c\nRDY 1\n")
	c.Expect("OK")
	c.ExpectMessage("x", 1)
}

// TestFailedHandshakeIsToldInPlainText, behind whatever TLS itself had to say.
func TestFailedHandshakeIsToldInPlainText(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := start(t, a.serve)
	c := n.askTLS()
	c.Send("this is no ClientHello")
	_ = c.Conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	said, err := io.ReadAll(c.Conn)
	if !bytes.Contains(said, []byte("E_IDENTIFY_FAILED IDENTIFY failed tls: ")) || err != nil {
		t.Errorf("got %q, %v", said, err)
	}
}

// TestTLSVersions: TLS 1.2 is the lowest unless older is allowed, and /stats shows what was negotiated.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, c := range []struct {
		lowest, highest uint16 // of the broker, of the client
		want            string // in /stats; empty is refused
	}{
		{0, tls.VersionTLS13, "TLS1.3"}, {0, tls.VersionTLS12, "TLS1.2"}, {0, tls.VersionTLS11, ""},
		{tls.VersionTLS10, tls.VersionTLS11, "TLS1.1"}, {tls.VersionTLS13, tls.VersionTLS12, ""},
	} {
		n := start(t, func(o *broker.Options) {
			a.serve(o)
			if c.lowest != 0 {
				o.TLSMinVersion = c.lowest
			}
		})
		cfg := a.Client()
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, c.highest
		cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		client := n.askTLS()
		err := secure(client, cfg)
		if (err == nil) != (c.want != "") {
			t.Errorf("lowest %x, client up to %x: %v", c.lowest, c.highest, err)
		}
		if err != nil || c.want == "" {
			continue
		}
		client.Send("SUB t c\n")
		client.Expect("OK")
		s := n.channel("t", "c").Clients[0] // the protocol counts as mutual even when there is none, as in nsqd
		if !s.TLS || !s.TLSNegotiatedProtocolIsMutual || s.TLSVersion != c.want || !strings.HasPrefix(s.CipherSuite, "TLS_") {
			t.Errorf("client up to %x shows as %+v", c.highest, s)
		}
	}
}
