package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is the map. Its fields are to be read; Apply alone changes it. As JSON it is what a checkpoint of group 0
// holds.
type State struct {
	Cluster string           `json:"cluster"` // id: hash of what it was founded from; empty: it was not
	Name    string           `json:"name"`
	Nodes   map[string]Node  `json:"nodes"`  // by the id of the folder
	Groups  []Group          `json:"groups"` // by number, from 1 on; group 0 is the map's own
	Meta    []Replica        `json:"meta"`   // of group 0
	Topics  map[string]Topic `json:"topics"` // by name
	Rules   []Rule           `json:"rules,omitempty"`
	Freed   []Freed          `json:"freed,omitempty"` // numbers of nodes that were removed
	LastID  uint64           `json:"last_id"`         // the last id that a replica of any group was given
}

// Node is a broker.
type Node struct {
	Number    int    `json:"number"` // prefix of the ids that it gives; -1: none yet, it is a candidate
	Name      string `json:"name"`
	Address   string `json:"address"`
	Zone      string `json:"zone,omitempty"`
	Candidate bool   `json:"candidate,omitempty"`
	Draining  bool   `json:"draining,omitempty"`
}

// Group is a group of replicas.
type Group struct {
	Number    int       `json:"number"`
	Level     string    `json:"level"` // fsync or disk
	Replicas  []Replica `json:"replicas"`
	Preferred string    `json:"preferred"` // the folder that is to lead it
	LastTopic uint32    `json:"last_topic"`
	Move      *Move     `json:"move,omitempty"`
}

// Replica is one of a group.
type Replica struct {
	ID      uint64 `json:"id"`
	Folder  string `json:"folder"`
	Learner bool   `json:"learner,omitempty"`
}

// Move is one replica taking the place of another one.
type Move struct {
	Old uint64  `json:"old"`
	New Replica `json:"new"`
}

// Topic is a topic that is in a group.
type Topic struct {
	Group    int             `json:"group"`
	Number   uint32          `json:"number"` // in the group
	Options  json.RawMessage `json:"options,omitempty"`
	Deleting bool            `json:"deleting,omitempty"`
}

// Rule says how many replicas topics have whose name a pattern of path.Match fits. The first that fits counts.
type Rule struct {
	Pattern  string `json:"pattern"`
	Replicas int    `json:"replicas"` // 1: none but itself, local to a broker; 3 or 5
}

// Freed is the number of a node that was removed.
type Freed struct {
	Number int   `json:"number"`
	At     int64 `json:"at"` // Unix seconds
}

const (
	// MaxNumber is the highest number of a node.
	MaxNumber = 1023
	// rest is how long a number is given to nobody after its node was removed: until then messages with ids of it may
	// be anywhere.
	rest = 24 * time.Hour
	// perNode is how many groups there are for each node.
	perNode = 2
	// maxCandidates is how many nodes may wait to be let in.
	maxCandidates = 64
	// maxText is how many bytes a name or an address of a node may have.
	maxText = 255
)

// Levels of groups.
const (
	Fsync = "fsync"
	Disk  = "disk"
)

// ErrRefused is a command that is not carried out: the state is as it was.
var ErrRefused = errors.New("refused")

// ErrNoNode is an ErrRefused about a node that the map does not have.
var ErrNoNode = fmt.Errorf("%w: no node", ErrRefused)

func noNode(text string) error { return fmt.Errorf("%w is called %q", ErrNoNode, text) }

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Clone returns a copy that shares nothing that Apply changes.
func (s *State) Clone() *State {
	c := *s
	c.Nodes, c.Topics, c.Rules, c.Freed, c.Meta = maps.Clone(s.Nodes), maps.Clone(s.Topics), slices.Clone(s.Rules), slices.Clone(s.Freed), slices.Clone(s.Meta)
	c.Groups = slices.Clone(s.Groups)
	for i := range c.Groups {
		g := &c.Groups[i]
		g.Replicas = slices.Clone(g.Replicas)
		if g.Move != nil {
			move := *g.Move
			g.Move = &move
		}
	}
	return &c
}

// members returns the folders of nodes that are no candidates, sorted.
func (s *State) members() (folders []string) {
	for _, folder := range slices.Sorted(maps.Keys(s.Nodes)) {
		if !s.Nodes[folder].Candidate {
			folders = append(folders, folder)
		}
	}
	return folders
}

// group returns a group by its number, nil when there is none.
func (s *State) group(number int) *Group {
	if number < 1 || number > len(s.Groups) {
		return nil
	}
	return &s.Groups[number-1]
}

// holds counts the replicas of a node, those that are on their way to it included.
func (s *State) holds(folder string) (n int) {
	for _, g := range s.Groups {
		for _, r := range g.Replicas {
			if r.Folder == folder {
				n++
			}
		}
		if g.Move != nil && g.Move.New.Folder == folder {
			n++
		}
	}
	return n
}

// moving reports whether a node is in a move.
func (s *State) moving(folder string) bool {
	return slices.ContainsFunc(s.Groups, func(g Group) bool {
		if g.Move == nil {
			return false
		}
		i := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.ID == g.Move.Old })
		return g.Move.New.Folder == folder || i >= 0 && g.Replicas[i].Folder == folder
	})
}

// number returns one that no node has, or had within the last day before a time.
func (s *State) number(now int64) (int, error) {
	used := map[int]bool{}
	for _, n := range s.Nodes {
		used[n.Number] = true
	}
	for _, f := range s.Freed {
		used[f.Number] = used[f.Number] || now-f.At < int64(rest/time.Second)
	}
	for n := range MaxNumber + 1 {
		if !used[n] {
			return n, nil
		}
	}
	return 0, refuse("all numbers of nodes, 0 to %d, are in use or were within the last day", MaxNumber)
}

// Check says what cannot be: a state is never that, whatever commands were applied.
func (s *State) Check() error {
	numbers, ids := map[int]string{}, map[uint64]bool{}
	for folder, n := range s.Nodes {
		if n.Candidate {
			continue
		}
		if other, taken := numbers[n.Number]; taken || n.Number < 0 || n.Number > MaxNumber {
			return fmt.Errorf("node %s has number %d, as node %q, or it cannot be", folder, n.Number, other)
		}
		numbers[n.Number] = folder
	}
	groups := append([]Group{{Replicas: s.Meta}}, s.Groups...)
	for i, g := range groups {
		if g.Number != i {
			return fmt.Errorf("group %d is in the place of group %d", g.Number, i)
		}
		folders := map[string]bool{}
		replicas := slices.Clone(g.Replicas)
		if g.Move != nil {
			old := slices.IndexFunc(replicas, func(r Replica) bool { return r.ID == g.Move.Old })
			if old < 0 {
				return fmt.Errorf("group %d moves replica %d, which it has not", i, g.Move.Old)
			}
			if replicas[old].Folder == g.Move.New.Folder { // it comes back to the same node
				ids[g.Move.Old] = true
				replicas = slices.Delete(replicas, old, old+1)
			}
			replicas = append(replicas, g.Move.New)
		}
		for _, r := range replicas {
			n, known := s.Nodes[r.Folder]
			if folders[r.Folder] || ids[r.ID] || r.ID > s.LastID || !known || n.Candidate {
				return fmt.Errorf("group %d has replica %d on node %s, which cannot be", i, r.ID, r.Folder)
			}
			folders[r.Folder], ids[r.ID] = true, true
		}
	}
	topics := map[[2]uint64]bool{}
	for name, t := range s.Topics {
		g := s.group(t.Group)
		key := [2]uint64{uint64(t.Group), uint64(t.Number)}
		if g == nil || t.Number == 0 || t.Number > g.LastTopic || topics[key] {
			return fmt.Errorf("topic %s is number %d of group %d, which cannot be", name, t.Number, t.Group)
		}
		topics[key] = true
	}
	return nil
}
