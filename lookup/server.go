package lookup

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
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
	http     *http.Server // in clear
	https    *http.Server
	metrics  http.Handler                 // answers /metrics
	handler  atomic.Pointer[http.Handler] // of all requests; replaced by a reload
	settings settings
	tokens   *grant.Slot
	gate     *session.Gate
	audit    *httpapi.Audit
	recheck  chan struct{}              // has room for one: who may register has changed
	stop     chan struct{}              // closed by the first Shutdown
	certs    atomic.Pointer[tlsConfigs] // replaced by a reload
	required atomic.Bool                // plain text is refused; changed by a reload
	failed   chan error

	// Set by Start before any goroutine.
	tcpListener   net.Listener
	httpListener  net.Listener
	httpsListener net.Listener // nil for none
	sessions      session.Config

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
		recheck: make(chan struct{}, 1), stop: make(chan struct{}), failed: make(chan error, 1), open: map[*session.Session]struct{}{},
	}
	tokens, err := grant.OpenIf(opts.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	networks, err := opts.networks()
	if err != nil {
		return nil, err
	}
	if err := httpapi.CheckAudit(opts.AuditLog); err != nil {
		return nil, err
	}
	certs, err := newTLSConfigs(&opts, log)
	if err != nil {
		return nil, err
	}
	s.certs.Store(certs)
	s.required.Store(opts.TLSRequired)
	s.tokens, s.audit = grant.NewSlot(tokens), httpapi.NewAudit(log)
	s.gate = session.NewGate(networks, s.tokens)
	s.metrics = metrics.New(s.snapshot).Handler(log)
	s.settings.opts, s.settings.exposed = opts, s.exposed
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) })
	s.http, s.https = httpapi.NewServer(handler, log), httpapi.NewServer(handler, log)
	s.setHandler(&opts)
	s.sessions = s.sessionConfig(0, 0)
	return s, nil
}

// door is who is let in to HTTP.
func (s *Server) door(o *Options) httpapi.Door {
	d := httpapi.Door{Hosts: append([]string{o.BroadcastAddress}, o.AllowedHosts...), Origins: o.AllowedOrigins, Insecure: o.Insecure, Audit: s.audit}
	if file := s.tokens.File(); file != nil {
		d.Guard = httpapi.Tokens{File: file}
	}
	return d
}

// keepGrants takes over changes of the token file, and cuts off brokers that may no longer register, until the lookup is shut down. Nothing
// ticks without a token file.
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
		if tick.Stop(); s.tokens.File() != nil {
			tick.Reset(time.Second)
		}
		select {
		case <-s.stop:
			return
		case <-s.recheck:
		case <-tick.C:
		}
		s.mu.Lock()
		open := slices.Collect(maps.Keys(s.open))
		s.mu.Unlock()
		for _, one := range open {
			one.Recheck(time.Now())
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
func (s *Server) exposed() []string {
	list := []string{}
	if table := s.tokens.Table(); table != nil {
		if anonymous := table.Anonymous().Grants; len(anonymous) > 0 {
			list = append(list, "whoever sends no token may "+anonymous.String()+", by the token file's line for anonymous")
		}
		return list
	}
	if s.gate.Open() && httpapi.Reachable(s.tcpListener.Addr()) && !(s.required.Load() && s.verifies()) {
		list = append(list, fmt.Sprintf("whoever reaches %s may register as a broker; --token-file or --allow-node asks who it is", s.tcpListener.Addr()))
	}
	acts := "delete topics and channels, and hide brokers"
	if s.settings.insecure() {
		acts = "delete topics and channels, hide brokers, have settings read anew, and see profiles"
	}
	for _, l := range []net.Listener{s.httpListener, s.httpsListener} {
		if l == nil || !httpapi.Reachable(l.Addr()) || l == s.httpListener && s.required.Load() || l == s.httpsListener && s.verifies() {
			continue
		}
		list = append(list, fmt.Sprintf("whoever reaches %s may %s; --token-file asks who it is", l.Addr(), acts))
	}
	return list
}

// verifies reports whether who speaks TLS must show a certificate that one of the authorities has signed.
func (s *Server) verifies() bool {
	c := s.certs.Load().server
	return c != nil && c.ClientAuth == tls.RequireAndVerifyClientCert
}

// Exposed is what httpd answers at /config/exposed.
func (set *settings) Exposed() []string { return set.exposed() }

func (s *Server) newHandler(o *Options) http.Handler {
	return httpd.New(httpd.Config{
		Registry: s.registry, Version: Version, Metrics: s.metrics, Settings: &s.settings, Log: s.log, Door: s.door(o),
	})
}

// snapshot is the lookup as metrics see it at this moment.
func (s *Server) snapshot() metrics.Snapshot {
	m := metrics.Snapshot{Figures: s.registry.Figures(time.Now()), Version: Version, Began: s.began}
	if pair := s.certs.Load().pair; pair != nil {
		m.CertificateFrom, m.Certificate = pair.Valid()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Connections, m.Accepted, m.Refused = len(s.open), s.accepted, maps.Clone(s.refused)
	return m
}

// keepAlive finds a broker's host that is gone within half a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Start listens and serves. The context ends only the listening itself. When it fails nothing is left open.
func (s *Server) Start(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	acts, err := httpapi.OpenAudit(s.opts.AuditLog)
	if err != nil {
		return errors.Join(err, s.closeListeners())
	}
	s.setHandler(&s.opts) // it knows the ports now
	s.sessions = s.sessionConfig(port(s.tcpListener), port(s.httpListener))
	s.audit.Use(acts)
	s.goroutines.Go(s.accept)
	s.goroutines.Go(func() { s.serveHTTP(s.http, httpapi.Strict(s.httpListener)) })
	if s.httpsListener != nil {
		s.goroutines.Go(func() { s.serveHTTP(s.https, tls.NewListener(s.httpsListener, s.watched())) })
	}
	s.goroutines.Go(s.keepGrants)
	s.goroutines.Go(s.writeAudit)
	s.log.Info("lookup started", "tcp", s.TCPAddr().String(), "http", s.HTTPAddr().String(), "version", Version)
	// The words of NSQ's daemons: test harnesses and scripts wait for them.
	s.log.Info("TCP: listening on " + s.TCPAddr().String())
	s.log.Info("HTTP: listening on " + s.HTTPAddr().String())
	if s.httpsListener != nil {
		s.log.Info("HTTPS: listening on " + s.HTTPSAddr().String())
	}
	for _, text := range s.exposed() {
		s.log.Warn("open to other machines", "what", text)
	}
	return nil
}

// TCPAddr returns the address that is bound for brokers, nil before Start.
func (s *Server) TCPAddr() net.Addr { return addr(s.tcpListener) }

// HTTPAddr returns the address that is bound for HTTP, nil before Start.
func (s *Server) HTTPAddr() net.Addr { return addr(s.httpListener) }

// HTTPSAddr returns the address that is bound for HTTP over TLS, nil before Start and without it.
func (s *Server) HTTPSAddr() net.Addr { return addr(s.httpsListener) }

// listen binds all addresses, or none when it fails.
func (s *Server) listen(ctx context.Context) (err error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	if s.tcpListener, err = lc.Listen(ctx, "tcp", s.opts.TCPAddress); err != nil {
		return fmt.Errorf("listen for brokers: %w", err)
	}
	if s.httpListener, err = lc.Listen(ctx, "tcp", s.opts.HTTPAddress); err != nil {
		return errors.Join(fmt.Errorf("listen for HTTP: %w", err), s.closeListeners())
	}
	if s.certs.Load().server == nil || s.opts.HTTPSAddress == "" {
		return nil
	}
	if s.httpsListener, err = lc.Listen(ctx, "tcp", s.opts.HTTPSAddress); err != nil {
		return errors.Join(fmt.Errorf("listen for HTTPS: %w", err), s.closeListeners())
	}
	return nil
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range []*net.Listener{&s.tcpListener, &s.httpListener, &s.httpsListener} {
		if *l != nil {
			errs = append(errs, (*l).Close())
			*l = nil
		}
	}
	return errors.Join(errs...)
}

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
	s.settings.mu.Lock() // no reload is half done, and none is taken behind it
	close(s.stop)
	s.settings.mu.Unlock()
	var errs []error
	if s.tcpListener != nil {
		errs = append(errs, s.tcpListener.Close())
	}
	for one := range open {
		_ = one.Close() // its own goroutine may have closed it already
	}
	if err := errors.Join(s.http.Shutdown(ctx), s.https.Shutdown(ctx)); err != nil {
		errs = append(errs, fmt.Errorf("shut HTTP down: %w", err), s.http.Close(), s.https.Close())
	}
	s.goroutines.Wait()
	s.log.Info("lookup stopped")
	return errors.Join(errs...)
}

// Lost says what is lost when the process ends now.
func (s *Server) Lost() string { return "nothing: brokers register again with the next start" }

func (s *Server) sessionConfig(tcpPort, httpPort int) session.Config {
	return session.Config{
		Gate:     s.gate,
		Registry: s.registry, CommandTimeout: s.opts.commandTimeout(), Log: s.log,
		Identity: lookupwire.LookupInfo{
			BroadcastAddress: s.opts.BroadcastAddress, Hostname: hostname(),
			HTTPPort: httpPort, HTTPSPort: port(s.httpsListener), TCPPort: tcpPort, Version: Version,
		},
	}
}

func (s *Server) serveHTTP(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
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

// port returns the port that is bound, 0 for none.
func port(l net.Listener) int {
	if l == nil {
		return 0
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
