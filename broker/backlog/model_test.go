package backlog

import (
	"bytes"
	"runtime"
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
	noted bool // nodes are noted, linked, and may be evicted
	next  protocol.MessageID
	tail  Tail
	queue [3]Queue
	want  [3][]protocol.MessageFrame
	nodes []*Node // noted ones
	disk  map[*Node][]byte
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
	if m.noted {
		first, _ := list[0].ID()
		at = m.tail.Note(at, uint64(first), first, m.next, len(list))
		if n := m.tail.Last(); len(m.nodes) == 0 || m.nodes[len(m.nodes)-1] != n {
			m.nodes = append(m.nodes, n)
		}
	}
	for i := range m.queue {
		if to>>i&1 == 1 {
			m.queue[i].Add(at, len(list))
			m.want[i] = append(m.want[i], list...)
		}
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

// Overflow brings messages to one queue that belong to no tail, as those that were read from disk.
func (m *machine) Overflow(t *rapid.T) {
	if m.noted {
		t.Skip("durable topics bring nodes back instead")
	}
	frames, list := m.batch(t)
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	m.queue[i].Add(Detached(frames), len(list))
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

// Read takes messages out of one queue.
func (m *machine) Read(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	for range rapid.IntRange(1, 30).Draw(t, "count") {
		q := &m.queue[i]
		if m.noted {
			if n := q.Cold(); n != nil {
				q.Supply(n, m.disk[n], false)
			}
		}
		if q.Len() == 0 {
			break
		}
		got := q.Next()
		if !bytes.Equal(got, m.want[i][0]) {
			t.Fatalf("queue %d: got %x, want %x", i, got[:min(len(got), 64)], m.want[i][0][:min(len(m.want[i][0]), 64)])
		}
		id, _ := got.ID()
		q.Took(id)
		m.want[i] = m.want[i][1:]
	}
}

// Evict drops a closed node from memory, as once it is on disk.
func (m *machine) Evict(t *rapid.T) {
	if len(m.nodes) < 2 {
		t.Skip("nothing is closed")
	}
	n := m.nodes[rapid.IntRange(0, len(m.nodes)-2).Draw(t, "node")]
	if frames := n.Frames(); frames != nil {
		m.disk[n] = frames
		n.Evict()
	}
}

// Trim forgets the tail's node, as an idle topic does.
func (m *machine) Trim(t *rapid.T) {
	if m.noted {
		t.Skip("durable topics keep theirs")
	}
	m.tail.Drop()
}

func (m *machine) Empty(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip("not now")
	}
	i := rapid.IntRange(0, 2).Draw(t, "queue")
	m.queue[i].Clear()
	m.want[i] = nil
}

func (m *machine) Check(t *rapid.T) {
	for i := range m.queue {
		if m.queue[i].Len() != len(m.want[i]) {
			t.Fatalf("queue %d: Len is %d, want %d", i, m.queue[i].Len(), len(m.want[i]))
		}
	}
}

// Whatever is appended, taken back, dropped, evicted or read at other speeds elsewhere: each queue gives out its messages once,
// in order, byte by byte.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{noted: rapid.Bool().Draw(t, "noted"), disk: map[*Node][]byte{}}
		t.Repeat(rapid.StateMachineActions(m))
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
	if f := slow.Next(); len(f) != protocol.MessageOverhead+handOver {
		t.Errorf("the old message has %d bytes", len(f))
	}
	runtime.KeepAlive(&tail)
}

func TestFind(t *testing.T) {
	var frames []byte
	var offs []int
	for id := range protocol.MessageID(5) {
		offs = append(offs, len(frames))
		frames = appendMessage(frames, 10*id, int(id))
	}
	for _, c := range []struct {
		from protocol.MessageID
		want int
	}{{0, 0}, {1, offs[1]}, {10, offs[1]}, {40, offs[4]}, {41, len(frames)}} {
		if got := Find(frames, c.from); got != c.want {
			t.Errorf("Find from %d is at %d, want %d", c.from, got, c.want)
		}
	}
}

// A damaged node brings fewer messages than were counted: the rest of the queue goes on, and the missing ones are told.
func TestDamagedNodeLosesOnlyItsOwn(t *testing.T) {
	var tail Tail
	var q Queue
	var nodes []*Node
	for i := range protocol.MessageID(3) {
		frames := appendMessage(appendMessage(nil, 2*i+1, 8), 2*i+2, 8)
		at, _ := tail.Append(frames)
		at = tail.Note(at, uint64(2*i), 2*i+1, 2*i+2, 2)
		q.Add(at, 2)
		nodes = append(nodes, tail.Last())
		tail.Close()
	}
	for _, n := range nodes {
		n.Evict()
	}
	var got []protocol.MessageID
	for {
		if n := q.Cold(); n != nil {
			frames := appendMessage(appendMessage(nil, n.First(), 8), n.Last(), 8)
			if n == nodes[1] {
				frames = frames[len(frames)/2:] // its first message is lost
			}
			q.Supply(n, frames, n == nodes[1])
			continue
		}
		if q.Len() == 0 {
			break
		}
		f := q.Next()
		id, _ := f.ID()
		q.Took(id)
		got = append(got, id)
	}
	if len(got) != 5 || got[2] != 4 || got[4] != 6 || q.Lost() != 1 {
		t.Errorf("got %v, lost %d, want 1 2 4 5 6 and 1", got, q.Lost())
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
		q.Add(Detached(batch), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		q.Next()
		q.Add(Detached(batch), 1)
	}
}
