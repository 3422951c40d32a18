package metrics

import (
	"strconv"
	"time"

	"brokerd/diskqueue/wal"
	"brokerd/protocol/exposition"
)

// Cluster is the broker as a member of a cluster.
type Cluster struct {
	State                       string // as /cluster says
	Leads                       bool   // the map
	Term, Index                 uint64
	Members, Candidates, Linked int
	ClockApart                  time.Duration
	Groups                      []Group // of which the broker has a replica, that of the map first
	Commits                     wal.SyncTimes
	CommitTime                  time.Duration
	Relays                      Relays
	Forwards                    Forwards
}

// Group is a group of replicas.
type Group struct {
	Number           uint32 // 0: that of the map
	Runs, Leads      bool
	Term, Applied    uint64
	Lag, Uncommitted uint64 // of who leads
	Active           int    // of who leads
	Elections        uint64
}

// Relays is consumers of topics that another broker leads.
type Relays struct {
	Consumers, InFlight int // clients of this broker
	Guests              int // clients of others, of topics that this broker leads
}

// Forwards is publishes to topics that another broker leads.
type Forwards struct {
	Taken, Refused, Unanswered uint64 // of this broker's clients
	Retries                    uint64
	Arrived                    uint64 // of other brokers' clients, that were begun here

	Early                      uint64 // of this broker's clients, that were answered before their commit
	EarlyRefused, EarlyGivenUp uint64 // messages of these that were not taken
	EarlyHeld                  int64  // messages of these that are not known to be committed
}

// clusterFamilies are of the cluster; absent for a broker that is in none.
type clusterFamilies struct {
	state, leads, term, index, nodes, linked, clock                                                *exposition.Family
	groupRuns, groupLeads, groupTerm, groupIndex, groupLag, groupActive, groupElections, groupOpen *exposition.Family
	commits, consumers, inFlight, guests, forwarded, forwardRetries, arrived                       *exposition.Family
	early, earlyLost, earlyHeld                                                                    *exposition.Family
}

func newClusterFamilies() clusterFamilies {
	return clusterFamilies{
		state:  gauge("cluster_state", "1 for the state that the broker is in as a member of its cluster: asking, candidate, member, forgetful, removed or stopped; absent without --cluster-name", "state"),
		leads:  gauge("cluster_leader", "1 while the broker leads the cluster's map"),
		term:   gauge("cluster_term", "term of the map's leader"),
		index:  gauge("cluster_applied_index", "up to which entry the broker knows the cluster's map"),
		nodes:  gauge("cluster_nodes", "brokers in the cluster's map, by state: member or candidate", "state"),
		linked: gauge("cluster_linked_nodes", "other members that the broker has all links to"),
		clock:  gauge("cluster_clock_difference_seconds", "by how much the clock of another member differs from the broker's at least, of the one whose differs most"),

		groupRuns:      gauge("cluster_group_runs", "1 while the broker's replica of the group runs; group 0 is that of the map, the others are of topics", "group"),
		groupLeads:     gauge("cluster_group_leader", "1 while the broker leads the group", "group"),
		groupTerm:      gauge("cluster_group_term", "term of the group, as the broker knows it", "group"),
		groupIndex:     gauge("cluster_group_applied_index", "up to which entry the broker has applied what the group has committed", "group"),
		groupLag:       gauge("cluster_group_lag_entries", "entries that the replica lacks that lacks most of the group; absent where the broker does not lead it", "group"),
		groupActive:    gauge("cluster_group_active_replicas", "replicas of the group that answer, the leader's own among them; absent where the broker does not lead it", "group"),
		groupElections: counter("cluster_group_elections_total", "leaders of the group that were elected, as the broker has heard", "group"),
		groupOpen:      gauge("cluster_group_uncommitted_bytes", "bytes of what the broker has taken for the group that are not committed yet; absent where the broker does not lead it", "group"),
		commits:        histogram("cluster_commit_seconds", "time until a majority of replicas had what this broker had taken as a leader, of each entry from its first record"),
		consumers:      gauge("cluster_relayed_consumers", "consumers of this broker whose topic another broker leads, or that look for who does"),
		inFlight:       gauge("cluster_relayed_in_flight", "messages that consumers of this broker have of topics that another broker leads, and have not answered"),
		guests:         gauge("cluster_guest_consumers", "consumers of other brokers, of topics that this broker leads"),
		forwarded: counter("cluster_forwarded_publishes_total",
			"publishes of this broker's clients to topics that another broker leads, by result: taken, refused, or unanswered when nobody led or answered in time", "result"),
		forwardRetries: counter("cluster_forward_retries_total", "times that a publish of this broker's clients to a topic that another broker leads was tried again, as the lead had moved or a link had ended"),
		arrived:        counter("cluster_arrived_publishes_total", "publishes of other brokers' clients that this broker has begun as a leader"),
		early:          counter("cluster_early_publishes_total", "publishes of this broker's clients to replicated topics that were answered before they were committed, as acks 0 and 1 ask for"),
		earlyLost: counter("cluster_early_lost_messages_total",
			"messages that were answered before they were committed and then not taken, by reason: refused by who leads the topic, or given_up as nobody has taken them for five minutes or the broker stopped", "reason"),
		earlyHeld: gauge("cluster_early_messages", "messages that were answered before they were committed, and are not known to be committed yet"),
	}
}

func (f *clusterFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.state, f.leads, f.term, f.index, f.nodes, f.linked, f.clock, f.groupRuns, f.groupLeads, f.groupTerm, f.groupIndex, f.groupLag, f.groupActive,
		f.groupElections, f.groupOpen, f.commits, f.consumers, f.inFlight, f.guests, f.forwarded, f.forwardRetries, f.arrived, f.early, f.earlyLost, f.earlyHeld}
}

func (e *exporter) cluster(s *exposition.Scrape, c *Cluster) {
	f := &e.f.cluster
	s.Value(f.state, 1, c.State)
	s.Bool(f.leads, c.Leads)
	s.Value(f.term, float64(c.Term))
	s.Value(f.index, float64(c.Index))
	s.Value(f.nodes, float64(c.Members), "member")
	s.Value(f.nodes, float64(c.Candidates), "candidate")
	s.Value(f.linked, float64(c.Linked))
	s.Value(f.clock, c.ClockApart.Seconds())
	for i := range c.Groups {
		e.group(s, &c.Groups[i])
	}
	count, upTo := bounded(&c.Commits)
	s.Histogram(f.commits, count, c.CommitTime.Seconds(), upTo)
	s.Value(f.consumers, float64(c.Relays.Consumers))
	s.Value(f.inFlight, float64(c.Relays.InFlight))
	s.Value(f.guests, float64(c.Relays.Guests))
	s.Value(f.forwarded, float64(c.Forwards.Taken), "taken")
	s.Value(f.forwarded, float64(c.Forwards.Refused), "refused")
	s.Value(f.forwarded, float64(c.Forwards.Unanswered), "unanswered")
	s.Value(f.forwardRetries, float64(c.Forwards.Retries))
	s.Value(f.arrived, float64(c.Forwards.Arrived))
	s.Value(f.early, float64(c.Forwards.Early))
	s.Value(f.earlyLost, float64(c.Forwards.EarlyRefused), "refused")
	s.Value(f.earlyLost, float64(c.Forwards.EarlyGivenUp), "given_up")
	s.Value(f.earlyHeld, float64(c.Forwards.EarlyHeld))
}

func (e *exporter) group(s *exposition.Scrape, g *Group) {
	f, number := &e.f.cluster, strconv.FormatUint(uint64(g.Number), 10)
	s.Bool(f.groupRuns, g.Runs, number)
	s.Bool(f.groupLeads, g.Leads, number)
	s.Value(f.groupTerm, float64(g.Term), number)
	s.Value(f.groupIndex, float64(g.Applied), number)
	s.Value(f.groupElections, float64(g.Elections), number)
	if g.Leads {
		s.Value(f.groupLag, float64(g.Lag), number)
		s.Value(f.groupActive, float64(g.Active), number)
		s.Value(f.groupOpen, float64(g.Uncommitted), number)
	}
}
