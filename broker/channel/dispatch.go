package channel

import "time"

// What a consumer gets at once although others wait. Each part costs a wake-up, a write, and a read of its answers, so that
// parts should be large; and the consumers should all be at work, and be done at the same time.
const (
	horizon = time.Millisecond // of work, as far as is known how fast the consumer is
	credits = 64               // part of its credit, as long as that is not known
	most    = 8                // and at most
)

// prefetch is how many messages are no less than a consumer's part, even when others wait: what it answers within the horizon,
// and one at least.
func (s *Consumer) prefetch() int {
	part := s.ready / credits
	if s.turn > 0 {
		part = int(min(int64(s.ready/most), int64(horizon)/s.turn))
	}
	return max(1, min(part, s.ready-s.inflight))
}

// learn learns how fast the consumer is from its having answered n messages.
func (s *Consumer) learn(n int, now int64) {
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

// stalled reports whether who sends for the consumer has not come back for more for long: its socket is full, and it may stay so
// until its write deadline.
func (s *Consumer) stalled(now int64) bool { return !s.parked && now-s.came > int64(stalledAfter) }

// work reports whether a consumer that is woken would find something to do.
func (m *Machine) work() bool { return !m.full() && (m.deliverable() || !m.filling && m.fillable()) }

// share is a consumer's part of what waits and is visible, when those that are parked with credit, or woken and on their way, get as much.
func (m *Machine) share(visible int) int {
	others := m.waiting.n + m.woken
	return (visible + others) / (others + 1)
}

// settle brings a parked consumer, whose credit or channel has changed, to where it belongs: it is woken when there is
// work, and otherwise waits for some if it has credit.
func (m *Machine) settle(s *Consumer, later *Wakes) {
	if !s.parked || s.closed {
		return
	}
	if s.ready <= s.inflight || m.At.Held {
		m.waiting.remove(s)
		return
	}
	if m.work() {
		m.wakeOne(s, later)
		return
	}
	m.waiting.push(s)
}

// wake wakes as many waiting consumers as there are messages for, the least loaded first, and has them set aside. One
// that was woken just before and has not come yet gets its part first.
func (m *Machine) wake(n int, later *Wakes) {
	if m.full() {
		return
	}
	topology := m.rules.TopologyAware
	if s := m.latest; s != nil && s.woken && !topology {
		n -= m.reserve(s, n)
	}
	for n > 0 && m.waiting.n > 0 {
		s := m.waiting.best(topology)
		m.wakeOne(s, later)
		n -= m.reserve(s, n)
	}
}

// reserve sets aside up to n messages for a consumer that was woken, and returns how many it is to have more.
func (m *Machine) reserve(s *Consumer, n int) int {
	k := max(0, min(n, s.prefetch()-s.reserved))
	s.reserved += k
	m.reserved += k
	return k
}

// nudge wakes one more consumer when messages wait for nobody that is on its way, in memory or on disk with nobody
// reading them.
func (m *Machine) nudge() {
	if m.waiting.n == 0 || m.At.Held || !m.work() {
		return
	}
	if free := m.visible() - m.reserved; free > 0 || !m.filling && m.fillable() {
		m.wake(min(max(1, free), m.waiting.head.prefetch()), nil)
	}
}

func (m *Machine) wakeOne(s *Consumer, later *Wakes) {
	m.waiting.remove(s)
	s.parked, s.woken = false, true
	if m.rules.TopologyAware {
		s.came = m.At.Now
	}
	m.woken++
	m.latest = s
	if later == nil || !later.add(s.Owner) {
		s.Owner.Wake()
	}
}

// Wakes are consumers that a publish or an answer has brought work, for its caller to wake: who does so a little later, once
// nothing else is left to do, may do a consumer's work itself rather than have another goroutine do it.
type Wakes struct{ owners []Owner }

// maxWakes bounds the consumers that wait for one goroutine's turn.
const maxWakes = 4

func (w *Wakes) add(o Owner) bool {
	if len(w.owners) == maxWakes {
		return false
	}
	w.owners = append(w.owners, o)
	return true
}

// Any reports whether there are any.
func (w *Wakes) Any() bool { return len(w.owners) > 0 }

// Each calls f with every consumer, and forgets them.
func (w *Wakes) Each(f func(Owner)) {
	for i, c := range w.owners {
		w.owners[i] = nil
		f(c)
	}
	w.owners = w.owners[:0]
}

// come takes note that who sends for a consumer is there: it is neither parked nor on its way.
func (m *Machine) come(s *Consumer) {
	s.parked = false
	m.waiting.remove(s)
	if s.woken {
		s.woken = false
		m.woken--
		m.reserved -= s.reserved
		s.reserved = 0
		if m.latest == s {
			m.latest = nil
		}
	}
}

// parked is the list of consumers that wait with credit, the longest waiting first.
type parked struct {
	head, tail *Consumer
	n          int
}

// looked is how many consumers are compared by their load.
const looked = 16

// best returns the consumer to wake: the nearest one when that counts, of these the one with the least in flight. Nobody has less than nothing.
func (l *parked) best(topology bool) *Consumer {
	best := l.head
	for s, i := l.head, 0; s != nil && (topology || i < looked && best.inflight > 0); s, i = s.next, i+1 {
		if topology && s.Locality != best.Locality {
			if s.Locality < best.Locality {
				best = s
			}
			continue
		}
		if s.inflight < best.inflight {
			best = s
		}
	}
	return best
}

func (l *parked) push(s *Consumer) {
	if s.listed {
		return
	}
	s.listed = true
	s.prev, s.next = l.tail, nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
	l.n++
}

func (l *parked) remove(s *Consumer) {
	if !s.listed {
		return
	}
	if s.prev == nil {
		l.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.listed = nil, nil, false
	l.n--
}
