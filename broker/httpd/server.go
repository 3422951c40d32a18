package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"brokerd/broker/bodies"
	"brokerd/broker/quota"
	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// Broker is what the API asks of the daemon. All methods are safe for concurrent use, and none but SaveMetadata and
// SetLookupdAddresses waits for I/O.
type Broker interface {
	// Registry returns the topics.
	Registry() *topic.Registry
	// Began returns when the broker was started.
	Began() time.Time
	// Health returns why the broker cannot keep messages, nil when it can.
	Health() error
	// Info returns what /info says.
	Info() httpapi.Info
	// Storage returns what /storage says.
	Storage() httpapi.Storage
	// SetAside returns how many files of the data folder are set aside.
	SetAside() int
	// Producers returns the connections that have published, each with a count for every topic it published to.
	Producers() []httpapi.Client
	// Config returns an option by its name in the configuration file: a string, or a value that encodes to the JSON that
	// nsqd shows.
	Config(name string) (value any, ok bool)
	// Ready returns why the broker should get no work, nil when it may.
	Ready() error
	// Drain returns how far a drain is; ok is false when there is none.
	Drain() (state httpapi.Drain, ok bool)
	// StartDrain begins to empty the broker; EndDrain takes that back. Both fail once the broker stops.
	StartDrain(empty, stay bool) error
	EndDrain() error
	// Settings returns what GET /config says.
	Settings() httpapi.Settings
	// Reload reads the settings anew. When it fails nothing has changed, and the error says why.
	Reload() error
	// SetLogLevel changes the level from now on; it fails for a word that names none.
	SetLogLevel(word string) error
	// SetLookupdAddresses changes the lookups from now on; it fails for addresses that cannot be.
	SetLookupdAddresses(addresses []string) error
	// SaveMetadata writes the list of topics and channels with their pauses before it returns.
	SaveMetadata() error
}

// Config is what a Server is told.
type Config struct {
	Broker       Broker
	Cluster      Cluster // nil: the broker is in none
	Forward      Forward // nil: the same
	Log          *slog.Logger
	MaxMsgSize   int64         // bytes of one message
	MaxBodySize  int64         // bytes of an /mpub body
	MaxDefer     time.Duration // longest delay of a deferred publish
	Metrics      http.Handler  // answers /metrics; nil for none
	HideMessages bool          // no bodies are shown
	Quantiles    []float64     // of end-to-end latency, in the order to show; empty for none

	Quotas     *quota.Quotas  // nil: no limits
	Unfinished *bodies.Budget // memory for bodies that have begun to arrive; nil: no bound

	Door        httpapi.Door // who is let in
	RefusePlain bool         // answer every plain-text request 403 TLS_REQUIRED
	HTTPSPort   int          // named in that answer; 0 for none
}

const (
	headTimeout   = 10 * time.Second
	bodyTimeout   = time.Minute // without a byte of the body
	answerTimeout = time.Minute
	idleTimeout   = 5 * time.Minute
	maxHeadBytes  = 64 << 10
)

// Server serves the API on any number of listeners, in clear and over TLS.
type Server struct {
	plain, secure *http.Server
	handlers      atomic.Pointer[handlers]
}

// handlers answer requests in clear and over TLS.
type handlers struct {
	plain, secure http.Handler
	act           func([]byte) ([]byte, bool)
}

// New returns a Server that serves nothing yet.
func New(cfg Config) *Server {
	s := &Server{}
	s.plain = newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handlers.Load().plain.ServeHTTP(w, r) }), cfg.Log)
	s.secure = newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handlers.Load().secure.ServeHTTP(w, r) }), cfg.Log)
	s.SetConfig(cfg)
	return s
}

// SetConfig changes what requests are answered with that come from now on.
func (s *Server) SetConfig(cfg Config) {
	a := newAPI(cfg)
	handler := a.routes()
	var plain http.Handler = handler
	if cfg.RefusePlain {
		plain = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			httpapi.RespondTLSRequired(w, cfg.HTTPSPort)
		})
	}
	s.handlers.Store(&handlers{plain, handler, a.actHere})
	s.plain.SetKeepAlivesEnabled(!cfg.RefusePlain) // who comes back over a connection would show his token, and be refused then
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       headTimeout + bodyTimeout,
		WriteTimeout:      headTimeout + bodyTimeout + answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
	}
}

// Serve answers in clear on l, a TCP or unix listener, until Shutdown; it closes l. The error is nil after Shutdown.
func (s *Server) Serve(l net.Listener) error { return serve(s.plain, httpapi.Strict(l)) }

// ServeTLS answers over TLS on l until Shutdown; it closes l. The error is nil after Shutdown.
func (s *Server) ServeTLS(l net.Listener, config *tls.Config) error {
	return serve(s.secure, tls.NewListener(l, config))
}

func serve(srv *http.Server, l net.Listener) error {
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown closes the listeners, lets requests in progress end until ctx does, and then drops them.
func (s *Server) Shutdown(ctx context.Context) error {
	err := errors.Join(s.plain.Shutdown(ctx), s.secure.Shutdown(ctx))
	if err == nil {
		return nil
	}
	return fmt.Errorf("requests dropped: %w", errors.Join(err, s.plain.Close(), s.secure.Close()))
}
