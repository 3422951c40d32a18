package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// Setting is one option under all its names. It is the only list of them: flags, environment, file, help and HTTP's
// /config are made of it.
type Setting struct {
	Name  string // flag, without dashes
	Key   string // in the file and in /config
	Group string // heading in the help
	Help  string
	Value any // pointer into Options: *string, *bool, *int, *int64, *time.Duration, *[]string or a flag.Value

	EmptyCounts bool // an empty text says something, such as "off"; everywhere else it means that nothing was said
	Reload      bool // a reload changes it while the daemon runs
	Idle        bool // accepted for NSQ's scripts, without effect: who sets it is told so
}

// Settings lists every option that can be told from outside, in the help's order, each with a pointer into o.
func (o *Options) Settings() []Setting {
	list := slices.Concat(
		grouped("Addresses", o.addresses()),
		grouped("Lookup", o.lookup()),
		grouped("Queues", o.queues()),
		grouped("Delivery limits", o.delivery()),
		grouped("Client buffers", o.buffers()),
		grouped("Compression", o.compression()),
		grouped("TLS", o.tls()),
		grouped("Auth", o.auth()),
		grouped("Access", o.access()),
		grouped("Cluster (a preview)", o.cluster()),
		grouped("Statistics", o.statistics()),
		grouped("Logging", o.logging()),
		grouped("Process", o.process()),
	)
	for i := range list {
		if list[i].Key == "" {
			list[i].Key = strings.ReplaceAll(list[i].Name, "-", "_")
		}
		list[i].Reload = slices.Contains(reloadable, list[i].Name)
	}
	return list
}

func grouped(group string, list []Setting) []Setting {
	for i := range list {
		list[i].Group = group
	}
	return list
}

func (o *Options) addresses() []Setting {
	return []Setting{
		{Name: "tcp-address", Value: &o.TCPAddress, Help: "clients: host:port, or the path of a unix socket"},
		{Name: "http-address", EmptyCounts: true, Value: &o.HTTPAddress,
			Help: "HTTP API: host:port, or the path of a unix socket; empty turns it off"},
		{Name: "https-address", EmptyCounts: true, Value: &o.HTTPSAddress, Help: "HTTP API over TLS: host:port; empty turns it off; only with --tls-cert"},
		{Name: "unix-socket", Value: &o.UnixSocket, Help: "clients on this machine, besides: the path of a unix socket"},
		{Name: "unix-socket-mode", Value: &o.UnixSocketMode,
			Help: "who may connect to unix sockets, as the mode of a file such as 0660; without it the umask decides"},
		{Name: "http-messages", Value: &o.HTTPMessages,
			Help: "whether messages can be looked at over HTTP without taking them: on, or off; where callers have scopes it needs consume"},
		{Name: "broadcast-address", Value: &o.BroadcastAddress, Help: "host name or address that others reach this node by"},
		{Name: "broadcast-tcp-port", Value: &o.BroadcastTCPPort, Help: "TCP port told to lookups; 0 means the one bound"},
		{Name: "broadcast-http-port", Value: &o.BroadcastHTTPPort, Help: "HTTP port told to lookups; 0 means the one bound"},
		{Name: "node-id", Key: "id", Value: &o.NodeID,
			Help: "this node's number in message ids, 0 to 1023; derived from the host name unless given"},
	}
}

func (o *Options) lookup() []Setting {
	return []Setting{
		{Name: "lookupd-tcp-address", Key: "nsqlookupd_tcp_addresses", Value: &o.LookupdTCPAddresses,
			Help: "lookup to register with, host:port"},
		{Name: "lookupd-tls", Value: &o.LookupdTLS,
			Help: "speak TLS with lookups: theirs are checked against --tls-root-ca-file, or the system's authorities, and --tls-cert is shown to them"},
		{Name: "topology-region", Value: &o.TopologyRegion, Help: "region told to clients, for topology-aware consumption"},
		{Name: "topology-zone", Value: &o.TopologyZone, Help: "zone told to clients, for topology-aware consumption"},
		{Name: "http-client-connect-timeout", Value: &o.HTTPClientConnectTimeout,
			Help: "for connecting to the HTTP of lookups and auth daemons"},
		{Name: "http-client-request-timeout", Value: &o.HTTPClientRequestTimeout,
			Help: "for a request to the HTTP of lookups and auth daemons"},
		{Name: "enable-experiment", Key: "enable_experiment", Value: &o.Experiments,
			Help: "experiment of NSQ's to turn on: " + topologyExperiment},
	}
}

func (o *Options) queues() []Setting {
	return []Setting{
		{Name: "data-path", Value: &o.DataPath,
			Help: "folder for queues, created when missing; empty means the current folder"},
		{Name: "durability", Value: &o.Durability,
			Help: "when a publish is answered: memory, disk (written to the log) or fsync (synced)"},
		{Name: "topic-durability", Value: &o.TopicDurability,
			Help: "PATTERN=LEVEL for topics whose name fits, as orders.*=fsync; the first that fits counts; repeatable"},
		{Name: "topic-options", Value: &o.TopicOptions,
			Help: "PATTERN NAME=VALUE ... for topics whose name fits, as \"orders.* max_depth=1000000 ttl=7d\"; of each option the first counts; repeatable"},
		{Name: "channel-options", Value: &o.ChannelOptions,
			Help: "the same for channels, as \"orders.*/billing max_attempts=10 backoff=fixed:5s\"; repeatable"},
		{Name: "min-free-space", Value: &o.MinFreeSpace,
			Help: "publishes are refused with less free on the disk: 1%, 256MiB, or both, of which the smaller counts"},
		{Name: "mem-queue-size", Value: &o.MemQueueSize,
			Help: "messages a topic or channel keeps in memory before it overflows to disk"},
		{Name: "max-bytes-per-file", Value: &o.MaxBytesPerFile, Help: "bytes in one file of an overflow"},
		{Name: "sync-every", Value: &o.SyncEvery, Help: "operations on an overflow between two syncs"},
		{Name: "sync-timeout", Value: &o.SyncTimeout, Help: "longest time between two syncs of a changed overflow"},
		{Name: "queue-scan-worker-pool-max", Idle: true, Value: &o.QueueScanWorkerPoolMax,
			Help: "accepted for nsqd's scripts; nothing is scanned here"},
		{Name: "queue-scan-selection-count", Idle: true, Value: &o.QueueScanSelectionCount,
			Help: "accepted for nsqd's scripts; nothing is scanned here"},
	}
}

func (o *Options) delivery() []Setting {
	return []Setting{
		{Name: "msg-timeout", Value: &o.MsgTimeout, Help: "time in flight before a message is given out again"},
		{Name: "max-msg-timeout", Value: &o.MaxMsgTimeout, Help: "longest time in flight a client may ask for or TOUCH up to"},
		{Name: "max-msg-size", Value: &o.MaxMsgSize, Help: "bytes in one message"},
		{Name: "max-req-timeout", Value: &o.MaxReqTimeout, Help: "longest delay of a requeue, and of a deferred publish unless --max-defer says otherwise"},
		{Name: "max-defer", Value: &o.MaxDefer, Help: "longest delay of a deferred publish, up to 8760h (365 days); 0 is what --max-req-timeout is"},
		{Name: "max-body-size", Value: &o.MaxBodySize, Help: "bytes in one MPUB, IDENTIFY or AUTH body"},
		{Name: "max-unfinished-bytes", Value: &o.MaxUnfinished,
			Help: "memory for all bodies over 64 KiB that are not whole yet; more wait, and those that stand still are cut off"},
		{Name: "max-memory", Value: &o.MaxMemory,
			Help: "bytes of messages in memory, beyond which what can be on disk goes there; 0 is a quarter of what the process may have"},
		{Name: "dedup-memory", Value: &o.DedupMemory,
			Help: "bytes of deduplication keys in memory, of all topics with dedup_window, beyond which the oldest are forgotten early; 0 means no limit"},
		{Name: "max-rdy-count", Value: &o.MaxRdyCount, Help: "most messages one client may have in flight"},
		{Name: "max-heartbeat-interval", Value: &o.MaxHeartbeatInterval, Help: "longest heartbeat interval a client may ask for"},
		{Name: "max-channel-consumers", Value: &o.MaxChannelConsumers, Help: "consumers of one channel; 0 means no limit"},
		{Name: "max-topics", Value: &o.MaxTopics, Help: "topics of this node; 0 means no limit"},
		{Name: "max-channels", Value: &o.MaxChannels, Help: "channels of one topic; 0 means no limit"},
		{Name: "max-connections", Value: &o.MaxConnections, Help: "clients that are connected, and as many to HTTP; 0 means no limit"},
		{Name: "max-connections-per-address", Value: &o.MaxConnectionsPerAddress, Help: "of these, from one address; 0 means no limit"},
	}
}

func (o *Options) buffers() []Setting {
	return []Setting{
		{Name: "output-buffer-timeout", Value: &o.OutputBufferTimeout,
			Help: "told to clients that do not ask for one; output is flushed when idle unless they do"},
		{Name: "min-output-buffer-timeout", Value: &o.MinOutputBufferTimeout, Help: "shortest a client may ask for"},
		{Name: "max-output-buffer-timeout", Value: &o.MaxOutputBufferTimeout, Help: "longest a client may ask for"},
		{Name: "max-output-buffer-size", Value: &o.MaxOutputBufferSize, Help: "largest output buffer a client may ask for, bytes"},
	}
}

func (o *Options) compression() []Setting {
	return []Setting{
		{Name: "deflate", Value: &o.DeflateEnabled, Help: "let clients use deflate"},
		{Name: "max-deflate-level", Value: &o.MaxDeflateLevel, Help: "highest deflate level a client may ask for, 1 to 9"},
		{Name: "snappy", Value: &o.SnappyEnabled, Help: "let clients use snappy"},
	}
}

func (o *Options) tls() []Setting {
	return []Setting{
		{Name: "tls-cert", Value: &o.TLSCert, Help: "certificate file; with --tls-key turns TLS and HTTPS on"},
		{Name: "tls-key", Value: &o.TLSKey, Help: "key file"},
		{Name: "tls-root-ca-file", Value: &o.TLSRootCAFile, Help: "authorities that client certificates are checked against"},
		{Name: "tls-client-auth-policy", Value: &o.TLSClientAuthPolicy,
			Help: "require (any client certificate) or require-verify (a verified one); either forces --tls-required"},
		{Name: "tls-required", Value: &o.TLSRequired, Help: "refuse plain clients: true, false, or tcp-https (HTTP stays open)"},
		{Name: "tls-min-version", Value: (*tlsVersion)(&o.TLSMinVersion), Help: "lowest TLS: tls1.0, tls1.1, tls1.2, tls1.3"},
	}
}

func (o *Options) auth() []Setting {
	return []Setting{
		{Name: "auth-http-address", Key: "auth_http_addresses", Value: &o.AuthHTTPAddresses,
			Help: "auth daemon, host:port or URL; AUTH is demanded when there is one"},
		{Name: "auth-http-request-method", Value: &o.AuthHTTPRequestMethod, Help: "how the auth daemon is asked: get or post"},
	}
}

func (o *Options) statistics() []Setting {
	return []Setting{
		{Name: "statsd-address", Value: &o.StatsdAddress, Help: "UDP host:port of a statsd; empty turns it off"},
		{Name: "statsd-prefix", EmptyCounts: true, Value: &o.StatsdPrefix, Help: "prefix of metrics; %s becomes this node's address and port"},
		{Name: "statsd-interval", Value: &o.StatsdInterval, Help: "time between two pushes"},
		{Name: "statsd-mem-stats", Value: &o.StatsdMemStats, Help: "push memory and garbage collector metrics too"},
		{Name: "statsd-udp-packet-size", Value: &o.StatsdUDPPacketSize, Help: "bytes of one datagram"},
		{Name: "statsd-exclude-ephemeral", Value: &o.StatsdExcludeEphemeral, Help: "leave ephemeral topics and channels out"},
		{Name: "metrics-max-topics", Value: &o.MetricsMaxTopics,
			Help: "topics that /metrics tells one by one, with their channels; the others are one sum with empty labels"},
		{Name: "otlp-endpoint", Value: &o.OTLPEndpoint,
			Help: "URL of a collector that takes traces as OTLP in JSON over HTTP; without a path, /v1/traces; empty turns them off"},
		{Name: "otlp-sample", Value: &o.OTLPSample, Help: "share of messages whose publish and deliveries are traced, in (0,1]"},
		{Name: "e2e-processing-latency-percentile", Key: "e2e_processing_latency_percentiles",
			Value: (*percentiles)(&o.E2EProcessingLatencyPercentiles),
			Help:  "latency from publish to FIN to keep track of, in (0,1], comma-separated"},
		{Name: "e2e-processing-latency-window-time", Value: &o.E2EProcessingLatencyWindowTime,
			Help: "time that these percentiles look back"},
	}
}

func (o *Options) logging() []Setting {
	return []Setting{
		{Name: "log-level", Value: &o.LogLevel, Help: "debug, info, warn, error or fatal; /config changes it at run time"},
		{Name: "log-format", Value: &o.LogFormat, Help: "text or json"},
		{Name: "log-prefix", EmptyCounts: true, Idle: true, Value: &o.LogPrefix, Help: "accepted for nsqd's scripts and reported by /config, without effect"},
	}
}

func (o *Options) process() []Setting {
	return []Setting{
		{Name: "drain-timeout", Value: &o.DrainTimeout,
			Help: "longest time that PUT /config/drain waits for consumers; what is left then is kept; 0 is no limit"},
		{Name: "shutdown-timeout", Value: &o.ShutdownTimeout, Help: "time for an orderly stop; until it has passed only SIGQUIT ends it sooner"},
	}
}

// Config returns the value of one option for HTTP's /config, by its name in the file: strings and bools as they are,
// whole numbers as int or int64, durations as int64 nanoseconds, lists never nil, log_level as 1 (debug) to 5 (fatal),
// tls_min_version as the number on the wire, tls_required as 0, 1 (tcp-https) or 2.
func (o *Options) Config(name string) (any, bool) {
	if name == "log_level" {
		return loglevel.Number(o.LogLevel), true
	}
	for _, s := range o.Settings() {
		if s.Key == name {
			return configValue(s.Value), true
		}
	}
	return nil, false
}

func configValue(pointer any) any {
	if value, ok := httpapi.ConfigValue(pointer); ok {
		return value
	}
	switch v := pointer.(type) {
	case *percentiles:
		return append([]float64{}, *v...)
	case *tlsVersion:
		return int(*v)
	case *SampleRate:
		return float64(*v)
	case *TLSRequirement:
		return int(*v)
	case fmt.Stringer:
		return v.String()
	}
	panic(fmt.Sprintf("broker: option of type %T", pointer))
}

// String returns the requirement as --tls-required takes it.
func (r TLSRequirement) String() string {
	switch r {
	case TLSRequired:
		return "true"
	case TLSRequiredExceptHTTP:
		return "tcp-https"
	}
	return "false"
}

// Set takes what --tls-required takes: a boolean or tcp-https.
func (r *TLSRequirement) Set(text string) error {
	text = strings.ToLower(text)
	required, err := strconv.ParseBool(text)
	switch {
	case text == "tcp-https":
		*r = TLSRequiredExceptHTTP
	case err != nil:
		return errors.New("must be true, false or tcp-https")
	case required:
		*r = TLSRequired
	default:
		*r = TLSNotRequired
	}
	return nil
}

// IsBoolFlag lets the flag stand bare, which means true.
func (r *TLSRequirement) IsBoolFlag() bool { return true }

// tlsVersion is a crypto/tls version number, told as tls1.0 to tls1.3.
type tlsVersion uint16

// defaultTLSVersion is also what an empty text stands for, as in nsqd's sample file.
const defaultTLSVersion = tls.VersionTLS12

func (v tlsVersion) String() string {
	if v < tls.VersionTLS10 || v > tls.VersionTLS13 {
		return strconv.Itoa(int(v))
	}
	return "tls1." + strconv.Itoa(int(v-tls.VersionTLS10))
}

func (v *tlsVersion) Set(text string) error {
	if text == "" {
		*v = defaultTLSVersion
		return nil
	}
	for known := tlsVersion(tls.VersionTLS10); known <= tls.VersionTLS13; known++ {
		if strings.EqualFold(text, known.String()) {
			*v = known
			return nil
		}
	}
	return errors.New("must be tls1.0, tls1.1, tls1.2 or tls1.3")
}

// SampleRate is a share in (0,1].
type SampleRate float64

func (r SampleRate) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) }

// Set takes a number in (0,1].
func (r *SampleRate) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v > 0 && v <= 1) {
		return errors.New("must be a number in (0,1]")
	}
	*r = SampleRate(v)
	return nil
}

// percentiles is a list of quantiles in descending order.
type percentiles []float64

func (p percentiles) String() string {
	texts := make([]string, len(p))
	for i, v := range p {
		texts[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(texts, ",")
}

// Reset empties the list.
func (p *percentiles) Reset() { *p = nil }

// Set adds one quantile or several, separated by commas.
func (p *percentiles) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return errors.New("must be numbers in (0,1]")
		}
		*p = append(*p, v)
	}
	slices.SortFunc(*p, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	return nil
}
