package topic

import (
	"fmt"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// machine is a channel as it is: what waits, what is out, what is deferred, who has credit. It knows no lock, clock, log, disk or level.
// A moment is its argument; what is to be kept is left in effects, and deadlines and wishes in asks. Whoever owns it sees to these.
type machine struct {
	rules  *rules
	policy *policy.Policy // options that hold for the channel; nil: all have their defaults
	at     moment         // the argument of the method that runs
	keep   *effects       // nil while there are none
	asks   asks

	exiting        bool
	ephemeral      bool
	traced         bool // the log says whose doing it is what becomes of messages
	lossy          bool // a channel without a disk has discarded, and is still over half full
	active         bool // taken from since the last trim
	overflowing    bool // new messages go to disk
	filling        bool // one consumer reads from disk
	bound          int  // messages in memory
	mem            backlog.Queue
	taken          uint64              // fresh messages ever given out
	turn           uint64              // of the message that came back last
	order          *ordering           // nil where keys do not count
	released       fifo.Queue[retry]   // their key's turn has come: they go before all others
	coldReleased   inflight.PlaceQueue // the same, once their bodies are in memory
	retries        fifo.Queue[retry]   // to be delivered again, by turn
	loaded         fifo.Queue[retry]   // of coldRetries: in memory now
	coldRetries    inflight.PlaceQueue // to be delivered again once their bodies are in memory, by turn
	loading        *[]inflight.Place   // of coldRetries: on their way into memory; nil: none
	inflight       inflight.Set[*Subscription]
	deferredMemory inflight.DeferredMemory
	deferredIndex  inflight.DeferredIndex // deferred, without their bodies
	dueUnshown     inflight.PlaceQueue    // of those: due, and not shown yet
	offered        Position               // of the last publish
	inherited      Position               // the newest of the topic when its own backlog moved here last
	replay         Position               // the last message of the last rewind
	voids          *voided                // nil until there are some
	subs           []*Subscription
	waiting        parked        // consumers that have credit and nothing to do
	moves          uint64        // consumers that ever came, and that left
	woken          int           // consumers that were woken and have not taken yet
	reserved       int           // messages that those are to have
	latest         *Subscription // the consumer that was woken last
	want           int           // messages that a publisher waits to put in memory
	spilled        int           // messages on disk or on their way from there
	epoch          int           // counts how often it was emptied, so that what is on its way elsewhere is dropped too
	loads          int           // counts what makes useless what is on its way from disk: it was emptied, rewound, skipped, or handed over

	aging  aging
	graves *burial // nil until a message becomes a dead letter

	n      counters
	sizes  *sizes  // nil where max_bytes does not count
	heads  *[]byte // of messages in flight whose bodies are on disk only, until the piece is full
	delays *delays // nil until it has delivered
	newest int64   // when the message was published that was last delivered for the first time
}

// voided is messages that are not to be delivered, though the channel has their places.
type voided struct {
	deferred  []backlog.Range // their publish has failed
	cancelled []backlog.Range // of what the topic keeps: they were deferred here, and dropped for good; sorted, without overlaps
}

// voided returns where such messages are noted.
func (m *machine) voided() *voided {
	if m.voids == nil {
		m.voids = new(voided)
	}
	return m.voids
}

// void returns which deferred messages are there whose publish has failed.
func (m *machine) void() []backlog.Range {
	if m.voids == nil {
		return nil
	}
	return m.voids.deferred
}

// cancelled returns which messages were dropped for good that the topic keeps.
func (m *machine) cancelled() []backlog.Range {
	if m.voids == nil {
		return nil
	}
	return m.voids.cancelled
}

// setVoid replaces what void returns.
func (m *machine) setVoid(list []backlog.Range) {
	if len(list) > 0 || m.voids != nil {
		m.voided().deferred = list
	}
}

// loadingPlaces returns what is on its way into memory.
func (m *machine) loadingPlaces() []inflight.Place {
	if m.loading == nil {
		return nil
	}
	return *m.loading
}

// rules are the settings of all channels, and what they share.
type rules struct {
	memQueueSize int // 0: none
	topology     bool
	freshID      func() protocol.MessageID
}

// moment is what a machine is told when it is asked.
type moment struct { // Channel.enter sets every field
	now   int64    // on the clock of all deadlines
	stamp int64    // the same, in nanoseconds since the Unix epoch
	shown Position // up to which messages may be given out
	disk  int64    // messages in the queue behind the memory

	held    bool // consumers get nothing
	crowded bool // the node has more bodies in memory than it should: what can go to disk goes there
	flooded bool // the node has more bodies in flight than it should: nobody gets a second one
	final   bool // what the topic has is dead letters: they stay, however often they are delivered

	limits *Limits  // those in force
	floor  Position // from here on the topic keeps messages, 0: none; only where the time is known

	over  *expired // messages whose own time to live is over; nil: none
	jumps *[]jump  // of the clock that stamp is of; nil: none
}

// asks is what a machine wants of its owner before the lock is given up.
type asks struct {
	deadline bool // it may be earlier than before
	recheck  bool // to be looked at again soon
	room     bool // the publisher that waits for room may come
	bury     bool // there are messages to be moved to a dead letter topic
}

// add gives the channel messages.
func (m *machine) add(at backlog.Extent, count int) {
	m.mem.Add(at, count)
	m.n.Accepted += uint64(count)
	m.offered = max(m.offered, at.Positions().Last)
	m.grow(count, at.Bytes())
	if m.policy != nil && m.aging.lookAt == 0 {
		m.lookBy(lookSoon)
	}
}

// offer gives the channel messages that are in memory, if it has room.
func (m *machine) offer(at backlog.Extent, count int) bool {
	if m.overflowing && !m.filling && m.at.disk == 0 {
		m.drained()
	}
	if m.overflowing || m.mem.Len()+count > m.bound || m.at.crowded && m.mem.Len() > 0 {
		return false
	}
	if m.lossy && 2*m.mem.Len() < m.bound {
		m.lossy = false
	}
	if m.lossy {
		at = detached(at, count)
	}
	m.add(at, count)
	return true
}

// offerLossy gives a channel that has no disk as many of the messages as it has room for, which it returns, and discards the others.
func (m *machine) offerLossy(at backlog.Extent, count int) (n int) {
	if n = min(count, max(0, m.bound-m.mem.Len())); m.at.crowded {
		n = min(n, max(0, 1-m.mem.Len()))
	}
	m.n.Accepted += uint64(count - n)
	m.n.discard(journal.EphemeralOverflow, count-n)
	m.lossy = m.lossy || n < count
	if n > 0 {
		m.add(detached(at, n), n)
	}
	return n
}

// drained ends the overflow: the queue on disk is empty. What is still counted there was lost to damage.
func (m *machine) drained() {
	m.overflowing = false
	m.n.discard(journal.Unreadable, m.spilled)
	m.spilled = 0
}

// unspilled books messages as read from disk. After an unclean stop of NSQ there may be more than were counted.
func (m *machine) unspilled(n int) {
	m.spilled -= n
	if m.spilled < 0 {
		m.n.Accepted += uint64(-m.spilled)
		m.spilled = 0
	}
}

// wantsRoom reports whether it is worth waiting until count messages fit into memory: not when the channel overflows already, could
// never hold that many, or nobody consumes. It asks for room when there is some already.
func (m *machine) wantsRoom(count int) bool {
	if m.overflowing || m.at.crowded || len(m.subs) == 0 || m.at.held || count > m.bound || m.exiting {
		return false
	}
	m.want = max(count, m.bound/16)
	m.asks.room = m.mem.Len()+count <= m.bound // consumers have made it since
	if m.asks.room {
		m.want = 0
	}
	return true
}

// hold defers a message with its body.
func (m *machine) hold(d inflight.Due) {
	m.n.Accepted++
	if next, some := m.deferredMemory.Next(); !some || d.At < next {
		m.asks.deadline = true
	}
	m.deferredMemory.Push(d)
	m.grow(1, len(d.Frame))
}

// shelve defers a message whose body stays where it is.
func (m *machine) deferPlace(s inflight.Place) {
	m.n.Accepted++
	m.offered = s.Pos
	if next, some := m.deferredIndex.Next(); !some || s.At < next {
		m.asks.deadline = true
	}
	m.deferredIndex.Push(s)
}

// withdraw takes back messages that nobody was shown; due says that they are deferred.
func (m *machine) withdraw(at backlog.Extent, due bool) {
	if due {
		m.setVoid(append(m.void(), at.Positions())) // they are dropped when they are due
		return
	}
	m.n.Accepted -= uint64(m.mem.Cut(at))
}

// isVoid reports whether a deferred message is one whose publish has failed.
func (m *machine) isVoid(pos Position) bool { return journal.Holds(m.void(), pos) }

// show lets consumers have what is shown now: as many fresh messages as were not before, and deferred ones that were due earlier.
func (m *machine) show(count int, later *Wakes) {
	for m.dueUnshown.Len() > 0 && m.dueUnshown.First().Pos <= m.at.shown {
		m.returnPlace(m.dueUnshown.Pop())
		count++
	}
	if count > 0 {
		m.wake(min(count, m.visible()), later)
	}
}

// clear drops all messages.
func (m *machine) clear(why journal.Reason) {
	m.n.discard(why, m.holds()-m.written())
	m.clearBurial()
	m.mem.Clear()
	m.retries, m.loaded, m.released, m.loading = fifo.Queue[retry]{}, fifo.Queue[retry]{}, fifo.Queue[retry]{}, nil
	m.coldRetries.Clear()
	m.coldReleased.Clear()
	if m.order != nil {
		m.order = &ordering{ahead: m.order.ahead}
	}
	m.deferredIndex.Clear()
	m.dueUnshown.Clear()
	m.setVoid(nil)
	m.turn = 0
	m.inflight.Clear(nil)
	m.inflight.Trim()
	m.deferredMemory.Clear(nil)
	m.spilled = 0
	m.aging = aging{}
	m.epoch++
	m.loads++
	for _, s := range m.subs {
		s.inflight = 0
		m.settle(s, nil)
	}
}

// trim gives memory back when nothing has happened since the last call, and reports whether nothing is there.
func (m *machine) trim() (idle bool) {
	idle = !m.active && m.inflight.Len()+m.backlog() == 0
	m.active = false
	if idle {
		m.inflight.Trim()
		m.retries, m.loaded, m.released = fifo.Queue[retry]{}, fifo.Queue[retry]{}, fifo.Queue[retry]{}
		m.mem.Clear()
		m.keep = nil
	}
	return idle
}

// eachOut calls out with all messages that have left the backlog and are known by more than their places, and deferred with those that are deferred
// with their bodies, or were when they were taken out for a dead letter topic.
func (m *machine) eachOut(out func(pos Position, attempts uint16), deferred func(*inflight.Due)) {
	m.inflight.Each(out)
	for _, list := range m.bodied() {
		list.Each(func(r *retry) { out(r.pos, r.attempts) })
	}
	m.order.each(out)
	for _, s := range m.loadingPlaces() {
		out(s.Pos, s.Attempts)
	}
	m.eachCorpse(false, func(d *corpse) {
		if d.due > 0 {
			deferred(&inflight.Due{Pos: d.pos, At: d.due, Attempts: d.attempts})
		} else {
			out(d.pos, d.attempts)
		}
	})
	m.deferredMemory.Each(func(d inflight.Due) { deferred(&d) })
}

// places returns what is known by its place only: to be delivered again; its key's turn has come; deferred; due and not shown yet.
func (m *machine) places() [4]inflight.Snapshot {
	return [...]inflight.Snapshot{m.coldRetries.Snapshot(), m.coldReleased.Snapshot(), m.deferredIndex.Snapshot(), m.dueUnshown.Snapshot()}
}

// backlog returns the messages that wait, those on disk not counted. Not all of them may be shown yet.
func (m *machine) backlog() int { return m.mem.Len() + m.returned() + m.order.len() }

// visible returns how many messages could be delivered now, those on disk not counted.
func (m *machine) visible() int {
	if m.order.full() {
		return m.returned()
	}
	return m.mem.Len() + m.returned() - m.mem.Above(m.at.shown)
}

// returned returns how many messages are to be delivered again.
func (m *machine) returned() int {
	return m.retries.Len() + m.loaded.Len() + m.coldRetries.Len() + len(m.loadingPlaces()) + m.released.Len() + m.coldReleased.Len()
}

// postponed returns how many messages are deferred, or wait for a dead letter topic.
func (m *machine) postponed() int {
	return m.deferredMemory.Len() + m.deferredIndex.Len() + m.dueUnshown.Len() + m.buried()
}

// holds returns how many messages the channel has.
func (m *machine) holds() int { return m.backlog() + m.spilled + m.postponed() + m.inflight.Len() }

// deadline returns when the next message is due.
func (m *machine) deadline() (at int64, ok bool) {
	at, ok = m.inflight.Next()
	if due, some := m.deferredMemory.Next(); some && (!ok || due < at) {
		at, ok = due, true
	}
	if due, some := m.deferredIndex.Next(); some && (!ok || due < at) {
		at, ok = due, true
	}
	if again, some := m.graves.next(); some && (!ok || again < at) {
		at, ok = again, true
	}
	return at, ok
}

// oldest returns when the message was published that waits for longest, as far as memory tells, or else the last one that
// was delivered for the first time, which came before it. It returns 0 when nothing waits, or none of these is known. Nothing is
// looked for: among those that are to be delivered again the first stands for the others.
func (m *machine) oldest() (at int64) {
	if m.backlog()+m.spilled == 0 {
		return 0
	}
	if m.retries.Len() > 0 {
		at = m.retries.At(0).frame.Timestamp()
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

// check returns what is wrong with the books: each accepted message must be in exactly one state.
func (m *machine) check() error {
	if m.n.Gone()+uint64(m.holds()) != m.n.Accepted {
		return fmt.Errorf("accepted %d but finished %d, discarded %v, backlog %d, on disk %d, deferred %d, in flight %d",
			m.n.Accepted, m.n.Finished, m.n.counts().Discarded, m.backlog(), m.spilled, m.postponed(), m.inflight.Len())
	}
	owned := 0
	for _, s := range m.subs {
		owned += s.inflight
	}
	if owned != m.inflight.Len() {
		return fmt.Errorf("%d in flight, but its consumers count %d", m.inflight.Len(), owned)
	}
	return nil
}

// detached returns a copy of the first count messages. What a channel keeps of a stream that it mostly discards must not keep
// the nodes in which it came.
func detached(at backlog.Extent, count int) backlog.Extent {
	frames := at.Node().Frames()[at.Offset():]
	size := 0
	for range count {
		size += len(protocol.FirstMessage(frames[size:]))
	}
	copied := backlog.Detached(slices.Clone(frames[:size]), at.Positions().First, count)
	copied.SetSums(slices.Clone(at.Sums(count)))
	return copied
}
