package channel

import (
	"slices"
	"time"

	"brokerd/broker/inflight"
	"brokerd/protocol"
)

// Verb is what a consumer says about a message that it got.
type Verb uint8

// The answers.
const (
	Finish Verb = iota
	Requeue
	Touch
)

// Answer is one FIN, REQ or TOUCH. Machine.Answer sets Err to why it failed: inflight.ErrNotInFlight, inflight.ErrNotOwner, or nil.
type Answer struct {
	ID    protocol.MessageID
	Delay time.Duration // of Requeue; 0 is at once
	Err   error
	Verb  Verb
}

// readEach is of how many messages that are finished together the delay of one stands for all: what a consumer has had for a while is
// no longer in the processor's cache, and reading each of them again would cost more than all else that FIN does.
const readEach = 8

// Answer carries out a consumer's answers in order. When took is not nil the times are appended when finished messages were published.
func (m *Machine) Answer(s *Consumer, answers []Answer, took *[]int64, later *Wakes) {
	back, settled := 0, 0
	keep := m.effects()
	watch := stopwatch{to: &m.noted().finished, now: m.At.Stamp}
	var last protocol.MessageFrame // that was finished
	unread := uint64(0)            // finished messages whose delay is not noted yet
	sized := m.sizes != nil
	for i := range answers {
		a := &answers[i]
		if a.Verb == Touch {
			a.Err = m.inflight.Touch(a.ID, s, m.At.Now, int64(m.At.Limits.MaxMsgTimeout))
			continue
		}
		var it inflight.Item[*Consumer]
		if it, a.Err = m.inflight.Remove(a.ID, s); a.Err != nil {
			continue
		}
		settled++
		if a.Verb == Finish {
			if unread++; unread == readEach {
				watch.saw(it.Frame.Timestamp(), unread)
				unread = 0
			}
			last = it.Frame
			if took != nil {
				*took = append(*took, it.Frame.Timestamp())
			}
			s.n.Finished++
			m.n.Finished++
			if sized {
				m.shrink(it.Frame)
			}
			keep.Finished = addPosition(keep.Finished, it.Pos)
			if m.order != nil && m.passTurn(it.Pos) { // one that was unsure has none, and stays in that list until its channel is emptied or ordered anew
				back++
			}
			if m.aging.bases != nil { // nearly never, and the call would be for each message
				m.unbased(it.Pos, it.Frame)
			}
			continue
		}
		s.n.Requeued++
		m.n.requeued++
		if m.comeBack(&it, requeued, max(0, min(a.Delay, m.At.Limits.MaxReqTimeout))) {
			back++
		}
	}
	if unread > 0 {
		watch.saw(last.Timestamp(), unread)
	}
	watch.note()
	if m.traced && settled > 0 {
		keep.By = s
	}
	m.settled(s, settled, back, later)
}

// settled sees to what a consumer's answers to n messages bring: it has credit again, back messages can be delivered again at once, and there
// is room within max_in_flight.
func (m *Machine) settled(s *Consumer, n, back int, later *Wakes) {
	s.inflight -= n
	s.learn(n, m.At.Now)
	m.wake(back, later)
	m.settle(s, later)
	if m.policy != nil && n > 0 {
		m.nudge() // others that have waited for max_in_flight
	}
	m.Asks.Deadline = true
}

// deferAgain has a message wait for a time before it is delivered again.
func (m *Machine) deferAgain(it *inflight.Item[*Consumer], delay time.Duration) {
	if m.mortal() && m.isOver(it.Pos, it.Frame) {
		m.outlived(it.Pos, it.Frame, true)
		return
	}
	at := m.At.Now + int64(delay)
	if it.Pos > 0 {
		keep := m.effects()
		keep.Deferred = append(keep.Deferred, inflight.Place{Pos: it.Pos, At: at})
	}
	if !it.Frame.Whole() || m.unsure(it.Pos) {
		m.keepBody(it.Pos, it.Frame)
		m.deferredIndex.Push(inflight.Place{At: at, Pos: it.Pos, Off: inflight.NoOffset, Attempts: it.Attempts})
		return
	}
	m.deferredMemory.Push(inflight.Due{Pos: it.Pos, Frame: owned(it.Frame), At: at, Attempts: it.Attempts})
}

// owned returns a frame for a message that may stay for long: a copy, so that it does not keep a whole node of messages
// that are gone, unless it is a good part of that itself.
func owned(f protocol.MessageFrame) protocol.MessageFrame {
	if cap(f) <= 4*len(f) {
		return f
	}
	return append(make(protocol.MessageFrame, 0, len(f)), f...)
}

// expire brings back what is due, at most limit of each kind.
func (m *Machine) expire(limit int) {
	n, back := 0, 0
	for ; n < limit; n++ {
		it, ok := m.inflight.Expire(m.At.Now)
		if !ok {
			break
		}
		m.n.timedOut++
		it.Owner.inflight--
		if m.comeBack(&it, timedOut, 0) {
			back++
		}
		m.settle(it.Owner, nil)
	}
	for ; n < limit; n++ {
		d, ok := m.deferredMemory.Pop(m.At.Now)
		if !ok {
			break
		}
		m.dueNow(d.Key(), d.At, d.Attempts)
		m.giveBack(d.Frame, d.Pos, d.Attempts)
		back++
	}
	for ; n < limit; n++ {
		s, ok := m.deferredIndex.Pop(m.At.Now)
		if !ok {
			break
		}
		m.dueNow(s.Pos, s.At, s.Attempts)
		m.returnPlace(s)
		back++
	}
	if at, ok := m.graves.next(); ok && m.At.Now >= at {
		m.Asks.Bury = true
	}
	m.wake(back, nil)
}

// Join takes in a consumer. Messages are in flight to it for as long as was asked for; standard says that this is what the node says, as it asks for
// no time: the channel's option counts before it.
func (m *Machine) Join(s *Consumer, asked time.Duration, standard bool) {
	s.parked = true
	if standard {
		s.standard = asked
	}
	s.lane = m.inflight.AcquireLane(int64(m.timeoutOf(s, asked)))
	m.consumers = append(m.consumers, s)
	m.moves++
}

// Leave takes a consumer out; what it had in flight goes back at once. It reports whether the channel, an ephemeral one, is to go
// with it.
func (m *Machine) Leave(s *Consumer) (last bool) {
	if s.closed {
		return false
	}
	s.closed = true
	m.moves++
	m.come(s)
	if i := slices.Index(m.consumers, s); i >= 0 {
		m.consumers = slices.Delete(m.consumers, i, i+1)
	}
	returned, back := 0, 0
	m.inflight.RemoveOwner(s, func(it inflight.Item[*Consumer]) {
		returned++
		if m.comeBack(&it, disconnected, 0) {
			back++
		}
	})
	s.inflight = 0
	m.inflight.ReleaseLane(s.lane)
	m.n.disconnected += uint64(returned)
	m.wake(back, nil)
	m.Asks.Deadline = m.Asks.Deadline || back < returned
	m.nudge()
	last = m.ephemeral && len(m.consumers) == 0 && !m.exiting
	m.exiting = m.exiting || last
	return last
}

// SetReady sets how many messages a consumer may have in flight at once.
func (m *Machine) SetReady(s *Consumer, n int) {
	s.ready = n
	m.settle(s, nil)
	m.nudge()
}

// Abandon takes a consumer out of a channel that is led elsewhere now. f is called with what it has, and for how long it may have that: it stays
// with it.
func (m *Machine) Abandon(s *Consumer, f func(id protocol.MessageID, left time.Duration)) {
	if s.closed {
		return
	}
	s.closed = true
	m.come(s)
	if i := slices.Index(m.consumers, s); i >= 0 {
		m.consumers = slices.Delete(m.consumers, i, i+1)
	}
	m.inflight.EachOf(s, func(id protocol.MessageID, deadline int64) { f(id, time.Duration(max(0, deadline-m.At.Now))) })
}

// Timeout returns how long a message that is delivered to a consumer now may take.
func (m *Machine) Timeout(s *Consumer) time.Duration {
	return time.Duration(m.inflight.Timeout(s.lane))
}

// Resettle brings every consumer to where it belongs now: the moment says otherwise than before whether they get anything. When they get nothing, those
// that were given credit are woken: they may have something that waits for company, which does not come.
func (m *Machine) Resettle() {
	for _, s := range m.consumers {
		switch {
		case !m.At.Held:
			m.settle(s, nil)
		case s.ready > 0 || s.inflight > 0:
			s.Owner.Wake()
		}
	}
}

// Sweep is one look at what is due, at most limit messages of each kind, by somebody who must not wait for a disk. It reports whether there is
// something that must be read first, and that nobody reads: then LookOn is to be called by somebody else.
func (m *Machine) Sweep(limit int) (cold bool) {
	m.expire(limit)
	m.forsakeStalled()
	if m.lookDue() {
		_, cold = m.look(lookMuch)
	}
	m.Asks.Deadline = true
	m.nudge()
	return cold && !m.filling && !m.exiting
}
