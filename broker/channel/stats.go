package channel

import "brokerd/diskqueue/journal"

// Stats is what a channel counts, and has, at one moment.
type Stats struct {
	Waiting   int // neither in flight nor deferred, but for those in the queue on disk
	InFlight  int
	Deferred  int
	Aside     int // of those that wait: for the turn of their key
	Buried    int // of those that are deferred: they wait for a dead letter topic
	Held      int // all of them, those in the queue on disk too
	Replaying int // of those that wait: they came by a rewind, or were there when it was
	Ahead     Ahead
	OldestAt  int64 // when the message was published that waits for longest, nanoseconds since 1970; 0: none, or not known

	Refusal     string       // why their topic does not take those that wait for it; empty: it does, or none wait
	Blocked     int          // keys of which one message has been out for long while others wait for their turn
	BlockedKeys []BlockedKey // those that have stood for longest

	Came                              uint64 // from the topic, in this life of the daemon
	Requeued, TimedOut, Disconnected  uint64
	ZoneLocal, RegionLocal, Elsewhere uint64 // deliveries by the consumer's locality
	Counts                            journal.Counts
	Delivered, Finished               Delays // from publish to the first delivery, and to FIN
}

// Stats returns the channel's counters. It needs to know the time.
func (m *Machine) Stats() Stats {
	n := &m.n
	s := Stats{
		Waiting: m.backlog(), InFlight: m.inflight.Len(), Deferred: m.postponed(), Aside: m.order.len(), Buried: m.buried(), Held: m.Held(),
		Replaying: m.replaying(), Ahead: m.aheadNow(), OldestAt: m.oldest(),
		Came: n.Accepted - n.adopted, Requeued: n.requeued, TimedOut: n.timedOut, Disconnected: n.disconnected,
		ZoneLocal: n.zoneLocal, RegionLocal: n.regionLocal, Elsewhere: n.elsewhere, Counts: n.counts(),
	}
	s.BlockedKeys, s.Blocked = m.blockedKeys()
	switch g := m.graves; {
	case g == nil:
	case g.refusal != nil && g.waiting.Len() > 0:
		s.Refusal = g.refusal.Error()
	case g.large.Len() > 0:
		s.Refusal = tooLarge
	}
	if m.delays != nil {
		s.Delivered, s.Finished = m.delays.delivered, m.delays.finished
	}
	return s
}

// aheadNow is ahead now, for Stats, which may be asked for often.
func (m *Machine) aheadNow() Ahead {
	if m.postponed() < manyAhead {
		m.lastAhead = nil
		return m.ahead(m.At.Now)
	}
	if m.lastAhead == nil || m.At.Now-m.lastAhead.at >= int64(aheadAge) {
		m.lastAhead = &countedAhead{m.ahead(m.At.Now), m.At.Now}
	}
	return m.lastAhead.Ahead
}

// Used reports whether the channel is in use: somebody consumes it, or it has messages. activity changes with each message and consumer that comes or goes:
// when looks were left out, what was in use until then has not been unused since the last one.
func (m *Machine) Used() (now bool, activity uint64) {
	return len(m.consumers) > 0 || m.Held() > 0, m.n.Accepted + m.n.gone() + m.moves
}

// InFlight returns how many messages are out with consumers.
func (m *Machine) InFlight() int { return m.inflight.Len() }
