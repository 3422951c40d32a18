package views

import "brokerd/admin/attention"

// Head begins every body.
type Head struct {
	Now     int64  `json:"now"` // ms
	At      int64  `json:"at"`  // ms; when the newest figures were taken
	Warning string `json:"warning"`
}

// Totals is the cluster added up.
type Totals struct {
	RateIn         float64 `json:"rate_in"`
	RateOut        float64 `json:"rate_out"`
	Depth          int64   `json:"depth"`
	BackendDepth   int64   `json:"backend_depth"`
	InFlight       int     `json:"in_flight"`
	Deferred       int     `json:"deferred"`
	RequeueRate    float64 `json:"requeue_rate"`
	TimeoutRate    float64 `json:"timeout_rate"`
	Topics         int     `json:"topics"`
	Channels       int     `json:"channels"`
	Clients        int     `json:"clients"`
	Nodes          int     `json:"nodes"`
	StaleNodes     int     `json:"stale_nodes"`
	Lookups        int     `json:"lookups"`
	FailingLookups int     `json:"failing_lookups"`
	Failing        float64 `json:"failing"`  // requeues and timeouts
	Stale          bool    `json:"stale"`    // no node answers: nothing is known of now
	AgeMS          int64   `json:"age_ms"`   // of the newest figures, when stale
	OnStale        int64   `json:"on_stale"` // of Depth, on nodes that do not answer
	Deepest        Deepest `json:"deepest"`
}

// Deepest is the channel on which the most messages wait; no names when nothing waits on any.
type Deepest struct {
	Topic   string `json:"topic"`
	Channel string `json:"channel"`
	Depth   int64  `json:"depth"`
}

// Row is one topic in a list.
type Row struct {
	Topic        string  `json:"topic"`
	RateIn       float64 `json:"rate_in"`
	RateOut      float64 `json:"rate_out"` // of all channels together
	Depth        int64   `json:"depth"`    // of the topic and its channels
	BackendDepth int64   `json:"backend_depth"`
	InFlight     int     `json:"in_flight"`
	Deferred     int     `json:"deferred"`
	RequeueRate  float64 `json:"requeue_rate"`
	TimeoutRate  float64 `json:"timeout_rate"`
	MessageCount uint64  `json:"message_count"`
	Channels     int     `json:"channels"`
	Clients      int     `json:"clients"`
	Nodes        int     `json:"nodes"`
	Paused       bool    `json:"paused"`
	Stale        bool    `json:"stale"`
	Down         bool    `json:"down"`      // no node that has it answers
	Attention    int     `json:"attention"` // items about it and its channels
	Failing      float64 `json:"failing"`   // requeues and timeouts
	Slowest      string  `json:"slowest"`   // channel that is the furthest behind; empty without channels
	SlowestOut   float64 `json:"slowest_rate_out"`
	SlowestDepth int64   `json:"slowest_depth"`
}

// Channel is one channel, over all nodes or on one.
type Channel struct {
	Channel      string   `json:"channel"`
	Depth        int64    `json:"depth"`
	BackendDepth int64    `json:"backend_depth"`
	InFlight     int      `json:"in_flight"`
	Deferred     int      `json:"deferred"`
	RateIn       float64  `json:"rate_in"`
	RateOut      float64  `json:"rate_out"`
	RequeueRate  float64  `json:"requeue_rate"`
	TimeoutRate  float64  `json:"timeout_rate"`
	MessageCount uint64   `json:"message_count"`
	RequeueCount uint64   `json:"requeue_count"`
	TimeoutCount uint64   `json:"timeout_count"`
	Clients      int      `json:"clients"`
	Paused       bool     `json:"paused"`
	Down         bool     `json:"down"` // no node that has it answers
	E2E          *Latency `json:"e2e"`
	Attention    int      `json:"attention"`
	Problem      string   `json:"problem"` // what needs attention, in words
}

// ChannelOnNode is a channel on one node.
type ChannelOnNode struct {
	Channel
	Node       string `json:"node"`
	Hostname   string `json:"hostname"`
	Kind       string `json:"kind"` // as of Node
	Durability string `json:"durability"`
	Role       string `json:"role"` // as of TopicOnNode
	Freshness
}

// Freshness says of when a node's figures are.
type Freshness struct {
	Stale bool   `json:"stale"`
	AgeMS int64  `json:"age_ms"` // -1 when there never were any
	Error string `json:"error"`
}

// Latency is end-to-end latency over nodes, nanoseconds.
type Latency struct {
	Count       int          `json:"count"`
	Percentiles []Percentile `json:"percentiles"`
}

// Percentile is one quantile: the mean over nodes weighted by their counts, and their extremes.
type Percentile struct {
	Quantile float64 `json:"quantile"`
	Average  float64 `json:"average"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
}

// Disk is the space where a broker's queues are.
type Disk struct {
	FreeBytes    uint64 `json:"free_bytes"`
	TotalBytes   uint64 `json:"total_bytes"`
	MinFreeBytes uint64 `json:"min_free_bytes"`
}

// Memory is a broker's heap.
type Memory struct {
	HeapInUseBytes uint64 `json:"heap_in_use_bytes"`
	HeapObjects    uint64 `json:"heap_objects"`
	GCPauseUsec99  uint64 `json:"gc_pause_usec_99"`
	GCTotalRuns    uint32 `json:"gc_total_runs"`
}

// Node is one broker.
type Node struct {
	Node             string `json:"node"`
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	Kind             string `json:"kind"` // brokerd or nsqd; empty before it was reached
	Healthy          bool   `json:"healthy"`
	Health           string `json:"health"`
	Freshness
	Gone           bool     `json:"gone"` // no lookup names it
	MayDismiss     bool     `json:"may_dismiss"`
	Failing        float64  `json:"failing"`    // requeues and timeouts
	SetAside       int      `json:"set_aside"`  // files of its data folder
	StartTime      int64    `json:"start_time"` // s
	RateIn         float64  `json:"rate_in"`
	RateOut        float64  `json:"rate_out"`
	Depth          int64    `json:"depth"`
	BackendDepth   int64    `json:"backend_depth"`
	InFlight       int      `json:"in_flight"`
	Deferred       int      `json:"deferred"`
	RequeueRate    float64  `json:"requeue_rate"`
	TimeoutRate    float64  `json:"timeout_rate"`
	Topics         int      `json:"topics"`
	Channels       int      `json:"channels"`
	Clients        int      `json:"clients"`   // consumers
	Producers      int      `json:"producers"` // told by view/node only
	Disk           *Disk    `json:"disk"`
	Memory         *Memory  `json:"memory"` // told by view/node only
	TopologyZone   string   `json:"topology_zone"`
	TopologyRegion string   `json:"topology_region"`
	OutOfDate      bool     `json:"out_of_date"`
	Lookups        []string `json:"lookups"`
	Tombstoned     []string `json:"tombstoned"`
}

// Lookup is one lookup.
type Lookup struct {
	Address string `json:"address"`
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	AgeMS   int64  `json:"age_ms"` // -1 when it never answered
	Version string `json:"version"`
	Nodes   int    `json:"nodes"`
	Topics  int    `json:"topics"`
}

// Client is one connection that consumes.
type Client struct {
	Topic           string  `json:"topic,omitempty"`
	Channel         string  `json:"channel,omitempty"`
	Node            string  `json:"node"`
	RemoteAddress   string  `json:"remote_address"`
	ClientID        string  `json:"client_id"`
	Hostname        string  `json:"hostname"`
	UserAgent       string  `json:"user_agent"`
	Version         string  `json:"version"`
	ConnectTime     int64   `json:"connect_ts"`
	ReadyCount      int64   `json:"ready_count"`
	InFlightCount   int64   `json:"in_flight_count"`
	FinishCount     uint64  `json:"finish_count"`
	RequeueCount    uint64  `json:"requeue_count"`
	MessageCount    uint64  `json:"message_count"`
	FinishRate      float64 `json:"finish_rate"`
	RequeueRate     float64 `json:"requeue_rate"`
	MessageRate     float64 `json:"message_rate"`
	TimeoutCount    uint64  `json:"timeout_count"` // sent to it, and neither answered nor in flight
	TimeoutRate     float64 `json:"timeout_rate"`
	Rated           bool    `json:"rated"`    // the rates are known: it was seen twice
	StuckMS         int64   `json:"stuck_ms"` // for how long it has messages and answers none; 0 when it does
	SampleRate      int32   `json:"sample_rate"`
	TLS             bool    `json:"tls"`
	TLSVersion      string  `json:"tls_version"`
	TLSCipherSuite  string  `json:"tls_cipher_suite"`
	Deflate         bool    `json:"deflate"`
	Snappy          bool    `json:"snappy"`
	Authed          bool    `json:"authed"`
	AuthIdentity    string  `json:"auth_identity"`
	AuthIdentityURL string  `json:"auth_identity_url"`
	TopologyZone    string  `json:"topology_zone"`
	TopologyRegion  string  `json:"topology_region"`
}

// Producer is one connection that publishes to a topic.
type Producer struct {
	Node          string  `json:"node"`
	RemoteAddress string  `json:"remote_address"`
	Hostname      string  `json:"hostname"`
	ClientID      string  `json:"client_id"`
	UserAgent     string  `json:"user_agent"`
	ConnectTime   int64   `json:"connect_ts"`
	Count         uint64  `json:"count"`
	Rate          float64 `json:"rate"`
	TLS           bool    `json:"tls"`
	Deflate       bool    `json:"deflate"`
	Snappy        bool    `json:"snappy"`
}

// Overview is GET /api/view/overview.
type Overview struct {
	Head
	Totals        Totals           `json:"totals"`
	Attention     []attention.Item `json:"attention"`
	AttentionMore int              `json:"attention_more"`
	Nodes         []Node           `json:"nodes"`
	Lookups       []Lookup         `json:"lookups"`
}

// Topics is GET /api/view/topics.
type Topics struct {
	Head
	Rows []Row `json:"rows"`
}

// TopicOnNode is a topic on one node.
type TopicOnNode struct {
	Node         string  `json:"node"`
	Hostname     string  `json:"hostname"`
	Depth        int64   `json:"depth"` // of the topic's own queue
	BackendDepth int64   `json:"backend_depth"`
	MessageCount uint64  `json:"message_count"`
	MessageBytes uint64  `json:"message_bytes"`
	RateIn       float64 `json:"rate_in"`
	Paused       bool    `json:"paused"`
	Channels     int     `json:"channels"`
	Kind         string  `json:"kind"` // as of Node
	Durability   string  `json:"durability"`
	Role         string  `json:"role"` // leader or follower of a replicated topic, which has the figures at its leader; "" of others
	Tombstoned   bool    `json:"tombstoned"`
	Freshness
}

// Topic is GET /api/view/topic.
type Topic struct {
	Head
	Topic        string           `json:"topic"`
	Total        Row              `json:"total"`
	AgeMS        int64            `json:"age_ms"` // of the newest figures
	OwnDepth     int64            `json:"own_depth"`
	OwnDisk      int64            `json:"own_backend_depth"`
	MessageBytes uint64           `json:"message_bytes"`
	Durability   string           `json:"durability"`
	Nodes        []TopicOnNode    `json:"nodes"`
	Channels     []Channel        `json:"channels"`
	Producers    []Producer       `json:"producers"`
	E2E          *Latency         `json:"e2e"`
	Attention    []attention.Item `json:"attention"`
}

// ChannelPage is GET /api/view/channel.
type ChannelPage struct {
	Head
	Topic       string           `json:"topic"`
	Channel     string           `json:"channel"`
	Total       Channel          `json:"total"`
	Durability  string           `json:"durability"`   // of the topic: memory, disk, fsync, mixed, or empty when no node tells
	AgeMS       int64            `json:"age_ms"`       // of the newest figures
	Accounting  *Accounting      `json:"accounting"`   // null when no node tells it
	DeadLetters *DeadLetters     `json:"dead_letters"` // null when the channel has none, and no limit of deliveries
	Nodes       []ChannelOnNode  `json:"nodes"`
	Clients     []Client         `json:"clients"`
	Attention   []attention.Item `json:"attention"`
}

// Accounting is what became of every message that the nodes which tell it accepted for a channel. Accepted and Replayed are the sum of all others.
type Accounting struct {
	Accepted   uint64            `json:"accepted"`
	Replayed   uint64            `json:"replayed,omitempty"` // that came once more by rewinds
	Finished   uint64            `json:"finished"`
	Discarded  map[string]uint64 `json:"discarded"` // by reason
	Waiting    uint64            `json:"waiting"`
	InFlight   uint64            `json:"in_flight"`
	Deferred   uint64            `json:"deferred"`
	Nodes      int               `json:"nodes"`      // that tell it
	Unbalanced []string          `json:"unbalanced"` // nodes where the sum does not add up
}

// DeadLetters is what becomes of a channel's messages that are delivered too often.
type DeadLetters struct {
	Topics   []string `json:"topics"`    // that they go to; nodes may differ
	Waiting  int      `json:"waiting"`   // messages whose dead letter topic does not take them now
	Refusals []string `json:"refusals"`  // node: why
	Redrives int      `json:"redrives"`  // nodes that told of one that goes on or has ended
	Running  []string `json:"running"`   // nodes that send dead letters back now
	Moved    int      `json:"moved"`     // messages that went back, by the last redrive of each node
	InFlight int      `json:"in_flight"` // that stayed, as consumers of the dead letter topic had them
	Errors   []string `json:"errors"`    // node: why it waits, or has ended
}

// Nodes is GET /api/view/nodes.
type Nodes struct {
	Head
	Nodes []Node `json:"nodes"`
}

// TopicRow is a topic on the page of a node.
type TopicRow struct {
	Row
	Role        string    `json:"role"` // as of TopicOnNode
	Tombstoned  bool      `json:"tombstoned"`
	ChannelRows []Channel `json:"channel_rows"`
}

// NodePage is GET /api/view/node.
type NodePage struct {
	Head
	Node      Node             `json:"node"`
	Topics    []TopicRow       `json:"topics"`
	Attention []attention.Item `json:"attention"`
}

// Inactive is a topic that lookups know and no node has.
type Inactive struct {
	Topic    string   `json:"topic"`
	Channels []string `json:"channels"`
}

// Lookups is GET /api/view/lookups.
type Lookups struct {
	Head
	Lookups  []Lookup   `json:"lookups"`
	Inactive []Inactive `json:"inactive"`
}

// Consumers is GET /api/view/consumers.
type Consumers struct {
	Head
	Clients []Client `json:"clients"`
	More    int      `json:"more"`    // that are not listed
	Pending bool     `json:"pending"` // the brokers are being asked for the first time: nothing is known yet
	seq     uint64   // of the state at which it was asked for
}
