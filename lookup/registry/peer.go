package registry

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"brokerd/protocol/lookupwire"
)

// Peer is one registration connection of a broker, made by Registry.Join.
type Peer struct {
	// Set at construction.
	remote string
	info   lookupwire.PeerInfo
	node   string // broadcast address and HTTP port, as canonicalNode writes them
	age    uint64 // counts up from peer to peer

	heard atomic.Int64 // stamp of the last Join or Ping; atomic because pings take no lock

	topics  map[*topic]struct{} // guarded by Registry.mu; nil when the peer has left
	records int                 // guarded by Registry.mu: of its topics and channels
}

// Info returns what the broker said of itself.
func (p *Peer) Info() lookupwire.PeerInfo { return p.info }

// RemoteAddress returns ip:port of the connection; it is the peer's id.
func (p *Peer) RemoteAddress() string { return p.remote }

// host is the address that the peer connected from, without its port.
func (p *Peer) host() string {
	if i := strings.LastIndexByte(p.remote, ':'); i >= 0 {
		return p.remote[:i]
	}
	return p.remote
}

// compare orders peers as all lists show them. Connections of one broker are neighbours, the oldest first.
func (p *Peer) compare(q *Peer) int {
	if c := p.compareBroker(q); c != 0 {
		return c
	}
	return cmp.Compare(p.age, q.age)
}

// compareBroker is 0 when both are connections of one broker.
func (p *Peer) compareBroker(q *Peer) int {
	if c := strings.Compare(p.info.BroadcastAddress, q.info.BroadcastAddress); c != 0 {
		return c
	}
	if c := cmp.Compare(p.info.TCPPort, q.info.TCPPort); c != 0 {
		return c
	}
	if c := cmp.Compare(p.info.HTTPPort, q.info.HTTPPort); c != 0 {
		return c
	}
	return strings.Compare(p.info.Hostname, q.info.Hostname)
}

// lastHeard keeps of each broker's connections the one last heard. The peers must be sorted; the slice is reused.
func lastHeard(peers []*Peer) []*Peer {
	kept := peers[:0]
	for _, p := range peers {
		last := len(kept) - 1
		switch {
		case last < 0 || kept[last].compareBroker(p) != 0:
			kept = append(kept, p)
		case p.heard.Load() >= kept[last].heard.Load():
			kept[last] = p
		}
	}
	return slices.Clip(kept)
}

// canonicalNode returns a broker's name, host:port, in one spelling: an IPv6 address has no brackets and its shortest
// form.
func canonicalNode(host, port string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return host + ":" + port
}

// parseNode returns the canonical spelling of host:port, the host with or without brackets.
func parseNode(node string) string {
	i := strings.LastIndexByte(node, ':')
	if i < 0 {
		return node
	}
	return canonicalNode(node[:i], node[i+1:])
}

func peerNode(info lookupwire.PeerInfo) string {
	return canonicalNode(info.BroadcastAddress, strconv.Itoa(info.HTTPPort))
}

// stamp is a time: nanoseconds since the registry's start, plus one. 0 is never. Clocks that are set do not move it.
type stamp int64

func (r *Registry) stamp(now time.Time) stamp { return stamp(now.Sub(r.start)) + 1 }

func (r *Registry) time(s stamp) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return r.start.Add(time.Duration(s - 1))
}
