package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// replicas is how many a group has, when there are as many nodes.
const replicas = 3

// First returns the state that nodes found a cluster with: the same whoever computes it.
func First(name string, founders []Founder) (*State, error) {
	founders = slices.Clone(founders)
	slices.SortFunc(founders, func(a, b Founder) int { return cmp.Compare(a.Folder, b.Folder) })
	b, err := json.Marshal(struct {
		Name     string
		Founders []Founder
	}{name, founders})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	s := &State{Cluster: hex.EncodeToString(sum[:16]), Name: name, Nodes: map[string]Node{}, Topics: map[string]Topic{}}
	for i, f := range founders {
		if _, twice := s.Nodes[f.Folder]; twice || f.Folder == "" {
			return nil, refuse("two of the nodes have folder %q", f.Folder)
		}
		s.Nodes[f.Folder] = Node{Number: i, Name: f.Name, Address: f.Address, Zone: f.Zone}
	}
	for _, f := range founders {
		s.addMeta(f.Folder)
	}
	for range perNode {
		for _, f := range s.ring() {
			s.addGroup(f)
		}
	}
	return s, s.Check()
}

// Founder is a node that founds a cluster.
type Founder struct{ Folder, Name, Address, Zone string }

// ring returns the members in an order in which neighbours are in different zones as far as that can be: the first of
// each zone, then the second of each.
func (s *State) ring() []string {
	zones := map[string][]string{}
	var names []string
	for _, folder := range s.members() {
		z := s.Nodes[folder].Zone
		if zones[z] == nil {
			names = append(names, z)
		}
		zones[z] = append(zones[z], folder)
	}
	slices.Sort(names)
	var ring []string
	for i := 0; len(ring) < len(s.members()); i++ {
		for _, z := range names {
			if i < len(zones[z]) {
				ring = append(ring, zones[z][i])
			}
		}
	}
	return ring
}

// addGroup lays a group that a node is to lead: its other replicas are on the nodes that follow in the ring, in zones
// that it has not yet first, those that have fewest first.
func (s *State) addGroup(leader string) {
	ring := s.ring()
	at := slices.Index(ring, leader)
	s.LastID++
	g := Group{Number: len(s.Groups) + 1, Level: Fsync, Preferred: leader, Replicas: []Replica{{ID: s.LastID, Folder: leader}}}
	zones := map[string]bool{s.Nodes[leader].Zone: true}
	for len(g.Replicas) < min(replicas, len(ring)) {
		best := ""
		for i := 1; i < len(ring); i++ {
			f := ring[(at+i)%len(ring)]
			taken := slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Folder == f })
			if !taken && !s.Nodes[f].Draining && (best == "" || s.better(f, best, zones)) {
				best = f
			}
		}
		if best == "" {
			break
		}
		s.LastID++
		g.Replicas = append(g.Replicas, Replica{ID: s.LastID, Folder: best})
		zones[s.Nodes[best].Zone] = true
	}
	s.Groups = append(s.Groups, g)
}

// better reports whether a node is a better place than another one for the next replica of a group that is in some
// zones.
func (s *State) better(a, b string, zones map[string]bool) bool {
	if newA, newB := !zones[s.Nodes[a].Zone], !zones[s.Nodes[b].Zone]; newA != newB {
		return newA
	}
	return s.holds(a) < s.holds(b)
}

// addGroups lays the groups that come with a node.
func (s *State) addGroups(folder string) {
	for range perNode {
		s.addGroup(folder)
	}
}

// addMeta makes a node a replica of the map's own group: all have it, the first few decide.
func (s *State) addMeta(folder string) {
	s.LastID++
	s.Meta = append(s.Meta, Replica{ID: s.LastID, Folder: folder})
	s.settleMeta()
}

func (s *State) dropMeta(folder string) {
	s.Meta = slices.DeleteFunc(s.Meta, func(r Replica) bool { return r.Folder == folder })
	s.settleMeta()
}

// settleMeta has the first 3 decide, 5 from 7 nodes on.
func (s *State) settleMeta() {
	voters := 3
	if len(s.Meta) >= 7 {
		voters = 5
	}
	for i := range s.Meta {
		s.Meta[i].Learner = i >= voters
	}
}
