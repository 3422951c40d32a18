package views

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

const (
	// mostClients is how many connections are listed.
	mostClients = 5000
	// listPatience is how long somebody waits for a newer list of consumers; then the one before does, or none.
	listPatience = 50 * time.Millisecond
)

// consumers returns the newest list of consumers, after it asked for one that is of the state. The first list of a large
// cluster takes long: until it is there the page says so.
func (m *Maker) consumers(ctx context.Context, s *State) *Consumers {
	m.mu.Lock()
	listed := m.listed
	m.mu.Unlock()
	if known := m.connected.Load(); known != nil && known.seq >= s.Seq {
		return s.sight.consumers(known)
	}
	select {
	case m.asked <- struct{}{}:
	default: // it was asked for already
	}
	patience := time.NewTimer(listPatience)
	defer patience.Stop()
	select {
	case <-listed:
	case <-patience.C:
	case <-ctx.Done():
	}
	if known := m.connected.Load(); known != nil {
		return s.sight.consumers(known)
	}
	return &Consumers{Head: s.head(s.Nodes), Clients: []Client{}, Pending: true}
}

// list asks all nodes for their clients whenever that is asked for, and not for long after an answer that took long, until ctx ends.
func (m *Maker) list(ctx context.Context) {
	for {
		select {
		case <-m.asked:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		s, _ := m.Next()
		asking, cancel := context.WithTimeout(ctx, makeTimeout)
		clients, more := m.clients("consumers", m.cluster.Ask(asking, s.Nodes, cluster.Query{Clients: true}), mostClients)
		cancel()
		m.takeList(&Consumers{Head: s.head(s.Nodes), Clients: clients, More: more, seq: s.Seq})
		rest := time.NewTimer(5 * time.Since(began))
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
		rest.Stop()
	}
}

// takeList makes a list the newest. Those who wait for the first one get it at once.
func (m *Maker) takeList(list *Consumers) {
	first := m.connected.Swap(list) == nil
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.listed)
	m.listed = make(chan struct{})
	if first {
		maps.DeleteFunc(m.memo, func(key string, _ *memoized) bool {
			return strings.HasSuffix(key, "\x00"+Page{View: "consumers"}.key())
		})
		close(m.next)
		m.next = make(chan struct{})
	}
}

// connection is a client where it was told.
type connection struct {
	in             *cluster.Answer
	topic, channel string
	*httpapi.Client
}

// clients lists the clients in a page's answers with their rates, sorted by topic, channel, host name, node and address, at most
// so many, and tells how many more there are.
func (m *Maker) clients(page string, answers []cluster.Answer, most int) (list []Client, more int) {
	var all []connection
	for i := range answers {
		a := &answers[i]
		for j := range a.Stats.Topics {
			t := &a.Stats.Topics[j]
			for k := range t.Channels {
				c := &t.Channels[k]
				for l := range c.Clients {
					all = append(all, connection{a, t.TopicName, c.ChannelName, &c.Clients[l]})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b connection) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), strings.Compare(a.channel, b.channel), strings.Compare(a.Hostname, b.Hostname),
			strings.Compare(a.in.Node.ID, b.in.Node.ID), strings.Compare(a.RemoteAddress, b.RemoteAddress))
	})
	shown := all[:min(len(all), most)]
	list = make([]Client, len(shown))
	for i, c := range shown {
		list[i] = m.client(page, c.in, c.topic, c.channel, c.Client)
	}
	return list, len(all) - len(shown)
}

// stuckAfter is how long a consumer may have messages and answer none, as far as it was looked at, until that is told; idleAfter is the same
// for one that never answered any since it connected.
const (
	stuckAfter = 30 * time.Second
	idleAfter  = time.Minute
)

func (m *Maker) client(page string, a *cluster.Answer, topic, channel string, c *httpapi.Client) Client {
	timeouts := timedOut(c)
	s := m.rates.of(keyOf(page, a.Node.ID, topic, channel, c.RemoteAddress), a.At,
		int64(c.FinishCount), int64(c.RequeueCount), int64(c.MessageCount), int64(timeouts))
	r := s.rates
	return Client{
		Topic: topic, Channel: channel, Node: a.Node.ID, RemoteAddress: c.RemoteAddress, ClientID: c.ClientID, Hostname: c.Hostname,
		UserAgent: c.UserAgent, Version: c.Version, ConnectTime: c.ConnectTime, ReadyCount: c.ReadyCount, InFlightCount: c.InFlightCount,
		FinishCount: c.FinishCount, RequeueCount: c.RequeueCount, MessageCount: c.MessageCount, TimeoutCount: timeouts,
		FinishRate: round(r[0]), RequeueRate: round(r[1]), MessageRate: round(r[2]), TimeoutRate: round(r[3]), Rated: s.rated,
		StuckMS: stuckFor(c, a.At, s.moved).Milliseconds(), SampleRate: c.SampleRate,
		TLS: c.TLS, TLSVersion: c.TLSVersion, TLSCipherSuite: c.CipherSuite, Deflate: c.Deflate, Snappy: c.Snappy,
		Authed: c.Authed, AuthIdentity: c.AuthIdentity, AuthIdentityURL: c.AuthIdentityURL,
		TopologyZone: c.TopologyZone, TopologyRegion: c.TopologyRegion,
	}
}

// timedOut returns how many messages were sent to a client that it neither answered nor has: brokers count timeouts by channel only.
func timedOut(c *httpapi.Client) uint64 {
	return uint64(max(0, int64(c.MessageCount)-int64(c.FinishCount)-int64(c.RequeueCount)-c.InFlightCount))
}

// stuckFor returns for how long a client has messages and answers none, 0 when it does. moved is when it was last seen to answer one, or
// first seen.
func stuckFor(c *httpapi.Client, now, moved time.Time) time.Duration {
	connected := now.Sub(time.Unix(c.ConnectTime, 0))
	switch watched := now.Sub(moved); {
	case c.InFlightCount <= 0:
		return 0
	case c.FinishCount == 0 && c.RequeueCount == 0 && c.ConnectTime > 0 && connected >= idleAfter:
		return connected
	case watched >= stuckAfter:
		return watched
	}
	return 0
}
