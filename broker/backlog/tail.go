package backlog

import (
	"math"
	"sync/atomic"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Sizes of nodes in bytes. The first node of a topic is small, as most topics are; each next one is twice the size of the
// one before, up to maxNode. A batch of handOver bytes or more becomes a node itself, without being copied. The log copies
// smaller ones: the bytes of their node may be used again.
const (
	minNode  = 1 << 10
	maxNode  = 256 << 10
	handOver = 64 << 10
)

// Node is a run of whole frames. Its bytes never change but for those behind what was appended. They are in memory, until
// the owner of the tail evicts a node that it has written elsewhere; a queue that comes to it then must be supplied.
type Node struct {
	mem  atomic.Pointer[[]byte]   // nil once evicted; atomic as readers pass meanwhile
	sums atomic.Pointer[[]uint32] // of the messages' keys, nil where none has one, or once evicted
	next atomic.Pointer[Node]     // set before a queue is told of messages there; nil unless noted, see SetNext
	end  atomic.Int64             // bytes used, once the node is closed; atomic as readers pass while the topic appends

	lent atomic.Bool // somebody may have bytes of it for as long as he likes

	// Owned by who appends.
	spare    bool // its bytes are of spares, or may become some
	used     int
	ready    int // bytes whose pages are there, as far as they were asked for
	count    int
	first    Position // of the first message, 0 unless noted
	detached bool     // of no tail
}

// Position is the number of a message in its topic; 0: it has none, as at level memory.
type Position = journal.Position

// Range is messages that follow each other in a topic.
type Range = journal.Range

// unclosed is the end of a node that is still appended to.
const unclosed = math.MaxInt64

// NewCold returns a closed node whose bytes are not in memory, behind prev when that is not nil. It holds count messages,
// size bytes, from position first on.
func NewCold(prev *Node, first Position, count, size int) *Node {
	n := &Node{used: size, count: count, first: first}
	n.end.Store(int64(size))
	if prev != nil {
		prev.next.Store(n)
	}
	return n
}

// Next returns the node behind this one, nil when there is none, or no queue goes on from here.
func (n *Node) Next() *Node { return n.next.Load() }

// SetNext says which node follows, once all between have gone: nothing in those waits in any queue. It is for who appends. Without it whoever
// holds this node would hold those.
func (n *Node) SetNext(next *Node) { n.next.Store(next) }

// First returns the position of the first message, as far as Note was told.
func (n *Node) First() Position { return n.first }

// End returns the position behind the last message. It is for who appends and, once the node is closed, for all.
func (n *Node) End() Position { return n.first + Position(n.count) }

// Closed reports whether nothing is appended to the node any more.
func (n *Node) Closed() bool { return n.end.Load() != unclosed }

// Count returns the number of messages. It is for who appends and, once the node is closed, for all.
func (n *Node) Count() int { return n.count }

// Frames returns the messages, nil when they are not in memory; who has them may keep them. It is for who appends and, once the node is
// closed, for all.
func (n *Node) Frames() []byte {
	if mem := n.load(); mem != nil {
		return (*mem)[:n.used]
	}
	return nil
}

// Frame returns the message at an offset that was told, nil when the node is not in memory. Unlike Frames it may be called
// while the node is appended to.
func (n *Node) Frame(off int) protocol.MessageFrame {
	if mem := n.load(); mem != nil {
		return protocol.FirstMessage((*mem)[off:])
	}
	return nil
}

// place is where in a topic's chain of nodes a message begins, or the one before it ends.
type place struct {
	node *Node
	off  int
}

// unknown is the offset of a message in a node that is not in memory.
const unknown = -1

// Extent is where messages that were appended together begin and end.
type Extent struct {
	from, to    place
	first, last Position // 0 unless noted
}

// Node returns the node that the messages begin in; batches do not cross nodes.
func (e Extent) Node() *Node { return e.from.node }

// Frames returns the messages of an extent whose node is in memory. They never change.
func (e Extent) Frames() []byte { return (*e.from.node.load())[e.from.off:e.to.off] }

// Positions returns which messages these are.
func (e Extent) Positions() Range { return Range{First: e.first, Last: e.last} }

// Of returns the extent of those messages of a closed node that are in a range which it holds.
func Of(n *Node, r Range) Extent {
	e := Extent{from: place{n, unknown}, to: place{n, unknown}, first: r.First, last: r.Last}
	if r.First == n.first {
		e.from.off = 0
	}
	return e
}

// Tail is where a topic appends. Its zero value is empty.
type Tail struct {
	last     *Node
	unlinked *Node // noted, and closed by the last Append
}

// Append adds whole frames and returns where they are. It copies frames or, when taken is true, keeps the slice itself,
// which then must not be changed any more.
func (t *Tail) Append(frames []byte) (at Extent, taken bool) {
	if len(frames) >= handOver {
		return t.whole(frames), true
	}
	n := t.last
	if n == nil || n.Closed() || len(*n.mem.Load())-n.used < len(frames) {
		n = t.begin(len(frames))
	}
	n.prepare(len(frames))
	at.from = place{n, n.used}
	n.used += copy((*n.mem.Load())[n.used:], frames)
	at.to = place{n, n.used}
	return at, false
}

// Bytes of a large node that are made ready to be written to at once: prepared, but no more than are needed of an end in which
// nothing else will find room, which is then never touched.
const (
	prepared = 64 << 10
	pageSize = 4 << 10
)

// prepare sees to it that more bytes can be appended without a page fault for each page.
func (n *Node) prepare(more int) {
	mem := *n.mem.Load()
	end := n.used + more
	if end <= n.ready || len(mem) < prepared {
		return
	}
	to := (end + pageSize - 1) &^ (pageSize - 1)
	if end+more <= len(mem) {
		to = max(to, n.ready+prepared)
	}
	to = min(to, len(mem))
	populate(mem[n.ready:to])
	n.ready = to
}

// Note says how many messages the last Append was, and the position of the first one. Within a node positions follow each other.
// Only nodes that were noted are linked, as a link keeps all that follows: whoever notes must evict what is not to stay in memory.
func (t *Tail) Note(at Extent, first Position, count int) Extent {
	n := t.last
	if n.count == 0 {
		n.first = first
	}
	if t.unlinked != nil {
		t.unlinked.next.Store(n)
		t.unlinked = nil
	}
	n.count += count
	at.first, at.last = first, first+Position(count)-1
	return at
}

// Last returns the node that is appended to, nil when there is none.
func (t *Tail) Last() *Node { return t.last }

// Detached returns the extent of whole frames that belong to no tail; first is the position of the first of count, or 0. The slice must
// not be changed any more.
func Detached(frames []byte, first Position, count int) Extent {
	var t Tail
	at := t.whole(frames)
	t.last.detached = true
	if first > 0 {
		at = t.Note(at, first, count)
	}
	return at
}

// whole makes a node of frames.
func (t *Tail) whole(frames []byte) Extent {
	n := t.push(&frames)
	n.used = len(frames)
	return Extent{from: place{node: n}, to: place{n, n.used}}
}

// Rewind takes back the last Append, which no queue was told of.
func (t *Tail) Rewind(at Extent) { at.from.node.used = at.from.off }

// Drop forgets the node that is appended to, so that a topic in which nothing waits holds no memory.
func (t *Tail) Drop() { t.last, t.unlinked = nil, nil }

// Close ends the node that is appended to; the next Append begins one behind it.
func (t *Tail) Close() {
	if n := t.last; n != nil && !n.Closed() {
		n.end.Store(int64(n.used))
	}
}

// Offset returns where in its node the extent begins.
func (e Extent) Offset() int { return e.from.off }

// After makes n, a closed node, the one behind which is appended.
func (t *Tail) After(n *Node) { t.last = n }

// nextSize returns the size of the node that follows the last one and has room for need bytes.
func (t *Tail) nextSize(need int) int {
	size := minNode
	if t.last != nil {
		size = min(max(2*t.last.used, minNode), maxNode)
	}
	return max(size, need)
}

// begin closes the last node and puts one behind it that has room for need bytes.
func (t *Tail) begin(need int) *Node {
	size := t.nextSize(need)
	if size == maxNode {
		if mem := spares.get(); mem != nil {
			n := t.push(mem)
			n.spare, n.ready = true, size
			return n
		}
	}
	mem := make([]byte, size)
	n := t.push(&mem)
	n.spare = size == maxNode
	return n
}

// push closes the last node and puts a new one behind it.
func (t *Tail) push(mem *[]byte) *Node {
	n := &Node{}
	n.mem.Store(mem)
	n.end.Store(unclosed)
	if last := t.last; last != nil {
		if last.count > 0 {
			t.unlinked = last
		}
		last.end.Store(int64(last.used))
	}
	t.last = n
	return n
}
