package tlsfiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// issue writes a certificate with that serial number and its key, as if at that hour: file systems may keep coarse times.
func issue(t *testing.T, dir string, serial int64) {
	t.Helper()
	until := time.Unix(serial*3600, 0).Add(100 * 365 * 24 * time.Hour)
	issueFor(t, dir, serial, time.Time{}, until)
}

// issueFor writes one that is valid for a time.
func issueFor(t *testing.T, dir string, serial int64, from, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: from, NotAfter: until}
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
	p.look.Lock()
	p.looked = time.Time{}
	p.look.Unlock()
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
	from, until := p.Valid()
	if got := p.shown(); got != "2" || from.After(time.Now()) || until.Before(time.Now()) {
		t.Errorf("serial %s is served after a change, from %v until %v", got, from, until)
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
	p.look.Lock()
	p.looked = time.Now().Add(time.Hour) // so that the next look is not due, however slow the machine is
	p.look.Unlock()
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

// TestNobodyWaitsForWhoReadsTheFiles: a disk that does not answer holds up the one that looks, and others get the certificate from before.
func TestNobodyWaitsForWhoReadsTheFiles(t *testing.T) {
	dir := t.TempDir()
	issue(t, dir, 1)
	p, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.look.Lock() // as who reads does
	defer p.look.Unlock()
	if got := serial(p.Certificate()); got != "1" {
		t.Errorf("serial %s is served meanwhile", got)
	}
}

// rfc3339Millis is how logs show times.
const rfc3339Millis = "2006-01-02T15:04:05.000Z07:00"

// TestACertificateThatIsNotValidIsTold: at the start, when it is read anew, and when it runs out while it is served, once a day.
func TestACertificateThatIsNotValidIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		told := func(want string) {
			t.Helper()
			if got := strings.Count(log.String(), "level=WARN"); got != strings.Count(want, "level=WARN") || !strings.Contains(log.String(), want) {
				t.Errorf("in the log:\n%s\nwant: %s", &log, want)
			}
			log.Reset()
		}
		start := time.Now()
		about := func(verdict, serial string, from, until time.Time) string {
			return fmt.Sprintf("level=WARN msg=%q file=%s serial=%s from=%s until=%s", verdict, filepath.Join(dir, "cert.pem"), serial,
				from.UTC().Format(rfc3339Millis), until.UTC().Format(rfc3339Millis))
		}
		issueFor(t, dir, 1, start.Add(time.Hour), start.Add(2*time.Hour))
		p, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		told(about("a certificate is not valid yet", "1", start.Add(time.Hour), start.Add(2*time.Hour)))
		time.Sleep(time.Hour + time.Minute)
		p.Certificate()
		told("")
		time.Sleep(time.Hour)
		for range 3 {
			time.Sleep(lookEvery)
			p.Certificate()
		}
		told(about("a certificate has expired", "1", start.Add(time.Hour), start.Add(2*time.Hour)))
		issueFor(t, dir, 2, start, start.Add(time.Hour))
		time.Sleep(lookEvery)
		p.Certificate()
		told(about("a certificate has expired", "2", start, start.Add(time.Hour)))
		time.Sleep(judgeEvery)
		p.Certificate()
		told(about("a certificate has expired", "2", start, start.Add(time.Hour)))
		issue(t, dir, 3)
		time.Sleep(lookEvery)
		p.Certificate()
		told("")
	})
}
