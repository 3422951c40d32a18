package prototest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for one test.
type Authority struct {
	t    testing.TB
	Dir  string // that Write writes to
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	Serial int64 // of what it signs next
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, Dir: t.TempDir(), Serial: 2}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(template, template, &a.key.PublicKey, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *Authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// Issue returns a certificate of the authority, for servers on loopback and for clients.
func (a *Authority) Issue(commonName string) tls.Certificate {
	return a.leaf(commonName, a.cert, a.key)
}

// SelfSigned returns a certificate that nobody vouches for.
func (a *Authority) SelfSigned(commonName string) tls.Certificate {
	return a.leaf(commonName, nil, nil)
}

func (a *Authority) leaf(commonName string, parent *x509.Certificate, by *ecdsa.PrivateKey) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.Serial), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	key := newKey(a.t)
	if parent == nil {
		parent, by = template, key
	}
	cert := a.sign(template, parent, &key.PublicKey, by)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Write writes a PEM file of one block, and returns its path.
func (a *Authority) Write(name, kind string, raw []byte) string {
	a.t.Helper()
	path := filepath.Join(a.Dir, name)
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// Client returns what a client that trusts the authority speaks TLS with. It shows the certificate, if one is given, also to a
// broker that does not know who has signed it.
func (a *Authority) Client(shown ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	cfg := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if len(shown) > 0 {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0], nil }
	}
	return cfg
}

// Root returns the authority's own certificate, as DER.
func (a *Authority) Root() []byte { return a.cert.Raw }

// Files writes a certificate of the authority with its key, over those of before, and its own, and returns their paths.
func (a *Authority) Files(commonName string) (cert, key, ca string) {
	a.t.Helper()
	made := a.Issue(commonName)
	raw, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.Write("cert.pem", "CERTIFICATE", made.Certificate[0]), a.Write("key.pem", "PRIVATE KEY", raw), a.Write("ca.pem", "CERTIFICATE", a.cert.Raw)
}
