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

// backlog returns the messages that wait, those on disk not counted. Not all of them may be shown yet.
func (m *Machine) backlog() int { return m.mem.Len() + m.returned() + m.order.len() }

// visible returns how many messages could be delivered now, those on disk not counted.
func (m *Machine) visible() int {
	if m.order.full() {
		return m.returned()
	}
	return m.mem.Len() + m.returned() - m.mem.Above(m.At.Shown)
}

// returned returns how many messages are to be delivered again.
func (m *Machine) returned() int {
	return m.retries.Len() + m.loaded.Len() + m.coldRetries.Len() + len(m.loadingPlaces()) + m.released.Len() + m.coldReleased.Len()
}

// postponed returns how many messages are deferred, or wait for a dead letter topic.
func (m *Machine) postponed() int {
	return m.deferredMemory.Len() + m.deferredIndex.Len() + m.dueUnshown.Len() + m.buried()
}

// Held returns how many messages the channel has.
func (m *Machine) Held() int { return m.backlog() + m.spilled + m.postponed() + m.inflight.Len() }

// Bytes returns the bytes of the bodies that wait in memory, and of those that are in flight.
func (m *Machine) Bytes() (waiting, flying int) { return m.mem.Bytes(), m.inflight.Bytes() }

// Gone returns how many messages have left the channel, as far as is counted.
func (m *Machine) Gone() uint64 { return m.n.gone() }

// oldest returns when the message was published that waits for longest, as far as memory tells, or else the last one that
// was delivered for the first time, which came before it. It returns 0 when nothing waits, or none of these is known. Nothing is
// looked for: among those that are to be delivered again the first stands for the others.
func (m *Machine) oldest() (at int64) {
	if m.backlog()+m.spilled == 0 {
		return 0
	}
	if m.retries.Len() > 0 {
		at = m.retries.At(0).Frame.Timestamp()
	}
	if m.order.len() > 0 {
		a, _ := m.order.turns.Oldest()
		if f := frameIn(a.Node, a.Off); f != nil && (at == 0 || f.Timestamp() < at) {
			at = f.Timestamp()
		}
	}
	if m.mem.Len()+m.spilled == 0 {
		return at
	}
	fresh := m.newest
	if f := m.mem.Peek(); f != nil {
		fresh = f.Timestamp()
	}
	if at == 0 || fresh > 0 && fresh < at {
		return fresh
	}
	return at
}
