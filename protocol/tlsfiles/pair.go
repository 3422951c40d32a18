package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often the files are looked at, when connections are made.
const lookEvery = time.Second

// Pair is a certificate with its key, in two files. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards what follows
	cert   *tls.Certificate
	state  [2]os.FileInfo // of the files that cert was read from, or that could not be used
	looked time.Time
}

// Load reads a pair. The error names the files. log is told of changes.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	state, err := p.stat()
	if err != nil {
		return nil, err
	}
	p.state = state
	p.cert, err = p.read()
	return p, err
}

// stat follows symbolic links.
func (p *Pair) stat() (state [2]os.FileInfo, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if state[i], err = os.Stat(name); err != nil {
			return state, fmt.Errorf("certificate %q with key %q: %w", p.certFile, p.keyFile, err)
		}
	}
	return state, nil
}

func (p *Pair) read() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", p.certFile, p.keyFile, err)
	}
	return &cert, nil
}

// Certificate returns what the files hold, as far as they were looked at within a second.
func (p *Pair) Certificate() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookEvery {
		p.looked = now
		p.lookLocked()
	}
	return p.cert
}

// lookLocked reads the files if they changed.
func (p *Pair) lookLocked() {
	state, err := p.stat()
	if err != nil {
		if p.state[0] != nil { // told once
			p.log.Error("a certificate cannot be read anew, the one from before is served", "error", err)
			p.state = state
		}
		return
	}
	if same(p.state[0], state[0]) && same(p.state[1], state[1]) {
		return
	}
	p.state = state
	cert, err := p.read()
	if err != nil {
		p.log.Error("a certificate cannot be read anew, the one from before is served", "error", err)
		return
	}
	p.cert = cert
	p.log.Info("a certificate was read anew", "file", p.certFile, "serial", serial(cert), "until", expiry(cert))
}

// same reports whether two looks at a file found the same content, as far as its name tells.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// Expiry returns when the certificate ends.
func (p *Pair) Expiry() time.Time { return expiry(p.Certificate()) }

func leaf(cert *tls.Certificate) *x509.Certificate {
	if cert.Leaf != nil { // since Go 1.23 it always is
		return cert.Leaf
	}
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return &x509.Certificate{}
	}
	return c
}

func expiry(cert *tls.Certificate) time.Time { return leaf(cert).NotAfter }

func serial(cert *tls.Certificate) string {
	if n := leaf(cert).SerialNumber; n != nil {
		return n.Text(16)
	}
	return ""
}

// Serve has a server show the pair.
func (p *Pair) Serve(c *tls.Config) {
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.Certificate(), nil }
}

// Present has a client show the pair.
func (p *Pair) Present(c *tls.Config) {
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.Certificate(), nil }
}
