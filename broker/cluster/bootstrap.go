package cluster

import (
	"fmt"
	"slices"
)

// Said is what a node says to those who ask it while there is no cluster yet.
type Said struct {
	Founder
	Cluster   string   // of which it is a member and has the state; empty: none
	WasMember bool     // its folder has been a member: if it has no state it has lost it
	Wants     string   // name of the cluster that it is to found or join
	Peers     []string // addresses that it was given, its own among them
	Sum       string   // id of the cluster that it would found with those that it has heard
}

// Decision is what a node does after it has asked all its peers. One of its fields says so; else it waits, for the
// reason in Why.
type Decision struct {
	Found *State // write this down, and begin
	Join  string // ask the node at this address to be let in
	Sum   string // say this to those who ask from now on
	Why   string
}

// Decide says what a node does that has no state, by what it says of itself and what its peers have answered, by
// address; one that did not answer is not in the map. It returns an error when a person must decide.
func Decide(self Said, answers map[string]Said) (Decision, error) {
	join, err := inCluster(self, answers)
	if err != nil || join != "" {
		return Decision{Join: join}, err
	}
	if self.WasMember {
		return Decision{Why: "this node has been a member of a cluster and has lost its state; no peer that is in one answers"}, nil
	}
	if !slices.Contains(self.Peers, self.Address) {
		return Decision{}, fmt.Errorf("this node's address %s is not in the list of peers %q: it founds no cluster, and no peer that is in one answers",
			self.Address, self.Peers)
	}
	all := []Founder{self.Founder}
	for _, address := range self.Peers {
		if address == self.Address {
			continue
		}
		a, answered := answers[address]
		switch {
		case !answered:
			return Decision{Why: fmt.Sprintf("peer %s does not answer; a cluster is founded when all do", address)}, nil
		case a.WasMember:
			return Decision{Why: fmt.Sprintf("peer %s has been a member of a cluster and has lost its state", address)}, nil
		case a.Wants != self.Wants:
			return Decision{}, fmt.Errorf("peer %s is to found cluster %q, this node %q", address, a.Wants, self.Wants)
		case !samePeers(a.Peers, self.Peers):
			return Decision{}, fmt.Errorf("peer %s has another list of peers: %q, this node %q", address, a.Peers, self.Peers)
		case a.Address != address:
			return Decision{}, fmt.Errorf("the node that answers at %s says that its address is %s", address, a.Address)
		}
		all = append(all, a.Founder)
	}
	first, err := First(self.Wants, all)
	if err != nil {
		return Decision{}, err
	}
	if self.Sum != first.Cluster {
		return Decision{Sum: first.Cluster, Why: "the others have not heard yet what this node would found"}, nil
	}
	for address, a := range answers {
		if a.Sum != first.Cluster {
			return Decision{Sum: first.Cluster, Why: fmt.Sprintf("peer %s would found another cluster, or has not heard all yet", address)}, nil
		}
	}
	return Decision{Found: first, Sum: first.Cluster}, nil
}

// inCluster returns the address of a peer that is in a cluster.
func inCluster(self Said, answers map[string]Said) (join string, err error) {
	cluster := ""
	for _, address := range self.Peers {
		a, answered := answers[address]
		if !answered || a.Cluster == "" {
			continue
		}
		switch {
		case a.Wants != self.Wants:
			return "", fmt.Errorf("peer %s is in cluster %q, and this node is to join %q", address, a.Wants, self.Wants)
		case cluster != "" && cluster != a.Cluster:
			return "", fmt.Errorf("peers are in two clusters of name %q, %s and %s", self.Wants, cluster, a.Cluster)
		case cluster == "":
			join, cluster = address, a.Cluster
		}
	}
	return join, nil
}

func samePeers(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
