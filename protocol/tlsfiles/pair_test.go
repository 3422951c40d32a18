package tlsfiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue writes a certificate with that serial number and its key, as if at that hour: file systems may keep coarse times.
func issue(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Unix(serial*3600, 0).Add(100 * 365 * 24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(time.Duration(serial) * time.Hour)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: raw}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// shown returns the serial number that is served, after the time in which files are not looked at.
func (p *Pair) shown() string {
	p.mu.Lock()
	p.looked = time.Time{}
	p.mu.Unlock()
	return serial(p.Certificate())
}

func TestChangedFilesAreServedAndBadOnesAreNot(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var log bytes.Buffer
	issue(t, dir, 1)
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || p.shown() != "1" {
		t.Fatal(p.shown(), err)
	}
	issue(t, dir, 2)
	if got := p.shown(); got != "2" || p.Expiry().Before(time.Now()) {
		t.Errorf("serial %s is served after a change, until %v", got, p.Expiry())
	}
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := p.shown(); got != "2" {
			t.Errorf("serial %s is served with a bad key", got)
		}
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := p.shown(); got != "2" {
			t.Errorf("serial %s is served without a file", got)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors were logged, one for each change is enough:\n%s", n, &log)
	}
	issue(t, dir, 3)
	if got := p.shown(); got != "3" {
		t.Errorf("serial %s is served once there is a good one again", got)
	}
}

func TestFilesAreNotLookedAtForEachHandshake(t *testing.T) {
	dir := t.TempDir()
	issue(t, dir, 1)
	p, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	issue(t, dir, 2)
	p.mu.Lock()
	p.looked = time.Now().Add(time.Hour) // so that the next look is not due, however slow the machine is
	p.mu.Unlock()
	if got := serial(p.Certificate()); got != "1" {
		t.Errorf("serial %s is served before the files are looked at", got)
	}
}

func TestWhatCannotBeLoadedIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), nil); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("no files: %v", err)
	}
	issue(t, dir, 1)
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), nil); err == nil {
		t.Error("an empty key was taken")
	}
}
