package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/lookup/httpd"
	"brokerd/lookup/metrics"
	"brokerd/lookup/registry"
	"brokerd/lookup/session"
	"brokerd/protocol/grant"
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
	tokens   *grant.File // nil without a token file
	audit    *httpapi.Audit
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
			ForgetAfter: opts.ForgetTopicsAfter, Limits: registry.DefaultLimits(),
		}, time.Now()),
		stop: make(chan struct{}), failed: make(chan error, 1), open: map[*session.Session]struct{}{},
	}
	if opts.TokenFile != "" {
		var err error
		if s.tokens, err = grant.Open(opts.TokenFile); err != nil {
			return nil, err
		}
	}
	var err error
	if s.audit, err = httpapi.OpenAudit(opts.AuditLog, log); err != nil {
		return nil, err
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
func (s *Server) door(o *Options) httpapi.Door {
	d := httpapi.Door{Hosts: append([]string{o.BroadcastAddress}, o.AllowedHosts...), Origins: o.AllowedOrigins, Insecure: o.Insecure, Audit: s.audit}
	if s.tokens != nil {
		d.Guard = httpapi.Tokens{File: s.tokens}
	}
	return d
}

// keepGrants takes over changes of the token file, and cuts off brokers whose tokens are gone, until the lookup is shut down.
func (s *Server) keepGrants() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { s.tokens.Watch(ctx, s.log) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			s.mu.Lock()
			open := slices.Collect(maps.Keys(s.open))
			s.mu.Unlock()
			for _, one := range open {
				one.Recheck(now)
			}
		}
	}
}

// writeAudit writes acts down until the lookup is shut down.
func (s *Server) writeAudit() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var writing sync.WaitGroup
	writing.Go(func() { s.audit.Run(ctx) })
	<-s.stop
	cancel()
	writing.Wait()
}

// exposed says what is open to whoever reaches it from another machine.
func (s *Server) exposed() (list []string) {
	if s.tokens != nil {
		if anonymous := s.tokens.Table().Anonymous().Grants; len(anonymous) > 0 {
			list = append(list, "whoever sends no token may "+anonymous.String()+", by the token file's line for anonymous")
		}
		return list
	}
	if len(s.opts.AllowedNodes) == 0 && httpapi.Reachable(s.tcpListener.Addr()) {
		list = append(list, fmt.Sprintf("whoever reaches %s may register as a broker; --token-file or --allow-node asks who it is", s.tcpListener.Addr()))
	}
	if httpapi.Reachable(s.httpListener.Addr()) {
		list = append(list, fmt.Sprintf("whoever reaches %s may delete topics and channels, and hide brokers; --token-file asks who it is", s.httpListener.Addr()))
	}
	return list
}

func (s *Server) newHandler(o *Options) http.Handler {
	return httpd.New(httpd.Config{
		Registry: s.registry, Version: Version, Metrics: s.metrics, Settings: &s.settings, Log: s.log, Door: s.door(o),
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
	if s.tokens != nil {
		s.goroutines.Go(s.keepGrants)
	}
	s.goroutines.Go(s.writeAudit)
	s.log.Info("lookup started", "tcp", s.TCPAddr().String(), "http", s.HTTPAddr().String(), "version", Version)
	// The words of NSQ's daemons: test harnesses and scripts wait for them.
	s.log.Info("TCP: listening on " + s.TCPAddr().String())
	s.log.Info("HTTP: listening on " + s.HTTPAddr().String())
	for _, text := range s.exposed() {
		s.log.Warn("open to other machines", "what", text)
	}
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
	networks, err := s.opts.networks()
	if err != nil { // New has seen to it
		networks = []netip.Prefix{{}} // nobody's
	}
	return session.Config{
		Gate:     session.Gate{Networks: networks, Tokens: s.tokens},
		Registry: s.registry, CommandTimeout: s.opts.commandTimeout(), Log: s.log,
		Identity: lookupwire.LookupInfo{
			BroadcastAddress: s.opts.BroadcastAddress, Hostname: hostname(),
			HTTPPort: httpPort, TCPPort: tcpPort, Version: Version,
		},
	}
}

func (s *Server) serveHTTP() {
	if err := s.http.Serve(httpapi.Strict(s.httpListener)); !errors.Is(err, http.ErrServerClosed) {
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
