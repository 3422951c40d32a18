package topic

import (
	"slices"
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
	first Position
	end   atomic.Uint64          // the position behind its last message, so far
	pins  atomic.Int64           // messages of it, of all channels, that have left a backlog and are not finished
	gone  atomic.Bool            // it is not in the table any more
	letGo bool                   // nothing is held for it in the standby any more; guarded by Topic.pub
	of    atomic.Pointer[stored] // the file that it is a part of, where only that is in the table

	ids idSpan // guarded by Topic.pub; those of its messages, nothing where that is not known
	// What messages have beside their bodies, as long as these are in memory; guarded by Topic.pub.
	beside      []journal.Beside
	besideBytes int

	oldest, newest atomic.Int64 // when its first and its last message came, Unix nanoseconds; 0: not looked yet

	// Set before onDisk is.
	block segment.Block // of a file that is kept as a whole: see archive.go

	onDisk  atomic.Bool
	held    atomic.Pointer[[]*block]      // of a topic of a group of replicas, in the place of block: see held.go
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
	if m.Off != inflight.NoOffset {
		return true
	}
	offsets := s.offsets.Load()
	if offsets == nil || m.Pos < s.first || m.Pos-s.first >= Position(len(*offsets)) {
		return false
	}
	m.Off = (*offsets)[m.Pos-s.first]
	return true
}

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
	list []*stored    // some have gone, but the first
	left int          // how many of them have
}

// add appends a node that holds messages from its first on, or will.
func (t *nodeTable) add(n *backlog.Node) *stored {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &stored{node: n, first: n.First()}
	s.end.Store(uint64(n.End()))
	t.list = append(t.list, s)
	return s
}

// at returns the index of the last node that does not begin behind a position, -1 when there is none.
func (t *nodeTable) at(pos Position) int {
	return sort.Search(len(t.list), func(i int) bool { return t.list[i].first > pos }) - 1
}

// holder returns the node that holds a message, nil when there is none.
func (t *nodeTable) holder(pos Position) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := t.at(pos)
	if i < 0 || t.list[i].gone.Load() || !t.list[i].has(pos) {
		return nil
	}
	return t.list[i]
}

// next returns the first node that has messages from a position on, nil when there is none.
func (t *nodeTable) next(pos Position) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := max(t.at(pos), 0); i < len(t.list); i++ {
		if s := t.list[i]; !s.gone.Load() && Position(s.end.Load()) > pos {
			return s
		}
	}
	return nil
}

// each returns all nodes that are there.
func (t *nodeTable) each() []*stored { return t.from(0) }

// from returns all nodes that have messages from a position on.
func (t *nodeTable) from(pos Position) []*stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	some := t.list[max(t.at(pos), 0):]
	if len(some) > 0 && Position(some[0].end.Load()) <= pos {
		some = some[1:]
	}
	if t.left == 0 { // of very many none is touched
		return slices.Clone(some)
	}
	out := make([]*stored, 0, len(some))
	for _, s := range some {
		if !s.gone.Load() && Position(s.end.Load()) > pos {
			out = append(out, s)
		}
	}
	return out
}

// before returns all nodes that have no messages from a position on.
func (t *nodeTable) before(pos Position) []*stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	some := t.list[:t.at(pos)+1]
	out := make([]*stored, 0, len(some))
	for _, s := range some {
		if !s.gone.Load() && Position(s.end.Load()) <= pos {
			out = append(out, s)
		}
	}
	return out
}

// drop forgets a node.
func (t *nodeTable) drop(s *stored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goneLocked(s)
	for len(t.list) > 0 && t.list[0].gone.Load() {
		t.list[0] = nil
		t.list = t.list[1:]
		t.left--
	}
	if len(t.list) == 0 {
		t.list = nil
	}
	if t.left > 64 && t.left > len(t.list)/8 {
		t.packLocked()
	}
}

func (t *nodeTable) goneLocked(s *stored) {
	s.gone.Store(true)
	t.left++
}

// joinLocked puts one node in the place of some that follow each other. Others may look for nodes only once packLocked was called.
func (t *nodeTable) joinLocked(some []*stored, n *backlog.Node) *stored {
	i := t.at(some[0].first)
	n.SetNext(some[len(some)-1].node.Next())
	s := &stored{node: n, first: n.First()}
	s.end.Store(uint64(n.End()))
	for _, part := range some {
		part.of.Store(s)
		t.goneLocked(part)
	}
	if i > 0 {
		t.list[i-1].node.SetNext(n)
	}
	t.list[i] = s
	t.left--
	return s
}

// packLocked forgets nodes that have gone, for good.
func (t *nodeTable) packLocked() {
	if t.left == 0 {
		return
	}
	kept := t.list[:0]
	for i, s := range t.list {
		if s.gone.Load() {
			continue
		}
		if k := len(kept) - 1; k >= 0 && kept[k] != t.list[i-1] && kept[k].node.Next() != nil {
			kept[k].node.SetNext(s.node) // or it would hold those between
		}
		kept = append(kept, s)
	}
	clear(t.list[len(kept):])
	t.list, t.left = kept, 0
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
