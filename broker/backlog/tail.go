package backlog

import (
	"math"
	"sync/atomic"
)

// Sizes of nodes in bytes. The first node of a topic is small, as most topics are; each next one is twice the size of the
// one before, up to maxNode. A batch of handOver bytes or more becomes a node itself, without being copied.
const (
	minNode  = 1 << 10
	maxNode  = 256 << 10
	handOver = 128 << 10
)

// node is a run of whole frames.
type node struct {
	mem  []byte       // never changes but for bytes behind what was appended
	used int          // bytes appended; the tail's alone
	next *node        // set before end
	end  atomic.Int64 // used, once the node is closed; atomic as readers pass while the topic appends
}

// unclosed is the end of a node that is still appended to.
const unclosed = math.MaxInt64

// Position is a place in a topic's chain of nodes.
type Position struct {
	node *node
	off  int
}

// Extent is where messages that were appended together begin and end.
type Extent struct {
	from, to Position
}

// Tail is where a topic appends. Its zero value is empty.
type Tail struct {
	last *node
}

// Append adds whole frames and returns where they are. It copies frames or, when taken is true, keeps the slice itself,
// which then must not be changed any more.
func (t *Tail) Append(frames []byte) (at Extent, taken bool) {
	if len(frames) >= handOver {
		return t.whole(frames), true
	}
	n := t.last
	if n == nil || len(n.mem)-n.used < len(frames) {
		n = t.push(make([]byte, t.nextSize(len(frames))))
	}
	at.from = Position{n, n.used}
	n.used += copy(n.mem[n.used:], frames)
	at.to = Position{n, n.used}
	return at, false
}

// Detached returns the extent of whole frames that belong to no tail. The slice must not be changed any more.
func Detached(frames []byte) Extent {
	var t Tail
	return t.whole(frames)
}

// whole makes a node of frames.
func (t *Tail) whole(frames []byte) Extent {
	n := t.push(frames)
	n.used = len(frames)
	return Extent{from: Position{node: n}, to: Position{n, n.used}}
}

// Rewind takes back the last Append, which no queue was told of.
func (t *Tail) Rewind(at Extent) { at.from.node.used = at.from.off }

// Drop forgets the node that is appended to, so that a topic in which nothing waits holds no memory.
func (t *Tail) Drop() { t.last = nil }

// nextSize returns the size of the node that follows the last one and has room for need bytes.
func (t *Tail) nextSize(need int) int {
	size := minNode
	if t.last != nil {
		size = min(2*len(t.last.mem), maxNode)
	}
	return max(size, need)
}

// push closes the last node and puts a new one behind it.
func (t *Tail) push(mem []byte) *node {
	n := &node{mem: mem}
	n.end.Store(unclosed)
	if last := t.last; last != nil {
		last.next = n
		last.end.Store(int64(last.used))
	}
	t.last = n
	return n
}
