package broker

import (
	"log/slog"
	"os"

	"brokerd/broker/auth"
	"brokerd/broker/bodies"
	"brokerd/broker/httpd"
	"brokerd/broker/quota"
	"brokerd/broker/session"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/grant"
)

// compose makes the two front doors.
func (s *Server) compose() {
	o := s.now()
	limits := func() (all, perAddress int) { o := s.now(); return o.MaxConnections, o.MaxConnectionsPerAddress }
	files := &descriptors{limit: descriptorLimit()}
	files.check(o.MaxConnections, s.log)
	s.gate, s.httpGate = newGate(limits, files), newGate(limits, files)
	s.unfinished = bodies.New(unfinishedLimit(o))
	s.quotas = quota.New(quotasOf(o))
	s.sessions = session.NewServer(s.sessionConfig(o))
	if s.doors.http != nil || s.doors.https != nil {
		s.metrics = s.newMetrics().Handler(s.log)
		s.http = httpd.New(s.httpConfig(o))
		if s.forward != nil {
			s.forward.Serve(s.http.Act)
		}
	}
}

func (s *Server) sessionConfig(o *Options) session.Config {
	cfg := session.Config{
		Topics: s.registry, Forward: s.forwardTo(), Version: Version, Wait: s.opts.ClusterWait,
		Limits: protocol.IdentifyLimits{
			MaxHeartbeatInterval: o.MaxHeartbeatInterval, MinOutputBufferTimeout: o.MinOutputBufferTimeout,
			MaxOutputBufferTimeout: o.MaxOutputBufferTimeout, MaxOutputBufferSize: o.MaxOutputBufferSize,
			MaxMsgTimeout: o.MaxMsgTimeout,
		},
		MaxMsgSize: o.MaxMsgSize, MaxBodySize: o.MaxBodySize, MaxRdyCount: o.MaxRdyCount, MaxReqTimeout: o.MaxReqTimeout,
		MaxDefer: o.maxDefer(), MsgTimeout: o.MsgTimeout, HeartbeatInterval: o.ClientTimeout / 2, OutputBufferTimeout: o.OutputBufferTimeout,
		Leave: o.ShutdownTimeout / 120,
		TLS:   s.tlsNow().server, TLSRequired: o.TLSRequired != TLSNotRequired,
		Deflate: o.DeflateEnabled, Snappy: o.SnappyEnabled, MaxDeflateLevel: o.MaxDeflateLevel,
		TopologyRegion: o.TopologyRegion, TopologyZone: o.TopologyZone, Log: s.log,
		Unfinished: s.unfinished, Quotas: s.quotas,
	}
	if s.relay != nil {
		cfg.Relays = relays{s.relay}
	}
	if s.tokens.File() != nil || len(o.AuthHTTPAddresses) > 0 {
		cfg.Auth = &auth.Access{Tokens: s.tokens, Daemon: s.authNow.Load} // also for clients that connected before a reload
	}
	return cfg
}

func (s *Server) httpConfig(o *Options) httpd.Config {
	return httpd.Config{
		Broker: api{s}, Cluster: s.clusterOf(), Forward: s.httpForward(), Log: s.log, MaxMsgSize: o.MaxMsgSize, MaxBodySize: o.MaxBodySize, MaxDefer: o.maxDefer(),
		Metrics: s.metrics, Quantiles: o.E2EProcessingLatencyPercentiles, RefusePlain: o.TLSRequired == TLSRequired,
		HTTPSPort: portOf(s.doors.https), Door: s.door(o), Unfinished: s.unfinished, Quotas: s.quotas,
		HideMessages: o.HTTPMessages == "off",
	}
}

// unfinishedLimit is how many bytes of bodies may have begun to arrive: two of the longest at least.
func unfinishedLimit(o *Options) int64 {
	return max(o.MaxUnfinished, 2*max(o.MaxBodySize, o.MaxMsgSize))
}

// prepared is what a reload has made of the options, ready to be put in force.
type prepared struct {
	options *Options
	later   map[string]any // as Server's
	changes uint64         // as Server's before the options were read
	level   slog.Level
	certs   *tlsConfigs
	tokens  *grant.File  // nil for none
	own     *grant.Own   // the same
	asks    *auth.Client // nil for none
	acts    *os.File     // of the audit log; nil for none
}

// discard lets go of what is not put in force.
func (p *prepared) discard() {
	if p.asks != nil {
		p.asks.Close()
	}
	if p.acts != nil {
		_ = p.acts.Close() // nothing was written to it
	}
}

// apply puts a prepared reload in force, but for patterns of topics, which wait for disks. It cannot fail.
func (s *Server) apply(p prepared) {
	o, cut := p.options, s.sessionsMustGo(p)
	s.level.Set(p.level)
	s.certs.Store(p.certs)
	s.ownToken.Store(p.own)
	s.lookupHTTP.Swap(s.newLookupHTTP(o, p.certs)).Close() // its idle connections
	s.tokens.Put(p.tokens)
	if old := s.authNow.Swap(p.asks); old != nil {
		old.Close() // its idle connections; questions in progress end
	}
	s.authHTTP.Forget()
	s.audit.Use(p.acts)
	s.quotas.SetLimits(quotasOf(o))
	s.registry.SetLimits(limitsOf(o))
	s.sessions.SetConfig(s.sessionConfig(o))
	if s.http != nil {
		s.http.SetConfig(s.httpConfig(o))
	}
	if err := s.relist(o.LookupdTCPAddresses); err != nil { // they were checked
		s.log.Error("changing the lookups", "error", err)
	}
	if cut {
		s.log.Info("access was turned on: clients that have shown nothing must connect again")
		s.sessions.Drop()
	}
}

// quotasOf returns what one caller may send in a second.
func quotasOf(o *Options) quota.Limits {
	return quota.Limits{Publishes: o.QuotaPublishes, Bytes: o.QuotaBytes, Commands: o.QuotaCommands}
}

// limitsOf returns what channels hold consumers to.
func limitsOf(o *Options) topic.Limits {
	return topic.Limits{MaxMsgTimeout: o.MaxMsgTimeout, MaxReqTimeout: o.MaxReqTimeout, MaxConsumers: o.MaxChannelConsumers,
		MaxTopics: o.MaxTopics, MaxChannels: o.MaxChannels}
}
