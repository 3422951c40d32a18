package cluster

import (
	"context"
	"fmt"
	"sync"

	"brokerd/protocol/httpapi"
)

// Deferred is what one broker shows of the messages that a channel has deferred.
type Deferred struct {
	Node     string
	Total    int                       // messages there in all
	Messages []httpapi.DeferredMessage // the first ones, by when they are due
	Err      error
}

// deferredOfNode is how many deferred messages of each broker are looked at.
const deferredOfNode = 100

// Deferred asks the brokers that have a channel for the first messages that it has deferred. Those that have no such channel, or cannot list
// messages as nsqd, are left out. The error is ErrNothing when nobody has the topic.
func (c *Cluster) Deferred(ctx context.Context, topic, channel string) ([]Deferred, error) {
	nodes, _, err := c.concerned(ctx, topic)
	if err != nil {
		return nil, err
	}
	all := make([]Deferred, len(nodes))
	var asks sync.WaitGroup
	for i, n := range nodes {
		asks.Go(func() {
			var m httpapi.DeferredMessages
			err := c.cfg.HTTP.Get(ctx, fmt.Sprintf("http://%s/channel/deferred%s&limit=%d", n.Address, args(topic, channel), deferredOfNode), &m)
			all[i] = Deferred{Node: n.ID, Total: m.Deferred, Messages: m.Messages, Err: err}
		})
	}
	asks.Wait()
	var list []Deferred
	for _, d := range all {
		if d.Err == nil || !unknownThere(d.Err) && !refusedThere(d.Err) {
			list = append(list, d)
		}
	}
	return list, nil
}

// Reschedule has one broker drop a deferred message of a channel, or deliver it now. The error is ErrUnknownNode, or ErrNothing when the
// message is not deferred there any more.
func (c *Cluster) Reschedule(ctx context.Context, node, topic, channel string, position uint64, id string, release bool) error {
	n := c.FindNode(ctx, node)
	if n == nil {
		return ErrUnknownNode
	}
	verb := "cancel"
	if release {
		verb = "release"
	}
	result := c.tellNodes(ctx, []*Node{n}, "/message/"+verb+args(topic, channel)+which(position, id), nil)[0]
	if unknownThere(result.Err) {
		return ErrNothing
	}
	if result.Err != nil {
		return &NodeError{Node: n.ID, Age: -1, Err: result.Err}
	}
	return nil
}
