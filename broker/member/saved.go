package member

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
)

// Saved is what a node must not forget as a member. It is the field cluster of the manifest.
type Saved struct {
	Name    string         `json:"name"`              // of the cluster
	Cluster string         `json:"cluster,omitempty"` // its id; empty: the node was never let in
	Left    string         `json:"left,omitempty"`    // why it is no member any more
	Life    replica.Life   `json:"life"`              // this start of the folder
	Lives   replica.Lives  `json:"lives,omitempty"`   // the newest starts of others that were seen
	Map     *replica.Start `json:"map,omitempty"`     // of the replica of group 0; absent: there is none

	Groups map[uint32]*replica.Start `json:"groups,omitempty"` // of replicas of groups of topics

	// Vowed is the longest election timeout of this start, and of those before it that leaders may still rely on.
	Vowed time.Duration `json:"vowed,omitempty"`
}

// mapGroup is the group that keeps the map.
const mapGroup = 0

// parse reads what a manifest has, nil for nothing.
func parse(raw json.RawMessage) (s Saved, err error) {
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("field cluster of the manifest: %w", err)
		}
	}
	if s.Lives == nil {
		s.Lives = replica.Lives{}
	}
	return s, nil
}

// clone returns a copy that shares nothing that is changed.
func (s Saved) clone() Saved {
	s.Lives = maps.Clone(s.Lives)
	if s.Map != nil {
		start := *s.Map
		s.Map = &start
	}
	s.Groups = maps.Clone(s.Groups)
	for number, start := range s.Groups {
		own := *start
		s.Groups[number] = &own
	}
	return s
}

// enter puts it into a manifest, with the groups' checkpoints.
func (s *Saved) enter(m *manifest.Manifest, files map[uint32]manifest.GroupCheckpoint) {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("member: it cannot be encoded: %v", err)) // numbers and texts only
	}
	m.Cluster, m.Groups = b, nil
	if s.Map != nil {
		m.Groups = []manifest.Group{{Number: mapGroup, From: s.Map.From, File: files[mapGroup]}}
	}
	for _, number := range slices.Sorted(maps.Keys(s.Groups)) {
		m.Groups = append(m.Groups, manifest.Group{Number: number, From: s.Groups[number].From, File: files[number]})
	}
}

// ErrName is a folder of another cluster than the one that is asked for.
var ErrName = errors.New("the data folder is of another cluster")

// Unused returns an error when a broker that is to be in no cluster has the folder of a member: started alone it would be missed
// there, and hold back its own log.
func Unused(raw json.RawMessage) error {
	s, err := parse(raw)
	if err != nil || s.Cluster == "" || s.Left != "" {
		return err
	}
	return fmt.Errorf("%w: it is a member of %q: start with --cluster-name=%s, or have it removed there first (brokerctl cluster remove)", ErrName, s.Name, s.Name)
}

// whole is what the group's checkpoint holds: the map, and the point of the group's log that it stands for.
type whole struct {
	Point replica.Point  `json:"point"`
	Map   *cluster.State `json:"map"`
}

func (w *whole) encode() []byte {
	b, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("member: the map cannot be encoded: %v", err)) // numbers and texts only
	}
	return b
}

func decodeWhole(b []byte) (*whole, error) {
	w := new(whole)
	if err := json.Unmarshal(b, w); err != nil {
		return nil, fmt.Errorf("the map of a cluster: %w", err)
	}
	if w.Map == nil || w.Map.Cluster == "" || w.Point.Index == 0 || len(w.Point.Members.Voters) == 0 {
		return nil, errors.New("the map of a cluster: it says nothing")
	}
	if err := w.Map.Check(); err != nil {
		return nil, fmt.Errorf("the map of a cluster: %w", err)
	}
	return w, nil
}
