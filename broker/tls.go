package broker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"

	"brokerd/broker/auth"
	"brokerd/protocol/tlsfiles"
)

// tlsConfigs are what the broker speaks TLS with.
type tlsConfigs struct {
	server *tls.Config    // nil without a certificate
	pair   *tlsfiles.Pair // the certificate; nil without one
	roots  *x509.CertPool
}

func newTLSConfigs(o *Options, log *slog.Logger) (*tlsConfigs, error) {
	c := &tlsConfigs{}
	var err error
	if c.roots, err = tlsfiles.Authorities(o.TLSRootCAFile); err != nil {
		return nil, fmt.Errorf("failed to read --tls-root-ca-file: %w", err)
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

// towardsLookups is what the broker speaks TLS with to lookups: it shows the certificate that it serves, and checks theirs by the same
// authorities, or the system's.
func (c *tlsConfigs) towardsLookups() *tls.Config {
	to := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}
	if c.pair != nil {
		c.pair.Present(to)
	}
	return to
}

func newAuthClient(o *Options, log *slog.Logger) (*auth.Client, error) {
	roots, err := newTLSConfigs(&Options{TLSRootCAFile: o.TLSRootCAFile}, log)
	if err != nil {
		return nil, err
	}
	asks, err := auth.New(auth.Config{
		Addresses: o.AuthHTTPAddresses, Method: o.AuthHTTPRequestMethod, Anchored: o.AuthAnchored,
		TLS:            &tls.Config{RootCAs: roots.roots, MinVersion: o.TLSMinVersion},
		ConnectTimeout: o.HTTPClientConnectTimeout, RequestTimeout: o.HTTPClientRequestTimeout, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--auth-http-address: %w", err)
	}
	return asks, nil
}
