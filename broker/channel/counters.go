package channel

import "brokerd/diskqueue/journal"

// counters only ever grow, but for publishes that are withdrawn.
type counters struct {
	Accepted, Finished                uint64
	discarded                         *[journal.Reasons]uint64 // nil until something is
	adopted                           uint64                   // of Accepted: those of an earlier life of the daemon, and replayed ones
	replayed                          uint64                   // of Accepted: those that came by a rewind
	requeued, timedOut, disconnected  uint64
	zoneLocal, regionLocal, elsewhere uint64
}

// discard counts messages that have left otherwise than by being finished.
func (n *counters) discard(why journal.Reason, count int) {
	if count == 0 {
		return
	}
	if n.discarded == nil {
		n.discarded = new([journal.Reasons]uint64)
	}
	n.discarded[why] += uint64(count)
}

// counts returns what checkpoints and stats have.
func (n *counters) counts() journal.Counts {
	c := journal.Counts{Accepted: n.Accepted, Replayed: n.replayed, Finished: n.Finished}
	if n.discarded != nil {
		c.Discarded = *n.discarded
	}
	return c
}

// restore goes on from the counts of an earlier life.
func (n *counters) restore(c journal.Counts) {
	n.Accepted, n.replayed, n.Finished = c.Accepted, c.Replayed, c.Finished
	if c.Discarded != [journal.Reasons]uint64{} {
		n.discarded = &c.Discarded
	}
}

// gone returns how many messages have left the channel.
func (n *counters) gone() uint64 {
	c := n.counts()
	return c.Gone()
}
