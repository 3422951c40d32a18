package journal

import (
	"fmt"
	"iter"
)

// Position is the number of a message in its topic: 1, 2, 3 and so on, in the order in which they were published. 0 is none. No
// number that was shown to anybody, or of which anything may be on the disk, is ever given to another message. An id is a label for
// consumers only: nothing is ordered or found by it.
type Position uint64

// Range is the messages of a topic with positions from First to Last.
type Range struct{ First, Last Position }

// Len returns the number of positions.
func (r Range) Len() int { return int(r.Last-r.First) + 1 }

// String returns both positions.
func (r Range) String() string { return fmt.Sprintf("%d to %d", r.First, r.Last) }

// Cut appends to dst what is left of sorted ranges without those from first to last, and returns how many positions it took out.
func Cut(dst, ranges []Range, first, last Position) ([]Range, int) {
	cut := 0
	for _, r := range ranges {
		from, to := max(r.First, first), min(r.Last, last)
		if from > to {
			dst = append(dst, r)
			continue
		}
		cut += Range{from, to}.Len()
		if r.First < from {
			dst = append(dst, Range{r.First, from - 1})
		}
		if to < r.Last {
			dst = append(dst, Range{to + 1, r.Last})
		}
	}
	return dst, cut
}

// Reason is why a message left a channel otherwise than by being finished. The values are on disk.
type Reason uint8

// The reasons.
const (
	Sampled           Reason = iota + 1 // a consumer's sample rate left it out
	EphemeralOverflow                   // a channel or topic that is not kept had no room
	Expired                             // its time to live was over
	DroppedOldest                       // a bound of its channel dropped the oldest
	Emptied                             // the channel was emptied
	Deleted                             // the channel or topic was deleted
	DeadLettered                        // it went to a dead letter topic
	Unreadable                          // damage on disk
	Skipped                             // the channel was moved past it
	Cancelled                           // it was deferred and cancelled
	TooManyAttempts                     // it was delivered as often as the channel allows
	Filtered                            // the channel's filter left it out
	ByHand                              // an operator finished it
	Redriven                            // a dead letter that went back to where it came from
	reasons                             // not a reason
)

// Reasons is how many reasons there are, and one more: 0 is none.
const Reasons = int(reasons)

var reasonNames = [Reasons]string{"", "sampled", "ephemeral_overflow", "expired", "dropped_oldest", "emptied", "deleted", "dead_lettered",
	"unreadable", "skipped", "cancelled", "too_many_attempts", "filtered", "by_hand", "redriven"}

// String returns the reason's name in stats and metrics.
func (r Reason) String() string {
	if int(r) < Reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Counts is what has happened to the messages of a channel since it was made. At every moment
//
//	Accepted = Finished + all of Discarded + what waits + what is out + what is deferred
//
// where Replayed of the accepted ones came by rewinds: they had been there before, or came before the channel.
type Counts struct {
	Accepted  uint64          `json:"accepted,omitempty"`
	Finished  uint64          `json:"finished,omitempty"`
	Discarded [Reasons]uint64 `json:"discarded,omitzero"` // by Reason
	Replayed  uint64          `json:"replayed,omitempty"` // of Accepted
}

// Named returns, by their names, the reasons for which messages were discarded, and how many.
func (c *Counts) Named() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for reason, n := range c.Discarded {
			if n > 0 && !yield(Reason(reason).String(), n) {
				return
			}
		}
	}
}

// Gone returns how many messages have left the channel.
func (c *Counts) Gone() uint64 {
	n := c.Finished
	for _, d := range c.Discarded {
		n += d
	}
	return n
}
