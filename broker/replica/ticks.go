package replica

import "time"

// pass tells of ticks that were since the last one, as many as there are between two heartbeats at most. One that was told late is not made up for: what is more than a
// quarter late has one left out, and if there were more none but one are told, so that n of them take n-1.25 ticks at least. It comes before anything else that is done in a
// turn: a leader that is heard now was not silent for a tick that comes later.
func (m *machine) pass(now time.Duration) {
	tick := m.o.Clock.tick
	passed, since := now/tick-m.last/tick, now-m.last
	told := min(passed, (since+tick/4)/tick)
	if told == 0 {
		return
	}
	if passed > m.every() {
		told = 1
	}
	m.last = now
	for range told {
		m.tick(now)
	}
}

// every is how many ticks there are between two heartbeats.
func (m *machine) every() time.Duration {
	if m.rests {
		return restTicks
	}
	return beatTicks
}

// atRest reports whether heartbeats may be few: nothing was committed for a while, and nobody misses the leader.
func (m *machine) atRest(now time.Duration) bool {
	return m.o.ElectionTicks >= 4*restTicks && now-m.moved >= restAfter && !m.batch.flying() && (m.reign != 0 || now-m.heard < 3*restTicks/2*m.o.Clock.tick)
}

// tick tells that time has passed; now does not go back.
func (m *machine) tick(now time.Duration) {
	m.rests = m.atRest(now)
	if m.beats = beatDue(now, m.beat, m.o.Clock.tick, m.every()); m.beats {
		m.beat = now
	}
	m.guard(func() error {
		m.quiet = max(0, m.quiet-1)
		m.node.Tick()
		return nil
	})
	m.release()
	m.notice()
	if m.handing != 0 {
		if m.handover--; m.handover <= 0 {
			m.handing, m.handed = 0, false
			m.batch.pause(false)
		}
	}
	if m.drain(now); m.landed {
		m.advance(now)
	}
}

// notice gives the lead away when the log has hung for long: what is committed goes on through the others, but what
// is read is read from here.
func (m *machine) notice() {
	var oldest *write
	if len(m.waiting) > 0 {
		oldest = m.waiting[0]
	}
	if m.stalled++; oldest == nil || oldest != m.oldest {
		m.oldest, m.stalled = oldest, 0
	}
	if m.err == nil && m.reign != 0 && m.stalled > 0 && m.stalled%m.o.HangTicks == 0 {
		if to, ok := m.successor(); ok {
			_ = m.hand(to) // if it cannot be now it is tried again
		}
	}
}
