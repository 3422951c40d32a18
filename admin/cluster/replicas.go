package cluster

import (
	"slices"

	"brokerd/protocol/httpapi"
)

// The words of httpapi.Topic.Role.
const (
	leader   = "leader"
	follower = "follower"
)

// settleLeads has each replicated topic counted once. When its leader dies another broker leads it, and what the dead one said last is of the same
// messages: so of several brokers that say that they lead, only the newest word counts, and the others are shown as followers, which have no figures.
func (v *View) settleLeads() {
	leads := map[string]*Node{} // by topic
	several := false
	for _, n := range v.Nodes {
		for _, t := range n.Topics {
			if t.Role != leader {
				continue
			}
			other := leads[t.TopicName]
			if several = several || other != nil; other == nil || n.newer(other) {
				leads[t.TopicName] = n
			}
		}
	}
	if !several {
		return
	}
	for _, n := range v.Nodes {
		copied := false
		for i, t := range n.Topics {
			if t.Role != leader || leads[t.TopicName] == n {
				continue
			}
			if !copied { // the list is the answer's
				n.Topics, copied = slices.Clone(n.Topics), true
			}
			n.Topics[i] = following(t)
		}
	}
}

// newer reports whether what n says is of a later moment than what other does.
func (n *Node) newer(other *Node) bool {
	if n.Stale != other.Stale {
		return other.Stale
	}
	return n.At.After(other.At)
}

// following is what a follower would say of a topic.
func following(t *NodeTopic) *NodeTopic {
	out := &NodeTopic{Topic: &httpapi.Topic{TopicName: t.TopicName, Paused: t.Paused, Role: follower}, Channels: make([]NodeChannel, len(t.Channels))}
	out.Topic.Channels = make([]httpapi.Channel, len(t.Channels))
	for i, c := range t.Channels {
		out.Topic.Channels[i] = httpapi.Channel{ChannelName: c.ChannelName, Paused: c.Paused}
		out.Channels[i].Channel = &out.Topic.Channels[i]
	}
	return out
}

// speaking leaves out, of brokers that are asked about a topic, replicas of it that another one stands for: each of them shows what its leader has,
// and has the leader do what it is asked.
func speaking(nodes []*Node, topic string) []*Node {
	var one *Node
	for _, n := range nodes {
		if t := n.Topic(topic); t != nil && t.Role != "" && (one == nil || n.speaksBetter(one, topic)) {
			one = n
		}
	}
	if one == nil {
		return nodes
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool {
		t := n.Topic(topic)
		return n != one && t != nil && t.Role != ""
	})
}

// speaksBetter reports whether n is to be asked rather than other, of two replicas: one that answers, and of those the one that leads.
func (n *Node) speaksBetter(other *Node, topic string) bool {
	if n.Stale != other.Stale {
		return other.Stale
	}
	return n.Topic(topic).Role == leader && other.Topic(topic).Role != leader
}
