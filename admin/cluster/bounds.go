package cluster

import (
	"slices"

	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// What one admind takes of what lookups tell. Whoever can register with a lookup can have it name anything.
const (
	maxBrokers = 2000    // that are asked
	maxNames   = 100_000 // topics of a lookup, and of one broker there
)

// bound leaves out of a lookup's answer what nobody can be asked for, and what is too much.
func (c *Cluster) bound(lookup string, nodes *httpapi.Nodes, topics *httpapi.Topics) {
	before := len(nodes.Producers)
	nodes.Producers = slices.DeleteFunc(nodes.Producers, func(n httpapi.Node) bool {
		return !protocol.ValidHost(n.BroadcastAddress) || n.HTTPPort < 1 || n.HTTPPort > 65535 || n.TCPPort < 1 || n.TCPPort > 65535
	})
	if bad := before - len(nodes.Producers); bad > 0 {
		c.cfg.Log.Warn("a lookup names brokers whose addresses cannot be", "lookup", lookup, "brokers", bad)
	}
	if len(nodes.Producers) > 2*maxBrokers { // some may be known already
		nodes.Producers = slices.Clone(nodes.Producers[:2*maxBrokers])
	}
	for i := range nodes.Producers {
		if n := &nodes.Producers[i]; len(n.Topics) > maxNames {
			n.Topics = slices.Clone(n.Topics[:maxNames])
			n.Tombstones = n.Tombstones[:min(len(n.Tombstones), maxNames)]
		}
	}
	if len(topics.Topics) > maxNames {
		c.cfg.Log.Warn("a lookup names more topics than are shown", "lookup", lookup, "topics", len(topics.Topics), "shown", maxNames)
		topics.Topics = slices.Clone(topics.Topics[:maxNames])
	}
}
