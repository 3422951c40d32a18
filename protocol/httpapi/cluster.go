package httpapi

// Cluster is what a broker knows of the cluster that it is in, or wants to be in.
type Cluster struct {
	Name    string         `json:"name"`             // as --cluster-name says
	ID      string         `json:"id,omitempty"`     // absent until the broker was let in
	State   string         `json:"state"`            // of this broker: asking, candidate, member, forgetful, removed or stopped
	Why     string         `json:"why,omitempty"`    // it is no member, for people
	Preview bool           `json:"preview"`          // true: not for production
	Open    bool           `json:"open,omitempty"`   // links prove nothing: who can start a program on a member's machine can pass for a member
	Folder  string         `json:"folder"`           // id of this broker's data folder
	Address string         `json:"address"`          // where other members reach this broker
	Leader  string         `json:"leader,omitempty"` // folder of the broker that leads the map; absent: none is known
	Term    uint64         `json:"term"`             // of the map's leader
	Index   uint64         `json:"index"`            // up to which the map is known here
	Nodes   []ClusterNode  `json:"nodes"`            // members by their number, then candidates
	Groups  []ClusterGroup `json:"groups"`           // of replicas, as they are laid
}

// ClusterNode is a broker of a cluster.
type ClusterNode struct {
	Folder      string   `json:"folder"`           // id of its data folder: who it is
	Number      *int     `json:"number,omitempty"` // 0 to 1023, which no other has; absent for a candidate
	Name        string   `json:"name"`
	Address     string   `json:"address"`
	Zone        string   `json:"zone,omitempty"`
	State       string   `json:"state"`                     // member, or candidate: it waits to be let in
	Draining    bool     `json:"draining,omitempty"`        // it gives its replicas away
	Short       bool     `json:"short_of_room,omitempty"`   // its disk has no room for more messages of replicated topics
	Self        bool     `json:"self,omitempty"`            // it is the one that answers
	Linked      bool     `json:"linked"`                    // the one that answers has all links to it
	Leads       bool     `json:"leads,omitempty"`           // the map
	Votes       bool     `json:"votes,omitempty"`           // on the map
	Replica     uint64   `json:"replica,omitempty"`         // id of its replica of the map
	Replicas    int      `json:"replicas"`                  // of groups that it has
	Lag         *uint64  `json:"lag_entries,omitempty"`     // entries of the map that it has not confirmed; only the leader knows
	RoundTrip   *float64 `json:"round_trip_ms,omitempty"`   // the shortest of late
	ClockOffset *float64 `json:"clock_offset_ms,omitempty"` // how far its clock is ahead of the one that answers
	ClockApart  bool     `json:"clock_apart,omitempty"`     // that is more than 250 ms, whichever of the two is ahead
}

// ClusterGroup is a group of replicas.
type ClusterGroup struct {
	Number    int      `json:"number"`
	Level     string   `json:"level"`              // fsync or disk
	Nodes     []string `json:"nodes"`              // folders of the brokers that have a replica
	Preferred string   `json:"preferred"`          // folder of the one that is to lead
	MovesTo   string   `json:"moves_to,omitempty"` // folder of the broker that a replica is being moved to

	Leader string         `json:"leader,omitempty"`      // folder of the broker that leads it; absent: none is known here, or it has never had a topic
	Term   uint64         `json:"term,omitempty"`        // of that
	Index  uint64         `json:"index,omitempty"`       // of the last entry that is applied here
	Lag    *uint64        `json:"lag_entries,omitempty"` // entries that the replica which is furthest behind has not confirmed; only the leader knows
	Why    string         `json:"why,omitempty"`         // this broker's replica does not run, for people
	Topics []ClusterTopic `json:"topics,omitempty"`
}

// ClusterTopic is a replicated topic.
type ClusterTopic struct {
	Name     string `json:"name"`
	Deleting bool   `json:"deleting,omitempty"`
	Waiting  string `json:"waiting,omitempty"` // this broker cannot serve it, though it leads it, or has a topic of its own in the way: why
	Serve    string `json:"serve,omitempty"`   // leader: lookups name the broker that leads it alone; absent: all that have a replica
}
