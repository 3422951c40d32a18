package broker

import (
	"fmt"
	"log/slog"

	"brokerd/broker/metrics"
	"brokerd/broker/tracing"
	"brokerd/protocol/exposition"
)

// newMetrics makes what /metrics shows.
func (s *Server) newMetrics() *exposition.Set {
	return metrics.New(metrics.Config{Snapshot: s.snapshot, MaxTopics: s.opts.MetricsMaxTopics})
}

// newTracer makes what reports messages to a collector.
func newTracer(o *Options, log *slog.Logger) (*tracing.Tracer, error) {
	return tracing.New(tracing.Config{
		Endpoint: o.OTLPEndpoint, Sample: float64(o.OTLPSample), Node: fmt.Sprintf("%s/%d", o.BroadcastAddress, o.NodeID), Version: Version, Log: log,
	})
}

// snapshot is the broker as metrics see it at this moment.
func (s *Server) snapshot() metrics.Snapshot {
	health := s.registry.Health()
	m := metrics.Snapshot{
		Version: Version, Began: s.began, Healthy: health == nil, Ready: s.ready() == nil,
		Connections: s.sessions.Len(), Accepted: s.sessions.Served(), Refused: map[string]uint64{}, TurnedAway: metrics.TurnedAway{Clients: s.gate.refusals(), HTTP: s.httpGate.refusals()}, Disk: s.figuresOfDisk(),
	}
	s.drain.mu.Lock()
	m.Draining = s.drain.state.State != ""
	s.drain.mu.Unlock()
	for _, t := range s.registry.Topics() {
		m.Topics = append(m.Topics, t.Stats())
	}
	for code, n := range s.sessions.Refused() {
		m.Refused[string(code)] = n
	}
	for address, connected := range s.registrar.Connected() {
		m.Lookups = append(m.Lookups, metrics.Lookup{Address: address, Connected: connected})
	}
	m.Browsed.Requests, m.Browsed.Bytes = s.registry.Browsed()
	if s.tracer != nil {
		m.Traces.Sent, m.Traces.Dropped = s.tracer.Counts()
	}
	if pair := s.tlsNow().pair; pair != nil {
		m.CertificateFrom, m.Certificate = pair.Valid()
	}
	s.mu.Lock()
	m.Reloads = s.reloads
	s.mu.Unlock()
	m.SetAside = s.setAside()
	m.Cluster = s.clusterFigures()
	if s.engine != nil {
		m.Log = s.logFigures()
	}
	return m
}

// setAside returns how many files are set aside.
func (s *Server) setAside() int {
	if s.engine == nil {
		return 0
	}
	return s.engine.Aside()
}

// figuresOfDisk asks the system about the data folder's file system; zero when it does not tell.
func (s *Server) figuresOfDisk() (d metrics.Disk) {
	d.Publishes, d.Others = s.disk.Out()
	space, err := s.lock.FS().Free(s.dataDir)
	if err != nil {
		return d
	}
	d.Total, d.Free = space.Total, space.Free
	if s.engine != nil { // who else would refuse publishes
		d.MinFree = s.opts.MinFreeSpace.of(space.Total)
	}
	return d
}

func (s *Server) logFigures() *metrics.Log {
	f := s.engine.Figures()
	return &metrics.Log{
		Records: f.Log.Records, Lost: f.Log.Lost, Bytes: f.Log.Bytes, Writes: f.Log.Writes, Syncs: f.Log.Syncs, SyncTime: f.Log.SyncTime, SyncTimes: f.Log.SyncTimes,
		FileBytes: f.Log.FileBytes, Unsynced: f.Log.Unsynced,
		Checkpoints: f.Checkpoints, CheckpointsFailed: f.Failed, CheckpointAt: f.At, CheckpointTime: f.Took,
		Compactions: f.Compactions, CompactionsFailed: f.CompactionsFailed, Compacted: f.Compacted, CompactionTime: f.CompactionTook,
		RecoveryTime: f.RecoveryTook, RecoveredRecords: f.Recovered, DamagedPlaces: f.Damaged, SegmentNodes: s.registry.OnDisk(),
	}
}
