package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"brokerd/broker/httpd"
	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/release"
)

// api is what the HTTP API sees of the broker.
type api struct{ s *Server }

func (a api) Registry() *topic.Registry { return a.s.registry }

func (a api) Health() error { return a.s.registry.Health() }

func (a api) Began() time.Time { return a.s.began }

func (a api) Producers() []httpapi.Client { return a.s.sessions.Producers() }

func (a api) SaveMetadata() error { return a.s.metadata.Save() }

func (a api) Info() httpapi.Info {
	o := a.s.now()
	build := release.This()
	return httpapi.Info{
		Version: Version, Release: &build, BroadcastAddress: o.BroadcastAddress, Hostname: hostname(), HTTPPort: portOf(a.s.doors.http),
		TCPPort: portOf(a.s.doors.tcp), StartTime: a.s.began.Unix(),
		MaxHeartbeatInterval: int64(o.MaxHeartbeatInterval), MaxOutputBufferSize: o.MaxOutputBufferSize,
		MaxOutputBufferTimeout: int64(o.MaxOutputBufferTimeout), MaxDeflateLevel: o.MaxDeflateLevel,
		TopologyZone: o.TopologyZone, TopologyRegion: o.TopologyRegion,
	}
}

// Storage asks the system each time. Where it does not tell, as on some systems, the bytes are 0.
func (a api) Storage() httpapi.Storage {
	out := httpapi.Storage{DataPath: a.s.dataDir, Durability: a.s.now().Durability.String()}
	if space, err := a.s.lock.FS().Free(a.s.dataDir); err == nil {
		out.FreeBytes, out.TotalBytes = space.Free, space.Total
		if a.s.engine != nil { // who else would refuse publishes
			out.MinFreeBytes = a.s.opts.MinFreeSpace.of(space.Total)
		}
	}
	return out
}

func (a api) Config(name string) (any, bool) {
	if name == "exposed" { // no option: what the options leave open
		return append([]string{}, a.s.exposed()...), true
	}
	value, ok := a.s.now().Config(name)
	return httpapi.Mask(value), ok
}

func (a api) SetAside() int { return a.s.setAside() }

func (a api) Ready() error { return a.s.ready() }

func (a api) Drain() (httpapi.Drain, bool) { return a.s.drainState() }

func (a api) StartDrain(empty, stay bool) error {
	return a.s.StartDrain(Drain{Empty: empty, Stay: stay})
}

func (a api) EndDrain() error { return a.s.EndDrain() }

func (a api) Settings() httpapi.Settings { return a.s.settingsOf() }

func (a api) Reload() error { return a.s.reloadNow() }

func (a api) SetLogLevel(word string) error {
	level, err := parseLogLevel(word)
	if err != nil {
		return err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.level.Set(level)
	a.s.set("log-level", "log_level", func(o *Options) { o.LogLevel = strings.ToLower(word) })
	return nil
}

func (a api) SetLookupdAddresses(addresses []string) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if err := a.s.relist(addresses); err != nil {
		return err
	}
	a.s.set("lookupd-tcp-address", "nsqlookupd_tcp_addresses", func(o *Options) { o.LookupdTCPAddresses = addresses })
	return nil
}

// broadcastTCPPort and broadcastHTTPPort are what others are told.
func (s *Server) broadcastTCPPort() int {
	if p := s.opts.BroadcastTCPPort; p != 0 {
		return p
	}
	return portOf(s.doors.tcp)
}

func (s *Server) broadcastHTTPPort() int {
	if p := s.opts.BroadcastHTTPPort; p != 0 {
		return p
	}
	return portOf(s.doors.http)
}

// statsdTopics is what statsd is told: counters, and how many clients, not which.
func (s *Server) statsdTopics() []httpapi.Topic {
	return httpd.Snapshot(s.registry, s.opts.E2EProcessingLatencyPercentiles, httpd.Filter{})
}

// queueStore opens overflow queues in the data folder.
type queueStore struct {
	dir  string // a path of it that goes on leading to it
	name string // what people know it by
	opts *Options
	log  *slog.Logger
}

func (q *queueStore) Exists(name string) bool { return nsqdata.Exists(q.dir, name) }

func (q *queueStore) Open(name string) (*nsqdata.Queue, error) {
	o := q.opts
	queue, err := nsqdata.Open(name, nsqdata.QueueOptions{
		Dir: q.dir, MaxBytesPerFile: o.MaxBytesPerFile,
		MinMsgSize: protocol.MessageHeaderSize, MaxMsgSize: int32(max(o.MaxMsgSize, overflowMessage)) + protocol.MessageHeaderSize,
		SyncEvery: o.SyncEvery, SyncTimeout: o.SyncTimeout, Logf: q.logf,
	})
	return queue, vfs.Named(err, q.dir, q.name)
}

// logf is the log of go-diskqueue, which names its own levels.
func (q *queueStore) logf(level, format string, args ...any) {
	l := slog.LevelDebug // what it calls INFO is each file that it opens
	switch level {
	case "WARNING":
		l = slog.LevelWarn
	case "ERROR", "FATAL":
		l = slog.LevelError
	}
	text := fmt.Sprintf(format, args...)
	if q.dir != q.name {
		text = strings.ReplaceAll(text, q.dir, q.name)
	}
	q.log.Log(context.Background(), l, text)
}
