package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MetaStep is one change of the members of the map's own group, as its engine has them, towards what the map says. One of
// its fields is set; with Replace and Add both, the new replica takes the place of the old one.
type MetaStep struct {
	Add, Replace, Promote, Demote, Remove uint64
	HandOver                              bool // who leads is to go, or to be a learner: another one leads first
}

// NextMeta returns the next step; ok is false when all is as the map says. self is the replica that leads.
func (s *State) NextMeta(voters, learners []uint64, self uint64) (step MetaStep, ok bool) {
	wanted := map[uint64]bool{} // by id, whether it is to vote
	for _, r := range s.Meta {
		wanted[r.ID] = !r.Learner
	}
	stale := uint64(0) // the engine has it, and the map has not
	for _, id := range slices.Concat(voters, learners) {
		if _, known := wanted[id]; !known && (stale == 0 || stale == self) {
			stale = id
		}
	}
	for _, r := range s.Meta {
		if slices.Contains(voters, r.ID) || slices.Contains(learners, r.ID) {
			continue
		}
		if stale != 0 && stale != self {
			return MetaStep{Add: r.ID, Replace: stale}, true
		}
		return MetaStep{Add: r.ID}, true
	}
	for _, id := range learners {
		if wanted[id] {
			return MetaStep{Promote: id}, true
		}
	}
	if stale != 0 {
		return MetaStep{Remove: stale, HandOver: stale == self}, true
	}
	for _, id := range voters {
		if !wanted[id] {
			return MetaStep{Demote: id, HandOver: id == self}, true
		}
	}
	return MetaStep{}, false
}

// NextDuty returns a command that the leader of the map proposes by itself, ok false when there is none: a move that is done,
// as no group has anything to move yet; a move away from a node that is being drained; the end of a node that was replaced.
// now is in Unix seconds.
func (s *State) NextDuty(now int64) (c Command, ok bool) {
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Move != nil && !g.Begun() {
			return Command{Op: OpMoved, Group: g.Number, Replica: g.Move.Old}, true
		}
	}
	for _, folder := range s.members() {
		if !s.Nodes[folder].Draining {
			continue
		}
		if s.holds(folder) == 0 && !slices.ContainsFunc(s.Meta, func(r Replica) bool { return r.Folder == folder }) {
			return Command{Op: OpRemove, Folder: folder, Time: now}, true
		}
		if c, ok := s.moveAway(folder); ok {
			return c, true
		}
	}
	return Command{}, false
}

// moveAway returns a move of a replica from a node to the best one that can have it.
func (s *State) moveAway(folder string) (c Command, ok bool) {
	if s.moving(folder) {
		return c, false
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		at := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.Folder == folder })
		if at < 0 || g.Move != nil || g.Begun() {
			continue
		}
		zones, best := map[string]bool{}, ""
		for _, r := range g.Replicas {
			zones[s.Nodes[r.Folder].Zone] = zones[s.Nodes[r.Folder].Zone] || r.Folder != folder
		}
		for _, f := range s.members() {
			taken := slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Folder == f })
			if !taken && !s.Nodes[f].Draining && !s.moving(f) && (best == "" || s.better(f, best, zones)) {
				best = f
			}
		}
		if best != "" {
			return Command{Op: OpMove, Group: g.Number, Replica: g.Replicas[at].ID, Folder: best}, true
		}
	}
	return c, false
}

// rejoin is done once: who asks again finds the new id.
func (s *State) rejoin(c *Command) error {
	i := slices.IndexFunc(s.Meta, func(r Replica) bool { return r.Folder == c.Folder })
	if i < 0 {
		return refuse("node %q has no replica of the map", c.Folder)
	}
	if s.Meta[i].ID == c.Replica {
		s.LastID++
		s.Meta[i].ID = s.LastID
	}
	return nil
}

// MetaOf returns the replica of the map's own group that a node has.
func (s *State) MetaOf(folder string) (r Replica, ok bool) {
	i := slices.IndexFunc(s.Meta, func(r Replica) bool { return r.Folder == folder })
	if i < 0 {
		return r, false
	}
	return s.Meta[i], true
}

// Holds returns how many replicas of groups a node has, those that are on their way to it included.
func (s *State) Holds(folder string) int { return s.holds(folder) }

// Find returns the folder of the node that a text means: its folder, the beginning of that that no other has, its name or its
// address.
func (s *State) Find(text string) (folder string, err error) {
	var found []string
	for _, f := range slices.Sorted(maps.Keys(s.Nodes)) {
		n := s.Nodes[f]
		if f == text {
			return f, nil
		}
		if text != "" && (n.Name == text || n.Address == text || len(text) >= 4 && strings.HasPrefix(f, text)) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return "", noNode(text)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: %d nodes are called %q: say which by the beginning of a folder's id: %s", ErrRefused, len(found), text, strings.Join(found, ", "))
}

// MetaMembers returns the voters and learners of the map's own group.
func (s *State) MetaMembers() (voters, learners []uint64) {
	for _, r := range s.Meta {
		if r.Learner {
			learners = append(learners, r.ID)
		} else {
			voters = append(voters, r.ID)
		}
	}
	return voters, learners
}
