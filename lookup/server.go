package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/lookup/httpd"
	"brokerd/lookup/metrics"
	"brokerd/lookup/registry"
	"brokerd/lookup/session"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

// Server is one lookup: New, Start, Shutdown, once each and in this order.
type Server struct {
	// Set at construction.
	opts     Options
	log      *slog.Logger
	began    time.Time
	registry *registry.Registry
	http     *http.Server
	metrics  http.Handler                 // answers /metrics
	handler  atomic.Pointer[http.Handler] // of all requests; replaced by a reload
	settings settings
	stop     chan struct{} // closed by the first Shutdown
	failed   chan error

	// Set by Start before any goroutine.
	tcpListener  net.Listener
	httpListener net.Listener
	sessions     session.Config

	goroutines sync.WaitGroup

	mu       sync.Mutex                    // guards what follows
	open     map[*session.Session]struct{} // nil once Shutdown began
	accepted uint64                        // connections of brokers
	refused  map[string]uint64             // commands, by their error code
}

// New returns a lookup that listens nowhere yet. It fails when the options are not valid.
func New(opts Options, log *slog.Logger) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of the lookup: %w", err)
	}
	s := &Server{
		opts: opts, log: log, began: time.Now(), refused: map[string]uint64{},
		registry: registry.New(registry.Config{
			InactiveTimeout: opts.InactiveProducerTimeout, TombstoneLifetime: opts.TombstoneLifetime,
		}, time.Now()),
		stop: make(chan struct{}), failed: make(chan error, 1), open: map[*session.Session]struct{}{},
	}
	s.metrics = metrics.New(s.snapshot).Handler(log)
	s.settings.opts = opts
	s.setHandler(&opts)
	s.http = httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // profiles extend the time for their answer
		(*s.handler.Load()).ServeHTTP(w, r)
	}), log)
	s.sessions = s.sessionConfig(0, 0)
	return s, nil
}

// door is who is let in to HTTP.
func door(o *Options) httpapi.Door {
	return httpapi.Door{Hosts: append([]string{o.BroadcastAddress}, o.AllowedHosts...), Origins: o.AllowedOrigins, Insecure: o.Insecure}
}

func (s *Server) newHandler(o *Options) http.Handler {
	return httpd.New(httpd.Config{
		Registry: s.registry, Version: Version, Metrics: s.metrics, Settings: &s.settings, Log: s.log, Door: door(o),
	})
}

// snapshot is the lookup as metrics see it at this moment.
func (s *Server) snapshot() metrics.Snapshot {
	m := metrics.Snapshot{Figures: s.registry.Figures(time.Now()), Version: Version, Began: s.began}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Connections, m.Accepted, m.Refused = len(s.open), s.accepted, maps.Clone(s.refused)
	return m
}

// keepAlive finds a broker's host that is gone within half a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Start listens and serves. The context ends only the listening itself. When it fails nothing is left open.
func (s *Server) Start(ctx context.Context) error {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	tcp, err := lc.Listen(ctx, "tcp", s.opts.TCPAddress)
	if err != nil {
		return fmt.Errorf("listen for brokers: %w", err)
	}
	web, err := lc.Listen(ctx, "tcp", s.opts.HTTPAddress)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for HTTP: %w", err), tcp.Close())
	}
	s.tcpListener, s.httpListener = tcp, web
	s.sessions = s.sessionConfig(port(tcp), port(web))
	s.goroutines.Go(s.accept)
	s.goroutines.Go(s.serveHTTP)
	s.log.Info("lookup started", "tcp", s.TCPAddr().String(), "http", s.HTTPAddr().String(), "version", Version)
	// The words of NSQ's daemons: test harnesses and scripts wait for them.
	s.log.Info("TCP: listening on " + s.TCPAddr().String())
	s.log.Info("HTTP: listening on " + s.HTTPAddr().String())
	return nil
}

// TCPAddr returns the address that is bound for brokers, nil before Start.
func (s *Server) TCPAddr() net.Addr { return addr(s.tcpListener) }

// HTTPAddr returns the address that is bound for HTTP, nil before Start.
func (s *Server) HTTPAddr() net.Addr { return addr(s.httpListener) }

// Failed yields the error with which a listener ended that nobody had closed. The lookup is of no use then: shut it down.
func (s *Server) Failed() <-chan error { return s.failed }

// Shutdown stops listening, closes all broker connections, lets HTTP answers in progress end until ctx does, and waits for
// every goroutine. The error is that of a listener, or ctx's when answers were cut short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	if open == nil {
		return nil
	}
	close(s.stop)
	var errs []error
	if s.tcpListener != nil {
		errs = append(errs, s.tcpListener.Close())
	}
	for one := range open {
		_ = one.Close() // its own goroutine may have closed it already
	}
	if err := s.http.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("shut HTTP down: %w", err), s.http.Close())
	}
	s.goroutines.Wait()
	s.log.Info("lookup stopped")
	return errors.Join(errs...)
}

// Lost says what is lost when the process ends now.
func (s *Server) Lost() string { return "nothing: brokers register again with the next start" }

func (s *Server) sessionConfig(tcpPort, httpPort int) session.Config {
	return session.Config{
		Registry: s.registry, CommandTimeout: s.opts.commandTimeout(), Log: s.log,
		Identity: lookupwire.LookupInfo{
			BroadcastAddress: s.opts.BroadcastAddress, Hostname: hostname(),
			HTTPPort: httpPort, TCPPort: tcpPort, Version: Version,
		},
	}
}

func (s *Server) serveHTTP() {
	if err := s.http.Serve(s.httpListener); !errors.Is(err, http.ErrServerClosed) {
		s.fail(fmt.Errorf("serve HTTP: %w", err))
	}
}

// fail hands err to whoever watches Failed. One is enough to end the daemon; a second has nobody to read it.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
		s.log.Error("listener failed", "error", err)
	}
}

// addr keeps a nil listener from becoming a call on nil.
func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

func port(l net.Listener) int {
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
