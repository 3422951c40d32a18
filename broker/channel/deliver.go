package channel

import (
	"math"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Retry is a message that waits to be delivered again.
type Retry struct {
	Frame    protocol.MessageFrame
	Pos      Position
	Turn     uint64 // it goes once so many fresh messages were given out
	Attempts uint16 // deliveries so far
	Key      uint32 // the sum of its key, where that counts and is not known to have its turn
	Shared   bool   // the frame is a view of others that were read from disk together, which are nowhere else
}

// Limits of one Take, so that a consumer's first messages leave while the next are taken, and others get their share.
const (
	takeMessages = 256
	takeBytes    = 128 << 10
)

// Take is one try. When fill is true the caller has been chosen to read from disk, if it may, or should ask again when it
// may: there is nothing in memory, or the turn of what is to be read has come, and the caller has not just read.
func (m *Machine) Take(s *Consumer, d *Delivery, mayFill, filled bool) (n int, fill bool) {
	m.come(s)
	credit := s.ready - s.inflight
	if p := m.policy; p != nil && p.MaxInFlight > 0 && credit > 0 {
		if credit = min(credit, p.MaxInFlight-m.inflight.Len()); credit <= 0 && !s.closed && !m.At.Held {
			s.parked = true
			m.waiting.push(s)
			return 0, false
		}
	}
	if credit <= 0 || s.closed || m.exiting || m.At.Held || m.At.Flooded && s.inflight > 0 {
		s.parked = true
		m.nudge() // what it was woken for is another's now
		return 0, false
	}
	if m.nearerReady(s) {
		s.parked = true
		m.waiting.push(s)
		if m.waiting.best(true).Locality < s.Locality {
			m.nudge() // what this one was woken for
		}
		return 0, false
	}
	ready := m.deliverable()
	if (!ready || !filled && m.fillFirst()) && !m.filling && m.fillable() {
		if mayFill {
			m.filling = true
			m.nudge() // what this one was woken for
		}
		return 0, true
	}
	visible := m.visible()
	free := visible - m.reserved
	if !ready || free <= 0 { // what there is, others were woken for
		s.parked = true
		m.waiting.push(s)
		return 0, false
	}
	n = m.deliver(s, d, min(credit, free, max(m.share(visible), s.prefetch()), takeMessages))
	if n == 0 { // all that waited in memory was sampled away
		s.parked = true
		m.settle(s, nil)
	}
	return n, false
}

// handout is one Take under way. It is passed by reference through functions with small frames: who sends is mostly a new goroutine, which has
// two KiB of stack, and growing that costs more than to take a message does.
type handout struct {
	to       *Consumer
	d        *Delivery
	n, bytes int // messages and bytes of their frames so far
	aside    int // messages that had to wait for the turn of their key
	watch    stopwatch
	last     uint16 // attempts
	mortal   bool   // messages may be over
}

func (m *Machine) deliver(s *Consumer, d *Delivery, limit int) (n int) {
	m.active = true
	h := handout{to: s, d: d, last: math.MaxUint16, mortal: m.mortal()}
	h.watch.to, h.watch.now = &m.noted().delivered, m.At.Stamp
	if p := m.policy; p != nil && p.MaxAttempts > 0 && !m.At.Final {
		h.last = p.MaxAttempts
	}
	plain := h.last == math.MaxUint16 && !h.mortal && s.Sample == 0 && m.order == nil
	for h.n < limit && h.bytes < takeBytes {
		back := m.retries.Len()+m.loaded.Len()+m.released.Len() > 0
		if !back && !m.fresh() {
			break
		}
		if plain && !back && m.deliverRun(&h, limit) {
			continue
		}
		if !m.deliverNext(&h) {
			break
		}
	}
	if h.watch.note(); h.watch.at > 0 {
		m.newest = h.watch.at
	}
	if m.traced && h.n > 0 {
		m.effects().By = s
	}
	m.delivered(s, h.n)
	return h.n
}

// deliverNext delivers the next message, or sees to it that it leaves or waits for its turn. It reports false when that was enough for once.
func (m *Machine) deliverNext(h *handout) bool {
	r, again := m.next()
	if m.order != nil && !m.mayGo(&r, again) {
		h.aside++
		return h.aside < asideAtOnce
	}
	if (r.Attempts > h.last || h.mortal || h.to.Sample > 0) && m.leaves(h.to, &r, again, h.last, h.mortal) {
		return true
	}
	m.fly(h.to, &r)
	if keep := m.effects(); again {
		keep.Again = addPosition(keep.Again, r.Pos)
		h.d.addAgain(r.Frame, r.Attempts)
	} else {
		keep.Fresh = addPosition(keep.Fresh, r.Pos)
		h.d.add(r.Frame)
	}
	if r.Attempts == 1 {
		h.watch.saw(r.Frame.Timestamp(), 1)
	}
	h.n++
	h.bytes += len(r.Frame)
	return true
}

// deliverRun delivers messages that were never delivered and follow each other in memory, when nothing but the consumer's credit and their
// size decides how many; limit is of the whole handout. It reports whether there were any: it may find none that it can, though there are some.
func (m *Machine) deliverRun(h *handout, limit int) bool {
	frames, first, most, given := m.mem.Run(m.At.Shown, limit-h.n)
	n, size := 0, 0
	for enough := min(takeBytes-h.bytes, len(frames)); n < most && size < enough; n++ {
		r := Retry{Frame: protocol.FirstMessage(frames[size:]), Shared: given}
		if first > 0 {
			r.Pos = first + Position(n)
		}
		r.Attempts = r.Frame.Attempts()
		size += len(r.Frame)
		m.fly(h.to, &r)
		h.d.add(r.Frame)
		if r.Attempts == 1 {
			h.watch.saw(r.Frame.Timestamp(), 1)
		}
	}
	if n == 0 {
		return false
	}
	h.n += n
	h.bytes += size
	m.taken += uint64(n)
	m.mem.Pass(n, size)
	if first > 0 {
		keep := m.effects()
		keep.Fresh = addRange(keep.Fresh, backlog.Range{First: first, Last: first + Position(n) - 1})
	}
	return true
}

// leaves decides whether a message that is about to be delivered leaves the channel instead: it has been delivered too often, in an earlier
// life, its time is over, or its consumer samples. It reports whether it has left.
func (m *Machine) leaves(s *Consumer, r *Retry, again bool, last uint16, mortal bool) bool {
	switch {
	case r.Attempts > last:
		m.bury(Corpse{Pos: r.Pos, Attempts: r.Attempts - 1})
	case mortal && m.isOver(r.Pos, r.Frame):
		m.outlived(r.Pos, r.Frame, again)
	case s.Sample > 0 && m.rules.Random(100) >= s.Sample:
		m.n.discard(journal.Sampled, 1)
		m.effects().discard(backlog.Range{First: r.Pos, Last: r.Pos}, journal.Sampled, again)
		m.unbased(r.Pos, r.Frame)
	default:
		return false
	}
	return true
}

// delivered counts messages that are in flight to a consumer now.
func (m *Machine) delivered(s *Consumer, n int) {
	if s.inflight == 0 {
		s.since = m.At.Now
	}
	s.inflight += n
	s.n.Delivered += uint64(n)
	m.countLocality(s, n)
	m.Asks.Deadline = true
	if m.want > 0 && m.mem.Len()+m.want <= m.bound {
		m.want = 0
		m.Asks.Room = true
	}
	m.nudge()
}

// next takes out the next message, with the number of this delivery. again says that it was delivered or deferred before, and
// that its frame does not have that number. What comes back goes when its turn has come, or there is nothing fresh.
func (m *Machine) next() (r Retry, again bool) {
	if m.released.Len() > 0 {
		r = m.released.Pop()
		r.Attempts = journal.NextAttempt(r.Attempts)
		return r, true
	}
	if from := m.earlier(); from.Len() > 0 && (from.At(0).Turn <= m.taken || !m.fresh()) {
		r = from.Pop()
		r.Attempts = journal.NextAttempt(r.Attempts)
		return r, true
	}
	m.taken++
	r.Shared = m.mem.Given()
	if m.order != nil {
		m.nextKey(&r)
	}
	r.Frame, r.Pos = m.mem.Next()
	r.Attempts = r.Frame.Attempts()
	return r, false
}

// earlier returns which list of messages that are to be delivered again, and are in memory, has the one whose turn is earlier.
func (m *Machine) earlier() *fifo.Queue[Retry] {
	if m.loaded.Len() > 0 && (m.retries.Len() == 0 || m.loaded.At(0).Turn < m.retries.At(0).Turn) {
		return &m.loaded
	}
	return &m.retries
}

// nextTurn returns when a message goes that comes back now: behind what waits, at most as many as the channel has in memory. Without
// memory it goes behind all that waits, as in nsqd's queue on disk.
func (m *Machine) nextTurn() uint64 {
	wait := m.mem.Len() + m.spilled
	if bound := m.rules.MemQueueSize; bound > 0 {
		wait = min(wait, bound)
	}
	m.turn = max(m.turn, m.taken+uint64(wait))
	return m.turn
}

// giveBack has a message wait to be delivered again.
func (m *Machine) giveBack(f protocol.MessageFrame, pos Position, attempts uint16) {
	if m.mortal() {
		if m.isOver(pos, f) {
			m.outlived(pos, f, true)
			return
		}
		m.lookBy(m.At.Now + m.ttl() - m.age(pos, f))
	}
	if !f.Whole() || m.unsure(pos) {
		m.keepBody(pos, f)
		m.coldRetries.Push(inflight.Place{At: int64(m.nextTurn()), Pos: pos, Off: inflight.NoOffset, Attempts: attempts})
		return
	}
	m.retries.Push(Retry{Frame: f, Pos: pos, Turn: m.nextTurn(), Attempts: attempts})
}

// returnPlace has a message that was deferred wait to be delivered, unless its publish has failed.
func (m *Machine) returnPlace(s inflight.Place) {
	switch {
	case m.isVoid(s.Pos):
		m.n.Accepted--
		m.effects().discard(backlog.Range{First: s.Pos, Last: s.Pos}, 0, true) // no reason: it never was
	case m.At.Over != nil && m.At.Over.Has(s.Pos):
		m.outlived(s.Pos, nil, true)
	case s.Pos > m.At.Shown:
		m.dueUnshown.Push(s)
	default:
		s.At = int64(m.nextTurn())
		m.coldRetries.Push(s)
	}
}

// fly puts a message in flight. An id that is in flight already is one that NSQ wrote twice after an unclean stop, or of two
// that had the same node id: the second copy gets a new id, as FIN could not tell them apart.
func (m *Machine) fly(s *Consumer, r *Retry) {
	if !m.inflight.Add(r.Frame.MustID(), r.Pos, m.kept(r), r.Attempts, s, s.lane, m.At.Now) {
		m.flyAnew(s, r)
	}
}

// flyAnew puts a message in flight whose id another has.
func (m *Machine) flyAnew(s *Consumer, r *Retry) {
	r.Frame = slices.Clone(r.Frame)
	for {
		id := m.rules.FreshID()
		r.Frame.SetID(id)
		if m.inflight.Add(id, r.Pos, m.kept(r), r.Attempts, s, s.lane, m.At.Now) {
			return
		}
	}
}

// largeBody is from how many bytes on a message in flight does without its body, when that can be read again.
const largeBody = 16 << 10

// kept returns what is kept of a message in flight: a large body that is in a node stays there only, in memory or on disk; and so does
// any that was read from disk with others, all of which it would hold in memory.
func (m *Machine) kept(r *Retry) protocol.MessageFrame {
	switch {
	case r.Pos == 0 || m.ephemeral || len(r.Frame) < largeBody && !r.Shared:
		return r.Frame
	case r.Shared:
		return m.head(r.Frame)
	}
	return r.Frame.Head()
}

// headsAtOnce is of how many messages the heads are kept in one piece of memory.
const headsAtOnce = 64

// head returns a copy of the head of a frame.
func (m *Machine) head(f protocol.MessageFrame) protocol.MessageFrame {
	if m.heads == nil || cap(*m.heads)-len(*m.heads) < protocol.MessageOverhead {
		m.heads = new(make([]byte, 0, headsAtOnce*protocol.MessageOverhead))
	}
	heads := append(*m.heads, f[:protocol.MessageOverhead]...)
	at := len(*m.heads)
	*m.heads = heads
	return heads[at:len(heads):len(heads)]
}

func (m *Machine) countLocality(s *Consumer, n int) {
	switch {
	case !m.rules.TopologyAware || s.Locality == Elsewhere:
		m.n.elsewhere += uint64(n)
	case s.Locality == ZoneLocal:
		m.n.zoneLocal += uint64(n)
	default:
		m.n.regionLocal += uint64(n)
	}
}

// deliverable reports whether a message can be taken at once.
func (m *Machine) deliverable() bool {
	return m.retries.Len()+m.loaded.Len()+m.released.Len() > 0 || m.fresh()
}

// fresh reports whether a message that was never delivered may be and is in memory.
func (m *Machine) fresh() bool {
	return m.freshShown() && (m.mem.Warm() || m.cold() == nil && m.freshShown())
}

// freshShown reports whether there is a message that was never delivered and may be.
func (m *Machine) freshShown() bool {
	return m.mem.Len() > 0 && m.mem.First() <= m.At.Shown && !m.order.full()
}

// Rest parks a consumer that was chosen to read from disk and found nothing.
func (m *Machine) Rest(s *Consumer) {
	s.parked = true
	if m.deliverable() {
		m.settle(s, nil)
		return
	}
	if s.ready > s.inflight && !s.closed {
		m.waiting.push(s)
	}
	m.Asks.Recheck = m.Asks.Recheck || m.fillable()
}

// stalledAfter is how long a consumer may take to send what it was given before it counts as having no credit.
const stalledAfter = 100 * time.Millisecond

// nearerReady reports whether a nearer consumer should get the next message: it has credit, and the topology counts. One that does
// not come for it is looked at again soon.
func (m *Machine) nearerReady(s *Consumer) bool {
	if !m.rules.TopologyAware {
		return false
	}
	s.came = m.At.Now
	ready := slices.ContainsFunc(m.consumers, func(o *Consumer) bool {
		return o.Locality < s.Locality && o.ready > o.inflight && !o.stalled(m.At.Now)
	})
	m.Asks.Recheck = m.Asks.Recheck || ready
	return ready
}

// forsakeStalled gives to others what was set aside for consumers that do not come for it.
func (m *Machine) forsakeStalled() {
	if !m.rules.TopologyAware {
		return
	}
	for _, s := range m.consumers {
		if s.reserved > 0 && s.stalled(m.At.Now) {
			m.reserved -= s.reserved
			s.reserved = 0
		}
	}
}
