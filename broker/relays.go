package broker

import (
	"slices"

	"brokerd/broker/member"
	"brokerd/broker/peer"
	"brokerd/broker/relay"
	"brokerd/broker/session"
	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// newRelay makes what has consumers of replicated topics follow the lead.
func (s *Server) newRelay() {
	o := &s.opts
	s.relay = relay.New(relay.Options{Topics: s.registry, Cluster: relayCluster{s.member}, Node: o.clusterAddress(), Wait: o.ClusterWait, Patience: 2 * o.ClusterWait, Log: s.log,
		Locality: func(region, zone string) topic.Locality {
			return session.LocalityOf(region, zone, o.TopologyRegion, o.TopologyZone)
		}})
	s.member.Handle(relay.FirstKind, relay.LastKind, s.relay.Received)
	s.relay.Start()
}

// relays is a relay as sessions see it.
type relays struct{ r *relay.Relay }

// Consumer is session.Relays'.
func (r relays) Consumer(name, channel string, o topic.SubscribeOptions, about httpapi.Client) session.Relayed {
	return r.r.NewConsumer(name, channel, o, about)
}

// relayCluster is a member as a relay sees it.
type relayCluster struct{ m *member.Member }

// Lead is relay.Cluster's.
func (c relayCluster) Lead(name string) relay.Lead {
	t, ok, err := c.m.Topic(name)
	if err != nil {
		return relay.Lead{Known: true} // the map will be there again
	}
	if !ok || t.Deleting {
		return relay.Lead{}
	}
	group, self := uint32(t.Group), c.m.Self()
	l := relay.Lead{Known: true, Folder: c.m.Leader(group), Member: c.m.Follows(group)}
	l.Here = l.Folder == self
	l.Others = slices.DeleteFunc(c.m.Replicas(group), func(folder string) bool { return folder == self })
	return l
}

// Link is relay.Cluster's.
func (c relayCluster) Link(folder string) uint64 { return c.m.Link(folder) }

// Send is relay.Cluster's.
func (c relayCluster) Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	return c.m.Send(folder, kind, stream, payload...)
}

// SendPaced is relay.Cluster's.
func (c relayCluster) SendPaced(done <-chan struct{}, folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	return c.m.SendPaced(done, folder, kind, stream, payload...)
}

// Pace is relay.Cluster's.
func (c relayCluster) Pace(done <-chan struct{}, folder string) error { return c.m.Pace(done, folder) }
