package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/admin/cluster"
	"brokerd/admin/httpd"
	"brokerd/admin/metrics"
	"brokerd/admin/roster"
	"brokerd/admin/ui"
	"brokerd/admin/views"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// How long is waited for a daemon. Tests in which none hangs wait longer.
var (
	patience = 120 * time.Millisecond // by a page, for an answer that the last good one can stand in for: a page is to be there in 200 ms
	round    = time.Second            // by a round of asking
)

// Server is one admind: New, Start, Shutdown, once each and in this order.
type Server struct {
	// Set at construction.
	opts     Options
	log      *slog.Logger
	began    time.Time
	level    *slog.LevelVar
	asks     *httpapi.HTTPClient
	outside  *httpapi.Transport // to what is no daemon: notifications, Graphite
	notifies *http.Client
	cluster  *cluster.Cluster
	maker    *views.Maker
	roster   *roster.Roster // nil without a state file
	trail    *audit.Trail
	notifier *audit.Notifier
	http     *http.Server
	streams  chan struct{} // closed when event streams are to end
	failed   chan error
	settings *settings
	tokens   *grant.Slot
	metrics  http.Handler // answers /metrics
	guard    *access.Guard
	handler  atomic.Pointer[http.Handler] // of all requests; replaced by a reload
	open     atomic.Pointer[[]string]     // what is open to more people than one might think
	secrets  atomic.Pointer[secrets]      // replaced by a reload

	// Set by Start before any goroutine.
	listener net.Listener
	stop     context.CancelFunc

	goroutines sync.WaitGroup
	once       sync.Once
}

// New returns an admind that listens nowhere yet and asks nobody. It fails when the options are not valid, or a file that they
// name cannot be used. The level is what PUT /config/log_level changes.
func New(opts Options, log *slog.Logger, level *slog.LevelVar) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts, log: log, began: time.Now(), level: level, streams: make(chan struct{}), failed: make(chan error, 1)}
	shows, err := opts.loadSecrets(log)
	if err != nil {
		return nil, err
	}
	s.secrets.Store(shows)
	tokens, err := grant.OpenIf(opts.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	s.tokens = grant.NewSlot(tokens)
	who, err := opts.accessConfig(tokens, log)
	if err != nil {
		return nil, err
	}
	if s.guard, err = access.New(who); err != nil {
		return nil, err
	}
	if err := httpapi.CheckAudit(opts.AuditLog); err != nil {
		return nil, err
	}
	s.asks = httpapi.NewHTTPClient(httpapi.ClientConfig{TokenFrom: func() string { return s.secrets.Load().token.Token() }, TLS: shows.towardsDaemons,
		ConnectTimeout: opts.ConnectTimeout, RequestTimeout: opts.RequestTimeout, UserAgent: httpapi.AdmindAgent + Version})
	s.outside = httpapi.NewTransport(shows.towardsDaemons, func(cfg *tls.Config) *http.Transport { return &http.Transport{TLSClientConfig: cfg} })
	s.notifies = &http.Client{Timeout: opts.RequestTimeout, Transport: s.outside}
	var kept []cluster.Kept
	if opts.StatePath != "" {
		if s.roster, kept, err = roster.Open(opts.StatePath, log); err != nil {
			return nil, fmt.Errorf("--state-path: %w", err)
		}
	}
	s.cluster = cluster.New(cluster.Config{
		Lookups: opts.LookupdHTTPAddresses, Brokers: opts.NSQDHTTPAddresses, HTTP: s.asks, Interval: opts.RefreshInterval,
		Patience: min(patience, opts.RequestTimeout), Round: round, Kept: kept, Log: log,
	})
	s.settings = &settings{opts: opts, cluster: s.cluster, level: level, open: &s.open}
	s.maker = views.New(s.cluster, opts.HistoryLimit<<20)
	s.notifier = audit.NewNotifier(opts.NotificationEndpoint, s.notifies, log)
	return s, nil
}

// Start listens and serves. The context ends only the listening itself. When it fails nothing is left open.
func (s *Server) Start(ctx context.Context) (err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.HTTPAddress)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	acts, err := httpapi.OpenAudit(s.opts.AuditLog)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.trail = audit.New(acts, s.log)
	if s.roster != nil {
		if err := s.roster.Begin(); err != nil {
			return errors.Join(fmt.Errorf("--state-path: %w", err), listener.Close(), s.trail.Close())
		}
	}
	if err := s.compose(listener.Addr()); err != nil {
		return errors.Join(err, listener.Close(), s.trail.Close())
	}
	s.listener = httpapi.Strict(listener)
	if s.secure() {
		s.listener = tls.NewListener(listener, s.watched())
	}
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.goroutines.Go(func() { s.cluster.Run(run) })
	s.goroutines.Go(func() { s.maker.Run(run) })
	if s.roster != nil {
		s.goroutines.Go(func() { s.roster.Run(run, s.cluster) })
	}
	s.goroutines.Go(func() { s.notifier.Run(run) })
	s.goroutines.Go(func() { s.tokens.Watch(run, s.log) })
	s.goroutines.Go(s.serve)
	s.log.Info("admin started", "url", s.URL(), "version", Version)
	kind := "HTTP"
	if s.secure() {
		kind = "HTTPS"
	}
	s.log.Info(kind + ": listening on " + listener.Addr().String()) // the words of NSQ's daemons: harnesses and scripts wait for them
	for _, w := range *s.open.Load() {
		s.log.Warn(w)
	}
	return nil
}

// compose makes the API for a bound address.
func (s *Server) compose(bound net.Addr) error {
	s.metrics = metrics.New(s.snapshot).Handler(s.log)
	if err := s.setHandler(&s.opts, bound); err != nil {
		return err
	}
	s.http = httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // event streams extend the time for their answer
		(*s.handler.Load()).ServeHTTP(w, r)
	}), s.log)
	return nil
}

// accessConfig is who may do what.
func (o *Options) accessConfig(tokens *grant.File, log *slog.Logger) (access.Config, error) {
	trusted, err := o.trustedPrefixes()
	if err != nil {
		return access.Config{}, err
	}
	roles, err := o.userRoles()
	return access.Config{
		UsersFile: o.UsersFile, Tokens: tokens, Operators: o.AdminUsers, Viewers: o.ViewerUsers, Roles: roles, Header: o.ACLHeader, Trusted: trusted,
		CookiePath: httpd.CleanBasePath(o.BasePath) + "/", Log: log,
	}, err
}

// setHandler makes the API for the options that are in force.
func (s *Server) setHandler(o *Options, bound net.Addr) error {
	base := httpd.CleanBasePath(o.BasePath)
	config, err := o.configPrefix()
	if err != nil {
		return err
	}
	graphite, err := o.graphiteURL()
	if err != nil {
		return err
	}
	open := warnings(s.guard.Way(), bound, len(o.TrustedProxy) > 0)
	handler, err := httpd.New(httpd.Config{
		Cluster: s.cluster, Maker: s.maker, Guard: s.guard, Trail: s.trail, Notify: s.notifier, Log: s.log,
		Metrics: s.metrics, UI: ui.Files(), DevStaticDir: o.DevStaticDir, BasePath: base, Version: Version, Hostname: hostname(),
		Refresh: o.RefreshInterval, Warnings: open, Door: httpapi.Door{Hosts: slices.Concat(o.AllowedHosts, o.OldAllowedHosts), Origins: o.AllowedOrigins}, ConfigFrom: config,
		Settings: s.settings,
		Graphite: httpd.Graphite{
			URL: graphite, Proxied: o.ProxyGraphite, Prefix: o.StatsdPrefix, CounterFormat: o.StatsdCounterFormat,
			GaugeFormat: o.StatsdGaugeFormat, Interval: o.StatsdInterval, UserHeader: o.ACLHeader,
			Transport: s.outside, Timeout: o.RequestTimeout,
		},
		Stop: s.streams,
	})
	if err != nil {
		return err
	}
	s.open.Store(&open)
	s.handler.Store(&handler)
	return nil
}

// snapshot is the admind as metrics see it at this moment.
func (s *Server) snapshot() metrics.Snapshot {
	state, _ := s.maker.Next()
	return metrics.Snapshot{
		Version: Version, Began: s.began, View: s.cluster.View(), Rounds: s.cluster.View().Seq, RoundTime: s.cluster.RoundTime(),
		Attention: len(state.Items), HistoryBytes: s.maker.History().Bytes(),
	}
}

func (s *Server) serve() {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serve HTTP: %w", err)
	}
}

// HTTPAddr returns the address that is bound, nil before Start.
func (s *Server) HTTPAddr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// URL returns where the page is, as it can be opened on this machine.
func (s *Server) URL() string {
	scheme := "http"
	if s.secure() {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(s.HTTPAddr().String())
	if err != nil {
		return scheme + "://" + s.HTTPAddr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + httpd.CleanBasePath(s.opts.BasePath) + "/"
}

// Failed yields the error with which the listener ended that nobody had closed. The daemon is of no use then: shut it down.
func (s *Server) Failed() <-chan error { return s.failed }

// Lost says what is lost when the process ends now.
func (s *Server) Lost() string {
	if n := s.notifier.Waiting(); n > 0 {
		return fmt.Sprintf("%d notifications that were not sent", n)
	}
	return "nothing: each act was written down when it was done"
}

// Shutdown stops listening, ends event streams, lets answers in progress end until ctx does, and waits for every goroutine.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	s.once.Do(func() {
		if s.listener == nil {
			return
		}
		s.settings.mu.Lock() // no reload is half done, and none is taken behind it
		close(s.streams)
		s.settings.mu.Unlock()
		if err := s.http.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("shut HTTP down: %w", err), s.http.Close())
		}
		s.stop()
		s.goroutines.Wait()
		s.asks.Close()
		s.notifies.CloseIdleConnections()
		errs = append(errs, s.trail.Close())
		s.log.Info("admin stopped")
	})
	return errors.Join(errs...)
}
