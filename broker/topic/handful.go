package topic

import "time"

// What a consumer gets at once although others wait. Each part costs a wake-up, a write, and a read of its answers, so that
// parts should be large; and the consumers should all be at work, and be done at the same time.
const (
	horizon = time.Millisecond // of work, as far as is known how fast the consumer is
	credits = 64               // part of its credit, as long as that is not known
	most    = 8                // and at most
)

// handful is how many messages are no less than a consumer's part, even when others wait: what it answers within the horizon,
// and one at least.
func (s *Subscription) handful() int {
	part := s.ready / credits
	if s.turn > 0 {
		part = int(min(int64(s.ready/most), int64(horizon)/s.turn))
	}
	return max(1, min(part, s.ready-s.inflight))
}

// timeLocked learns how fast the consumer is from its having answered n messages.
func (s *Subscription) timeLocked(n int, now int64) {
	if n == 0 {
		return
	}
	took := max(1, (now-s.since)/int64(n))
	if s.turn == 0 {
		s.turn = took
	} else {
		s.turn += (took - s.turn) / 4
	}
	s.since = now
}
