package cluster

import (
	"context"
	"time"

	"brokerd/protocol/httpapi"
)

// settingsEvery is how old what a broker tells of its settings may get.
const settingsEvery = 10 * time.Second

// Settings returns what a broker tells of its settings, with secrets masked by it; nil when it tells none, as nsqd does. The error is
// ErrUnknownNode, or the broker's.
func (c *Cluster) Settings(ctx context.Context, name string) (*httpapi.Settings, error) {
	n := c.View().Node(name)
	switch {
	case n == nil:
		return nil, ErrUnknownNode
	case !n.IsBroker:
		return nil, nil
	case n.Stale:
		return nil, n.Err
	}
	c.mu.Lock()
	b := c.nodes[n.Address]
	if b != nil && b.settings != nil && time.Since(b.settled) < settingsEvery {
		defer c.mu.Unlock()
		return b.settings, nil
	}
	c.mu.Unlock()
	settings := new(httpapi.Settings)
	at := time.Now()
	if err := c.cfg.HTTP.Get(ctx, "http://"+n.Address+"/config", settings); err != nil {
		if unknownThere(err) { // a brokerd of before there was such a call
			return nil, nil
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.nodes[n.Address]; b != nil {
		b.settings, b.settled = settings, at
	}
	return settings, nil
}
