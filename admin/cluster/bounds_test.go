package cluster

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"brokerd/protocol/httpapi"
)

func named(host string) httpapi.Node {
	return httpapi.Node{Producer: httpapi.Producer{BroadcastAddress: host, TCPPort: 4150, HTTPPort: 4151}}
}

// TestWhatLookupsTellIsBounded: more brokers than can be are not asked, those that were known first stay, what has no address is left out,
// and all of it is forgotten when the lookup no longer tells of it.
func TestWhatLookupsTellIsBounded(t *testing.T) {
	c := New(Config{Lookups: []string{"l:1"}, Log: slog.New(slog.DiscardHandler)})
	now := time.Now()
	tell := func(nodes []httpapi.Node, topics []string) {
		n, names := httpapi.Nodes{Producers: nodes}, httpapi.Topics{Topics: topics}
		c.bound("l:1", &n, &names)
		l := c.lists[0]
		l.nodes, l.topics, l.at = n.Producers, names.Topics, now
		c.adopt(now)
	}
	tell([]httpapi.Node{named("real.example"), named("a host"), named("<b>"), named("evil.example/path"), named("")}, nil)
	if len(c.nodes) != 1 || c.nodes["real.example:4151"] == nil {
		t.Errorf("%d brokers are asked", len(c.nodes))
	}
	flood := []httpapi.Node{}
	for i := range 6000 {
		flood = append(flood, named(fmt.Sprintf("b%d.example", i)))
	}
	flood = append(flood, named("real.example"))
	topics := make([]string, 3*maxNames)
	tell(flood, topics)
	if len(c.nodes) != maxBrokers || c.nodes["real.example:4151"] == nil || len(c.lists[0].topics) != maxNames {
		t.Errorf("%d brokers are asked, %d topics kept", len(c.nodes), len(c.lists[0].topics))
	}
	tell([]httpapi.Node{named("real.example")}, nil)
	now = now.Add(forgetUnheard + time.Second)
	tell([]httpapi.Node{named("real.example")}, nil)
	if len(c.nodes) != 1 {
		t.Errorf("%d brokers are still asked", len(c.nodes))
	}
}
