package topic

import "time"

// full reports whether the channel has as many messages in flight as max_in_flight allows.
func (m *machine) full() bool {
	p := m.policy
	return p != nil && p.MaxInFlight > 0 && m.inflight.Len() >= p.MaxInFlight
}

// timeoutOf returns how long messages are in flight to a consumer, which has asked for so long, or for nothing.
func (m *machine) timeoutOf(s *Subscription, asked time.Duration) time.Duration {
	if p := m.policy; s.standard > 0 && p != nil && p.MsgTimeout > 0 {
		return min(p.MsgTimeout, max(m.at.limits.MaxMsgTimeout, 1))
	}
	return asked
}

// retime has consumers that have asked for no time in flight get what the policy says now, for messages from the next one on.
func (m *machine) retime() {
	for _, s := range m.subs {
		if s.standard > 0 {
			old := s.lane
			s.lane = m.inflight.AcquireLane(int64(m.timeoutOf(s, s.standard)))
			m.inflight.ReleaseLane(old)
		}
	}
}
