package httpapi

import "brokerd/protocol/release"

// Stats is a broker's answer to /stats?format=json. Topics and Producers tell "none" from "not asked": a filter that names
// no topic gives null, a broker without topics gives [].
type Stats struct {
	Version   string   `json:"version"`
	Health    string   `json:"health"`     // "OK" or "NOK - <error>"
	StartTime int64    `json:"start_time"` // seconds since the Unix epoch
	Topics    []Topic  `json:"topics"`
	Memory    *Memory  `json:"memory,omitempty"`
	Producers []Client `json:"producers"` // connections that published; null when none did

	// What follows is not in nsqd's answer: it stands last. Drain is there only while the broker drains or has drained, SetAside only when there
	// is something.
	Drain    *Drain `json:"drain,omitempty"`
	SetAside int    `json:"set_aside,omitempty"` // files of the data folder that are damaged, or that nobody knows
}

// Drain is how far a broker is that is being emptied.
type Drain struct {
	State    string `json:"state"`     // "draining" or "drained"; empty when it does neither
	Since    int64  `json:"since"`     // seconds since the Unix epoch
	Deadline int64  `json:"deadline"`  // the same; 0 for none
	Empty    bool   `json:"empty"`     // what waits is delivered first
	Stay     bool   `json:"stay"`      // the broker goes on running afterwards
	InFlight int    `json:"in_flight"` // messages that consumers have
	Left     int64  `json:"left"`      // messages that are not finished, those included
	Text     string `json:"text"`      // what is left, and why, when a deadline has passed
}

// Topic is one topic of Stats with the channels that were asked for.
type Topic struct {
	TopicName    string    `json:"topic_name"`
	Channels     []Channel `json:"channels"`
	Depth        int64     `json:"depth"`         // messages that no channel took yet, in memory and on disk
	BackendDepth int64     `json:"backend_depth"` // the part of Depth that is on disk
	MessageCount uint64    `json:"message_count"`
	MessageBytes uint64    `json:"message_bytes"` // bodies only
	Paused       bool      `json:"paused"`

	E2EProcessingLatency Latency `json:"e2e_processing_latency"`

	// What follows is not in nsqd's answer. DeferredByDue is those of Depth that are deferred, absent when there are none.
	DeferredByDue *Ahead `json:"deferred_by_due,omitempty"`
	// Discarded is messages that left the topic itself, where they waited for channels, without having come to one, by reason.
	Discarded    map[string]uint64 `json:"discarded,omitempty"`
	RefusedCount uint64            `json:"refused_count,omitempty"` // messages that were refused because of max_depth or max_bytes, since the start
	Durability   string            `json:"durability,omitempty"`    // memory, disk or fsync: where a message is when its publish is answered
	DeadLetters  bool              `json:"dead_letters,omitempty"`  // dead letters of channels have come to it

	Duplicates     uint64 `json:"duplicates,omitempty"`      // messages that were not stored, as their deduplication keys had been accepted before, since the start
	DedupKeys      int64  `json:"dedup_keys,omitempty"`      // deduplication keys that the topic remembers
	DedupForgotten uint64 `json:"dedup_forgotten,omitempty"` // of those, since the start: forgotten before their time, as there were too many
	Kept           *Kept  `json:"kept,omitempty"`            // what the topic keeps as retain_time and retain_bytes say; absent when it keeps nothing
	Role           string `json:"role,omitempty"`            // of a replicated topic: leader, or follower, which has no figures: those are the leader's
	AcksLost       uint64 `json:"acks_lost,omitempty"`       // messages that were answered at once, as acks 0 asks for, and that the disk then refused, since the start
}

// Kept is what a topic keeps, whether channels still need it or not, as of the last look, half a minute ago at most.
type Kept struct {
	FromPosition uint64 `json:"from_position"`           // the first position that is kept
	Bytes        int64  `json:"bytes"`                   // of message frames
	OldestTime   string `json:"oldest_time,omitempty"`   // when the first of them came; absent when there are none
	DroppedEarly uint64 `json:"dropped_early,omitempty"` // messages that went before their time, as the disk was nearly full, since the start
}

// Channel is one channel of a Topic. Clients is null when clients were not asked for; ClientCount is right all the same.
type Channel struct {
	ChannelName   string `json:"channel_name"`
	Depth         int64  `json:"depth"` // neither in flight nor deferred
	BackendDepth  int64  `json:"backend_depth"`
	InFlightCount int    `json:"in_flight_count"`
	DeferredCount int    `json:"deferred_count"`
	MessageCount  uint64 `json:"message_count"`

	ZoneLocalMsgCount   uint64 `json:"zone_local_msg_count,omitempty"`
	RegionLocalMsgCount uint64 `json:"region_local_msg_count,omitempty"`
	GlobalMsgCount      uint64 `json:"global_msg_count,omitempty"`

	RequeueCount uint64   `json:"requeue_count"` // by REQ; what a disconnect gave back is counted apart
	TimeoutCount uint64   `json:"timeout_count"`
	ClientCount  int      `json:"client_count"`
	Clients      []Client `json:"clients"`
	Paused       bool     `json:"paused"`

	E2EProcessingLatency Latency `json:"e2e_processing_latency"`

	// DisconnectRequeueCount is not in nsqd's answer: messages that came back because their consumer went away. It stands
	// last and only when there are any, so that the keys before it keep nsqd's order.
	DisconnectRequeueCount uint64 `json:"disconnect_requeue_count,omitempty"`

	// Accounting is not in nsqd's answer either.
	Accounting *Accounting `json:"accounting,omitempty"`

	// DeferredByDue neither: it is DeferredCount by when that is due, absent when there are none.
	DeferredByDue *Ahead `json:"deferred_by_due,omitempty"`

	// WaitingForTarget is those of DeferredCount that are to be dead letters, and whose topic does not take them now. Redrive is of dead
	// letters that go back to the channel, or the last that did.
	WaitingForTarget int      `json:"waiting_for_target,omitempty"`
	Replaying        int      `json:"replaying,omitempty"`         // messages that wait and are not behind the end of the last rewind
	TargetRefuses    string   `json:"target_refuses,omitempty"`    // why it does not take them
	DeadLetterTopic  string   `json:"dead_letter_topic,omitempty"` // of a channel that has a limit of deliveries
	Redrive          *Redrive `json:"redrive,omitempty"`

	// Aside is those of Depth that wait for the turn of their key, on a topic that is ordered. Blocked is the keys of which one message has
	// been out for over ten seconds while others wait for their turn, BlockedKeys those of them that have stood for longest, ten at most.
	Aside       int          `json:"aside,omitempty"`
	Blocked     int          `json:"blocked,omitempty"`
	BlockedKeys []BlockedKey `json:"blocked_keys,omitempty"`
}

// BlockedKey is a key that stands still.
type BlockedKey struct {
	Key      string `json:"key"`          // CRC-32C of the key, 8 hex digits
	Position uint64 `json:"position"`     // of the message that is out
	ID       string `json:"id,omitempty"` // absent: it is on disk
	Since    string `json:"since"`        // it has its turn: RFC 3339, UTC
	Behind   int    `json:"behind"`       // messages that wait for theirs
}

// Accounting is what became of every message that a channel has accepted since it was made; at level memory since the start, with what
// the start found. Accepted and Replayed are the sum of all other figures, unless something is wrong: then Balanced is false.
type Accounting struct {
	Accepted  uint64            `json:"accepted"`
	Replayed  uint64            `json:"replayed,omitempty"` // that came once more, or were there before the channel: by rewinds
	Finished  uint64            `json:"finished"`
	Discarded map[string]uint64 `json:"discarded,omitempty"` // by reason
	Waiting   uint64            `json:"waiting"`
	InFlight  uint64            `json:"in_flight"`
	Deferred  uint64            `json:"deferred"`
	Balanced  bool              `json:"balanced"`
}

// Client is one connection, as a consumer in a Channel or as a producer in Stats.
type Client struct {
	ClientID      string `json:"client_id"`
	Hostname      string `json:"hostname"`
	Version       string `json:"version"`        // of the wire: "V2"
	RemoteAddress string `json:"remote_address"` // "@" for an unnamed peer on a unix socket
	State         int32  `json:"state"`          // 0 init, 1 disconnected, 2 connected, 3 subscribed, 4 closing
	ReadyCount    int64  `json:"ready_count"`
	InFlightCount int64  `json:"in_flight_count"`
	MessageCount  uint64 `json:"message_count"`

	ZoneLocalMsgCount   uint64 `json:"zone_local_msg_count,omitempty"`
	RegionLocalMsgCount uint64 `json:"region_local_msg_count,omitempty"`
	GlobalMsgCount      uint64 `json:"global_msg_count,omitempty"`

	FinishCount     uint64 `json:"finish_count"`
	RequeueCount    uint64 `json:"requeue_count"`
	ConnectTime     int64  `json:"connect_ts"`  // seconds since the Unix epoch
	SampleRate      int32  `json:"sample_rate"` // percent; 0 is everything
	Deflate         bool   `json:"deflate"`
	Snappy          bool   `json:"snappy"`
	UserAgent       string `json:"user_agent"`
	Authed          bool   `json:"authed,omitempty"`
	AuthIdentity    string `json:"auth_identity,omitempty"`
	AuthIdentityURL string `json:"auth_identity_url,omitempty"`
	TopologyZone    string `json:"topology_zone"`
	TopologyRegion  string `json:"topology_region"`
	Via             string `json:"via,omitempty"` // address in its cluster of the broker that the client is connected to, when that is another one

	PubCounts []PubCount `json:"pub_counts,omitempty"`

	TLS                           bool   `json:"tls"`
	CipherSuite                   string `json:"tls_cipher_suite"`
	TLSVersion                    string `json:"tls_version"`
	TLSNegotiatedProtocol         string `json:"tls_negotiated_protocol"`
	TLSNegotiatedProtocolIsMutual bool   `json:"tls_negotiated_protocol_is_mutual"`
}

// PubCount is how many messages a connection published to a topic.
type PubCount struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// Latency is the time from a message's acceptance to its FIN. It is an object in every answer, never null: nsqadmin fails
// on null. Percentiles is null when none are configured.
type Latency struct {
	Count       int          `json:"count"`
	Percentiles []Percentile `json:"percentiles"`
}

// Percentile is one quantile of a Latency.
type Percentile struct {
	Quantile float64 `json:"quantile"` // in (0,1]
	Value    float64 `json:"value"`    // nanoseconds
}

// Memory is the state of a broker's heap.
type Memory struct {
	HeapObjects       uint64 `json:"heap_objects"`
	HeapIdleBytes     uint64 `json:"heap_idle_bytes"`
	HeapInUseBytes    uint64 `json:"heap_in_use_bytes"`
	HeapReleasedBytes uint64 `json:"heap_released_bytes"`
	GCPauseUsec100    uint64 `json:"gc_pause_usec_100"` // longest pause, microseconds
	GCPauseUsec99     uint64 `json:"gc_pause_usec_99"`
	GCPauseUsec95     uint64 `json:"gc_pause_usec_95"`
	NextGCBytes       uint64 `json:"next_gc_bytes"`
	GCTotalRuns       uint32 `json:"gc_total_runs"`
}

// Info is a broker's answer to /info. Ports are those that are bound: -1 for a unix socket, 0 for HTTP that is off.
// Durations are nanoseconds.
type Info struct {
	Version                string `json:"version"`
	BroadcastAddress       string `json:"broadcast_address"`
	Hostname               string `json:"hostname"`
	HTTPPort               int    `json:"http_port"`
	TCPPort                int    `json:"tcp_port"`
	StartTime              int64  `json:"start_time"` // seconds since the Unix epoch
	MaxHeartbeatInterval   int64  `json:"max_heartbeat_interval"`
	MaxOutputBufferSize    int64  `json:"max_output_buffer_size"`
	MaxOutputBufferTimeout int64  `json:"max_output_buffer_timeout"`
	MaxDeflateLevel        int    `json:"max_deflate_level"`
	TopologyZone           string `json:"topology_zone"`
	TopologyRegion         string `json:"topology_region"`

	Release *release.Build `json:"release,omitempty"` // brokerd's own; nsqd has none
}

// Storage is brokerd's answer to /storage: the disk that its queues are on. nsqd has no such answer.
type Storage struct {
	DataPath     string `json:"data_path"`
	Durability   string `json:"durability"` // of topics that nothing else is said of: memory, disk or fsync
	TotalBytes   uint64 `json:"total_bytes"`
	FreeBytes    uint64 `json:"free_bytes"`     // that brokerd may use
	MinFreeBytes uint64 `json:"min_free_bytes"` // below which publishes are refused; 0 for never
}
