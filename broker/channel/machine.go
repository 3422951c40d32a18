package channel

import (
	"fmt"
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
	deferredIndex  inflight.DeferredIndex             // deferred, without their bodies
	dueUnshown     inflight.PlaceQueue                // of those: due, and not shown yet
	offered        Position                           // of the last publish
	inherited      Position                           // the newest of the topic when its own backlog moved here last
	replay         Position                           // the last message of the last rewind
	voids          *voided                            // nil until there are some
	bodies         map[Position]protocol.MessageFrame // see keepBody; nil while there are none
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

// isVoid reports whether a deferred message is one whose publish has failed.
func (m *Machine) isVoid(pos Position) bool { return journal.Holds(m.Void(), pos) }

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
	m.bodies = nil
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

// Consumers returns its consumers. The list is the machine's.
func (m *Machine) Consumers() []*Consumer { return m.consumers }

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
