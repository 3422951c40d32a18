package cluster

import (
	"slices"

	"brokerd/protocol/httpapi"
)

// Only returns the view as it would be if there were no other topics than those that see is true of.
func (v *View) Only(see func(topic string) bool) *View {
	only := &View{Seq: v.Seq, At: v.At, Lookups: slices.Clone(v.Lookups), Nodes: make([]*Node, len(v.Nodes))}
	for i := range only.Lookups {
		l := &only.Lookups[i]
		l.Topics = filtered(l.Topics, see)
		l.Nodes = slices.Clone(l.Nodes)
		for j := range l.Nodes {
			l.Nodes[j] = onlyOf(l.Nodes[j], see)
		}
	}
	for i, n := range v.Nodes {
		own := *n
		own.Sum, own.Channels = Figures{}, 0 // add counts them anew
		own.Topics, own.Tombstoned = nil, filtered(n.Tombstoned, see)
		for _, t := range n.Topics {
			if see(t.TopicName) {
				own.Topics = append(own.Topics, t)
			}
		}
		only.Nodes[i] = &own
	}
	only.add()
	return only
}

// onlyOf returns a lookup's word on a broker without other topics.
func onlyOf(n httpapi.Node, see func(topic string) bool) httpapi.Node {
	topics, tombstones := n.Topics, n.Tombstones
	n.Topics, n.Tombstones = nil, nil
	for i, t := range topics {
		if see(t) {
			n.Topics = append(n.Topics, t)
			n.Tombstones = append(n.Tombstones, i < len(tombstones) && tombstones[i])
		}
	}
	return n
}

func filtered(names []string, see func(topic string) bool) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !see(name) })
}
