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

	// ForgetAfter is how long a topic is known that no broker has any more, unless it was made over HTTP. 0 is for good.
	ForgetAfter time.Duration
	Limits      Limits
}

// Registry is what a lookup knows. It is safe for concurrent use. Times that are passed to it are expected not to go back;
// they are compared by their monotonic reading where they have one.
type Registry struct {
	// Set at construction.
	start    time.Time
	inactive stamp

	forget stamp
	limits Limits

	mu      sync.RWMutex
	age     uint64            // guarded by mu, as all below: peers that ever joined
	records int               // of all peers
	hosts   map[string]int    // peers by the address that they connected from
	orphans []orphan          // in the order in which they came to be
	peers   []*Peer           // sorted
	topics  map[string]*topic // by name
	keys    int               // channels of all topics, added up
	graves  graves
}

// New returns an empty Registry.
func New(cfg Config, now time.Time) *Registry {
	return &Registry{
		start:    now,
		inactive: stamp(cfg.InactiveTimeout),
		topics:   map[string]*topic{}, forget: stamp(cfg.ForgetAfter), limits: cfg.Limits, hosts: map[string]int{},
		graves: graves{lifetime: stamp(cfg.TombstoneLifetime), at: map[grave]stamp{}},
	}
}

// Join adds a broker's connection, remote being its ip:port. The error is ErrTooManyPeers or ErrTooManyOfHost.
func (r *Registry) Join(remote string, info lookupwire.PeerInfo, now time.Time) (*Peer, error) {
	p := &Peer{remote: remote, info: info, node: peerNode(info), topics: map[*topic]struct{}{}}
	p.heard.Store(int64(r.stamp(now)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admitLocked(p.host()); err != nil {
		return nil, err
	}
	r.age++
	p.age = r.age
	i, _ := slices.BinarySearchFunc(r.peers, p, (*Peer).compare)
	r.peers = slices.Insert(r.peers, i, p)
	return p, nil
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
	r.leftLocked(p.host())
	for t := range p.topics {
		r.removeFromChannelsLocked(t, p, at, true)
		rec := r.removeFromTopicLocked(t, p, at)
		r.graves.keep(grave{t.name, "", p.node}, rec.tombstone, at)
	}
	p.topics = nil
	r.forgetLocked(at)
}

// Register notes that the peer has the topic and, unless it is empty, the channel. When it has no room for them it notes nothing; the
// error then is ErrTooManyOfPeer or ErrFull.
func (r *Registry) Register(p *Peer, topicName, channelName string, now time.Time) error {
	at := r.stamp(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.topics == nil {
		return nil
	}
	if err := r.roomLocked(p, topicName, channelName, at); err != nil {
		return err
	}
	t := r.makeTopicLocked(topicName)
	hidden := r.addLocked(&t.key, grave{topicName, "", p.node}, p, 0, at)
	if channelName != "" {
		r.addLocked(r.makeChannelLocked(t, channelName), grave{topicName, channelName, p.node}, p, hidden, at)
	}
	p.topics[t] = struct{}{}
	return nil
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
			channels = r.removeFromChannelsLocked(t, p, at, false)
			r.removeFromTopicLocked(t, p, at)
		} else if i, found := t.findChannel(channelName); found {
			if _, had := t.channels[i].remove(p, &r.graves, at); had {
				r.recordGone(p)
				if t.channels[i].spent() {
					r.dropChannelLocked(t, i)
				}
			}
		}
	}
	r.graves.take(grave{topicName, channelName, p.node}, at)
	return channels
}

// CreateTopic makes the topic known without a broker. The error is ErrFull.
func (r *Registry) CreateTopic(name string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.roomLocked(nil, name, "", r.stamp(now)); err != nil {
		return err
	}
	t := r.makeTopicLocked(name)
	t.kept, t.asked = true, true
	return nil
}

// CreateChannel makes the topic and its channel known without a broker. The error is ErrFull.
func (r *Registry) CreateChannel(topicName, channelName string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.roomLocked(nil, topicName, channelName, r.stamp(now)); err != nil {
		return err
	}
	t := r.makeTopicLocked(topicName)
	t.kept, t.asked = true, true
	r.makeChannelLocked(t, channelName).kept = true
	return nil
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
	for _, c := range t.channels {
		r.dropLocked(c.records)
	}
	r.dropLocked(t.records)
	for _, rec := range t.records {
		delete(rec.peer.topics, t)
		r.graves.keep(grave{name, "", rec.peer.node}, at, at)
	}
	r.dropTopicLocked(t)
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
	r.dropLocked(c.records)
	for _, rec := range c.records {
		r.graves.keep(grave{topicName, channelName, rec.peer.node}, at, at)
	}
	r.dropChannelLocked(t, i)
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

// makeChannelLocked returns the channel's key, made when there is none.
func (r *Registry) makeChannelLocked(t *topic, name string) *key {
	i, found := t.findChannel(name)
	if !found {
		t.channels = slices.Insert(t.channels, i, &key{name: name})
		r.keys++
	}
	return t.channels[i]
}

func (r *Registry) dropChannelLocked(t *topic, i int) {
	t.channels = slices.Delete(t.channels, i, i+1)
	r.keys--
}

func (r *Registry) dropTopicLocked(t *topic) {
	r.keys -= len(t.channels)
	delete(r.topics, t.name)
}

// removeFromChannelsLocked takes the peer off the topic's channels, and returns of how many.
func (r *Registry) removeFromChannelsLocked(t *topic, p *Peer, now stamp, carry bool) (removed int) {
	before := len(t.channels)
	removed = t.removeFromChannels(p, &r.graves, now, carry)
	r.keys -= before - len(t.channels)
	r.recordsGone(p, removed)
	return removed
}

// addLocked adds the peer's record, unless there is one, and returns the tombstone that hides it, 0 when none does. A record
// inherits the tombstone that waits for its broker, or the one it is under, whichever is later.
func (r *Registry) addLocked(k *key, g grave, p *Peer, under, now stamp) stamp {
	i, found := k.find(p)
	if !found {
		tombstone := max(r.graves.take(g, now), under)
		k.kept = k.kept || tombstone == 0
		k.records = slices.Insert(k.records, i, record{p, tombstone})
		p.records++
		r.records++
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
	r.recordGone(p)
	switch {
	case t.spent():
		r.dropTopicLocked(t)
	case len(t.records) == 0 && !t.asked:
		r.orphanLocked(t, now)
	}
	return rec
}
