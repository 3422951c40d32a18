package topic

import (
	"errors"
	"fmt"

	"brokerd/broker/backlog"
	"brokerd/broker/policy"
	"brokerd/protocol"
)

// ErrTooMany is the refusal of a rewind after which more would wait than a bound allows.
var ErrTooMany = errors.New("the channel would hold more than it may")

// bounded returns why a queue is more than a channel may have beside what stays there, so many messages and bytes of bodies: what is too much would be dropped. For tools, which read a node that is
// not started, nothing is.
func (t *Topic) bounded(p *policy.Policy, q *backlog.Queue, messages, bytes int64) error {
	if !p.Bounded() || !t.registry.started.Load() {
		return nil
	}
	if n := int64(q.Len()) + messages; p.MaxDepth > 0 && n > p.MaxDepth {
		return fmt.Errorf("%w: %d messages, with max_depth %d", ErrTooMany, n, p.MaxDepth)
	}
	if n := q.Size() - int64(q.Len())*protocol.MessageOverhead + bytes; p.MaxBytes > 0 && n > p.MaxBytes {
		return fmt.Errorf("%w: about %d bytes, with max_bytes %d", ErrTooMany, n, p.MaxBytes)
	}
	return nil
}
