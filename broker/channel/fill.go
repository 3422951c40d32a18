package channel

import (
	"cmp"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// What a channel needs of a disk it names and does not read: BeginFill says what is to be read, EndFill takes in what was.

// fillAtOnce is how many messages that are to be delivered again are brought into memory at once.
const fillAtOnce = 256

// cold returns the node that must be brought into memory before the next message that waits can be taken, nil when there is none.
// It may find that nothing waits any more, as messages were lost.
func (m *Machine) cold() *backlog.Node {
	n := m.mem.Cold()
	for _, lost := range m.mem.Lost() {
		m.n.discard(journal.Unreadable, lost.Len())
		m.effects().discard(lost, journal.Unreadable, false)
	}
	return n
}

// fillable reports whether there is something to bring into memory.
func (m *Machine) fillable() bool {
	return m.At.Disk > 0 && m.mem.Len() == 0 || m.coldReleased.Len() > 0 && m.released.Len() < fillAtOnce || m.coldRetries.Len() > 0 && m.loaded.Len() < fillAtOnce || m.freshShown() && m.cold() != nil
}

// fillFirst reports whether something should be brought into memory although there is something to deliver: its turn has come.
func (m *Machine) fillFirst() bool {
	if m.coldReleased.Len() > 0 {
		return m.released.Len() == 0
	}
	return m.coldRetries.Len() > 0 && m.loaded.Len() == 0 && uint64(m.coldRetries.First().At) <= m.taken
}

// Filling is what one look at the disk is to bring, and brings.
type Filling struct {
	Cold    *backlog.Node
	First   Position // of it, that is wanted
	Retries []inflight.Place
	Keyed   bool // keys count: they are to be read, too

	Node        Read    // of Cold
	Unread      bool    // it could not be read now
	Loaded      []Retry // of Retries
	Lost, Later []inflight.Place
	Spilled     int    // messages of the queue on disk, which has taken them out
	Frames      []byte // of those

	loads int // Machine.loads of when it began
}

// Read is what can be read of a node.
type Read struct {
	Of     backlog.Range // the positions that were looked for, where some of a node's were
	Frames []byte
	Runs   []backlog.Range // the positions that the frames have, nil when they are all of the node's
	Sums   []uint32        // of the messages' keys, counted from the node's first position, where they were asked for
}

// BeginFill says what is to be read. From a queue on disk is read as much as may be at once, too.
func (m *Machine) BeginFill() (f Filling) {
	if m.freshShown() {
		f.Cold = m.cold()
		f.First = m.mem.First()
	}
	f.Keyed = m.order != nil
	if m.coldReleased.Len() > 0 {
		f.Retries = m.fillReleased()
	}
	for m.coldRetries.Len() > 0 && m.loaded.Len()+len(f.Retries) < fillAtOnce {
		f.Retries = append(f.Retries, m.coldRetries.Pop())
	}
	if m.loading = nil; len(f.Retries) > 0 {
		m.loading = new(f.Retries)
	}
	f.loads = m.loads
	return f
}

// EndFill puts what was read where it belongs, unless that is of no use any more, and reports whether there is something to
// deliver. Then nothing of it was lost either: what is left in Lost is what the channel has lost.
func (m *Machine) EndFill(f *Filling) (ready bool) {
	m.filling = false
	if m.loads == f.loads {
		m.loading = nil
		if f.Cold != nil && !f.Unread {
			m.supply(f)
		}
		if f.Spilled > 0 {
			m.mem.Add(backlog.Detached(f.Frames, 0, f.Spilled), f.Spilled)
			m.unspilled(f.Spilled)
			m.lookSoon()
		}
		m.recall(f)
		m.endLoad(f)
		for _, s := range f.Lost {
			m.n.discard(journal.Unreadable, 1)
			m.effects().discard(backlog.Range{First: s.Pos, Last: s.Pos}, journal.Unreadable, true)
		}
	} else {
		f.Lost = nil
	}
	if ready = m.deliverable(); ready {
		m.wake(m.visible(), nil)
	}
	return ready
}

// supply brings a node that was read to the backlog.
func (m *Machine) supply(f *Filling) {
	if f.Keyed {
		m.mem.SupplyKeyed(f.Cold, f.Node.Of, f.Node.Frames, f.Node.Runs, f.Node.Sums)
		return
	}
	m.mem.Supply(f.Cold, f.Node.Of, f.Node.Frames, f.Node.Runs)
}

// endLoad puts single messages that were read where they belong.
func (m *Machine) endLoad(f *Filling) {
	m.putBack(f.Later)
	if keyed := m.order != nil; keyed && !f.Keyed { // they were asked for before keys counted
		for i := range f.Loaded {
			r := &f.Loaded[i]
			m.keepBody(r.Pos, r.Frame)
			m.coldRetries.Push(inflight.Place{At: int64(m.nextTurn()), Pos: r.Pos, Off: inflight.NoOffset, Attempts: r.Attempts})
		}
		return
	}
	for _, r := range f.Loaded {
		if int64(r.Turn) == inTurn {
			m.released.Push(r)
		} else {
			m.loaded.Push(r)
		}
	}
}

// keepBody keeps the body of a message of an ephemeral channel that is known by its place from now on, as it is loaded anew for its key: where the
// channel has discarded others it has its own copy, and the message's node may have gone.
func (m *Machine) keepBody(pos Position, f protocol.MessageFrame) {
	if !m.ephemeral || pos == 0 || f == nil {
		return
	}
	if m.bodies == nil {
		m.bodies = map[Position]protocol.MessageFrame{}
	}
	m.bodies[pos] = f
}

// recall finds the bodies that were kept of messages whose nodes have gone. Their keys are known no more: they have no turn.
func (m *Machine) recall(f *Filling) {
	if m.bodies == nil {
		return
	}
	for i := range f.Loaded {
		delete(m.bodies, f.Loaded[i].Pos)
	}
	f.Lost = slices.DeleteFunc(f.Lost, func(s inflight.Place) bool {
		body, kept := m.bodies[s.Pos]
		if kept {
			f.Loaded = append(f.Loaded, Retry{Frame: body, Pos: s.Pos, Turn: uint64(s.At), Attempts: s.Attempts})
			delete(m.bodies, s.Pos)
		}
		return kept
	})
	slices.SortStableFunc(f.Loaded, func(a, b Retry) int { return cmp.Compare(int64(a.Turn), int64(b.Turn)) })
	if len(m.bodies) == 0 || m.coldRetries.Len()+m.coldReleased.Len()+m.deferredIndex.Len()+m.dueUnshown.Len()+len(f.Later) == 0 {
		m.bodies = nil // what left otherwise may still be there
	}
}

// putBack puts places in front of the lists that they were taken from.
func (m *Machine) putBack(list []inflight.Place) {
	var again, released []inflight.Place
	for _, s := range list {
		if s.At == inTurn {
			released = append(released, s)
		} else {
			again = append(again, s)
		}
	}
	m.coldRetries.PushFront(again)
	m.coldReleased.PushFront(released)
}
