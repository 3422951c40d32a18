package topic

import (
	"errors"
	"fmt"
	"time"

	"brokerd/broker/policy"
)

// ErrNoTTL is the refusal of messages that are of use for a time only, by a topic that has no place for that.
var ErrNoTTL = errors.New("a message's own ttl needs a topic that is kept in the log: level disk or fsync, and not ephemeral")

// ParseTTL reads how long a message is of use. It fails with an error that says what is allowed.
func ParseTTL(text string) (time.Duration, error) {
	d, err := policy.ParseTTL(text)
	if err != nil {
		return 0, fmt.Errorf("ttl %w", err)
	}
	return d, nil
}

// ErrLedTTL is the same of a replicated topic.
var ErrLedTTL = fmt.Errorf("%w: a message's own ttl", ErrReplicated)

// RefusesTTL reports whether an error is one of the two.
func RefusesTTL(err error) bool { return errors.Is(err, ErrNoTTL) || errors.Is(err, ErrLedTTL) }

// TakesTTL returns ErrNoTTL or ErrLedTTL when the topic's messages can have no ttl of their own.
func (t *Topic) TakesTTL() error {
	switch {
	case t.d == nil:
		return ErrNoTTL
	case t.led != nil:
		return ErrLedTTL
	}
	return nil
}
