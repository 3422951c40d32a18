package httpapi

import (
	"net"
	"strconv"

	"brokerd/protocol/release"
)

// Producer is a broker as a lookup knows it. All keys are always there.
type Producer struct {
	RemoteAddress    string `json:"remote_address"` // ip:port of its registration connection
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	TopologyZone     string `json:"topology_zone"`
	TopologyRegion   string `json:"topology_region"`
}

// Node is a Producer with its topics. Tombstones and Topics have equal length, and Tombstones[i] belongs to Topics[i].
type Node struct {
	Producer
	Tombstones []bool   `json:"tombstones"`
	Topics     []string `json:"topics"`
}

// Lookup is a lookup's answer to /lookup?topic=. Channels holds those without a live producer too. In a lookup's answers
// an empty list is [], never null: the caller fills it so.
type Lookup struct {
	Channels  []string   `json:"channels"`
	Producers []Producer `json:"producers"`
}

// Nodes is a lookup's answer to /nodes.
type Nodes struct {
	Producers []Node `json:"producers"`
}

// Topics is a lookup's answer to /topics.
type Topics struct {
	Topics []string `json:"topics"`
}

// Channels is a lookup's answer to /channels?topic=.
type Channels struct {
	Channels []string `json:"channels"`
}

// LookupInfo is a lookup's answer to /info.
type LookupInfo struct {
	Version string         `json:"version"`
	Release *release.Build `json:"release,omitempty"` // lookupd's own; nsqlookupd has none
}

// HTTPAddress returns where the broker's HTTP API is, an IPv6 address in brackets.
func (p *Producer) HTTPAddress() string {
	return net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.HTTPPort))
}

// TCPAddress returns where clients connect to the broker, an IPv6 address in brackets.
func (p *Producer) TCPAddress() string {
	return net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort))
}
