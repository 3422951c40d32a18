package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"brokerd/protocol/httpapi"
)

// Letters is what one broker shows of a dead letter topic.
type Letters struct {
	Node     string
	Messages []httpapi.Message // without their bodies
	More     bool              // there are others behind them
	Err      error
}

// lettersOfNode is how many dead letters of each broker are looked at.
const lettersOfNode = 100

// Letters asks the brokers to which dead letters of a topic have come for the first ones, without their bodies. Other messages of it are left out. The error
// is ErrNothing when nobody has the topic.
func (c *Cluster) Letters(ctx context.Context, topic string) ([]Letters, error) {
	nodes, _, err := c.concerned(ctx, topic)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool {
		t := n.Topic(topic)
		return t == nil || !t.DeadLetters
	})
	all := make([]Letters, len(nodes))
	var asks sync.WaitGroup
	for i, n := range nodes {
		asks.Go(func() {
			var m httpapi.Messages
			err := c.cfg.HTTP.Get(ctx, fmt.Sprintf("http://%s/topic/messages%s&body=none&limit=%d", n.Address, args(topic, ""), lettersOfNode), &m)
			m.Messages = slices.DeleteFunc(m.Messages, func(m httpapi.Message) bool { return m.Properties["dead_letter.topic"] == "" })
			all[i] = Letters{Node: n.ID, Messages: m.Messages, More: err == nil && !m.End, Err: err}
		})
	}
	asks.Wait()
	var list []Letters
	for _, l := range all {
		if l.Err == nil || !unknownThere(l.Err) && !refusedThere(l.Err) {
			list = append(list, l)
		}
	}
	return list, nil
}
