package registry

import (
	"slices"
	"sync"
	"time"

	"brokerd/protocol/lookupwire"
)

// Config is set for the life of a Registry.
type Config struct {
	InactiveTimeout   time.Duration // a peer silent for longer is hidden
	TombstoneLifetime time.Duration // how long a tombstone hides; 0 or less: tombstones hide nothing
}

// Registry is what a lookup knows. It is safe for concurrent use. Times that are passed to it are expected not to go back;
// they are compared by their monotonic reading where they have one.
type Registry struct {
	// Set at construction.
	start    time.Time
	inactive stamp

	mu     sync.RWMutex
	age    uint64            // guarded by mu, as all below: peers that ever joined
	peers  []*Peer           // sorted
	topics map[string]*topic // by name
	graves graves
}

// New returns an empty Registry.
func New(cfg Config, now time.Time) *Registry {
	return &Registry{
		start:    now,
		inactive: stamp(cfg.InactiveTimeout),
		topics:   map[string]*topic{},
		graves:   graves{lifetime: stamp(cfg.TombstoneLifetime), at: map[grave]stamp{}},
	}
}

// Join adds a broker's connection, remote being its ip:port.
func (r *Registry) Join(remote string, info lookupwire.PeerInfo, now time.Time) *Peer {
	p := &Peer{remote: remote, info: info, node: peerNode(info), topics: map[*topic]struct{}{}}
	p.heard.Store(int64(r.stamp(now)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age++
	p.age = r.age
	i, _ := slices.BinarySearchFunc(r.peers, p, (*Peer).compare)
	r.peers = slices.Insert(r.peers, i, p)
	return p
}

// Ping notes a sign of life. It takes no lock.
func (r *Registry) Ping(p *Peer, now time.Time) { p.heard.Store(int64(r.stamp(now))) }

// Leave removes the peer and its records. Its tombstones wait for the broker to come back. What is done with a peer that
// has left does nothing.
func (r *Registry) Leave(p *Peer, now time.Time) {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := slices.BinarySearchFunc(r.peers, p, (*Peer).compare)
	if !found {
		return
	}
	r.peers = slices.Delete(r.peers, i, i+1)
	for t := range p.topics {
		t.removeFromChannels(p, &r.graves, at, true)
		rec := r.removeFromTopicLocked(t, p, at)
		r.graves.keep(grave{t.name, "", p.node}, rec.tombstone, at)
	}
	p.topics = nil
}

// Register notes that the peer has the topic and, unless it is empty, the channel.
func (r *Registry) Register(p *Peer, topicName, channelName string, now time.Time) {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.topics == nil {
		return
	}
	t := r.makeTopicLocked(topicName)
	hidden := r.addLocked(&t.key, grave{topicName, "", p.node}, p, 0, at)
	if channelName != "" {
		r.addLocked(t.makeChannel(channelName), grave{topicName, channelName, p.node}, p, hidden, at)
	}
	p.topics[t] = struct{}{}
}

// Unregister notes that the peer no longer has the channel or, when that is empty, the topic, and returns of how many
// channels of the topic the peer was taken off unasked.
func (r *Registry) Unregister(p *Peer, topicName, channelName string, now time.Time) (channels int) {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.topics == nil {
		return 0
	}
	t := r.topics[topicName]
	if _, has := p.topics[t]; has {
		if channelName == "" {
			channels = t.removeFromChannels(p, &r.graves, at, false)
			r.removeFromTopicLocked(t, p, at)
		} else if i, found := t.findChannel(channelName); found {
			if _, had := t.channels[i].remove(p, &r.graves, at); had && t.channels[i].spent() {
				t.channels = slices.Delete(t.channels, i, i+1)
			}
		}
	}
	r.graves.take(grave{topicName, channelName, p.node}, at)
	return channels
}

// CreateTopic makes the topic known without a broker.
func (r *Registry) CreateTopic(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.makeTopicLocked(name).kept = true
}

// CreateChannel makes the topic and its channel known without a broker.
func (r *Registry) CreateChannel(topicName, channelName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.makeTopicLocked(topicName)
	t.kept = true
	t.makeChannel(channelName).kept = true
}

// DeleteTopic forgets the topic, its channels and all records of them, and leaves tombstones for the brokers that had the
// topic. Nothing happens when it is unknown.
func (r *Registry) DeleteTopic(name string, now time.Time) {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[name]
	if t == nil {
		return
	}
	for _, rec := range t.records {
		delete(rec.peer.topics, t)
		r.graves.keep(grave{name, "", rec.peer.node}, at, at)
	}
	delete(r.topics, name)
}

// DeleteChannel forgets the channel and its records, leaves tombstones for the brokers that had it, and reports whether it
// was known.
func (r *Registry) DeleteChannel(topicName, channelName string, now time.Time) bool {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[topicName]
	if t == nil {
		return false
	}
	i, found := t.findChannel(channelName)
	if !found {
		return false
	}
	c := t.channels[i]
	for _, rec := range c.records {
		r.graves.keep(grave{topicName, channelName, rec.peer.node}, at, at)
	}
	t.channels = slices.Delete(t.channels, i, i+1)
	return t.visible(&r.graves, at) && c.visible(&r.graves, at)
}

// Tombstone hides a broker for a topic and returns how many connections that concerned. The node is the broker's broadcast
// address and HTTP port as host:port; an IPv6 address may have brackets or not.
func (r *Registry) Tombstone(topicName, node string, now time.Time) (hidden int) {
	at := r.stamp(now)
	node = parseNode(node)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[topicName]
	if t == nil {
		return 0
	}
	for i := range t.records {
		if rec := &t.records[i]; rec.peer.node == node {
			rec.tombstone = at
			hidden++
		}
	}
	return hidden
}

func (r *Registry) makeTopicLocked(name string) *topic {
	t := r.topics[name]
	if t == nil {
		t = &topic{key: key{name: name}}
		r.topics[name] = t
	}
	return t
}

// addLocked adds the peer's record, unless there is one, and returns the tombstone that hides it, 0 when none does. A record
// inherits the tombstone that waits for its broker, or the one it is under, whichever is later.
func (r *Registry) addLocked(k *key, g grave, p *Peer, under, now stamp) stamp {
	i, found := k.find(p)
	if !found {
		tombstone := max(r.graves.take(g, now), under)
		k.kept = k.kept || tombstone == 0
		k.records = slices.Insert(k.records, i, record{p, tombstone})
	}
	if tombstone := k.records[i].tombstone; r.graves.holds(tombstone, now) {
		return tombstone
	}
	return 0
}

// removeFromTopicLocked takes the peer off the topic, whose channels must be done already.
func (r *Registry) removeFromTopicLocked(t *topic, p *Peer, now stamp) record {
	rec, _ := t.remove(p, &r.graves, now)
	delete(p.topics, t)
	if t.spent() {
		delete(r.topics, t.name)
	}
	return rec
}
