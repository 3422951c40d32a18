package broker

import (
	"time"

	"brokerd/broker/topic"
)

// Options is everything a broker can be told. The zero value of a field means its default only where its comment says
// so: start from DefaultOptions. Validate states the ranges.
type Options struct {
	// NodeID is the broker's number, 0 to 1023; it stands in the top ten bits of every message id.
	NodeID int64

	// TCPAddress and HTTPAddress are host:port or, when they do not split as that, the path of a unix socket. An empty
	// HTTPAddress turns HTTP off, an empty HTTPSAddress HTTPS. HTTPSAddress is host:port and used only with a certificate.
	TCPAddress   string
	HTTPAddress  string
	HTTPSAddress string

	// UnixSocket is the path of a unix socket for clients beside TCPAddress; empty for none. UnixSocketMode is who may connect
	// to it, and to any other unix socket: the bits of a file's mode, 0 for what the umask leaves. A name that begins with @ is
	// one that Linux keeps without a file, and without a mode.
	UnixSocket     string
	UnixSocketMode SocketMode

	// BroadcastAddress and the two ports are what lookups and statsd are told; port 0 means the port that is bound.
	BroadcastAddress  string
	BroadcastTCPPort  int
	BroadcastHTTPPort int

	LookupdTCPAddresses      []string      // host:port of lookups to register with
	HTTPClientConnectTimeout time.Duration // to lookups' HTTP and auth daemons
	HTTPClientRequestTimeout time.Duration
	AuthHTTPAddresses        []string // host:port or URL; auth is on when there is one
	AuthHTTPRequestMethod    string   // "get" or "post"
	AuthHTTPAPI              bool     // the auth daemon judges HTTP too
	TopologyRegion           string
	TopologyZone             string
	TopologyAwareConsumption bool     // an experiment of NSQ's: local consumers first
	Experiments              []string // as given with --enable-experiment; unknown ones are kept and ignored

	DataPath        string        // folder of the queues; created when missing; empty means the current folder
	Durability      Durability    // when a publish is answered
	TopicDurability []string      // PATTERN=LEVEL: of topics whose name fits; the first one that does counts
	TopicOptions    []string      // PATTERN NAME=VALUE ...: options of topics whose name fits; of each option the first one counts
	ChannelOptions  []string      // TOPIC/CHANNEL NAME=VALUE ..., patterns both: the same of channels
	MinFreeSpace    MinFree       // publishes at a level above memory are refused with less; zero: never
	MemQueueSize    int64         // messages a topic or channel keeps in memory before it overflows to disk
	MaxBytesPerFile int64         // bytes of one overflow file
	SyncEvery       int64         // overflow operations between two syncs
	SyncTimeout     time.Duration // longest time between two syncs of an overflow that changed

	// QueueScanWorkerPoolMax and QueueScanSelectionCount are read and reported for NSQ's scripts; deadlines here are kept
	// in order, so that nothing is scanned.
	QueueScanWorkerPoolMax  int
	QueueScanSelectionCount int

	MsgTimeout    time.Duration // in flight before a message comes back, unless the client asks otherwise
	MaxMsgTimeout time.Duration // most that a client may ask for, and most that TOUCH extends to
	MaxMsgSize    int64         // bytes of one body
	MaxReqTimeout time.Duration // longest delay of REQ, to which a longer one is cut
	MaxDefer      time.Duration // longest delay of a deferred publish, beyond which it is refused; 0: MaxReqTimeout
	MaxBodySize   int64         // bytes of MPUB, IDENTIFY and AUTH bodies
	MaxUnfinished int64         // bytes of all bodies above 64 KiB that have begun to arrive and are not whole; twice the longest body at least
	MaxMemory     int64         // bytes of messages in memory; 0: a quarter of what the process may have
	DedupMemory   int64         // bytes of deduplication keys in memory; 0: no limit
	ClientTimeout time.Duration // no flag: twice the default heartbeat interval
	Anchor        bool          // no flag: GOMAXPROCS may be raised by one while the log gets many small writes
	Processors    int           // no flag: by how many GOMAXPROCS was raised for good
	LogFileSize   int64         // no flag: bytes of one of the log's files, from 1 KiB on; 0: 8 MiB

	MaxHeartbeatInterval   time.Duration
	MaxRdyCount            int64
	MaxOutputBufferSize    int64
	MaxOutputBufferTimeout time.Duration
	MinOutputBufferTimeout time.Duration
	OutputBufferTimeout    time.Duration
	MaxChannelConsumers    int // per channel; 0 is no limit

	MaxTopics                int // of the node; 0 is no limit
	MaxChannels              int // per topic; 0 is no limit
	MaxConnections           int // of clients and of HTTP, each; 0 is no limit
	MaxConnectionsPerAddress int // the same from one address

	LookupdTLS       bool     // TLS is spoken with lookups
	LookupdTokenFile string   // with the token that lookups are shown; empty for none
	TokenFile        string   // who may do what; empty: everybody everything
	AuditLog         string   // file that acts over HTTP are written down in; empty for none
	AuthAnchored     bool     // the patterns of auth daemons must match whole names
	QuotaPublishes   int64    // of one token or address in a second; 0: no limit
	QuotaBytes       int64    // the same of bodies
	QuotaCommands    int64    // the same of commands and HTTP requests
	HTTPAllowHosts   []string // names in a Host header that are taken on the loopback, besides this machine's and BroadcastAddress
	HTTPAllowOrigins []string // of pages of other sites that may act here, as https://tools.example.com
	HTTPMessages     string   // on, or off: whether the bodies of messages can be looked at over HTTP
	Insecure         bool     // profiles and changes of options are for other machines too

	StatsdAddress          string // empty turns statsd off
	StatsdPrefix           string
	StatsdInterval         time.Duration
	StatsdMemStats         bool
	StatsdUDPPacketSize    int
	StatsdExcludeEphemeral bool

	MetricsMaxTopics int // topics with series of their own in /metrics; the others are one sum

	OTLPEndpoint string     // URL of a collector of traces; empty turns them off
	OTLPSample   SampleRate // share of messages that are traced, in (0,1]

	E2EProcessingLatencyWindowTime  time.Duration
	E2EProcessingLatencyPercentiles []float64 // each in (0,1]; kept in descending order

	TLSCert             string // file; with TLSKey turns TLS on
	TLSKey              string
	TLSClientAuthPolicy string // "", "require", "require-verify"
	TLSRootCAFile       string
	TLSRequired         TLSRequirement
	TLSMinVersion       uint16 // crypto/tls version number

	// ClusterName is the cluster that the broker founds with its peers, or joins; empty: it is in none, and the others say nothing.
	ClusterName       string
	ClusterListen     string        // host:port for other brokers of the cluster
	ClusterAddress    string        // host:port that they dial; empty: ClusterListen, with BroadcastAddress for a host that is not given
	ClusterPeers      []string      // addresses of those that found the cluster
	ClusterSecretFile string        // with what all of them know; empty for none
	ClusterTLSCert    string        // file; with the two others links speak TLS
	ClusterTLSKey     string        // file
	ClusterTLSCA      string        // file with the authorities of the cluster
	ClusterElection   time.Duration // after which a leader is missed
	ClusterWait       time.Duration // longest time that a change of the cluster takes, or a publish waits for a leader
	ClusterFast       string        // on, or off: a leader whose process is dead is missed at once

	DeflateEnabled  bool
	MaxDeflateLevel int // 1 to 9
	SnappyEnabled   bool

	DrainTimeout    time.Duration // longest time of a drain; 0: none
	ShutdownTimeout time.Duration // how long Shutdown lets writes in progress end

	LogLevel  string // debug, info, warn, error, fatal
	LogPrefix string // accepted for NSQ's scripts and reported by /config
	LogFormat string // "text" or "json"
}

// TLSRequirement says which plain-text clients are refused.
type TLSRequirement int

// The three forms of --tls-required.
const (
	TLSNotRequired        TLSRequirement = iota
	TLSRequiredExceptHTTP                // TCP clients must upgrade, plain HTTP stays open ("tcp-https")
	TLSRequired                          // plain HTTP is refused too
)

// DefaultOptions returns nsqd 1.3.0's defaults, but for TLSMinVersion, which is TLS 1.2.
func DefaultOptions() Options {
	return Options{
		NodeID:                   DefaultNodeID(),
		TCPAddress:               "0.0.0.0:4150",
		HTTPAddress:              "0.0.0.0:4151",
		HTTPSAddress:             "0.0.0.0:4152",
		BroadcastAddress:         hostname(),
		HTTPClientConnectTimeout: 2 * time.Second,
		HTTPClientRequestTimeout: 5 * time.Second,
		AuthHTTPRequestMethod:    "get",
		Durability:               Durability(topic.Disk),
		MinFreeSpace:             MinFree{Bytes: 256 << 20, Percent: 1},
		MemQueueSize:             10000,
		MaxBytesPerFile:          100 << 20,
		SyncEvery:                2500,
		SyncTimeout:              2 * time.Second,
		QueueScanWorkerPoolMax:   4,
		QueueScanSelectionCount:  20,
		MsgTimeout:               time.Minute,
		MaxMsgTimeout:            15 * time.Minute,
		MaxMsgSize:               1 << 20,
		MaxReqTimeout:            time.Hour,
		MaxBodySize:              5 << 20,
		MaxUnfinished:            16 << 20,
		DedupMemory:              256 << 20,
		HTTPMessages:             "on",
		ClientTimeout:            time.Minute,
		MaxHeartbeatInterval:     time.Minute,
		MaxRdyCount:              2500,
		MaxOutputBufferSize:      64 << 10,
		MaxOutputBufferTimeout:   30 * time.Second,
		MinOutputBufferTimeout:   25 * time.Millisecond,
		OutputBufferTimeout:      250 * time.Millisecond,
		StatsdPrefix:             "nsq.%s",
		StatsdInterval:           time.Minute,
		StatsdMemStats:           true,
		StatsdUDPPacketSize:      508,
		MetricsMaxTopics:         1000,
		OTLPSample:               0.001,

		E2EProcessingLatencyWindowTime: 10 * time.Minute,

		ClusterListen:   "127.0.0.1:4170",
		ClusterElection: 800 * time.Millisecond,
		ClusterWait:     5 * time.Second,
		ClusterFast:     "on",

		TLSMinVersion:   defaultTLSVersion,
		DeflateEnabled:  true,
		MaxDeflateLevel: 6,
		SnappyEnabled:   true,
		DrainTimeout:    5 * time.Minute,
		ShutdownTimeout: 30 * time.Second,
		LogLevel:        "info",
		LogPrefix:       "[brokerd] ",
		LogFormat:       "text",
	}
}

// maxDefer returns the longest delay of a deferred publish.
func (o *Options) maxDefer() time.Duration {
	if o.MaxDefer == 0 {
		return o.MaxReqTimeout
	}
	return o.MaxDefer
}
