package backlog

import (
	"sync"
	"sync/atomic"
)

// spares are bytes of evicted nodes of full size, for the next nodes. A topic that lets go of as much as it appends takes no fresh memory then,
// which would have to be zeroed, and collected.
var spares spareBytes

// maxSpares is about how many are kept. More would only wait for the collector.
const maxSpares = 8

type spareBytes struct {
	pool sync.Pool    // of *[]byte
	kept atomic.Int32 // in the pool, but for what the collector has taken since it was found empty
}

func (s *spareBytes) get() *[]byte {
	mem, ok := s.pool.Get().(*[]byte)
	if !ok {
		s.kept.Store(0)
		return nil
	}
	s.kept.Add(-1)
	return mem
}

func (s *spareBytes) put(mem *[]byte) {
	if s.kept.Add(1) > maxSpares {
		s.kept.Add(-1)
		return
	}
	s.pool.Put(mem)
}

// load returns the node's bytes for who may have them beyond Evict: they are never written over then.
func (n *Node) load() *[]byte {
	if !n.lent.Load() {
		n.lent.Store(true) // before they are looked for: Evict looks in the other order
	}
	return n.mem.Load()
}

// Evict drops the bytes of a closed node from memory. When nobody else can have them they are used again.
func (n *Node) Evict() {
	mem := n.mem.Swap(nil)
	n.sums.Store(nil)
	if mem != nil && n.spare && !n.lent.Load() {
		spares.put(mem)
	}
}

// InMemory reports whether the node's bytes are in memory.
func (n *Node) InMemory() bool { return n.mem.Load() != nil }

// Brief is Frames for who appends and is done with them before anybody calls Evict.
func (n *Node) Brief() []byte {
	if mem := n.mem.Load(); mem != nil {
		return (*mem)[:n.used]
	}
	return nil
}

// Brief is Frames for who appends and is done with them before anybody calls Evict.
func (e Extent) Brief() []byte { return (*e.from.node.mem.Load())[e.from.off:e.to.off] }
