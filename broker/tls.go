package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"brokerd/broker/auth"
	"brokerd/protocol/tlsfiles"
)

// tlsConfigs are what the broker speaks TLS with.
type tlsConfigs struct {
	server *tls.Config    // nil without a certificate
	pair   *tlsfiles.Pair // the certificate; nil without one
	roots  *x509.CertPool
}

// errNoRootCerts is a root CA file in which no certificate was found.
var errNoRootCerts = errors.New("holds no PEM certificate")

func newTLSConfigs(o *Options, log *slog.Logger) (*tlsConfigs, error) {
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
	pair, err := tlsfiles.Load(o.TLSCert, o.TLSKey, log)
	if err != nil {
		return nil, fmt.Errorf("failed to load --tls-cert %q and --tls-key %q: %w", o.TLSCert, o.TLSKey, err)
	}
	c.pair = pair
	c.server = &tls.Config{MinVersion: o.TLSMinVersion, ClientCAs: c.roots}
	pair.Serve(c.server)
	switch o.TLSClientAuthPolicy {
	case "":
		if o.TokenFile != "" && c.roots != nil { // whose lines may name certificates
			c.server.ClientAuth = tls.VerifyClientCertIfGiven
		}
	case "require":
		c.server.ClientAuth = tls.RequireAnyClientCert
	case "require-verify":
		c.server.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func newAuthClient(o *Options, log *slog.Logger) (*auth.Client, error) {
	roots, err := newTLSConfigs(&Options{TLSRootCAFile: o.TLSRootCAFile}, log)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Addresses: o.AuthHTTPAddresses, Method: o.AuthHTTPRequestMethod, Anchored: o.AuthAnchored,
		TLS:            &tls.Config{RootCAs: roots.roots, MinVersion: o.TLSMinVersion},
		ConnectTimeout: o.HTTPClientConnectTimeout, RequestTimeout: o.HTTPClientRequestTimeout, Logger: log,
	})
}
