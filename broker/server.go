package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/auth"
	"brokerd/broker/bodies"
	"brokerd/broker/forward"
	"brokerd/broker/httpd"
	"brokerd/broker/member"
	"brokerd/broker/metadata"
	"brokerd/broker/metrics"
	"brokerd/broker/quota"
	"brokerd/broker/registrar"
	"brokerd/broker/relay"
	"brokerd/broker/session"
	"brokerd/broker/storage"
	"brokerd/broker/telemetry"
	"brokerd/broker/topic"
	"brokerd/broker/tracing"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// Server is one broker. New checks, Start serves, Shutdown ends; each is called once.
type Server struct {
	log     *slog.Logger
	level   *slog.LevelVar
	began   time.Time
	failed  chan error // of a listener
	dataDir string

	registry   *topic.Registry
	sessions   *session.Server
	unfinished *bodies.Budget
	quotas     *quota.Quotas
	metadata   *metadata.Writer
	registrar  *registrar.Registrar
	lookupHTTP atomic.Pointer[httpapi.HTTPClient] // replaced by a reload
	tokens     *grant.Slot
	authHTTP   *auth.HTTP
	audit      *httpapi.Audit
	ownToken   atomic.Pointer[grant.Own] // that lookups are shown; replaced by a reload, nil for none
	http       *httpd.Server
	metrics    http.Handler // answers /metrics; nil without HTTP
	lock       *nsqdata.Lock
	disk       *stall.Watch       // knows which calls to the data folder are out
	engine     *storage.Engine    // nil when all topics are at level memory
	member     *member.Member     // nil when the broker is in no cluster
	forward    *forward.Forwarder // the same
	relay      *relay.Relay       // the same
	yielder    *yielder           // the same
	yieldKick  chan struct{}      // its

	clusterSecret []byte      // that links of the cluster are secured with
	clusterTLS    *tls.Config // the same, nil: without

	ids   *nsqdata.IDs
	noIDs error // why the file with their bound could not be read
	doors doors

	gate, httpGate *gate // what bounds connections of clients, and of HTTP

	drain  drainer
	tracer *tracing.Tracer // nil when traces are off

	stop context.CancelFunc // ends the background goroutines
	wg   sync.WaitGroup     // all goroutines but those of the rooms

	around world // what the broker stands in; the zero value is this machine

	opts    Options                     // at the start
	inForce atomic.Pointer[Options]     // replaced with mu held, see now
	certs   atomic.Pointer[tlsConfigs]  // replaced by a reload, see tlsNow
	authNow atomic.Pointer[auth.Client] // the same; nil when auth is off

	reloading sync.Mutex // one reload at a time; taken before mu, for as long as files are read: nobody waits for it

	mu      sync.Mutex // guards what follows: one change of settings at a time
	origins httpapi.Origins
	later   map[string]any // settings, by key, that file, environment or flags say otherwise since, and that need a restart
	reloads metrics.Reloads
	reload  func() error // set before Start; nil when settings cannot be read anew

	changes  uint64 // how often a setting was changed through /config/KEY
	stopping bool   // no reload is taken any more
}

// world is what a simulation puts in the place of the machine's own network and disk; nil members are those. The folder's lock, the id bound and
// what is nsqd's stay in the machine's.
type world struct {
	listen func(address string) (net.Listener, error)
	dial   func(ctx context.Context, address string) (net.Conn, error) // other brokers of the cluster
	files  vfs.FS                                                      // of the log, segments, checkpoints and the manifest
	stand  func()                                                      // returns once the process does not stand: a simulation may have it do so
	sizes  sizes
}

// sizes are those that a simulation has small, in bytes, so that little comes to all that much does; 0: as usual.
type sizes struct {
	room       int64  // messages of a group of replicas that memory has room for
	segment    int64  // a file of segments
	checkpoint uint64 // the log grows by between two checkpoints
	behind     int64  // the log, from which on nothing more is kept for replicas that lack it
	piece      int    // what a group of topics holds that is sent at a time
}

// tlsNow returns what the broker speaks TLS with at this moment.
func (s *Server) tlsNow() *tlsConfigs { return s.certs.Load() }

// New returns a broker that is ready to start. It fails when the options cannot be; it opens nothing but the certificates.
func New(opts Options, log *slog.Logger, level *slog.LevelVar) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	configs, err := newTLSConfigs(&opts, log)
	if err != nil {
		return nil, err
	}
	s := &Server{log: log, level: level, opts: opts, reloads: metrics.Reloads{LastGood: true}, failed: make(chan error, 4), yieldKick: make(chan struct{}, 1), dataDir: opts.DataPath}
	s.drain.s, s.disk = s, stall.New(log)
	s.inForce.Store(&s.opts)
	s.certs.Store(configs)
	if s.dataDir == "" {
		s.dataDir = "."
	}
	if opts.OTLPEndpoint != "" {
		if s.tracer, err = newTracer(&opts, log); err != nil {
			return nil, err
		}
	}
	if len(opts.AuthHTTPAddresses) > 0 {
		asks, err := newAuthClient(&opts, log)
		if err != nil {
			return nil, err
		}
		s.authNow.Store(asks)
	}
	s.audit = httpapi.NewAudit(log)
	if err := httpapi.CheckAudit(opts.AuditLog); err != nil {
		return nil, err
	}
	tokens, err := grant.OpenIf(opts.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	s.tokens = grant.NewSlot(tokens)
	own, err := grant.OpenOwn(opts.LookupdTokenFile, log)
	if err != nil {
		return nil, fmt.Errorf("--lookupd-token-file: %w", err)
	}
	s.ownToken.Store(own)
	if s.clusterSecret, s.clusterTLS, err = s.clusterKeys(); err != nil {
		return nil, err
	}
	s.authHTTP = auth.NewHTTP(&auth.Access{Tokens: s.tokens, Daemon: s.authNow.Load})
	return s, nil
}

// Failed delivers the error of a listener that failed while serving.
func (s *Server) Failed() <-chan error { return s.failed }

// Start takes the data folder, binds the addresses, loads what was saved and begins to serve. The context ends only the start
// itself. On an error nothing stays open.
func (s *Server) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	s.began = time.Now()
	if err := s.openData(); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if err := s.startMember(ctx); err != nil {
		return err
	}
	acts, err := httpapi.OpenAudit(s.opts.AuditLog)
	if err != nil {
		return err
	}
	s.audit.Use(acts)
	s.compose()
	serving, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.serve(serving)
	about := []any{"version", Version, "tcp", s.TCPAddr(), "http", s.HTTPAddr(), "data", s.dataDir, "topics", len(s.registry.Topics())}
	if https := s.HTTPSAddr(); https != nil {
		about = append(about, "https", https)
	}
	s.log.Info("serving", about...)
	s.doors.announce(s.log)
	s.sayExposed()
	if onContainerLayer(s.dataDir) {
		s.log.Warn("queues do not outlive this container: mount a volume at the data folder", "data", s.dataDir)
	}
	return nil
}

// openData makes the data folder when it is missing, and takes it for this process.
func (s *Server) openData() (err error) {
	if s.opts.DataPath != "" {
		if err := checkPlace(s.dataDir); err != nil {
			return err
		}
	}
	if err := vfs.OS().MkdirAll(s.dataDir); err != nil {
		return fmt.Errorf("failed to make --data-path: %w", err)
	}
	if s.lock, err = nsqdata.LockDir(s.dataDir); err != nil {
		return err
	}
	if s.ids, err = nsqdata.OpenIDs(s.dataDir); errors.Is(err, nsqdata.ErrIDs) {
		s.noIDs, err = err, nil // the manifest may have a copy
	}
	if err == nil {
		s.ids.Follow(s.lock.Path())
	}
	return err
}

// load makes the registry and what nsqd.dat lists, and writes that file anew, as a first proof that the folder can be
// written.
func (s *Server) load(ctx context.Context) error {
	if err := nsqdata.CheckPlain(s.dataDir); err != nil {
		return err
	}
	s.metadata = metadata.New(s.saveMetadata, s.log)
	if err := s.newRegistrar(); err != nil {
		return err
	}
	recovery, err := s.openKeeper()
	if err != nil {
		return err
	}
	s.registry = topic.NewRegistry(s.topicConfig())
	if s.member != nil {
		s.newForward()
		s.newRelay()
		s.newYielder()
	}
	if recovery != nil {
		if err := s.registry.Recover(recovery); err != nil {
			return err
		}
	}
	meta, warnings, err := nsqdata.LoadMetadata(s.dataDir)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		s.log.Warn("list of topics and channels", "warning", w)
	}
	if err := s.rebuildHeadless(); err != nil {
		return err
	}
	if err := s.registry.Restore(meta); err != nil {
		return err
	}
	if err := s.restoreUnlisted(); err != nil {
		return err
	}
	if s.engine != nil {
		s.engine.Start(s.registry) // before the take-over, which may be longer than a log should be
		if err := s.takeOver(ctx); err != nil {
			return err
		}
	}
	if err = s.metadata.Save(); storage.WriteTrouble(err) { // it is tried again; what is there can be served without it
		s.log.Error("the list of topics and channels cannot be written now", "error", err)
		s.registry.SetHealth(err)
		return nil
	}
	return err
}

func (s *Server) topicConfig() topic.Config {
	o := &s.opts
	cfg := topic.Config{
		NodeID: o.NodeID, MemQueueSize: int(o.MemQueueSize), MaxMemory: memoryLimit(o.MaxMemory), DedupMemory: o.DedupMemory, MaxMsgTimeout: o.MaxMsgTimeout, MaxReqTimeout: o.MaxReqTimeout,
		MaxConsumers: o.MaxChannelConsumers, MaxTopics: o.MaxTopics, MaxChannels: o.MaxChannels, TopologyAware: o.TopologyAwareConsumption,
		Queues: &queueStore{dir: s.lock.Path(), name: s.dataDir, opts: o, log: s.log}, IDs: idStore{s.ids, s.engine, s.log}, Learn: s.learn, Alone: s.alone, Changed: s.changed, Made: s.made, Save: s.metadata.Save, Log: s.log,
		Disk: s.disk,
	}
	cfg.Patterns = o.patterns()
	if s.engine != nil {
		cfg.Journal, cfg.Segments, cfg.Level, cfg.Need = s.engine.Journal(), s.engine.Segments(), s.levelOf, s.engine.Need
		cfg.Scan, cfg.Unpromised = s.engine.Scan, s.engine.Unsyncable()
	}
	if s.member != nil {
		cfg.Elsewhere, cfg.Yields = s.elsewhere, s.yields
	}
	if s.tracer != nil {
		cfg.Trace = s.tracer
	}
	if len(o.E2EProcessingLatencyPercentiles) > 0 {
		cfg.Latency = func() topic.LatencyObserver {
			return telemetry.NewObserver(o.E2EProcessingLatencyPercentiles, o.E2EProcessingLatencyWindowTime)
		}
	}
	return cfg
}

// changed is told after every change of topics and channels.
func (s *Server) changed() {
	s.metadata.Changed()
	s.registrar.Changed()
}

// tellWithin is how long who makes a topic waits for the lookups to be told of it.
const tellWithin = 5 * time.Millisecond

// made waits a moment until a new topic can be found: who publishes to one, as harnesses do, may ask a lookup for it next.
func (s *Server) made() { s.registrar.Told(tellWithin) }

func (s *Server) saveMetadata() error {
	defer s.disk.Call("write", nsqdata.MetadataFile).Done()
	dir := s.lock.Path()
	return vfs.Named(nsqdata.SaveMetadata(dir, Version, s.registry.Metadata()), dir, s.dataDir)
}

// serve starts everything that runs.
func (s *Server) serve(ctx context.Context) {
	s.registry.Start()
	s.wg.Go(func() { s.metadata.Run(ctx) })
	s.wg.Go(func() { s.tokens.Watch(ctx, s.log) })
	s.wg.Go(func() { s.sessions.KeepGrants(ctx) })
	s.wg.Go(func() { s.audit.Run(ctx) })
	s.registrar.Start()
	if s.yielder != nil {
		s.wg.Go(func() { s.yielder.run(ctx) })
	}
	if s.tracer != nil {
		s.wg.Go(func() { s.tracer.Run(ctx) })
	}
	if s.opts.StatsdAddress != "" {
		pusher := s.newPusher()
		s.wg.Go(func() { pusher.Run(ctx) })
	}
	s.wg.Go(func() { s.acceptLoop(ctx, s.doors.tcp) })
	if s.doors.unix != nil {
		s.wg.Go(func() { s.acceptLoop(ctx, s.doors.unix) })
	}
	s.serveHTTP()
}

func (s *Server) newPusher() *telemetry.Pusher {
	o := &s.opts
	cfg := telemetry.StatsdConfig{
		Address: o.StatsdAddress, Prefix: telemetry.StatsdPrefix(o.StatsdPrefix, o.BroadcastAddress, s.broadcastHTTPPort()),
		Interval: o.StatsdInterval, PacketSize: o.StatsdUDPPacketSize, MemStats: o.StatsdMemStats,
		ExcludeEphemeral: o.StatsdExcludeEphemeral,
	}
	return telemetry.NewPusher(cfg, s.statsdTopics, s.log)
}
