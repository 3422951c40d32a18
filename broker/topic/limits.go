package topic

import (
	"fmt"
	"time"

	"brokerd/broker/channel"
)

// Limits are what the node's settings hold topics, channels and consumers to, and may change while there are some.
type Limits struct {
	MaxMsgTimeout time.Duration // most that TOUCH extends a message's time in flight to
	MaxReqTimeout time.Duration // longest delay of REQ
	MaxConsumers  int           // per channel; 0 is no limit
	MaxTopics     int           // of the node; 0 is no limit
	MaxChannels   int           // per topic; 0 is no limit
}

// limits are Limits in force.
type limits struct {
	Limits
	answers channel.Limits
}

// SetLimits changes the limits from now on. Consumers, topics and channels that are there stay, also when they are too many then.
func (r *Registry) SetLimits(l Limits) {
	r.limits.Store(&limits{l, channel.Limits{MaxMsgTimeout: l.MaxMsgTimeout, MaxReqTimeout: l.MaxReqTimeout}})
}

// NodeLimitError is the refusal of a topic or channel too many.
type NodeLimitError struct {
	Flag  string // --max-topics or --max-channels
	Limit int
	Topic string // of a channel too many; empty for topics
}

func (e *NodeLimitError) Error() string {
	if e.Topic != "" {
		return fmt.Sprintf("topic %s has as many channels as %s allows: %d", e.Topic, e.Flag, e.Limit)
	}
	return fmt.Sprintf("the broker has as many topics as %s allows: %d", e.Flag, e.Limit)
}

// roomForTopic returns why no topic can be made; r.create is held.
func (r *Registry) roomForTopic() error {
	limit := r.limits.Load().MaxTopics
	r.mu.RLock()
	defer r.mu.RUnlock()
	if limit > 0 && len(r.topics) >= limit {
		return &NodeLimitError{Flag: "--max-topics", Limit: limit}
	}
	return nil
}

// roomForChannelLocked returns why no channel can be made; Topic.pub is held.
func (t *Topic) roomForChannelLocked() error {
	if limit := t.registry.limits.Load().MaxChannels; limit > 0 && len(t.Channels()) >= limit {
		return &NodeLimitError{Flag: "--max-channels", Limit: limit, Topic: t.name}
	}
	return nil
}
