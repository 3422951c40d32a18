package channel

import (
	"fmt"
	"slices"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/fifo"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Machine is a channel as it is: what waits, what is out, what is deferred, who has credit. Whoever owns it tells it the moment before each call, and
// sees to what it leaves and asks for after it. Its zero value is made ready by Init.
type Machine struct {
	At   Moment // the argument of the method that runs
	Asks Asks   // what it wants; its owner clears it

	rules  *Rules
	policy *policy.Policy // options that hold for the channel; nil: all have their defaults
	keep   *Effects       // nil while there are none

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
	released       fifo.Queue[Retry]   // their key's turn has come: they go before all others
	coldReleased   inflight.PlaceQueue // the same, once their bodies are in memory
	retries        fifo.Queue[Retry]   // to be delivered again, by turn
	loaded         fifo.Queue[Retry]   // of coldRetries: in memory now
	coldRetries    inflight.PlaceQueue // to be delivered again once their bodies are in memory, by turn
	loading        *[]inflight.Place   // of coldRetries: on their way into memory; nil: none
	inflight       inflight.Set[*Consumer]
	deferredMemory inflight.DeferredMemory
	deferredIndex  inflight.DeferredIndex // deferred, without their bodies
	dueUnshown     inflight.PlaceQueue    // of those: due, and not shown yet
	offered        Position               // of the last publish
	inherited      Position               // the newest of the topic when its own backlog moved here last
	replay         Position               // the last message of the last rewind
	voids          *voided                // nil until there are some
	consumers      []*Consumer
	waiting        parked    // consumers that have credit and nothing to do
	moves          uint64    // consumers that ever came, and that left
	woken          int       // consumers that were woken and have not taken yet
	reserved       int       // messages that those are to have
	latest         *Consumer // the consumer that was woken last
	want           int       // messages that a publisher waits to put in memory
	spilled        int       // messages on disk or on their way from there
	loads          int       // counts what makes useless what is on its way from disk: it was emptied, rewound, skipped, or handed over

	aging  aging
	graves *burial // nil until a message becomes a dead letter

	n         counters
	sizes     *sizes        // nil where max_bytes does not count
	heads     *[]byte       // of messages in flight whose bodies are on disk only, until the piece is full
	delays    *delays       // nil until it has delivered
	lastAhead *countedAhead // nil unless there was much to count
	newest    int64         // when the message was published that was last delivered for the first time
}

// voided is messages that are not to be delivered, though the channel has their places.
type voided struct {
	deferred  []backlog.Range // their publish has failed; sorted, without overlaps
	cancelled []backlog.Range // of what the topic keeps: they were deferred here, and dropped for good; the same
}

// voided returns where such messages are noted.
func (m *Machine) voided() *voided {
	if m.voids == nil {
		m.voids = new(voided)
	}
	return m.voids
}

// Void returns which deferred messages are there whose publish has failed, sorted. The list is the machine's.
func (m *Machine) Void() []backlog.Range {
	if m.voids == nil {
		return nil
	}
	return m.voids.deferred
}

// cancelled returns which messages were dropped for good that the topic keeps.
func (m *Machine) cancelled() []backlog.Range {
	if m.voids == nil {
		return nil
	}
	return m.voids.cancelled
}

// setVoid replaces what void returns.
func (m *Machine) setVoid(list []backlog.Range) {
	if len(list) > 0 || m.voids != nil {
		m.voided().deferred = list
	}
}

// loadingPlaces returns what is on its way into memory.
func (m *Machine) loadingPlaces() []inflight.Place {
	if m.loading == nil {
		return nil
	}
	return *m.loading
}

// Position is the number of a message in its topic, from 1; 0: it has none, as at level memory.
type Position = journal.Position

// Rules are the settings of all channels, and what they share.
type Rules struct {
	MemQueueSize  int  // messages that a channel has in memory, 0: none
	TopologyAware bool // nearer consumers come first
	FreshID       func() protocol.MessageID
	Random        func(n int) int // below n, for what is sampled
}

// Moment is what a machine is told when it is asked.
type Moment struct {
	Now   int64    // nanoseconds on the clock of all deadlines; 0: it need not be known
	Stamp int64    // the same, since the Unix epoch
	Shown Position // up to which messages may be given out
	Disk  int64    // messages in the queue behind the memory

	Held    bool // consumers get nothing
	Crowded bool // the node has more bodies in memory than it should: what can go to disk goes there
	Flooded bool // the node has more bodies in flight than it should: nobody gets a second one
	Final   bool // what the topic has is dead letters: they stay, however often they are delivered

	Limits *Limits  // those in force
	Floor  Position // from here on the topic keeps messages, 0: none; only where the time is known

	Over  *Expired // messages whose own time to live is over; nil: none
	Jumps *Jumps   // of the clock that Stamp is of; nil: none
}

// Limits are what consumers' answers are held to.
type Limits struct {
	MaxMsgTimeout time.Duration // most that TOUCH extends a message's time in flight to
	MaxReqTimeout time.Duration // longest delay of REQ
}

// Asks is what a machine wants of its owner before the lock is given up.
type Asks struct {
	Deadline bool // it may be earlier than before
	Recheck  bool // to be looked at again soon
	Room     bool // the publisher that waits for room may come
	Bury     bool // there are messages to be moved to a dead letter topic: see StartBurial
}

// Init makes a channel ready that keeps bound messages in memory; an ephemeral one has no log, and goes with its last consumer.
func (m *Machine) Init(r *Rules, bound int, ephemeral bool) {
	m.rules, m.bound, m.ephemeral = r, bound, ephemeral
}

// Bound returns how many messages are kept in memory.
func (m *Machine) Bound() int { return m.bound }

// Exit has the channel take no consumers any more, and reports whether this call was the first.
func (m *Machine) Exit() bool {
	first := !m.exiting
	m.exiting = true
	return first
}

// Exiting reports whether the channel takes no consumers any more.
func (m *Machine) Exiting() bool { return m.exiting }

// add gives the channel messages.
func (m *Machine) add(at backlog.Extent, count int) {
	m.mem.Add(at, count)
	m.n.Accepted += uint64(count)
	m.offered = max(m.offered, at.Positions().Last)
	m.grow(count, at.Bytes())
	if m.policy != nil && m.aging.lookAt == 0 {
		m.lookSoon()
	}
}

// Offer gives the channel messages that are in memory and shown, if it has room, and wakes consumers: those that are added to later are its caller's to
// wake.
func (m *Machine) Offer(at backlog.Extent, count int, later *Wakes) bool {
	if !m.offer(at, count) {
		return false
	}
	if m.policy != nil {
		m.MakeRoom()
	}
	m.wake(min(count, m.visible()), later)
	return true
}

// OfferSome gives a channel that has no disk what it has room for, of messages that are shown.
func (m *Machine) OfferSome(at backlog.Extent, count int) {
	n := m.offerLossy(at, count)
	m.MakeRoom()
	m.wake(min(n, m.visible()), nil)
}

// Force gives the channel messages that are shown, room or not.
func (m *Machine) Force(at backlog.Extent, count int) {
	m.add(at, count)
	m.wake(count, nil)
}

// Accept gives the channel messages of the log, which are not shown yet. An ephemeral channel takes as many as it has room for.
func (m *Machine) Accept(at backlog.Extent, count int) {
	if !m.ephemeral {
		m.add(at, count)
	} else if !m.offer(at, count) {
		m.offerLossy(at, count)
	}
}

// offer gives the channel messages that are in memory, if it has room.
func (m *Machine) offer(at backlog.Extent, count int) bool {
	if m.overflowing && !m.filling && m.At.Disk == 0 {
		m.drained()
	}
	if m.overflowing || m.mem.Len()+count > m.bound || m.At.Crowded && m.mem.Len() > 0 {
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
func (m *Machine) offerLossy(at backlog.Extent, count int) (n int) {
	if n = min(count, max(0, m.bound-m.mem.Len())); m.At.Crowded {
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
func (m *Machine) drained() {
	m.overflowing = false
	m.n.discard(journal.Unreadable, m.spilled)
	m.spilled = 0
}

// unspilled books messages as read from disk. After an unclean stop of NSQ there may be more than were counted.
func (m *Machine) unspilled(n int) {
	m.spilled -= n
	if m.spilled < 0 {
		m.n.Accepted += uint64(-m.spilled)
		m.spilled = 0
	}
}

// WantsRoom reports whether it is worth waiting until count messages fit into memory: not when the channel overflows already, could
// never hold that many, or nobody consumes. It asks for room when there is some already.
func (m *Machine) WantsRoom(count int) bool {
	if m.overflowing || m.At.Crowded || len(m.consumers) == 0 || m.At.Held || count > m.bound || m.exiting {
		return false
	}
	m.want = max(count, m.bound/16)
	m.Asks.Room = m.mem.Len()+count <= m.bound // consumers have made it since
	if m.Asks.Room {
		m.want = 0
	}
	return true
}

// Hold defers a message with its body.
func (m *Machine) Hold(d inflight.Due) {
	m.n.Accepted++
	if next, some := m.deferredMemory.Next(); !some || d.At < next {
		m.Asks.Deadline = true
	}
	m.deferredMemory.Push(d)
	m.grow(1, len(d.Frame))
}

// DeferPlace defers a message whose body stays where it is; its frame has so many bytes.
func (m *Machine) DeferPlace(s inflight.Place, size int) {
	m.n.Accepted++
	m.offered = s.Pos
	if next, some := m.deferredIndex.Next(); !some || s.At < next {
		m.Asks.Deadline = true
	}
	m.deferredIndex.Push(s)
	m.grow(1, size)
}

// Withdraw takes back messages that nobody was shown; due says that they are deferred.
func (m *Machine) Withdraw(at backlog.Extent, due bool) {
	if due {
		m.setVoid(journal.AddRange(m.Void(), at.Positions())) // they are dropped when they are due
		return
	}
	m.n.Accepted -= uint64(m.mem.Cut(at))
}

// isVoid reports whether a deferred message is one whose publish has failed.
func (m *Machine) isVoid(pos Position) bool { return journal.Holds(m.Void(), pos) }

// Show lets consumers have what is shown now: as many fresh messages as were not before, and deferred ones that were due earlier. It reports whether
// MakeRoom is to be called, until that is done.
func (m *Machine) Show(count int, later *Wakes) (more bool) {
	more = m.policy != nil && m.MakeRoom()
	for m.dueUnshown.Len() > 0 && m.dueUnshown.First().Pos <= m.At.Shown {
		m.returnPlace(m.dueUnshown.Pop())
		count++
	}
	if count > 0 {
		m.wake(min(count, m.visible()), later)
	}
	return more
}

// Clear drops all messages.
func (m *Machine) Clear(why journal.Reason) {
	m.n.discard(why, m.Held()-m.written())
	m.clearBurial()
	m.mem.Clear()
	m.retries, m.loaded, m.released, m.loading = fifo.Queue[Retry]{}, fifo.Queue[Retry]{}, fifo.Queue[Retry]{}, nil
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
	m.loads++
	for _, s := range m.consumers {
		s.inflight = 0
		m.settle(s, nil)
	}
}

// Trim gives memory back when nothing has happened since the last call, and reports whether nothing is there; dry is that the queue on disk is empty
// too, and nobody reads it: then it may be closed.
func (m *Machine) Trim() (idle, dry bool) {
	idle = !m.active && m.inflight.Len()+m.backlog() == 0
	m.active = false
	if !idle {
		return false, false
	}
	m.inflight.Trim()
	m.retries, m.loaded, m.released = fifo.Queue[Retry]{}, fifo.Queue[Retry]{}, fifo.Queue[Retry]{}
	m.mem.Clear()
	m.keep = nil
	if dry = !m.filling && m.At.Disk <= 0; dry {
		m.drained()
	}
	return true, dry
}

// EachOut calls f with all messages that have left the backlog and are known by more than their places, and returns where the others are, to be looked at
// without the lock: to be delivered again; their key's turn has come; deferred; due and not shown yet. What is in a record is not among them: see EachBuried.
func (m *Machine) EachOut(f func(pos Position, attempts uint16)) [4]inflight.Snapshot {
	m.eachOut(f, func(d *inflight.Due) { f(d.Pos, d.Attempts) })
	return m.places()
}

// eachOut calls out with all messages that have left the backlog and are known by more than their places, and deferred with those that are deferred
// with their bodies, or were when they were taken out for a dead letter topic.
func (m *Machine) eachOut(out func(pos Position, attempts uint16), deferred func(*inflight.Due)) {
	m.inflight.Each(out)
	for _, list := range m.bodied() {
		list.Each(func(r *Retry) { out(r.Pos, r.Attempts) })
	}
	m.order.each(out)
	for _, s := range m.loadingPlaces() {
		out(s.Pos, s.Attempts)
	}
	m.eachCorpse(false, func(d *Corpse) {
		if d.Due > 0 {
			deferred(&inflight.Due{Pos: d.Pos, At: d.Due, Attempts: d.Attempts})
		} else {
			out(d.Pos, d.Attempts)
		}
	})
	m.deferredMemory.Each(func(d inflight.Due) { deferred(&d) })
}

// places returns what is known by its place only: to be delivered again; its key's turn has come; deferred; due and not shown yet.
func (m *Machine) places() [4]inflight.Snapshot {
	return [...]inflight.Snapshot{m.coldRetries.Snapshot(), m.coldReleased.Snapshot(), m.deferredIndex.Snapshot(), m.dueUnshown.Snapshot()}
}

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

// Consumers returns its consumers. The list is the machine's.
func (m *Machine) Consumers() []*Consumer { return m.consumers }

// Gone returns how many messages have left the channel, as far as is counted.
func (m *Machine) Gone() uint64 { return m.n.gone() }

// Backlogged reports whether messages wait that were never delivered, not counting those on disk.
func (m *Machine) Backlogged() bool { return m.mem.Len() > 0 }

// First returns the position of the first message that was never delivered, 0 when there is none, or it has no position.
func (m *Machine) First() Position { return m.mem.First() }

// Waiting appends the positions of what was never delivered to a list, in order.
func (m *Machine) Waiting(list []backlog.Range) []backlog.Range { return m.mem.Ranges(list) }

// EachFlying calls f with every message that consumers have.
func (m *Machine) EachFlying(f func(inflight.Flying[*Consumer])) { m.inflight.EachFlying(f) }

// DeferredHolding returns among which places a deferred message is that is known by its place only: it is looked for without the lock.
func (m *Machine) DeferredHolding(pos Position) inflight.Snapshot {
	return m.deferredIndex.Holding(pos)
}

// Deadline returns when something is due next, or is to be looked at; ok is false when nothing is.
func (m *Machine) Deadline() (at int64, ok bool) {
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
	if look := m.aging.lookAt; look > 0 && (!ok || look < at) {
		at, ok = look, true
	}
	return at, ok
}

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

// Check returns what is wrong with the books: each accepted message must be in exactly one state. It is for tests.
func (m *Machine) Check() error {
	if m.n.gone()+uint64(m.Held()) != m.n.Accepted {
		return fmt.Errorf("accepted %d but finished %d, discarded %v, backlog %d, on disk %d, deferred %d, in flight %d",
			m.n.Accepted, m.n.Finished, m.n.counts().Discarded, m.backlog(), m.spilled, m.postponed(), m.inflight.Len())
	}
	owned := 0
	for _, s := range m.consumers {
		owned += s.inflight
	}
	if owned != m.inflight.Len() {
		return fmt.Errorf("%d in flight, but its consumers count %d", m.inflight.Len(), owned)
	}
	if o := m.order; o != nil && m.Held() == 0 && (o.turns.Held() > 0 || o.turns.Len() > 0 || len(o.attempts) > 0) {
		return fmt.Errorf("nothing is left, but turns of %d keys and %d messages are", o.turns.Held(), o.turns.Len())
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
