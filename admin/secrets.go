package admin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"brokerd/protocol/grant"
	"brokerd/protocol/tlsfiles"
)

// secrets are what admind shows and whom it trusts, by the files that the options name: read at the start, and by each reload. Certificates and
// the token follow their files besides.
type secrets struct {
	listener       *tls.Config // nil for plain HTTP
	towardsDaemons *tls.Config
	token          *grant.Own // shown to daemons; nil for none
}

// loadSecrets reads all of these files. The error names the flag.
func (o *Options) loadSecrets(log *slog.Logger) (*secrets, error) {
	s := &secrets{towardsDaemons: &tls.Config{InsecureSkipVerify: o.TLSInsecure}}
	if o.TLSCert != "" {
		served, err := tlsfiles.Load(o.TLSCert, o.TLSKey, log)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert: %w", err)
		}
		s.listener = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
		served.Serve(s.listener)
		if s.listener.ClientCAs, err = tlsfiles.Authorities(o.ClientCAFile); err != nil {
			return nil, fmt.Errorf("--tls-root-ca-file: %w", err)
		}
		if s.listener.ClientCAs != nil {
			s.listener.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	if o.ClientTLSCert != "" {
		pair, err := tlsfiles.Load(o.ClientTLSCert, o.ClientTLSKey, log)
		if err != nil {
			return nil, fmt.Errorf("--http-client-tls-cert: failed to LoadX509KeyPair: %w", err)
		}
		pair.Present(s.towardsDaemons)
	}
	var err error
	switch s.towardsDaemons.RootCAs, err = tlsfiles.Authorities(o.TLSRootCAFile); {
	case errors.Is(err, tlsfiles.ErrNoCertificate):
		return nil, fmt.Errorf("--http-client-tls-root-ca-file: failed to AppendCertsFromPEM: %w", err)
	case err != nil:
		return nil, fmt.Errorf("--http-client-tls-root-ca-file: failed to read TLS root CA file: %w", err)
	}
	if s.token, err = grant.OpenOwn(o.ClientToken, log); err != nil {
		return nil, fmt.Errorf("--http-client-token-file: %w", err)
	}
	return s, nil
}

// secure reports whether HTTPS is served. It does not change while admind runs.
func (s *Server) secure() bool { return s.secrets.Load().listener != nil }

// watched is a configuration of the listener that serves what is in force at each handshake.
func (s *Server) watched() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.secrets.Load().listener, nil },
	}
}

// replace has all that admind shows be shown from now on.
func (s *Server) replace(fresh *secrets) {
	s.secrets.Store(fresh)
	s.asks.SetTLS(fresh.towardsDaemons)
	s.outside.SetTLS(fresh.towardsDaemons)
}
