package topic

import (
	"math"
	"sort"
	"sync"
	"sync/atomic"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// Position is the number of a message in its topic, from 1; 0: it has none, as at level memory.
type Position = journal.Position

// stored is a node of a durable topic and where it is.
type stored struct {
	node  *backlog.Node
	num   uint32 // its place in the table
	first Position
	end   atomic.Uint64 // the position behind its last message, so far
	pins  atomic.Int64  // messages of it, of all channels, that have left a backlog and are not finished

	ids idSpan // guarded by Topic.pub; those of its messages, nothing where that is not known
	// What messages have beside their bodies, as long as these are in memory; guarded by Topic.pub.
	beside      []journal.Beside
	besideBytes int

	oldest, newest atomic.Int64 // when its first and its last message came, Unix nanoseconds; 0: not looked yet

	// Set before onDisk is.
	block segment.Block

	onDisk  atomic.Bool
	moved   atomic.Pointer[segment.Block] // where it was written anew, nil unless it was
	offsets atomic.Pointer[[]uint32]      // where its messages begin, nil unless it was read to find one
}

func (s *stored) has(pos Position) bool { return pos >= s.first && pos < Position(s.end.Load()) }

// learn remembers where in the node's frames, which are whole, its messages are. Deferred messages of an earlier life are known by
// their positions only: without this each of them would cost reading its whole block.
func (s *stored) learn(frames []byte) {
	offsets := make([]uint32, 0, s.node.Count())
	for off := 0; off < len(frames); {
		offsets = append(offsets, uint32(off))
		off += len(protocol.FirstMessage(frames[off:]))
	}
	s.offsets.Store(&offsets)
}

// locate completes the place of a message of which only the position is known. It reports whether the place is known then.
func (s *stored) locate(m *inflight.Place) bool {
	if m.Off != unknown {
		return true
	}
	offsets := s.offsets.Load()
	if offsets == nil || m.Pos < s.first || m.Pos-s.first >= Position(len(*offsets)) {
		return false
	}
	m.Off = (*offsets)[m.Pos-s.first]
	return true
}

// unknown is the offset of a message of which only the position is known.
const unknown = math.MaxUint32

// at returns the block of a node that is on disk.
func (s *stored) at() segment.Block {
	if b := s.moved.Load(); b != nil {
		return *b
	}
	return s.block
}

// nodeTable is the nodes of a durable topic that somebody may still need, in order.
type nodeTable struct {
	mu   sync.RWMutex // guards what follows; nothing else is locked under it
	list []*stored    // nil where a node has gone
	base uint32       // num of the first
}

// add appends a node that holds messages from its first on, or will.
func (t *nodeTable) add(n *backlog.Node) *stored {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &stored{node: n, first: n.First(), num: t.base + uint32(len(t.list))}
	s.end.Store(uint64(n.End()))
	t.list = append(t.list, s)
	return s
}

// get returns a node by its number, nil when it has gone.
func (t *nodeTable) get(num uint32) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := num - t.base; i < uint32(len(t.list)) {
		return t.list[i]
	}
	return nil
}

// holder returns the node that holds a message, nil when there is none.
func (t *nodeTable) holder(pos Position) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := sort.Search(len(t.list), func(i int) bool { return t.lowerLocked(i) > pos }) - 1
	if i < 0 || t.list[i] == nil || !t.list[i].has(pos) {
		return nil
	}
	return t.list[i]
}

// lowerLocked returns the first position of the node at i or, where that has gone, of the next one behind it.
func (t *nodeTable) lowerLocked(i int) Position {
	for ; i < len(t.list); i++ {
		if s := t.list[i]; s != nil {
			return s.first
		}
	}
	return math.MaxUint64
}

// each returns all nodes that are there.
func (t *nodeTable) each() []*stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*stored, 0, len(t.list))
	for _, s := range t.list {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// drop forgets a node.
func (t *nodeTable) drop(s *stored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list[s.num-t.base] = nil
	for len(t.list) > 0 && t.list[0] == nil {
		t.list = t.list[1:]
		t.base++
	}
	if len(t.list) == 0 {
		t.list = nil
	}
}

// pins counts, in their nodes, messages that leave a channel's backlog, or that are done with: neighbours cost one look at the table.
// Its zero value is ready.
type pins struct {
	node *stored // that has the last one
	n    int64   // not told to it yet
}

// add counts a message; by is 1 for one that leaves the backlog, -1 for one that is done with.
func (p *pins) add(t *nodeTable, pos Position, by int64) {
	if p.node == nil || !p.node.has(pos) {
		p.flush()
		p.node = t.holder(pos)
	}
	p.n += by
}

// addRange counts all messages of a range.
func (p *pins) addRange(t *nodeTable, r backlog.Range, by int64) {
	for r.First <= r.Last {
		if p.node == nil || !p.node.has(r.First) {
			p.flush()
			if p.node = t.holder(r.First); p.node == nil {
				r.First++
				continue
			}
		}
		n := min(r.Last, Position(p.node.end.Load())-1) - r.First + 1
		p.n += by * int64(n)
		r.First += n
	}
}

// flush tells what was counted, and forgets the node, which holds those behind it.
func (p *pins) flush() {
	if p.node != nil && p.n != 0 {
		p.node.pins.Add(p.n)
	}
	*p = pins{}
}
