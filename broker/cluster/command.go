package cluster

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
)

// Op is what a Command does. The values are in the log.
type Op string

// The operations.
const (
	OpFound   Op = "found"   // the first: State
	OpJoin    Op = "join"    // Folder, Node: a candidate, or what has changed of one that is known
	OpAdmit   Op = "admit"   // Folder becomes a member; with Old it takes the place of that node in its groups
	OpDrain   Op = "drain"   // Folder gets no more replicas, or gets them again: On
	OpRemove  Op = "remove"  // Folder, which has no replicas, at Time
	OpMove    Op = "move"    // of Group, the replica Old goes to Folder
	OpMoved   Op = "moved"   // of Group, that is done: Old was its id
	OpAbandon Op = "abandon" // of Group, it will not be: Old was its id
	OpCreate  Op = "create"  // Topic with Options, Level; Load says how busy groups are
	OpDelete  Op = "delete"  // Topic is to go
	OpForget  Op = "forget"  // Topic, of Group and Number, is gone from its group
	OpRules   Op = "rules"   // Rules, in place of all
	OpRejoin  Op = "rejoin"  // Folder, whose replica of the map's own group, Replica, has forgotten something, gets another id
)

// Command is a change of the map.
type Command struct {
	Op      Op              `json:"op"`
	State   *State          `json:"state,omitempty"`
	Folder  string          `json:"folder,omitempty"`
	Node    *Node           `json:"node,omitempty"`
	Old     string          `json:"old,omitempty"`
	Replica uint64          `json:"replica,omitempty"`
	Group   int             `json:"group,omitempty"`
	Number  uint32          `json:"number,omitempty"`
	Topic   string          `json:"topic,omitempty"`
	Options json.RawMessage `json:"options,omitempty"`
	Level   string          `json:"level,omitempty"`
	Load    map[int]float64 `json:"load,omitempty"` // bytes a second, by group
	Rules   []Rule          `json:"rules,omitempty"`
	On      bool            `json:"on,omitempty"`
	Time    int64           `json:"time,omitempty"` // Unix seconds, of who proposed it
	ID      uint64          `json:"id,omitempty"`   // whoever asked for it knows by this that it was carried out; changes nothing
}

// ParseCommand reads a Command, as Append writes it.
func ParseCommand(b []byte) (c Command, err error) {
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("command of the map: %w", err)
	}
	if handlers[c.Op] == nil {
		return c, fmt.Errorf("command %q of the map is not known to this version", c.Op)
	}
	return c, nil
}

// Append appends a Command.
func (c Command) Append(dst []byte) ([]byte, error) {
	b, err := json.Marshal(c)
	return append(dst, b...), err
}

// handlers carry commands out on a copy, which counts if they return nil.
var handlers = map[Op]func(*State, *Command) error{
	OpFound: (*State).found, OpJoin: (*State).join, OpAdmit: (*State).admit, OpDrain: (*State).drain, OpRemove: (*State).remove, OpMove: (*State).move,
	OpMoved: (*State).moved, OpAbandon: (*State).abandon, OpCreate: (*State).create, OpDelete: (*State).delete, OpForget: (*State).forget, OpRules: (*State).rules,
	OpRejoin: (*State).rejoin,
}

// Apply carries out a command. An ErrRefused changes nothing. The same commands in the same order give the same state
// on every node.
func (s *State) Apply(c Command) error {
	handle := handlers[c.Op]
	if handle == nil {
		return fmt.Errorf("command %q of the map is not known to this version", c.Op)
	}
	switch {
	case s.Cluster == "" && c.Op != OpFound:
		return refuse("there is no cluster yet")
	case s.Cluster != "" && c.Op == OpFound: // who asks for it wants to know the map as of now
		return refuse("cluster %s was founded before", s.Cluster)
	}
	next := s.Clone()
	if err := handle(next, &c); err != nil {
		return err
	}
	*s = *next
	return nil
}

func (s *State) found(c *Command) error {
	if c.State == nil || c.State.Cluster == "" {
		return refuse("a cluster cannot be founded without its first state")
	}
	if err := c.State.Check(); err != nil {
		return refuse("%v", err)
	}
	*s = *c.State.Clone()
	if s.Topics == nil {
		s.Topics = map[string]Topic{}
	}
	if s.Nodes == nil {
		s.Nodes = map[string]Node{}
	}
	return nil
}

func (s *State) join(c *Command) error {
	if c.Folder == "" || c.Node == nil || c.Node.Address == "" {
		return refuse("a node joins with its folder and its address")
	}
	if len(c.Folder) > maxText || len(c.Node.Name) > maxText || len(c.Node.Address) > maxText || len(c.Node.Zone) > maxText {
		return refuse("a name or an address of a node has more than %d bytes", maxText)
	}
	n, known := s.Nodes[c.Folder]
	if !known {
		if len(s.Nodes)-len(s.members()) >= maxCandidates {
			return refuse("%d nodes wait to be let in, which are as many as may", maxCandidates)
		}
		n = Node{Number: -1, Candidate: true}
	}
	n.Name, n.Address, n.Zone = c.Node.Name, c.Node.Address, c.Node.Zone
	for folder, other := range s.Nodes {
		if folder != c.Folder && other.Address == n.Address && !other.Candidate && known && !n.Candidate {
			return refuse("node %s has address %s", other.Name, n.Address)
		}
	}
	s.Nodes[c.Folder] = n
	return nil
}

func (s *State) admit(c *Command) error {
	n, known := s.Nodes[c.Folder]
	switch {
	case !known:
		return noNode(c.Folder)
	case !n.Candidate:
		return refuse("node %s is no candidate", n.Name)
	}
	number, err := s.number(c.Time)
	if err != nil {
		return err
	}
	n.Number, n.Candidate = number, false
	s.Nodes[c.Folder] = n
	if c.Old != "" {
		return s.takeOver(c)
	}
	s.addMeta(c.Folder)
	s.addGroups(c.Folder)
	return nil
}

// takeOver has a node take the place of another one wherever that has a replica.
func (s *State) takeOver(c *Command) error {
	old, known := s.Nodes[c.Old]
	switch {
	case !known:
		return noNode(c.Old)
	case old.Candidate || s.moving(c.Old):
		return refuse("node %s cannot be replaced: it is no member, or a replica of it is being moved", old.Name)
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		for _, r := range g.Replicas {
			if r.Folder == c.Old {
				if g.Move != nil {
					return refuse("group %d is changing", g.Number)
				}
				if g.Begun() {
					return refuse("node %s has a replica of group %d, which has topics, and those cannot move yet", old.Name, g.Number)
				}
				s.LastID++
				g.Move = &Move{Old: r.ID, New: Replica{ID: s.LastID, Folder: c.Folder}}
			}
		}
		if g.Preferred == c.Old {
			g.Preferred = c.Folder
		}
	}
	for i, r := range s.Meta {
		if r.Folder == c.Old {
			s.LastID++
			s.Meta[i] = Replica{ID: s.LastID, Folder: c.Folder, Learner: r.Learner}
		}
	}
	old.Draining = true
	s.Nodes[c.Old] = old
	return nil
}

func (s *State) drain(c *Command) error {
	n, known := s.Nodes[c.Folder]
	switch {
	case !known:
		return noNode(c.Folder)
	case n.Candidate:
		return refuse("node %s is no member", n.Name)
	}
	n.Draining = c.On
	s.Nodes[c.Folder] = n
	return nil
}

func (s *State) remove(c *Command) error {
	n, known := s.Nodes[c.Folder]
	switch {
	case !known:
		return noNode(c.Folder)
	case s.holds(c.Folder) > 0:
		return refuse("node %s has replicas of %d groups; drain it first", n.Name, s.holds(c.Folder))
	case !n.Candidate && len(s.members()) == 1:
		return refuse("node %s is the last one", n.Name)
	}
	delete(s.Nodes, c.Folder)
	if !n.Candidate {
		s.Freed = slices.DeleteFunc(s.Freed, func(f Freed) bool { return c.Time-f.At > int64(2*rest.Seconds()) })
		s.Freed = append(s.Freed, Freed{n.Number, c.Time})
		s.dropMeta(c.Folder)
	}
	return nil
}

func (s *State) move(c *Command) error {
	g := s.group(c.Group)
	n, known := s.Nodes[c.Folder]
	if g == nil || !known || n.Candidate || n.Draining {
		return refuse("a replica of group %d cannot go to node %q", c.Group, c.Folder)
	}
	i := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.ID == c.Replica })
	switch {
	case i < 0:
		return refuse("group %d has no replica %d", g.Number, c.Replica)
	case g.Begun():
		return refuse("group %d has topics, and its replicas cannot move yet", g.Number)
	case g.Move != nil || s.moving(c.Folder) || s.moving(g.Replicas[i].Folder):
		return refuse("one move at a time: group %d, or a node of it, is in one", g.Number)
	case slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Folder == c.Folder && r.ID != c.Replica }):
		return refuse("node %s has a replica of group %d already", n.Name, g.Number)
	}
	s.LastID++ // also to the same node: what has forgotten something comes back under another id
	g.Move = &Move{Old: c.Replica, New: Replica{ID: s.LastID, Folder: c.Folder}}
	return nil
}

func (s *State) moved(c *Command) error {
	g := s.group(c.Group)
	if g == nil || g.Move == nil || g.Move.Old != c.Replica {
		return refuse("group %d is not moving replica %d", c.Group, c.Replica)
	}
	i := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.ID == g.Move.Old })
	if g.Preferred == g.Replicas[i].Folder {
		g.Preferred = g.Move.New.Folder
	}
	g.Replicas[i], g.Move = g.Move.New, nil
	return nil
}

func (s *State) abandon(c *Command) error {
	g := s.group(c.Group)
	if g == nil || g.Move == nil || g.Move.Old != c.Replica {
		return refuse("group %d is not moving replica %d", c.Group, c.Replica)
	}
	g.Move = nil // its id is used up all the same
	return nil
}

// create is done once: the second command for a name changes nothing and is no error, so that whoever proposed it
// looks the topic up.
func (s *State) create(c *Command) error {
	if t, known := s.Topics[c.Topic]; known {
		if t.Deleting {
			return refuse("topic %s is being deleted", c.Topic)
		}
		return nil
	}
	best := -1
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Level == c.Level && len(g.Replicas) >= replicas && g.Move == nil && (best < 0 || s.lighter(g, &s.Groups[best], c.Load)) {
			best = i
		}
	}
	if c.Topic == "" || best < 0 {
		return refuse("topic %q: there is no group of level %q with %d replicas, none of which is being moved", c.Topic, c.Level, replicas)
	}
	g := &s.Groups[best]
	g.LastTopic++
	s.Topics[c.Topic] = Topic{Group: g.Number, Number: g.LastTopic, Options: c.Options}
	return nil
}

// lighter reports whether a group has less to do than another one.
func (s *State) lighter(a, b *Group, load map[int]float64) bool {
	if load[a.Number] != load[b.Number] {
		return load[a.Number] < load[b.Number]
	}
	return s.topicsOf(a.Number) < s.topicsOf(b.Number)
}

func (s *State) topicsOf(group int) (n int) {
	for _, t := range s.Topics {
		if t.Group == group {
			n++
		}
	}
	return n
}

func (s *State) delete(c *Command) error {
	t, known := s.Topics[c.Topic]
	if !known {
		return nil // deleting twice is no error
	}
	t.Deleting = true
	s.Topics[c.Topic] = t
	return nil
}

func (s *State) forget(c *Command) error {
	t, known := s.Topics[c.Topic]
	if !known || t.Group != c.Group || t.Number != c.Number {
		return nil // it was done before
	}
	if !t.Deleting {
		return refuse("topic %s is not being deleted", c.Topic)
	}
	delete(s.Topics, c.Topic)
	return nil
}

func (s *State) rules(c *Command) error {
	for _, r := range c.Rules {
		if _, err := path.Match(r.Pattern, ""); err != nil || r.Pattern == "" {
			return refuse("%q is no pattern of topics", r.Pattern)
		}
		if r.Replicas != 1 && r.Replicas != 3 && r.Replicas != 5 {
			return refuse("%d replicas: 1, 3 and 5 are allowed, as an even number survives no more than the odd one below it", r.Replicas)
		}
	}
	s.Rules = c.Rules
	return nil
}

// ReplicasOf returns how many replicas a topic is to have that is made now.
func (s *State) ReplicasOf(topic string) int {
	for _, r := range s.Rules {
		if fits, _ := path.Match(r.Pattern, topic); fits {
			return r.Replicas
		}
	}
	return 1
}
