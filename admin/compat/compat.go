package compat

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// Topic is a topic on one node, or added up over all (Node is "*").
type Topic struct {
	Node             string     `json:"node"`
	Hostname         string     `json:"hostname"`
	TopicName        string     `json:"topic_name"`
	Depth            int64      `json:"depth"`
	MemoryDepth      int64      `json:"memory_depth"`
	BackendDepth     int64      `json:"backend_depth"`
	MessageCount     uint64     `json:"message_count"`
	DeliveryMsgCount uint64     `json:"delivery_msg_count,omitempty"`
	ZoneLocalCount   uint64     `json:"zone_local_msg_count,omitempty"`
	RegionLocalCount uint64     `json:"region_local_msg_count,omitempty"`
	GlobalCount      uint64     `json:"global_msg_count,omitempty"`
	Nodes            []*Topic   `json:"nodes"` // sorted by host name; null within a node's entry
	Channels         []*Channel `json:"channels"`
	Paused           bool       `json:"paused"`
	Latency          Latency    `json:"e2e_processing_latency"`
}

// Channel is a channel on one node, or added up over all (Node is "*").
type Channel struct {
	Node             string     `json:"node"`
	Hostname         string     `json:"hostname"`
	TopicName        string     `json:"topic_name"`
	ChannelName      string     `json:"channel_name"`
	Depth            int64      `json:"depth"`
	MemoryDepth      int64      `json:"memory_depth"`
	BackendDepth     int64      `json:"backend_depth"`
	InFlightCount    int        `json:"in_flight_count"`
	DeferredCount    int        `json:"deferred_count"`
	RequeueCount     uint64     `json:"requeue_count"`
	TimeoutCount     uint64     `json:"timeout_count"`
	MessageCount     uint64     `json:"message_count"`
	DeliveryMsgCount uint64     `json:"delivery_msg_count,omitempty"`
	ZoneLocalCount   uint64     `json:"zone_local_msg_count,omitempty"`
	RegionLocalCount uint64     `json:"region_local_msg_count,omitempty"`
	GlobalCount      uint64     `json:"global_msg_count,omitempty"`
	ClientCount      int        `json:"client_count"`
	Nodes            []*Channel `json:"nodes"`   // null within a node's entry
	Clients          []*Client  `json:"clients"` // null when they were not asked for
	Paused           bool       `json:"paused"`
	Latency          Latency    `json:"e2e_processing_latency"`
}

// Client is one consumer of a channel.
type Client struct {
	Node               string        `json:"node"`
	RemoteAddress      string        `json:"remote_address"`
	Version            string        `json:"version"`
	ClientID           string        `json:"client_id"`
	Hostname           string        `json:"hostname"`
	UserAgent          string        `json:"user_agent"`
	ConnectTime        int64         `json:"connect_ts"` // s
	Connected          time.Duration `json:"connected"`  // for how long, by our clock
	InFlightCount      int64         `json:"in_flight_count"`
	ReadyCount         int64         `json:"ready_count"`
	FinishCount        uint64        `json:"finish_count"`
	RequeueCount       uint64        `json:"requeue_count"`
	MessageCount       uint64        `json:"message_count"`
	SampleRate         int32         `json:"sample_rate"`
	Deflate            bool          `json:"deflate"`
	Snappy             bool          `json:"snappy"`
	Authed             bool          `json:"authed"`
	AuthIdentity       string        `json:"auth_identity"`
	AuthIdentityURL    string        `json:"auth_identity_url"`
	NodeTopologyRegion string        `json:"node_topology_region,omitempty"`
	NodeTopologyZone   string        `json:"node_topology_zone,omitempty"`
	TopologyRegion     string        `json:"topology_region,omitempty"`
	TopologyZone       string        `json:"topology_zone,omitempty"`
	TLS                bool          `json:"tls"`
	CipherSuite        string        `json:"tls_cipher_suite"`
	TLSVersion         string        `json:"tls_version"`
	TLSProtocol        string        `json:"tls_negotiated_protocol"`
	TLSProtocolMutual  bool          `json:"tls_negotiated_protocol_is_mutual"`
}

// Latency is end-to-end latency on one node, or over all (Host is "*").
type Latency struct {
	Count       int          `json:"count"`
	Percentiles []Percentile `json:"percentiles"` // null when none are configured
	Topic       string       `json:"topic"`
	Channel     string       `json:"channel"`
	Host        string       `json:"host"`
}

// Percentile is one quantile of a Latency, nanoseconds. Value is told of one node only.
type Percentile struct {
	Average  float64  `json:"average"` // of the nodes, weighted by their counts
	Count    float64  `json:"count"`
	Max      float64  `json:"max"`
	Min      float64  `json:"min"`
	Quantile float64  `json:"quantile"`
	Value    *float64 `json:"value,omitempty"`
}

// Source says what one broker's statistics are from.
type Source struct {
	Node     string // host:port
	Hostname string
	Zone     string
	Region   string
	Now      time.Time
}

// OnNode makes the entry of a topic on one node. Clients are included when the broker told of them.
func OnNode(s Source, t *httpapi.Topic) *Topic {
	out := &Topic{
		Node: s.Node, Hostname: s.Hostname, TopicName: t.TopicName, Depth: t.Depth, MemoryDepth: t.Depth - t.BackendDepth,
		BackendDepth: t.BackendDepth, MessageCount: t.MessageCount, Channels: []*Channel{}, Paused: t.Paused,
		Latency: latencyOf(t.E2EProcessingLatency),
	}
	for i := range t.Channels {
		c := channelOnNode(s, t.TopicName, &t.Channels[i])
		out.Channels = append(out.Channels, c)
		out.addLocality(c)
	}
	return out
}

func (t *Topic) addLocality(c *Channel) {
	t.DeliveryMsgCount += c.DeliveryMsgCount
	t.ZoneLocalCount += c.ZoneLocalCount
	t.RegionLocalCount += c.RegionLocalCount
	t.GlobalCount += c.GlobalCount
}

func channelOnNode(s Source, topic string, c *httpapi.Channel) *Channel {
	out := &Channel{
		Node: s.Node, Hostname: s.Hostname, TopicName: topic, ChannelName: c.ChannelName, Depth: c.Depth,
		MemoryDepth: c.Depth - c.BackendDepth, BackendDepth: c.BackendDepth, InFlightCount: c.InFlightCount,
		DeferredCount: c.DeferredCount, RequeueCount: c.RequeueCount, TimeoutCount: c.TimeoutCount, MessageCount: c.MessageCount,
		DeliveryMsgCount: c.ZoneLocalMsgCount + c.RegionLocalMsgCount + c.GlobalMsgCount, ZoneLocalCount: c.ZoneLocalMsgCount,
		RegionLocalCount: c.RegionLocalMsgCount, GlobalCount: c.GlobalMsgCount, ClientCount: c.ClientCount, Paused: c.Paused,
		Latency: latencyOf(c.E2EProcessingLatency),
	}
	if c.Clients != nil {
		out.Clients = []*Client{} // none, but asked for
	}
	for i := range c.Clients {
		out.Clients = append(out.Clients, clientOf(s, &c.Clients[i]))
	}
	return out
}

func clientOf(s Source, c *httpapi.Client) *Client {
	return &Client{
		Node: s.Node, RemoteAddress: c.RemoteAddress, Version: c.Version, ClientID: c.ClientID, Hostname: c.Hostname,
		UserAgent: c.UserAgent, ConnectTime: c.ConnectTime, Connected: s.Now.Truncate(time.Second).Sub(time.Unix(c.ConnectTime, 0)),
		InFlightCount: c.InFlightCount, ReadyCount: c.ReadyCount, FinishCount: c.FinishCount, RequeueCount: c.RequeueCount,
		MessageCount: c.MessageCount, SampleRate: c.SampleRate, Deflate: c.Deflate, Snappy: c.Snappy, Authed: c.Authed,
		AuthIdentity: c.AuthIdentity, AuthIdentityURL: c.AuthIdentityURL, NodeTopologyRegion: s.Region, NodeTopologyZone: s.Zone,
		TopologyRegion: c.TopologyRegion, TopologyZone: c.TopologyZone, TLS: c.TLS, CipherSuite: c.CipherSuite,
		TLSVersion: c.TLSVersion, TLSProtocol: c.TLSNegotiatedProtocol, TLSProtocolMutual: c.TLSNegotiatedProtocolIsMutual,
	}
}

func latencyOf(l httpapi.Latency) Latency {
	out := Latency{Count: l.Count}
	for _, p := range l.Percentiles {
		value := p.Value
		out.Percentiles = append(out.Percentiles, Percentile{Average: value, Count: float64(l.Count), Max: value, Min: value,
			Quantile: p.Quantile, Value: &value})
	}
	return out
}

// SumTopics adds the entries of one topic on all its nodes up.
func SumTopics(name string, nodes []*Topic) *Topic {
	slices.SortStableFunc(nodes, func(a, b *Topic) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.Node, b.Node))
	})
	out := &Topic{Node: "*", TopicName: name, Nodes: nodes, Channels: []*Channel{}, Latency: Latency{Topic: name, Host: "*"}}
	byName := map[string][]*Channel{}
	for _, n := range nodes {
		out.Depth += n.Depth
		out.MemoryDepth += n.MemoryDepth
		out.BackendDepth += n.BackendDepth
		out.MessageCount += n.MessageCount
		out.Paused = out.Paused || n.Paused
		out.Latency.add(n.Latency)
		for _, c := range n.Channels {
			byName[c.ChannelName] = append(byName[c.ChannelName], c)
			out.addLocality(c)
		}
	}
	for channel, entries := range byName {
		out.Channels = append(out.Channels, SumChannels(name, channel, entries))
	}
	slices.SortFunc(out.Channels, func(a, b *Channel) int { return strings.Compare(a.ChannelName, b.ChannelName) })
	return out
}

// SumChannels adds the entries of one channel on all its nodes up.
func SumChannels(topic, name string, nodes []*Channel) *Channel {
	slices.SortStableFunc(nodes, func(a, b *Channel) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.Node, b.Node))
	})
	out := &Channel{Node: "*", TopicName: topic, ChannelName: name, Nodes: nodes, Latency: Latency{Topic: topic, Channel: name, Host: "*"}}
	for _, n := range nodes {
		out.Depth += n.Depth
		out.MemoryDepth += n.MemoryDepth
		out.BackendDepth += n.BackendDepth
		out.InFlightCount += n.InFlightCount
		out.DeferredCount += n.DeferredCount
		out.RequeueCount += n.RequeueCount
		out.TimeoutCount += n.TimeoutCount
		out.MessageCount += n.MessageCount
		out.DeliveryMsgCount += n.DeliveryMsgCount
		out.ZoneLocalCount += n.ZoneLocalCount
		out.RegionLocalCount += n.RegionLocalCount
		out.GlobalCount += n.GlobalCount
		out.ClientCount += n.ClientCount
		if n.Clients != nil {
			out.Clients = slices.Concat([]*Client{}, out.Clients, n.Clients)
		}
		out.Paused = out.Paused || n.Paused
		out.Latency.add(n.Latency)
	}
	slices.SortStableFunc(out.Clients, byNodeAndNearness)
	return out
}

// byNodeAndNearness sorts clients by node, then those near to it first, then by region and zone.
func byNodeAndNearness(a, b *Client) int {
	return cmp.Or(strings.Compare(a.Node, b.Node), a.distance()-b.distance(), strings.Compare(a.TopologyRegion, b.TopologyRegion),
		strings.Compare(a.TopologyZone, b.TopologyZone), strings.Compare(a.Hostname, b.Hostname))
}

func (c *Client) distance() int {
	switch {
	case c.TopologyRegion != c.NodeTopologyRegion:
		return 2
	case c.TopologyZone != c.NodeTopologyZone:
		return 1
	}
	return 0
}

// add adds another node's latencies: percentiles by their quantiles, highest first, averages weighted by counts.
func (l *Latency) add(other Latency) {
	for _, p := range other.Percentiles {
		i := slices.IndexFunc(l.Percentiles, func(q Percentile) bool { return q.Quantile == p.Quantile })
		if i < 0 {
			l.Percentiles = append(l.Percentiles, Percentile{Average: p.Average, Count: p.Count, Max: p.Max, Min: p.Min, Quantile: p.Quantile})
			continue
		}
		q := &l.Percentiles[i]
		if p.Count == 0 { // it finished nothing: its 0 is no latency
			continue
		}
		if q.Count == 0 {
			q.Min = p.Min
		}
		q.Average += (p.Average - q.Average) * p.Count / (q.Count + p.Count)
		q.Count += p.Count
		q.Min, q.Max = min(q.Min, p.Min), max(q.Max, p.Max)
	}
	l.Count += other.Count
	slices.SortFunc(l.Percentiles, func(a, b Percentile) int { return cmp.Compare(b.Quantile, a.Quantile) })
}

// Node is one broker in /api/nodes.
type Node struct {
	RemoteAddresses  []string    `json:"remote_addresses"` // lookup address/address of the registration; null without lookups
	RemoteAddress    string      `json:"remote_address"`
	Hostname         string      `json:"hostname"`
	BroadcastAddress string      `json:"broadcast_address"`
	TCPPort          int         `json:"tcp_port"`
	HTTPPort         int         `json:"http_port"`
	Version          string      `json:"version"`
	TopologyZone     string      `json:"topology_zone,omitempty"`
	TopologyRegion   string      `json:"topology_region,omitempty"`
	Topics           []NodeTopic `json:"topics"`
	OutOfDate        bool        `json:"out_of_date"`
}

// NodeTopic is a topic of a Node.
type NodeTopic struct {
	Topic      string `json:"topic"`
	Tombstoned bool   `json:"tombstoned"`
}

// Compare sorts by name.
func (t NodeTopic) Compare(other NodeTopic) int { return strings.Compare(t.Topic, other.Topic) }

// Counter is one entry of /api/counter.
type Counter struct {
	Node         string `json:"node"`
	TopicName    string `json:"topic_name"`
	ChannelName  string `json:"channel_name"`
	MessageCount uint64 `json:"message_count"`
}

// Message joins the warnings of the stages that an answer was made in.
func Message(stages ...[]error) string {
	var texts []string
	for _, stage := range stages {
		var lines []string
		for _, err := range stage {
			lines = append(lines, err.Error())
		}
		if len(lines) > 0 {
			texts = append(texts, strings.Join(lines, "\n"))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "WARNING: " + strings.Join(texts, "; ")
}
