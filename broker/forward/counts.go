package forward

import (
	"errors"
	"sync/atomic"
)

// counts are of publishes to topics that another node leads.
type counts struct{ taken, refused, unanswered, retries, arrived atomic.Uint64 }

// Counts is what a Forwarder has counted.
type Counts struct {
	Taken, Refused, Unanswered uint64 // of this node's clients; unanswered: nobody led or answered in time
	Retries                    uint64 // of these
	Arrived                    uint64 // of other nodes' clients, that were begun here

	Early                      uint64 // of this node's clients, that were answered before their commit
	EarlyRefused, EarlyGivenUp uint64 // messages of these that were not taken
	EarlyHeld                  int64  // messages of these that are not known to be committed
}

// Counts returns it.
func (f *Forwarder) Counts() Counts {
	c := &f.counts
	e := &f.early
	return Counts{Taken: c.taken.Load(), Refused: c.refused.Load(), Unanswered: c.unanswered.Load(), Retries: c.retries.Load(), Arrived: c.arrived.Load(),
		Early: e.publishes.Load(), EarlyRefused: e.refused.Load(), EarlyGivenUp: e.givenUp.Load(), EarlyHeld: e.messages.Load()}
}

// carried counts what became of one that was given to who leads.
func (c *counts) carried(err error) {
	switch {
	case err == nil:
		c.taken.Add(1)
	case errors.Is(err, errRetry):
		c.retries.Add(1)
	case errors.Is(err, ErrNobodyLeads), errors.Is(err, ErrUnanswered):
		c.unanswered.Add(1)
	default:
		c.refused.Add(1)
	}
}
