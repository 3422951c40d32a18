package registry

import (
	"slices"
	"strings"
	"time"
)

// Topics returns the names of all topics.
func (r *Registry) Topics(now time.Time) []string {
	at := r.stamp(now)
	names := r.copyTopics(at)
	slices.Sort(names)
	return names
}

func (r *Registry) copyTopics(now stamp) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.topics))
	for name, t := range r.topics {
		if t.visible(&r.graves, now) {
			names = append(names, name)
		}
	}
	return names
}

// Channels returns the names of the topic's channels, with and without a broker; none when the topic is unknown.
func (r *Registry) Channels(topicName string, now time.Time) []string {
	at := r.stamp(now)
	r.mu.RLock()
	defer r.mu.RUnlock()
	t := r.topics[topicName]
	if t == nil || !t.visible(&r.graves, at) {
		return []string{}
	}
	return r.channelsLocked(t, at)
}

// Lookup returns the topic's channels, as Channels does, and the peers that consumers are to connect to; ok is false when the
// topic is unknown.
func (r *Registry) Lookup(topicName string, now time.Time) (channels []string, peers []*Peer, ok bool) {
	at := r.stamp(now)
	r.mu.RLock()
	defer r.mu.RUnlock()
	t := r.topics[topicName]
	if t == nil || !t.visible(&r.graves, at) {
		return nil, nil, false
	}
	peers = make([]*Peer, 0, len(t.records))
	for _, rec := range t.records {
		if r.active(rec.peer, at) && !r.graves.holds(rec.tombstone, at) {
			peers = append(peers, rec.peer)
		}
	}
	return r.channelsLocked(t, at), lastHeard(peers), true
}

// Node is an active peer and what it has.
type Node struct {
	Peer   *Peer
	Topics []NodeTopic // sorted by name
}

// NodeTopic is one topic of a Node.
type NodeTopic struct {
	Name       string
	Tombstoned bool // hidden from the topic's Lookup at the moment
}

// Nodes returns all active peers with their topics.
func (r *Registry) Nodes(now time.Time) []Node {
	at := r.stamp(now)
	nodes := r.copyNodes(at)
	for _, n := range nodes {
		slices.SortFunc(n.Topics, func(a, b NodeTopic) int { return strings.Compare(a.Name, b.Name) })
	}
	return nodes
}

func (r *Registry) copyNodes(now stamp) []Node {
	r.mu.RLock()
	defer r.mu.RUnlock()
	active := make([]*Peer, 0, len(r.peers))
	for _, p := range r.peers {
		if r.active(p, now) {
			active = append(active, p)
		}
	}
	active = lastHeard(active)
	nodes := make([]Node, 0, len(active))
	for _, p := range active {
		n := Node{Peer: p, Topics: make([]NodeTopic, 0, len(p.topics))}
		for t := range p.topics {
			if i, found := t.find(p); found && t.visible(&r.graves, now) {
				n.Topics = append(n.Topics, NodeTopic{t.name, r.graves.holds(t.records[i].tombstone, now)})
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// Record is one registration as it is kept, hidden or not.
type Record struct {
	Category     string // "client", "topic" or "channel"
	Topic        string // empty for a client
	Channel      string // empty for a client and a topic
	Peer         *Peer
	LastUpdate   time.Time // of the peer
	Tombstoned   bool      // a tombstone was set, lapsed or not
	TombstonedAt time.Time // the zero time when not
}

// Records returns everything that is kept of peers, inactive and tombstoned ones included, in no order but that the peers of
// one key are sorted. It is for people who look for a fault.
func (r *Registry) Records() []Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Record
	for _, p := range r.peers {
		all = append(all, r.record("client", "", "", record{peer: p}))
	}
	for _, t := range r.topics {
		for _, rec := range t.records {
			all = append(all, r.record("topic", t.name, "", rec))
		}
		for _, c := range t.channels {
			for _, rec := range c.records {
				all = append(all, r.record("channel", t.name, c.name, rec))
			}
		}
	}
	return all
}

func (r *Registry) record(category, topicName, channelName string, rec record) Record {
	return Record{
		Category: category, Topic: topicName, Channel: channelName, Peer: rec.peer,
		LastUpdate: r.time(stamp(rec.peer.heard.Load())),
		Tombstoned: rec.tombstone != 0, TombstonedAt: r.time(rec.tombstone),
	}
}

func (r *Registry) channelsLocked(t *topic, now stamp) []string {
	names := make([]string, 0, len(t.channels))
	for _, c := range t.channels {
		if c.visible(&r.graves, now) {
			names = append(names, c.name)
		}
	}
	return names
}

func (r *Registry) active(p *Peer, now stamp) bool { return now-stamp(p.heard.Load()) <= r.inactive }
