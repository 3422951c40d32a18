package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/protocol/lookupwire"

	"pgregory.net/rapid"
)

const (
	testInactive = 10 * time.Second
	testLifetime = 6 * time.Second
)

// model is the rules of the package's page written as plainly as can be: flat maps, searched whole.
type model struct {
	now    time.Time
	peers  map[*Peer]time.Time // last heard
	keys   map[modelKey]bool   // kept
	has    map[modelKey]map[*Peer]time.Time
	waits  map[modelGrave]time.Time
	ageOf  map[*Peer]int
	nextID int
}

type modelKey struct{ topic, channel string }

type modelGrave struct {
	modelKey
	node string
}

func newModel(now time.Time) *model {
	return &model{
		now: now, peers: map[*Peer]time.Time{}, keys: map[modelKey]bool{}, has: map[modelKey]map[*Peer]time.Time{},
		waits: map[modelGrave]time.Time{}, ageOf: map[*Peer]int{},
	}
}

func (m *model) hides(at time.Time) bool { return !at.IsZero() && m.now.Sub(at) < testLifetime }

func (m *model) visible(k modelKey) bool {
	kept, known := m.keys[k]
	if !known {
		return false
	}
	for _, at := range m.has[k] {
		kept = kept || !m.hides(at)
	}
	return kept
}

func (m *model) know(k modelKey, kept bool) {
	m.keys[k] = m.keys[k] || kept
	if m.has[k] == nil {
		m.has[k] = map[*Peer]time.Time{}
	}
}

func (m *model) add(k modelKey, p *Peer, under time.Time) {
	if _, ok := m.has[k][p]; ok {
		return
	}
	g := modelGrave{k, p.node}
	at := m.waits[g]
	delete(m.waits, g)
	if under.After(at) {
		at = under
	}
	if !m.hides(at) {
		at = time.Time{}
	}
	m.know(k, at.IsZero())
	m.has[k][p] = at
}

func (m *model) register(p *Peer, topic, channel string) {
	t := modelKey{topic, ""}
	m.add(t, p, time.Time{})
	if channel != "" {
		under := m.has[t][p]
		if !m.hides(under) {
			under = time.Time{}
		}
		m.add(modelKey{topic, channel}, p, under)
	}
}

// remove takes one record out and reports whether there was one.
func (m *model) remove(k modelKey, p *Peer, carry bool) bool {
	at, ok := m.has[k][p]
	if !ok {
		return false
	}
	m.keys[k] = m.visible(k)
	delete(m.has[k], p)
	if carry && m.hides(at) {
		m.waits[modelGrave{k, p.node}] = at
	}
	if len(m.has[k]) == 0 && (!m.keys[k] || strings.HasSuffix(k.topic+k.channel, "#ephemeral") && (k.channel == "" || strings.HasSuffix(k.channel, "#ephemeral"))) {
		m.forget(k)
	}
	return true
}

// forget drops a key, a topic's with its channels.
func (m *model) forget(k modelKey) {
	for other := range m.keys {
		if other == k || k.channel == "" && other.topic == k.topic {
			delete(m.keys, other)
			delete(m.has, other)
		}
	}
}

func (m *model) unregister(p *Peer, topic, channel string) (channels int) {
	if channel == "" {
		for _, c := range m.channelKeys(topic) {
			if m.remove(c, p, false) {
				channels++
			}
		}
	}
	m.remove(modelKey{topic, channel}, p, false)
	delete(m.waits, modelGrave{modelKey{topic, channel}, p.node})
	return channels
}

func (m *model) leave(p *Peer) {
	for _, channels := range []bool{true, false} {
		for k := range maps.Clone(m.keys) {
			if (k.channel != "") == channels {
				m.remove(k, p, true)
			}
		}
	}
	delete(m.peers, p)
}

func (m *model) delete(k modelKey) bool {
	seen := m.visible(modelKey{k.topic, ""}) && m.visible(k)
	for p := range m.has[k] {
		m.waits[modelGrave{k, p.node}] = m.now
	}
	m.forget(k)
	return seen
}

func (m *model) channelKeys(topic string) (keys []modelKey) {
	for k := range m.keys {
		if k.topic == topic && k.channel != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// Random operations on the registry and the model, and the same answers from both after each of them.
func TestRegistryAgreesWithItsModel(t *testing.T) { rapid.Check(t, checkAgainstModel) }

func checkAgainstModel(t *rapid.T) {
	start := time.Unix(1700000000, 0)
	r := New(Config{InactiveTimeout: testInactive, TombstoneLifetime: testLifetime}, start)
	m := newModel(start)
	topics := rapid.SampledFrom([]string{"a", "b", "e#ephemeral"})
	channels := rapid.SampledFrom([]string{"c", "d", "f#ephemeral"})
	maybeChannel := rapid.SampledFrom([]string{"", "c", "d", "f#ephemeral"})
	anyPeer := func(t *rapid.T) *Peer {
		if len(m.peers) == 0 {
			t.Skip("no peer")
		}
		return rapid.SampledFrom(r.peers).Draw(t, "peer")
	}
	t.Repeat(map[string]func(*rapid.T){
		"join": func(t *rapid.T) {
			host := rapid.SampledFrom([]string{"h1", "h2", "::1"}).Draw(t, "host")
			m.nextID++
			p := join(r, fmt.Sprintf("remote:%d", m.nextID), lookupwire.PeerInfo{BroadcastAddress: host, TCPPort: 1, HTTPPort: 2}, m.now)
			m.peers[p], m.ageOf[p] = m.now, m.nextID
		},
		"leave": func(t *rapid.T) { p := anyPeer(t); r.Leave(p, m.now); m.leave(p) },
		"ping":  func(t *rapid.T) { p := anyPeer(t); r.Ping(p, m.now); m.peers[p] = m.now },
		"register": func(t *rapid.T) {
			p, topic, channel := anyPeer(t), topics.Draw(t, "topic"), maybeChannel.Draw(t, "channel")
			r.Register(p, topic, channel, m.now)
			m.register(p, topic, channel)
		},
		"unregister": func(t *rapid.T) {
			p, topic, channel := anyPeer(t), topics.Draw(t, "topic"), maybeChannel.Draw(t, "channel")
			if got, want := r.Unregister(p, topic, channel, m.now), m.unregister(p, topic, channel); got != want {
				t.Fatalf("unregister: %d channels, want %d", got, want)
			}
		},
		"create": func(t *rapid.T) {
			topic, channel := topics.Draw(t, "topic"), maybeChannel.Draw(t, "channel")
			m.know(modelKey{topic, ""}, true)
			if channel == "" {
				if err := r.CreateTopic(topic, m.now); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := r.CreateChannel(topic, channel, m.now); err != nil {
				t.Fatal(err)
			}
			m.know(modelKey{topic, channel}, true)
		},
		"delete topic": func(t *rapid.T) {
			topic := topics.Draw(t, "topic")
			r.DeleteTopic(topic, m.now)
			m.delete(modelKey{topic, ""})
		},
		"delete channel": func(t *rapid.T) {
			k := modelKey{topics.Draw(t, "topic"), channels.Draw(t, "channel")}
			if got, want := r.DeleteChannel(k.topic, k.channel, m.now), m.delete(k); got != want {
				t.Fatalf("delete channel: %v, want %v", got, want)
			}
		},
		"tombstone": func(t *rapid.T) {
			topic, node := topics.Draw(t, "topic"), rapid.SampledFrom([]string{"h1:2", "[::1]:2", "::1:2", "h3:2"}).Draw(t, "node")
			want := 0
			for p := range m.has[modelKey{topic, ""}] {
				if p.node == strings.NewReplacer("[", "", "]", "").Replace(node) {
					m.has[modelKey{topic, ""}][p] = m.now
					want++
				}
			}
			if got := r.Tombstone(topic, node, m.now); got != want {
				t.Fatalf("tombstone: %d, want %d", got, want)
			}
		},
		"advance": func(t *rapid.T) { m.now = m.now.Add(time.Duration(rapid.IntRange(1, 7).Draw(t, "s")) * time.Second) },
		"":        func(t *rapid.T) { compare(t, r, m) },
	})
}

// compare asks both for everything.
func compare(t *rapid.T, r *Registry, m *model) {
	same := func(what string, got, want []string) {
		if !slices.Equal(got, want) {
			t.Fatalf("%s: got %q, want %q", what, got, want)
		}
	}
	held := 0
	for _, k := range m.has {
		held += len(k)
	}
	if r.records != held {
		t.Fatalf("%d records are counted, there are %d", r.records, held)
	}
	var known []string
	for _, topic := range []string{"a", "b", "e#ephemeral"} {
		visible := m.visible(modelKey{topic, ""})
		if visible {
			known = append(known, topic)
		}
		var channels []string
		for _, k := range m.channelKeys(topic) {
			if visible && m.visible(k) {
				channels = append(channels, k.channel)
			}
		}
		slices.Sort(channels)
		same("channels of "+topic, r.Channels(topic, m.now), channels)
		told, peers, ok := r.Lookup(topic, m.now)
		if ok != visible {
			t.Fatalf("lookup %s: known %v, want %v", topic, ok, visible)
		}
		same("channels in lookup of "+topic, told, channels)
		same("lookup "+topic, remotes(peers), m.told(modelKey{topic, ""}, visible))
	}
	same("topics", r.Topics(m.now), known)
	var nodes []string
	for _, n := range r.Nodes(m.now) {
		nodes = append(nodes, fmt.Sprint(n.Peer.remote, n.Topics))
	}
	same("nodes", nodes, m.nodes())
	records := 0
	for _, peers := range m.has {
		records += len(peers)
	}
	if got := len(r.Records()); got != records+len(m.peers) {
		t.Fatalf("%d records, want %d", got, records+len(m.peers))
	}
}

func remotes(peers []*Peer) (ids []string) {
	for _, p := range peers {
		ids = append(ids, p.remote)
	}
	return ids
}

// told is the brokers of a topic, one connection each, sorted.
func (m *model) told(k modelKey, visible bool) []string {
	var peers []*Peer
	for p, at := range m.has[k] {
		if visible && m.now.Sub(m.peers[p]) <= testInactive && !m.hides(at) {
			peers = append(peers, p)
		}
	}
	return remotes(m.newest(peers))
}

// newest keeps of peers with the same host the one last heard, and of these the youngest.
func (m *model) newest(peers []*Peer) []*Peer {
	best := map[string]*Peer{}
	for _, p := range peers {
		q := best[p.info.BroadcastAddress]
		if q == nil || m.peers[p].After(m.peers[q]) || m.peers[p].Equal(m.peers[q]) && m.ageOf[p] > m.ageOf[q] {
			best[p.info.BroadcastAddress] = p
		}
	}
	return slices.SortedFunc(maps.Values(best), func(p, q *Peer) int {
		return strings.Compare(p.info.BroadcastAddress, q.info.BroadcastAddress)
	})
}

func (m *model) nodes() (nodes []string) {
	var active []*Peer
	for p, heard := range m.peers {
		if m.now.Sub(heard) <= testInactive {
			active = append(active, p)
		}
	}
	for _, p := range m.newest(active) {
		topics := []NodeTopic{}
		for _, topic := range []string{"a", "b", "e#ephemeral"} {
			k := modelKey{topic, ""}
			if at, ok := m.has[k][p]; ok && m.visible(k) {
				topics = append(topics, NodeTopic{topic, m.hides(at)})
			}
		}
		nodes = append(nodes, fmt.Sprint(p.remote, topics))
	}
	return nodes
}
