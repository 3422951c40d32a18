package topic

import (
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// stored is a node of a durable topic and where it is.
type stored struct {
	node *backlog.Node
	num  uint32       // its place in the table
	pins atomic.Int64 // deferred and absent messages of all channels whose bodies are here

	// Set before onDisk is.
	block segment.Block

	onDisk atomic.Bool
	moved  atomic.Pointer[segment.Block] // where it was written anew, nil unless it was
	places atomic.Pointer[places]        // where its messages are, nil unless it was read to find one
}

// places is where in a node its messages are. Deferred messages of an earlier life are known by their ids only: without this
// each of them would cost reading its whole block.
type places struct {
	ids  []protocol.MessageID // nil when they follow each other
	offs []uint32
}

// learn remembers where in the node's frames, which are whole, its messages are.
func (s *stored) learn(frames []byte) {
	p := &places{offs: make([]uint32, 0, s.node.Count())}
	inRow := true
	for off := 0; off < len(frames); {
		f := protocol.FirstMessage(frames[off:])
		id, _ := f.ID()
		inRow = inRow && id == s.node.First()+protocol.MessageID(len(p.offs))
		p.ids = append(p.ids, id)
		p.offs = append(p.offs, uint32(off))
		off += len(f)
	}
	if inRow {
		p.ids = nil
	}
	s.places.Store(p)
}

// locate completes the place of a message of which only the id is known. It reports whether it could.
func (s *stored) locate(m *inflight.Shelved) bool {
	p := s.places.Load()
	if p == nil {
		return false
	}
	i, ok := int(m.ID-s.node.First()), m.ID >= s.node.First()
	if p.ids != nil {
		i, ok = slices.BinarySearch(p.ids, m.ID)
	}
	if !ok || i >= len(p.offs) {
		return false
	}
	m.Off, m.Index = place(p.offs[i], i)
	return true
}

// unknown is the offset of a message of which only the id is known.
const unknown = math.MaxUint32

// place returns where in its node the message is that is the i-th there and begins at off, as a Shelved says it.
func place(off uint32, i int) (uint32, uint16) {
	if i > math.MaxUint16 {
		return unknown, 0
	}
	return off, uint16(i)
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
	list []*stored    // nil where a node has gone
	base uint32       // num of the first
}

func (t *nodeTable) add(n *backlog.Node) *stored {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &stored{node: n, num: t.base + uint32(len(t.list))}
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

// holder returns the node that holds a message, nil when it has gone. The message must be one that the topic has or had.
func (t *nodeTable) holder(id protocol.MessageID) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := sort.Search(len(t.list), func(i int) bool { return t.lowerLocked(i) > id }) - 1
	if i < 0 || t.list[i] == nil {
		return nil
	}
	s := t.list[i]
	// The last one may be appended to at this moment, so that only its owner may ask it which message is its newest.
	if i < len(t.list)-1 && id > s.node.Last() {
		return nil
	}
	return s
}

// find returns the node that holds the message of that id, nil when there is none. Nothing may be appended meanwhile.
func (t *nodeTable) find(id protocol.MessageID) *stored {
	if s := t.holder(id); s != nil && id <= s.node.Last() {
		return s
	}
	return nil
}

// lowerLocked returns the first id of the node at i or, where that has gone, of the next one behind it. Unlike the last one it
// never changes once the node is in the table.
func (t *nodeTable) lowerLocked(i int) protocol.MessageID {
	for ; i < len(t.list); i++ {
		if s := t.list[i]; s != nil {
			return s.node.First()
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
