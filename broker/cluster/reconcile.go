package cluster

import (
	"cmp"
	"maps"
	"slices"
)

// Held is a topic that a group has.
type Held struct {
	Number uint32
	Name   string
}

// Step is one thing that brings a group to what the map says. Each can be done again without harm, by number.
type Step struct {
	Create *Held // make it
	Delete *Held // it is to go; OpForget follows when that is committed
	Forget *Held // it is gone, and the map does not know yet
}

// Steps returns what the leader of a group does, on taking the lead and at each change of the map, by the numbers of topics, and what the group
// has that the map does not mention: that is reported and kept, as the map may be behind, or have lost something. made is the highest number of
// a topic that the group ever made: one up to that which it does not have was deleted, and a map that has it all the same is behind.
func (s *State) Steps(group int, has []Held, made uint32) (steps []Step, unknown []Held) {
	byNumber := map[uint32]Held{}
	for _, h := range has {
		byNumber[h.Number] = h
	}
	mentioned := map[uint32]bool{}
	var names []string
	for name, t := range s.Topics {
		if t.Group == group {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(s.Topics[a].Number, s.Topics[b].Number) })
	for _, name := range names {
		t := s.Topics[name]
		mentioned[t.Number] = true
		topic := &Held{t.Number, name}
		switch _, there := byNumber[t.Number]; {
		case there && t.Deleting:
			steps = append(steps, Step{Delete: topic})
		case !there && t.Deleting:
			steps = append(steps, Step{Forget: topic})
		case !there && t.Number > made:
			steps = append(steps, Step{Create: topic})
		}
	}
	for _, h := range has {
		if !mentioned[h.Number] {
			unknown = append(unknown, h)
		}
	}
	return steps, unknown
}

// Strangers returns which groups a node's folder has that the map does not give it. They are put aside and reported,
// never removed.
func (s *State) Strangers(folder string, replicas map[int]uint64) (groups []int) {
	for _, number := range slices.Sorted(maps.Keys(replicas)) {
		g := s.group(number)
		own := func(r Replica) bool { return r.Folder == folder && r.ID == replicas[number] }
		if g == nil || !slices.ContainsFunc(g.Replicas, own) && (g.Move == nil || !own(g.Move.New)) {
			groups = append(groups, number)
		}
	}
	return groups
}

// ReplicaOn returns the replica of the group that a node has.
func (g *Group) ReplicaOn(folder string) (r Replica, ok bool) {
	for _, r := range g.Replicas {
		if r.Folder == folder {
			return r, true
		}
	}
	return r, false
}

// Begun reports whether the group has, or has had, a topic: only then it runs, and from then on its replicas stay where they are.
func (g *Group) Begun() bool { return g.LastTopic > 0 }
