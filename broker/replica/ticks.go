package replica

import (
	"time"

	"go.etcd.io/raft/v3"
)

// pass tells of ticks that were since the last one. It comes before anything else that is done in a turn: a leader that is heard now was not silent for a tick that comes later.
func (m *machine) pass(now time.Duration) {
	told := ticksDue(now, m.last, m.o.Clock.tick, m.every())
	if told == 0 {
		return
	}
	m.last = now
	for range told {
		m.tick(now)
	}
}

// ticksDue returns how many ticks are to be told, when some were told last at a moment: no more than there are between two heartbeats. Those that come late are not made up for:
// what is more than a quarter late has one left out, and if there were more than that none but one are told. So n of them take n-1.75 ticks at least from when a leader is heard.
func ticksDue(now, last, tick, most time.Duration) time.Duration {
	passed := now/tick - last/tick
	told := min(passed, (now-last+tick/4)/tick)
	if told > 0 && passed > most {
		return 1
	}
	return told
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
		if m.quiet < m.o.ElectionTicks || m.node.BasicStatus().RaftState != raft.StateFollower { // who follows ticks to miss the leader, and for nothing else
			m.node.Tick()
		}
		return nil
	})
	m.tellHeld(now)
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
