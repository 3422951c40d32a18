package backlog

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"testing"
	"weak"

	"brokerd/protocol"

	"pgregory.net/rapid"
)

// appendMessage appends a frame whose body tells its id.
func appendMessage(dst []byte, id protocol.MessageID, size int) []byte {
	dst = protocol.AppendMessageHeader(dst, int64(id), 1, id, size)
	for range size {
		dst = append(dst, byte(id))
	}
	return dst
}

// machine drives a tail and its queues; for each queue it keeps the messages that must come out.
type machine struct {
	noted    bool // nodes are noted, linked, and may be evicted
	next     protocol.MessageID
	tail     Tail
	queue    [3]Queue
	want     [3][]protocol.MessageFrame
	nodes    []*Node // noted ones
	disk     map[*Node][]byte
	sums     map[*Node][]uint32 // of nodes on disk
	withKey  map[protocol.MessageID]bool
	keyed    bool                 // queues are asked for keys
	withheld map[Position]bool    // was not brought once
	recent   []*published         // the last ones, which may be taken back
	after    [3]Position          // up to where each queue was left
	lossy    [3]map[Position]bool // what each has that is in no node of the tail
}

// published is a publish that may be taken back from those queues that have all that they were given of it.
type published struct {
	at   Extent
	from int // queues
}

// mostRecent is how many publishes may be taken back.
const mostRecent = 4

// left notes that a message has left a queue: its publish is not taken back from there any more.
func (m *machine) left(i int, pos Position) {
	for _, p := range m.recent {
		if r := p.at.Positions(); r.First <= pos && pos <= r.Last {
			p.from &^= 1 << i
		}
	}
}

func (m *machine) batch(t *rapid.T) (frames []byte, list []protocol.MessageFrame) {
	count := rapid.IntRange(1, 5).Draw(t, "count")
	size := rapid.SampledFrom([]int{0, 1, 50, 300, 5000, handOver/2 + 7}).Draw(t, "size")
	for range count {
		m.next++
		frames = appendMessage(frames, m.next, size)
	}
	for off := 0; off < len(frames); {
		f := protocol.FirstMessage(frames[off:])
		list = append(list, bytes.Clone(f))
		off += len(f)
	}
	return frames, list
}

// Publish appends a batch and tells some of the queues. When it tells none, the append is taken back.
func (m *machine) Publish(t *rapid.T) {
	frames, list := m.batch(t)
	to := rapid.IntRange(0, 7).Draw(t, "queues")
	if m.noted && to == 0 {
		to = 1 // what is noted stays
	}
	at, taken := m.tail.Append(frames)
	if taken != (len(frames) >= handOver) {
		t.Fatalf("%d bytes: taken is %v", len(frames), taken)
	}
	var sums []uint32
	if m.noted {
		first, _ := list[0].ID()
		at = m.tail.Note(at, Position(first), len(list))
		m.recent = append(m.recent[max(0, len(m.recent)+1-mostRecent):], &published{at, to})
		if m.keyed && rapid.Bool().Draw(t, "with keys") {
			sums = make([]uint32, len(list))
			for i, f := range list {
				sums[i] = sumOf(f)
			}
			m.tail.NoteSums(at, sums)
			for _, f := range list {
				m.withKey[f.MustID()] = true
			}
		}
		if n := m.tail.Last(); len(m.nodes) == 0 || m.nodes[len(m.nodes)-1] != n {
			m.nodes = append(m.nodes, n)
		}
	}
	for i := range m.queue {
		if to>>i&1 == 0 {
			continue
		}
		if m.noted && rapid.IntRange(0, 5).Draw(t, "a copy of some") == 0 {
			m.copySome(t, i, at, list, sums)
			continue
		}
		m.queue[i].Add(at, len(list))
		m.want[i] = append(m.want[i], list...)
	}
	switch {
	case to == 0 && taken:
		m.tail.Drop()
	case to == 0:
		m.tail.Rewind(at)
	case !taken:
		clear(frames) // it was copied
	}
}

// copySome gives a queue a copy of the first messages of a publish, as a channel does that has room for no more.
func (m *machine) copySome(t *rapid.T, i int, at Extent, list []protocol.MessageFrame, sums []uint32) {
	n := rapid.IntRange(1, len(list)).Draw(t, "of them")
	frames := bytes.Clone(at.Frames()[:offset(at.Frames(), n)])
	of := Detached(frames, at.first, n)
	of.SetSums(sums[:min(n, len(sums))])
	m.queue[i].Add(of, n)
	m.want[i] = append(m.want[i], list[:n]...)
	for k := range n {
		m.lossy[i][at.first+Position(k)] = true
	}
}

// Overflow brings messages to one queue that belong to no tail, as those that were read from disk.
func (m *machine) Overflow(t *rapid.T) {
	if m.noted {
		t.Skip("durable topics bring nodes back instead")
	}
	frames, list := m.batch(t)
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	m.queue[i].Add(Detached(frames, 0, len(list)), len(list))
	m.want[i] = append(m.want[i], list...)
}

// Inherit gives one queue all that another holds.
func (m *machine) Inherit(t *rapid.T) {
	if m.noted || m.queue[0].Len() > 200 {
		t.Skip("not now")
	}
	m.queue[1].AddQueue(&m.queue[0])
	m.want[1] = append(m.want[1], m.want[0]...)
}

// ReadRun takes messages out of one queue that follow each other in memory.
func (m *machine) ReadRun(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	q := &m.queue[i]
	if m.noted && m.cold(t, i) != nil || q.Len() == 0 {
		t.Skip("nothing is in memory")
	}
	upTo := Position(rapid.Uint64Range(uint64(max(q.First(), 1)-1), math.MaxUint64).Draw(t, "up to"))
	limit := rapid.IntRange(1, 30).Draw(t, "limit")
	frames, first, most, _ := q.Run(upTo, limit)
	if m.noted && first > 0 && first != q.First() || most > limit {
		t.Fatalf("queue %d: %d messages of %d from position %d, and its first is %d", i, most, limit, first, q.First())
	}
	n, bytes := 0, 0
	for ; n < most && bytes < len(frames); n++ {
		f := protocol.FirstMessage(frames[bytes:])
		if !slices.Equal(f, m.want[i][n]) {
			t.Fatalf("queue %d: message %d of the run is %x, want %x", i, n, f[:min(len(f), 64)], m.want[i][n][:min(len(m.want[i][n]), 64)])
		}
		if pos := Position(f.MustID()); m.noted && (pos != first+Position(n) || pos > upTo) {
			t.Fatalf("queue %d: message %d of a run from %d up to %d is at %d", i, n, first, upTo, pos)
		}
		bytes += len(f)
	}
	if n == 0 {
		return
	}
	q.Pass(n, bytes)
	m.want[i] = m.want[i][n:]
	for k := range n {
		m.taken(i, first, k)
	}
}

// taken notes that a queue has given out the k-th message behind one.
func (m *machine) taken(i int, first Position, k int) {
	if m.noted {
		m.left(i, first+Position(k))
		m.after[i] = first + Position(k)
	}
}

// Read takes messages out of one queue.
func (m *machine) Read(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	for range rapid.IntRange(1, 30).Draw(t, "count") {
		q := &m.queue[i]
		if m.noted {
			for n := m.cold(t, i); n != nil; n = m.cold(t, i) {
				m.supply(t, i, n)
				if m.queue[i].Len() > 0 && m.queue[i].spans[0].mem == nil {
					t.Fatalf("queue %d: what it asked for was not taken", i)
				}
			}
		}
		if q.Len() == 0 {
			break
		}
		if m.keyed {
			m.checkKey(t, q, m.want[i][0])
		}
		got, pos := q.Next()
		if !bytes.Equal(got, m.want[i][0]) {
			t.Fatalf("queue %d: got %x, want %x", i, got[:min(len(got), 64)], m.want[i][0][:min(len(m.want[i][0]), 64)])
		}
		if id := got.MustID(); m.noted && Position(id) != pos {
			t.Fatalf("queue %d: message %d is said to have position %d", i, id, pos)
		}
		m.taken(i, pos, 0)
		m.want[i] = m.want[i][1:]
	}
}

// supply brings a node back, or a part of it in which the next message is, and perhaps not all of that: some is not needed any more, or is lost.
func (m *machine) supply(t *rapid.T, i int, n *Node) {
	q := &m.queue[i]
	of, frames, sums := Range{First: n.First(), Last: n.End() - 1}, m.disk[n], m.sums[n]
	if rapid.Bool().Draw(t, "in part") {
		of.First = Position(rapid.Uint64Range(uint64(n.First()), uint64(q.First())).Draw(t, "from"))
		of.Last = Position(rapid.Uint64Range(uint64(q.First()), uint64(n.End()-1)).Draw(t, "to"))
		from := offset(frames, int(of.First-n.First()))
		frames = frames[from:][:offset(frames[from:], of.Len())]
		sums = sums[min(int(of.First-n.First()), len(sums)):]
	}
	var runs []Range
	if rapid.IntRange(0, 2).Draw(t, "with gaps") == 0 {
		gone := m.gaps(t, i, of)
		frames, runs = without(of.First, frames, gone...)
	}
	if m.keyed {
		q.SupplyKeyed(n, of, frames, runs, sums)
	} else {
		q.Supply(n, of, frames, runs)
	}
}

// gaps returns positions that are not brought: of what the queue does not need, and some that it does.
func (m *machine) gaps(t *rapid.T, i int, of Range) (gone []Position) {
	need := map[Position]bool{}
	for _, f := range m.want[i] {
		need[Position(f.MustID())] = true
	}
	seldom := rapid.IntRange(2, 6).Draw(t, "one in")
	for pos := of.First; pos <= of.Last; pos++ {
		if int(pos)%seldom == 0 || !need[pos] && int(pos)%3 > 0 {
			gone = append(gone, pos)
			m.withheld[pos] = true
		}
	}
	return gone
}

// cold is Cold of a queue, which may find that its first messages are lost.
func (m *machine) cold(t *rapid.T, i int) *Node {
	n := m.queue[i].Cold()
	for _, r := range m.queue[i].Lost() {
		for pos := r.First; pos <= r.Last; pos++ {
			if first := Position(m.want[i][0].MustID()); pos != first || !m.withheld[pos] {
				t.Fatalf("queue %d: %d is lost, was withheld: %v, the first is %d", i, pos, m.withheld[pos], first)
			}
			m.want[i] = m.want[i][1:]
			m.taken(i, pos, 0)
		}
	}
	return n
}

// sumOf is the sum of a message's key, which stands for that.
func sumOf(f protocol.MessageFrame) uint32 { return uint32(f.MustID())*2654435761 | 1 }

// checkKey proves that a queue tells the key of the next message, and where it is.
func (m *machine) checkKey(t *rapid.T, q *Queue, next protocol.MessageFrame) {
	want := uint32(0)
	if m.withKey[next.MustID()] {
		want = sumOf(next)
	}
	if got := q.Key(); got != want {
		t.Fatalf("message %d: key %x, want %x", next.MustID(), got, want)
	}
	n, off := q.Place()
	frames := n.Frames()
	if frames == nil {
		frames = m.disk[n]
		if q.Given() { // places are counted from what was supplied
			frames = frames[offset(frames, int(q.spans[0].given.First-n.First())):]
		}
	}
	if off != unknown && !bytes.Equal(protocol.FirstMessage(frames[off:]), next) {
		t.Fatalf("message %d is not at %d of its node", next.MustID(), off)
	}
}

// Close ends the node that is appended to.
func (m *machine) Close(t *rapid.T) {
	if !m.noted {
		t.Skip("nodes are closed by the next one")
	}
	m.tail.Close()
}

// Evict drops closed nodes from memory, as once they are on disk.
func (m *machine) Evict(t *rapid.T) {
	if len(m.nodes) == 0 {
		t.Skip("there is none")
	}
	all := rapid.Bool().Draw(t, "all")
	one := m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(t, "node")]
	for _, n := range m.nodes {
		if frames := n.Frames(); frames != nil && n.Closed() && (all || n == one) {
			m.disk[n] = frames
			m.sums[n], _ = n.Sums()
			n.Evict()
		}
	}
}

// Withdraw takes back one of the last publishes from those that have all that they were given of it.
func (m *machine) Withdraw(t *rapid.T) {
	if len(m.recent) == 0 {
		t.Skip("nothing to take back")
	}
	k := rapid.IntRange(0, len(m.recent)-1).Draw(t, "which")
	p := m.recent[k]
	r := p.at.Positions()
	for i := range m.queue {
		if p.from>>i&1 == 0 {
			continue
		}
		had := len(m.want[i])
		m.want[i] = slices.DeleteFunc(m.want[i], func(f protocol.MessageFrame) bool {
			pos := Position(f.MustID())
			return r.First <= pos && pos <= r.Last
		})
		if n := m.queue[i].Cut(p.at); n != had-len(m.want[i]) {
			t.Fatalf("queue %d: %d were taken back, want %d", i, n, had-len(m.want[i]))
		}
	}
	m.recent = slices.Delete(m.recent, k, k+1)
}

// CutAll takes messages out of one queue wherever they stand.
func (m *machine) CutAll(t *rapid.T) {
	if !m.noted || m.next == 0 {
		t.Skip("nothing has a position")
	}
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	var ranges []Range
	for next := Position(1); len(ranges) < 6; {
		first := next + Position(rapid.IntRange(0, int(m.next)).Draw(t, "gap"))
		last := first + Position(rapid.IntRange(0, 8).Draw(t, "more"))
		ranges = append(ranges, Range{First: first, Last: last})
		next = last + 1
	}
	in := func(pos Position) bool {
		return slices.ContainsFunc(ranges, func(r Range) bool { return r.First <= pos && pos <= r.Last })
	}
	var want []Position
	m.want[i] = slices.DeleteFunc(m.want[i], func(f protocol.MessageFrame) bool {
		if in(Position(f.MustID())) {
			want = append(want, Position(f.MustID()))
		}
		return in(Position(f.MustID()))
	})
	var got []Position
	for _, r := range m.queue[i].CutAll(ranges) {
		for pos := r.First; pos <= r.Last; pos++ {
			got = append(got, pos)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("queue %d: %v were cut, want %v", i, got, want)
	}
	for _, pos := range want {
		m.left(i, pos)
	}
}

// Trim forgets the tail's node, as an idle topic does.
func (m *machine) Trim(t *rapid.T) {
	if m.noted {
		t.Skip("durable topics keep theirs")
	}
	m.tail.Drop()
}

// Drop takes the first messages out of one queue, unread.
func (m *machine) Drop(t *rapid.T) {
	if !m.noted {
		t.Skip("without positions they are read")
	}
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	n := rapid.IntRange(1, 12).Draw(t, "count")
	if q := &m.queue[i]; q.Len() > 0 && !q.spans[0].from.node.detached && rapid.Bool().Draw(t, "to the end of its node") {
		n = max(1, int(q.spans[0].from.node.End()-q.First()))
	}
	left := min(n, len(m.want[i]))
	m.queue[i].Drop(n, func(r Range, size int) {
		exact := 0
		for pos := r.First; pos <= r.Last; pos++ {
			if Position(m.want[i][0].MustID()) != pos {
				t.Fatalf("queue %d: dropped %d, want %d", i, pos, m.want[i][0].MustID())
			}
			m.taken(i, pos, 0)
			exact += len(m.want[i][0])
			m.want[i] = m.want[i][1:]
			left--
		}
		if whole := len(m.disk) == 0; whole && size != exact {
			t.Fatalf("queue %d: %d bytes were dropped, want %d", i, size, exact)
		}
	})
	if left != 0 {
		t.Fatalf("queue %d: %d are left to drop", i, left)
	}
}

func (m *machine) Empty(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip("not now")
	}
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	m.queue[i].Clear()
	m.want[i], m.after[i] = nil, 0
	for _, p := range m.recent {
		p.from &^= 1 << i
	}
}

// looks compares what a queue tells of what waits, without taking anything.
func (m *machine) looks(t *rapid.T, i int) {
	q, size := &m.queue[i], 0
	for _, f := range m.want[i] {
		size += len(f)
	}
	inNoNode := size
	var first Position
	var want, got []Position
	if m.noted {
		inNoNode = 0
		for k, f := range m.want[i] {
			pos := Position(f.MustID())
			if k == 0 {
				first = pos
			}
			if !m.lossy[i][pos] {
				want = append(want, pos)
			}
		}
		for _, r := range q.Ranges(nil) {
			for pos := r.First; pos <= r.Last; pos++ {
				got = append(got, pos)
			}
		}
		if q.After() != m.after[i] || !slices.Equal(got, want) {
			t.Fatalf("queue %d: left up to %d, want %d; it has %v of the tail, want %v", i, q.After(), m.after[i], got, want)
		}
	}
	if q.First() != first || q.Bytes() != inNoNode || len(m.disk) == 0 && q.Size() != int64(size) {
		t.Fatalf("queue %d: first is %d, want %d; %d bytes in no node, want %d; %d in all, want %d", i, q.First(), first, q.Bytes(), inNoNode,
			q.Size(), size)
	}
	if f := q.Peek(); f == nil && q.Warm() || f != nil && !m.comesNext(i, f) {
		t.Fatalf("queue %d: a look shows %x", i, f[:min(len(f), 64)])
	}
}

// comesNext reports whether a message is the next one of a queue, but for those that were not brought: these may be about to be lost.
func (m *machine) comesNext(i int, f protocol.MessageFrame) bool {
	k := slices.IndexFunc(m.want[i], func(other protocol.MessageFrame) bool {
		return bytes.Equal(other, f) || !m.withheld[Position(other.MustID())]
	})
	return k >= 0 && bytes.Equal(m.want[i][k], f)
}

func (m *machine) Check(t *rapid.T) {
	for i := range m.queue {
		m.looks(t, i)
		if m.queue[i].Len() != len(m.want[i]) {
			t.Fatalf("queue %d: Len is %d, want %d", i, m.queue[i].Len(), len(m.want[i]))
		}
		if !m.noted {
			continue
		}
		shown, above := Position(m.next)-2, 0
		for _, f := range m.want[i] {
			if Position(f.MustID()) > shown {
				above++
			}
		}
		if got := m.queue[i].Above(shown); m.next > 2 && got != above {
			t.Fatalf("queue %d: %d are above %d, want %d", i, got, shown, above)
		}
	}
}

// Whatever is appended, taken back, dropped, evicted or read at other speeds elsewhere: each queue gives out its messages once,
// in order, byte by byte.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{noted: rapid.Bool().Draw(t, "noted"), disk: map[*Node][]byte{}, sums: map[*Node][]uint32{},
			withKey: map[protocol.MessageID]bool{}, withheld: map[Position]bool{}}
		for i := range m.lossy {
			m.lossy[i] = map[Position]bool{}
		}
		m.keyed = m.noted && rapid.Bool().Draw(t, "keyed")
		for i := range m.queue {
			m.queue[i].SetKeyed(m.keyed)
		}
		for range 4 { // as long as it takes to come to all states
			t.Repeat(rapid.StateMachineActions(m))
		}
	})
}

// A queue that holds an old message must not hold what came after it and is long gone: beside a busy channel a channel that
// nobody reads would grow without bound.
func TestOldMessageHoldsNoLaterNodes(t *testing.T) {
	var tail Tail
	var slow, fast Queue
	var later []weak.Pointer[Node]
	for i := range 20 {
		at, _ := tail.Append(appendMessage(nil, protocol.MessageID(i), handOver))
		if i == 0 {
			slow.Add(at, 1)
		}
		fast.Add(at, 1)
		fast.Next()
		if i > 0 && i < 18 {
			later = append(later, weak.Make(at.Node()))
		}
	}
	runtime.GC()
	held := 0
	for _, n := range later {
		if n.Value() != nil {
			held++
		}
	}
	if held > 0 {
		t.Errorf("%d of %d nodes that nobody needs are still in memory", held, len(later))
	}
	if f, _ := slow.Next(); len(f) != protocol.MessageOverhead+handOver {
		t.Errorf("the old message has %d bytes", len(f))
	}
	runtime.KeepAlive(&tail)
}

// chain returns closed nodes of per messages each, from position 1 on, in one queue, none in memory, and what is on disk of each.
func chain(count, per int) (q *Queue, nodes []*Node, disk map[*Node][]byte) {
	var tail Tail
	q, disk = &Queue{}, map[*Node][]byte{}
	for i := range count {
		var frames []byte
		first := i*per + 1
		for k := range per {
			frames = appendMessage(frames, protocol.MessageID(first+k), 8)
		}
		at, _ := tail.Append(frames)
		at = tail.Note(at, Position(first), per)
		q.Add(at, per)
		tail.Close()
		nodes = append(nodes, tail.Last())
	}
	for _, n := range nodes {
		disk[n] = n.Frames()
		n.Evict()
	}
	return q, nodes, disk
}

// without returns whole frames, the first one of a position, but for some messages, and the positions that are left.
func without(first Position, frames []byte, gone ...Position) (rest []byte, runs []Range) {
	runs = []Range{}
	for pos := first; len(frames) > 0; pos++ {
		f := protocol.FirstMessage(frames)
		frames = frames[len(f):]
		if !slices.Contains(gone, pos) {
			rest = append(rest, f...)
			if k := len(runs) - 1; k >= 0 && runs[k].Last == pos-1 {
				runs[k].Last = pos
			} else {
				runs = append(runs, Range{First: pos, Last: pos})
			}
		}
	}
	return rest, runs
}

// read takes all out of a queue.
func read(t *testing.T, q *Queue, supply func(n *Node) ([]byte, []Range)) (got []Position) {
	t.Helper()
	for {
		if n := q.Cold(); n != nil {
			frames, runs := supply(n)
			q.Supply(n, Range{First: n.First(), Last: n.End() - 1}, frames, runs)
			continue
		}
		if q.Len() == 0 {
			return got
		}
		f, pos := q.Next()
		if Position(f.MustID()) != pos {
			t.Fatalf("position %d is message %d", pos, f.MustID())
		}
		got = append(got, pos)
	}
}

// A damaged node brings fewer messages than were counted: the rest of the queue goes on, and the missing ones are told.
func TestDamagedNodeLosesOnlyItsOwn(t *testing.T) {
	for _, gone := range [][]Position{{4}, {5}, {6}, {4, 5}, {5, 6}, {4, 6}, {4, 5, 6}, {7}, {9}, {1}, {1, 2, 3, 9}} {
		q, nodes, disk := chain(3, 3)
		got := read(t, q, func(n *Node) ([]byte, []Range) {
			if slices.ContainsFunc(gone, func(p Position) bool { return p >= n.First() && p < n.End() }) {
				return without(n.First(), disk[n], gone...)
			}
			return disk[n], nil
		})
		var want, lost []Position
		for pos := Position(1); pos < nodes[2].End(); pos++ {
			if !slices.Contains(gone, pos) {
				want = append(want, pos)
			}
		}
		for _, r := range q.Lost() {
			for pos := r.First; pos <= r.Last; pos++ {
				lost = append(lost, pos)
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(lost, gone) {
			t.Errorf("without %v: got %v, lost %v", gone, got, lost)
		}
	}
}

// A channel that needs single messages of a node has it read once, also when others of the node are not there any more.
func TestSpansOfOneNodeShareItsBytes(t *testing.T) {
	_, nodes, disk := chain(2, 100)
	for _, compacted := range []bool{false, true} {
		var q Queue
		var want, gone []Position
		for pos := Position(1); pos <= 200; pos++ {
			if pos%7 == 0 {
				q.Add(Of(nodes[(pos-1)/100], Range{First: pos, Last: pos}), 1)
				want = append(want, pos)
			} else if compacted {
				gone = append(gone, pos)
			}
		}
		reads := 0
		got := read(t, &q, func(n *Node) ([]byte, []Range) {
			reads++
			if compacted {
				return without(n.First(), disk[n], gone...)
			}
			return disk[n], nil
		})
		if !slices.Equal(got, want) || reads != 2 || len(q.Lost()) > 0 {
			t.Errorf("compacted %v: got %v in %d reads", compacted, got, reads)
		}
	}
}

// What waited in a topic goes before what its channel got alone meanwhile.
func TestQueuesAreMergedByPosition(t *testing.T) {
	_, nodes, disk := chain(3, 4)
	var topic, channel Queue
	topic.Add(Of(nodes[0], Range{First: 1, Last: 4}), 4)
	topic.Add(Of(nodes[2], Range{First: 10, Last: 12}), 3)
	channel.Add(Of(nodes[1], Range{First: 6, Last: 8}), 3)
	channel.SetAfter(5)
	channel.AddQueue(&topic)
	if got := channel.After(); got != 0 {
		t.Errorf("the queue was left up to %d", got)
	}
	got := read(t, &channel, func(n *Node) ([]byte, []Range) { return disk[n], nil })
	if !slices.Equal(got, []Position{1, 2, 3, 4, 6, 7, 8, 10, 11, 12}) {
		t.Errorf("got %v", got)
	}
}

func TestAppendAllocatesNothingWithinANode(t *testing.T) {
	var tail Tail
	var q Queue
	for range 20 { // the nodes grow to their full size
		at, _ := tail.Append(make([]byte, handOver-1))
		q.Add(at, 1)
	}
	q.Clear()
	batch := appendMessage(nil, 1, 20)
	at, _ := tail.Append(make([]byte, handOver)) // and the next one is fresh
	q.Add(at, 1)
	tail.Append(batch)
	if n := testing.AllocsPerRun(1000, func() {
		at, _ := tail.Append(batch)
		tail.Rewind(at)
	}); n != 0 {
		t.Errorf("%v allocations for an Append", n)
	}
}

func BenchmarkAppendAndRead(b *testing.B) {
	var tail Tail
	var queues [2]Queue
	batch := appendMessage(nil, 1, 200)
	b.ReportAllocs()
	for b.Loop() {
		at, _ := tail.Append(batch)
		for i := range queues {
			queues[i].Add(at, 1)
		}
		for i := range queues {
			queues[i].Next()
		}
	}
}

// Messages that do not follow each other, as a channel has them that keeps one in two, take no longer when there are many.
func BenchmarkScattered(b *testing.B) {
	var q Queue
	batch := appendMessage(nil, 1, 20)
	for range 10000 {
		q.Add(Detached(batch, 0, 1), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		q.Next()
		q.Add(Detached(batch, 0, 1), 1)
	}
}
