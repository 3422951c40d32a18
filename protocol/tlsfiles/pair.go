package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/wholefile"
)

// lookEvery is how often the files are looked at, when connections are made.
const lookEvery = time.Second

// Pair is a certificate with its key, in two files. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	cert              atomic.Pointer[tls.Certificate]

	look   sync.Mutex     // whoever has it looks at the files; nobody waits for it. It guards what follows
	state  [2]os.FileInfo // of the files that cert was read from, or that could not be used
	looked time.Time

	verdict string    // on the time in which cert is valid; empty while it is
	judged  time.Time // when it was told last
}

// Load reads a pair. The error names the files. log is told of changes, and of a certificate that is not valid now.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	state, err := p.stat()
	if err != nil {
		return nil, err
	}
	p.state = state
	cert, err := p.read(wholefile.Read)
	if err != nil {
		return nil, err
	}
	p.cert.Store(cert)
	p.judge(p.looked)
	return p, nil
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

// read reads both files, each by what.
func (p *Pair) read(what func(path string) ([]byte, error)) (*tls.Certificate, error) {
	certText, err := what(p.certFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", p.certFile, p.keyFile, err)
	}
	keyText, err := what(p.keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", p.certFile, p.keyFile, err)
	}
	cert, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", p.certFile, p.keyFile, err)
	}
	return &cert, nil
}

// regular reads what may be read anew.
func regular(path string) ([]byte, error) {
	text, _, err := wholefile.Regular(path, wholefile.Most)
	return text, err
}

// Certificate returns what the files hold, as far as they were looked at within a second. While they are read it returns what they held before.
func (p *Pair) Certificate() *tls.Certificate {
	if p.look.TryLock() {
		defer p.look.Unlock()
		if now := time.Now(); now.Sub(p.looked) >= lookEvery {
			p.looked = now
			p.lookLocked()
			p.judge(now)
		}
	}
	return p.cert.Load()
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
	cert, err := p.read(regular)
	if err != nil {
		p.log.Error("a certificate cannot be read anew, the one from before is served", "error", err)
		return
	}
	p.cert.Store(cert)
	p.verdict = "" // of another
	p.log.Info("a certificate was read anew", "file", p.certFile, "serial", serial(cert), "until", expiry(cert))
}

// judgeEvery is how often it is said that a certificate is not valid, while connections are made.
const judgeEvery = 24 * time.Hour

// judge says when the certificate is not valid at now: peers refuse it then. look is held, or the caller is the only one.
func (p *Pair) judge(now time.Time) {
	c, verdict := leaf(p.cert.Load()), ""
	switch {
	case now.After(c.NotAfter):
		verdict = "a certificate has expired"
	case now.Before(c.NotBefore):
		verdict = "a certificate is not valid yet"
	}
	if verdict != "" && (verdict != p.verdict || now.Sub(p.judged) >= judgeEvery) {
		p.log.Warn(verdict, "file", p.certFile, "serial", serial(p.cert.Load()), "from", c.NotBefore, "until", c.NotAfter)
		p.judged = now
	}
	p.verdict = verdict
}

// same reports whether two looks at a file found the same content, as far as its name tells. A pipe has none, which could be read once more.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Mode().Type() == b.Mode().Type() &&
		(a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() || !b.Mode().IsRegular())
}

// Valid returns from when the certificate is valid, and until when.
func (p *Pair) Valid() (from, until time.Time) {
	c := leaf(p.Certificate())
	return c.NotBefore, c.NotAfter
}

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
