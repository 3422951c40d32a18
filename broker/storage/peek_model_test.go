package storage

import (
	"context"

	"brokerd/broker/topic"
)

// peek looks at a topic: it shows nothing that was not published, or whose publish was refused in this life.
func (n *node) peek() {
	t := n.randomTopic()
	l, err := t.Browse(context.Background(), topic.Look{From: 1, Limit: 1 + n.rng.IntN(200), Body: -1})
	if err != nil {
		if !n.faults && !n.crash.done() {
			n.fail("looking at %s: %v", t.Name(), err)
		}
		return
	}
	for i := range l.Messages {
		body := string(l.Messages[i].Body)
		switch m := n.messages[t.Name()+"/"+body]; {
		case m == nil:
			n.fail("%s shows %.12q, which nobody published", t.Name(), body)
		case !m.acked && m.at != settled:
			n.fail("%s shows %.12q, whose publish was refused", t.Name(), body)
		}
	}
}
