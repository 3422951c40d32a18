package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"brokerd/broker/auth"
)

// tlsConfigs are what the broker speaks TLS with.
type tlsConfigs struct {
	server *tls.Config // nil without a certificate
	roots  *x509.CertPool
}

// errNoRootCerts is a root CA file in which no certificate was found.
var errNoRootCerts = errors.New("holds no PEM certificate")

func newTLSConfigs(o *Options) (*tlsConfigs, error) {
	c := &tlsConfigs{}
	if o.TLSRootCAFile != "" {
		pem, err := os.ReadFile(o.TLSRootCAFile)
		if err != nil {
			return nil, fmt.Errorf("failed to read --tls-root-ca-file: %w", err)
		}
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-root-ca-file %q %w", o.TLSRootCAFile, errNoRootCerts)
		}
	}
	if o.TLSCert == "" && o.TLSKey == "" {
		return c, nil
	}
	cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("failed to load --tls-cert %q and --tls-key %q: %w", o.TLSCert, o.TLSKey, err)
	}
	c.server = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: o.TLSMinVersion, ClientCAs: c.roots}
	switch o.TLSClientAuthPolicy {
	case "require":
		c.server.ClientAuth = tls.RequireAnyClientCert
	case "require-verify":
		c.server.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func newAuthClient(o *Options, log *slog.Logger) (*auth.Client, error) {
	roots, err := newTLSConfigs(&Options{TLSRootCAFile: o.TLSRootCAFile})
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Addresses: o.AuthHTTPAddresses, Method: o.AuthHTTPRequestMethod,
		TLS:            &tls.Config{RootCAs: roots.roots, MinVersion: o.TLSMinVersion},
		ConnectTimeout: o.HTTPClientConnectTimeout, RequestTimeout: o.HTTPClientRequestTimeout, Logger: log,
	})
}
