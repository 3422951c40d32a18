package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Source tells a Pusher about all topics and channels, without clients but with their number. It is called on the pusher's
// goroutine once a round.
type Source func() []httpapi.Topic

// StatsdConfig is what a Pusher is told.
type StatsdConfig struct {
	Address          string        // host:port of the statsd daemon
	Prefix           string        // as StatsdPrefix returns it
	Interval         time.Duration // between rounds; more than zero
	PacketSize       int           // longest datagram in bytes; 508 passes every network unfragmented
	MemStats         bool          // report the heap too
	ExcludeEphemeral bool          // leave out ephemeral topics and channels

	// Dial opens the way to the daemon, once a round; nil means UDP to Address.
	Dial func(ctx context.Context, address string) (io.WriteCloser, error)
}

// StatsdPrefix returns what stands before each metric: format with every "%s" replaced by address and port, whose '.' and
// ':' become '_', and a '.' at the end. An empty format stays empty.
func StatsdPrefix(format, address string, port int) string {
	host := address + ":" + strconv.Itoa(port)
	prefix := strings.ReplaceAll(format, "%s", strings.NewReplacer(".", "_", ":", "_").Replace(host))
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		prefix += "."
	}
	return prefix
}

// Pusher reports to a statsd daemon in rounds.
type Pusher struct {
	cfg    StatsdConfig
	source Source
	log    *slog.Logger

	round *round // owned by Run
}

// NewPusher returns a Pusher that does nothing until Run.
func NewPusher(cfg StatsdConfig, source Source, log *slog.Logger) *Pusher {
	if cfg.Dial == nil {
		cfg.Dial = dialUDP
	}
	return &Pusher{cfg: cfg, source: source, log: log, round: newRound(cfg)}
}

func dialUDP(ctx context.Context, address string) (io.WriteCloser, error) {
	d := net.Dialer{Timeout: time.Second}
	return d.DialContext(ctx, "udp", address)
}

// Run reports every interval until ctx ends; what is left of a round then goes out at once. When the way to the daemon
// cannot be opened the round is logged and skipped, and its counts are in the next one; what a failed write loses is lost.
func (p *Pusher) Run(ctx context.Context) {
	ticker := time.NewTicker(p.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.push(ctx); err != nil {
			p.log.Error("statsd: round not sent", "address", p.cfg.Address, "error", err)
		}
	}
}

// push renders and sends one round, spread over most of the interval so that the daemon's socket buffer is not overrun.
func (p *Pusher) push(ctx context.Context) error {
	conn, err := p.cfg.Dial(ctx, p.cfg.Address)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer conn.Close() // UDP: nothing is pending
	packets := packLines(p.round.render(p.source()), p.cfg.PacketSize)
	if len(packets) == 0 {
		return nil
	}
	spread := p.cfg.Interval - min(time.Second, p.cfg.Interval/2)
	ticker := time.NewTicker(max(spread/time.Duration(len(packets)), 1))
	defer ticker.Stop()
	for i, packet := range packets {
		if i > 0 {
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		if _, err := conn.Write(packet); err != nil {
			return fmt.Errorf("send datagram %d of %d: %w", i+1, len(packets), err)
		}
	}
	return nil
}

// packLines cuts lines, each ended by a newline, into pieces of at most size bytes; a line longer than that is a piece of its
// own. The pieces are views of lines.
func packLines(lines []byte, size int) [][]byte {
	var packets [][]byte
	start, end := 0, 0 // of the piece that is being filled
	for i, b := range lines {
		if b != '\n' {
			continue
		}
		if i+1-start > size && end > start {
			packets = append(packets, lines[start:end])
			start = end
		}
		end = i + 1
	}
	if end > start {
		packets = append(packets, lines[start:end])
	}
	return packets
}

// round renders rounds and remembers the counters of the one before.
type round struct {
	prefix           string
	memStats         bool
	excludeEphemeral bool

	last, counters map[string]uint64 // by metric: of the round before, and of this one
	lines          []byte            // of this round
}

func newRound(cfg StatsdConfig) *round {
	return &round{
		prefix: cfg.Prefix, memStats: cfg.MemStats, excludeEphemeral: cfg.ExcludeEphemeral,
		counters: map[string]uint64{},
	}
}

// render returns the lines of a round, valid until the next.
func (r *round) render(topics []httpapi.Topic) []byte {
	r.last, r.counters = r.counters, make(map[string]uint64, len(r.counters))
	r.lines = r.lines[:0]
	for i := range topics {
		if !r.excludeEphemeral || !protocol.IsEphemeral(topics[i].TopicName) {
			r.topic(&topics[i])
		}
	}
	if r.memStats {
		r.memory(ReadMemory())
	}
	return r.lines
}

func (r *round) topic(t *httpapi.Topic) {
	base := "topic." + t.TopicName + "."
	r.count(base, "message_count", t.MessageCount)
	r.count(base, "message_bytes", t.MessageBytes)
	r.gauge(base, "depth", t.Depth)
	r.gauge(base, "backend_depth", t.BackendDepth)
	r.latency(base, t.E2EProcessingLatency)
	for i := range t.Channels {
		if c := &t.Channels[i]; !r.excludeEphemeral || !protocol.IsEphemeral(c.ChannelName) {
			r.channel(base+"channel."+c.ChannelName+".", c)
		}
	}
}

func (r *round) channel(base string, c *httpapi.Channel) {
	r.count(base, "message_count", c.MessageCount)
	r.gauge(base, "depth", c.Depth)
	r.gauge(base, "backend_depth", c.BackendDepth)
	r.gauge(base, "in_flight_count", int64(c.InFlightCount))
	r.gauge(base, "deferred_count", int64(c.DeferredCount))
	r.count(base, "requeue_count", c.RequeueCount)
	r.count(base, "timeout_count", c.TimeoutCount)
	r.gauge(base, "clients", int64(c.ClientCount))
	r.latency(base, c.E2EProcessingLatency)
}

func (r *round) latency(base string, l httpapi.Latency) {
	for _, p := range l.Percentiles {
		r.gauge(base, "e2e_processing_latency_"+strconv.FormatFloat(p.Quantile*100, 'f', 0, 64), int64(p.Value))
	}
}

func (r *round) memory(m httpapi.Memory) {
	r.gauge("mem.", "heap_objects", int64(m.HeapObjects))
	r.gauge("mem.", "heap_idle_bytes", int64(m.HeapIdleBytes))
	r.gauge("mem.", "heap_in_use_bytes", int64(m.HeapInUseBytes))
	r.gauge("mem.", "heap_released_bytes", int64(m.HeapReleasedBytes))
	r.gauge("mem.", "gc_pause_usec_100", int64(m.GCPauseUsec100))
	r.gauge("mem.", "gc_pause_usec_99", int64(m.GCPauseUsec99))
	r.gauge("mem.", "gc_pause_usec_95", int64(m.GCPauseUsec95))
	r.gauge("mem.", "next_gc_bytes", int64(m.NextGCBytes))
	r.count("mem.", "gc_runs", uint64(m.GCTotalRuns))
}

// count reports how much a counter grew; a topic that was made anew has shrunk, and is reported so.
func (r *round) count(base, metric string, value uint64) {
	name := base + metric
	r.counters[name] = value
	r.line(base, metric, int64(value-r.last[name]), 'c')
}

func (r *round) gauge(base, metric string, value int64) { r.line(base, metric, value, 'g') }

func (r *round) line(base, metric string, value int64, kind byte) {
	r.lines = append(r.lines, r.prefix...)
	r.lines = append(r.lines, base...)
	r.lines = append(r.lines, metric...)
	r.lines = append(r.lines, ':')
	r.lines = strconv.AppendInt(r.lines, value, 10)
	r.lines = append(r.lines, '|', kind, '\n')
}
