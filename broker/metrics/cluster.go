package metrics

import "brokerd/protocol/exposition"

// Cluster is the broker as a member of a cluster.
type Cluster struct {
	State                       string // as /cluster says
	Leads                       bool   // the map
	Term, Index                 uint64
	Members, Candidates, Linked int
}

// clusterFamilies are of the cluster; absent for a broker that is in none.
type clusterFamilies struct{ state, leads, term, index, nodes, linked *exposition.Family }

func newClusterFamilies() clusterFamilies {
	return clusterFamilies{
		state:  gauge("cluster_state", "1 for the state that the broker is in as a member of its cluster: asking, candidate, member, forgetful, removed or stopped; absent without --cluster-name", "state"),
		leads:  gauge("cluster_leader", "1 while the broker leads the cluster's map"),
		term:   gauge("cluster_term", "term of the map's leader"),
		index:  gauge("cluster_applied_index", "up to which entry the broker knows the cluster's map"),
		nodes:  gauge("cluster_nodes", "brokers in the cluster's map, by state: member or candidate", "state"),
		linked: gauge("cluster_linked_nodes", "other members that the broker has all links to"),
	}
}

func (f *clusterFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.state, f.leads, f.term, f.index, f.nodes, f.linked}
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
}
