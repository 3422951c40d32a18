package topic

import (
	"math"
	"sort"
	"sync"
	"sync/atomic"

	"brokerd/broker/backlog"
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

// find returns the node that holds the message of that id, nil when there is none. The node that is appended to must not be
// asked for while it is.
func (t *nodeTable) find(id protocol.MessageID) *stored {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := sort.Search(len(t.list), func(i int) bool { return t.lowerLocked(i) > id })
	for i--; i >= 0; i-- {
		if s := t.list[i]; s != nil {
			if id <= s.node.Last() {
				return s
			}
			return nil
		}
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
