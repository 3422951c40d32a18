package channel

import (
	"time"

	"brokerd/broker/policy"
)

// SetPolicy puts options in force: p are those of the channel, ordered those of its topic where keys count, nil where they do not; sized says that the
// bytes of what it holds count, traced that the log says whose doing it is what becomes of messages. It reports whether that changes anything but the
// order and the tracing; then EnforcePolicy and Measure are to follow.
func (m *Machine) SetPolicy(p, ordered *policy.Policy, sized, traced bool) (changed bool) {
	m.setOrdered(ordered)
	m.traced = traced
	if m.policy == nil && p == nil && (m.sizes != nil) == sized {
		return false
	}
	m.policy = p
	switch {
	case !sized:
		m.sizes = nil
	case m.sizes == nil:
		m.sizes = new(sizes)
	}
	m.Asks.Recheck = true
	m.retime()
	m.nudge()
	return true
}

// Policy returns the options that hold for the channel, nil when all have their defaults.
func (m *Machine) Policy() *policy.Policy { return m.policy }

// full reports whether the channel has as many messages in flight as max_in_flight allows.
func (m *Machine) full() bool {
	p := m.policy
	return p != nil && p.MaxInFlight > 0 && m.inflight.Len() >= p.MaxInFlight
}

// timeoutOf returns how long messages are in flight to a consumer, which has asked for so long, or for nothing.
func (m *Machine) timeoutOf(s *Consumer, asked time.Duration) time.Duration {
	if p := m.policy; s.standard > 0 && p != nil && p.MsgTimeout > 0 {
		return min(p.MsgTimeout, max(m.At.Limits.MaxMsgTimeout, 1))
	}
	return asked
}

// retime has consumers that have asked for no time in flight get what the policy says now, for messages from the next one on.
func (m *Machine) retime() {
	for _, s := range m.consumers {
		if s.standard > 0 {
			old := s.lane
			s.lane = m.inflight.AcquireLane(int64(m.timeoutOf(s, s.standard)))
			m.inflight.ReleaseLane(old)
		}
	}
}
