package lookup

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
	"brokerd/protocol/tlsfiles"
)

// tlsConfigs are what a lookup speaks TLS with.
type tlsConfigs struct {
	server *tls.Config    // nil without a certificate
	pair   *tlsfiles.Pair // nil without one
}

// newTLSConfigs reads the certificates that the options name.
func newTLSConfigs(o *Options, log *slog.Logger) (*tlsConfigs, error) {
	c := &tlsConfigs{}
	roots, err := tlsfiles.Authorities(o.TLSRootCAFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-root-ca-file: %w", err)
	}
	if o.TLSCert == "" {
		return c, nil
	}
	if c.pair, err = tlsfiles.Load(o.TLSCert, o.TLSKey, log); err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c.server = &tls.Config{MinVersion: tls.VersionTLS12, ClientCAs: roots}
	c.pair.Serve(c.server)
	switch {
	case o.TLSClientAuthPolicy == "require":
		c.server.ClientAuth = tls.RequireAnyClientCert
	case o.TLSClientAuthPolicy == "require-verify":
		c.server.ClientAuth = tls.RequireAndVerifyClientCert
	case o.TokenFile != "" && roots != nil: // its lines may name certificates
		c.server.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}

func (o *Options) validateTLS() error {
	switch {
	case (o.TLSCert == "") != (o.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case o.TLSRequired && o.TLSCert == "":
		return errors.New("--tls-required needs --tls-cert and --tls-key")
	}
	switch o.TLSClientAuthPolicy {
	case "":
		return nil
	case "require", "require-verify":
		if o.TLSCert == "" {
			return errors.New("--tls-client-auth-policy needs --tls-cert and --tls-key")
		}
		if o.TLSClientAuthPolicy == "require-verify" && o.TLSRootCAFile == "" {
			return errors.New("--tls-client-auth-policy=require-verify needs --tls-root-ca-file")
		}
		return nil
	}
	return fmt.Errorf("--tls-client-auth-policy must be require or require-verify, not %q", o.TLSClientAuthPolicy)
}

// watched is a configuration that serves what is in force at each handshake.
func (s *Server) watched() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.certs.Load().server, nil },
	}
}

// plainRefused answers plain requests 403 TLS_REQUIRED, where clients find the port to ask again at.
func plainRefused(h http.Handler, httpsPort int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			httpapi.RespondTLSRequired(w, httpsPort)
			return
		}
		h.ServeHTTP(w, r)
	})
}

const (
	handshakeByte    = 0x16 // with which TLS begins; the magic of the registration wire begins with a space
	handshakeTimeout = 10 * time.Second
)

// brokerConn is a broker's connection, over TLS when its first byte says so: nsqd speaks no TLS with lookups, and both come by one port.
// One goroutine reads and writes; others may close it.
type brokerConn struct {
	net.Conn
	config   *tls.Config // nil: TLS is not spoken
	required bool        // plain text is refused

	begun  bool
	secure atomic.Pointer[tls.Conn] // nil for plain text
}

// errPlain is the refusal of a broker that does not speak TLS.
func errPlain() error {
	return &lookupwire.Error{Code: lookupwire.CodeUnauthorized, Desc: "this lookup speaks TLS only; see --lookupd-tls"}
}

// Read finds out with the first byte what is spoken.
func (c *brokerConn) Read(p []byte) (int, error) {
	if !c.begun && c.config != nil && len(p) > 0 {
		c.begun = true
		n, err := c.Conn.Read(p[:1])
		if n == 0 || err != nil {
			return n, err
		}
		if p[0] != handshakeByte {
			if c.required {
				return 0, errPlain()
			}
			return n, nil
		}
		secure := tls.Server(&prefixed{Conn: c.Conn, first: []byte{p[0]}}, c.config)
		if err := c.Conn.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
			return 0, err
		}
		if err := secure.Handshake(); err != nil {
			return 0, fmt.Errorf("TLS: %w", err)
		}
		c.secure.Store(secure)
	}
	if secure := c.secure.Load(); secure != nil {
		return secure.Read(p)
	}
	return c.Conn.Read(p)
}

// Write sends as the peer speaks.
func (c *brokerConn) Write(p []byte) (int, error) {
	if secure := c.secure.Load(); secure != nil {
		return secure.Write(p)
	}
	return c.Conn.Write(p)
}

// CloseWrite shows the peer the end.
func (c *brokerConn) CloseWrite() error {
	if secure := c.secure.Load(); secure != nil {
		return secure.CloseWrite()
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ConnectionState says what was shown; nothing in plain text.
func (c *brokerConn) ConnectionState() tls.ConnectionState {
	if secure := c.secure.Load(); secure != nil {
		return secure.ConnectionState()
	}
	return tls.ConnectionState{}
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	first []byte
}

// Read returns these first.
func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
