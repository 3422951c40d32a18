package session

import (
	"sort"

	"brokerd/protocol/httpapi"
)

// Stats returns what /stats shows of the connection, with a count for every topic that it has published to.
func (s *Session) Stats() httpapi.Client {
	s.mu.Lock()
	set := s.settings
	s.mu.Unlock()
	c := httpapi.Client{
		ClientID: set.clientID, Hostname: set.hostname, Version: "V2", RemoteAddress: s.conn.RemoteAddr().String(),
		State: s.state.Load(), ConnectTime: s.since.Unix(), SampleRate: set.sampleRate, Deflate: set.deflate, Snappy: set.snappy,
		UserAgent: set.userAgent, TopologyZone: set.zone, TopologyRegion: set.region, TLS: set.tls,
	}
	if set.tls {
		c.CipherSuite, c.TLSVersion = cipherName(set.cipherSuite), tlsVersionName(set.tlsVersion)
		// The server never falls back to a protocol of its own, and crypto/tls tells nsqd so whether there is one or not.
		c.TLSNegotiatedProtocol, c.TLSNegotiatedProtocolIsMutual = set.tlsProtocol, true
	}
	if auth := s.auth.Load(); auth != nil && auth.Known() {
		c.Authed, c.AuthIdentity, c.AuthIdentityURL = true, auth.Identity, auth.IdentityURL
	}
	if sub := s.consuming(); sub != nil {
		n := sub.Stats()
		c.ReadyCount, c.InFlightCount = int64(n.Ready), int64(n.InFlight)
		c.MessageCount, c.FinishCount, c.RequeueCount = n.Delivered, n.Finished, n.Requeued
	}
	if s.hasPublished() {
		c.PubCounts = s.published()
	}
	return c
}

func (s *Session) hasPublished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pubs) > 0
}

// published returns how many messages the connection has published, by topic and sorted by its name.
func (s *Session) published() []httpapi.PubCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make([]httpapi.PubCount, 0, len(s.pubs))
	for name, to := range s.pubs {
		counts = append(counts, httpapi.PubCount{Topic: name, Count: to.sent.Load()})
	}
	sort.Slice(counts, func(i, j int) bool { return counts[i].Topic < counts[j].Topic })
	return counts
}
