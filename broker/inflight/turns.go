package inflight

import (
	"cmp"
	"slices"
)

// Turns has the messages of each key go one by one: one has its key's turn, from its delivery on until it leaves for good, and those that
// came to be delivered meanwhile stand behind it, in the order in which they came. Keys are known by their sums. N is a node that has messages;
// its zero value is one that is not known. A key of which nothing is out takes no memory. The zero value is empty.
type Turns[N comparable] struct {
	keys    map[uint32]int32   // entries by the sums of keys
	holders map[Position]int32 // entries by who has the turn
	entries []turn
	runs    []asideRun[N]
	free    struct{ entry, run int32 } // first ones that are not used, plus one
	used    int                        // runs
	n       int                        // messages that stand aside
	oldest  int32                      // run, plus one, and
	newest  int32                      // the last one, in the order in which they came
	most    int                        // entries that there were at once since the maps were made
}

// turn is a key of which something is out.
type turn struct {
	holder     Position
	since      int64 // when it got the turn
	sum        uint32
	head, tail int32 // runs behind it, plus one; in a free entry head is the next free one
	n          int32 // messages behind it
}

// asideRun is messages of a key that follow each other in a node.
type asideRun[N comparable] struct {
	node         N
	first        Position
	off          uint32 // where the first one begins in the node, or NoOffset
	n            uint32
	entry        int32
	next         int32 // of its key, plus one; in a free run the next free one
	older, newer int32 // of all, plus one
}

// Aside is a message that stands aside.
type Aside[N comparable] struct {
	Node N
	Pos  Position
	Off  uint32 // where it begins in its node, or NoOffset
}

// NoOffset is the offset of a message when nobody knows it.
const NoOffset = 1<<32 - 1

// Len returns how many messages stand aside.
func (t *Turns[N]) Len() int { return t.n }

// Places returns how many places those take: messages of one key that follow each other in a node take one.
func (t *Turns[N]) Places() int { return t.used }

// Held returns of how many keys a message has the turn.
func (t *Turns[N]) Held() int { return len(t.keys) }

// Take gives a message its key's turn, and reports whether it has it: no other has.
func (t *Turns[N]) Take(sum uint32, pos Position, now int64) bool {
	if i, ok := t.keys[sum]; ok {
		return t.entries[i].holder == pos
	}
	if t.keys == nil {
		t.keys, t.holders = map[uint32]int32{}, map[Position]int32{}
	}
	i := t.free.entry - 1
	if i < 0 {
		i = int32(len(t.entries))
		t.entries = append(t.entries, turn{})
	} else {
		t.free.entry = t.entries[i].head
	}
	t.entries[i] = turn{holder: pos, since: now, sum: sum}
	t.keys[sum], t.holders[pos] = i, i
	t.most = max(t.most, len(t.keys))
	return true
}

// Holds reports whether a message has its key's turn.
func (t *Turns[N]) Holds(pos Position) bool {
	_, ok := t.holders[pos]
	return ok
}

// HoldersIn returns the messages from a position to another one that have the turns of their keys, in order.
func (t *Turns[N]) HoldersIn(first, last Position) (list []Position) {
	for pos := range t.holders {
		if first <= pos && pos <= last {
			list = append(list, pos)
		}
	}
	slices.Sort(list)
	return list
}

// Behind has a message stand behind the others of its key, of which one has the turn.
func (t *Turns[N]) Behind(sum uint32, m Aside[N]) {
	i := t.keys[sum]
	e := &t.entries[i]
	e.n++
	t.n++
	if e.tail > 0 {
		if r := &t.runs[e.tail-1]; r.node == m.Node && r.first+Position(r.n) == m.Pos {
			r.n++
			return
		}
	}
	k := t.newRun()
	t.runs[k-1] = asideRun[N]{node: m.Node, first: m.Pos, off: m.Off, n: 1, entry: i, older: t.newest}
	if e.tail > 0 {
		t.runs[e.tail-1].next = k
	} else {
		e.head = k
	}
	e.tail = k
	if t.newest > 0 {
		t.runs[t.newest-1].newer = k
	} else {
		t.oldest = k
	}
	t.newest = k
}

// newRun returns a run that is not used, plus one.
func (t *Turns[N]) newRun() int32 {
	t.used++
	k := t.free.run
	if k == 0 {
		t.runs = append(t.runs, asideRun[N]{})
		return int32(len(t.runs))
	}
	t.free.run = t.runs[k-1].next
	return k
}

// Leave says that a message is gone for good. If it had its key's turn the next one of that key has it now, which is returned; some is false
// when there is none. size returns the size of a message in a node, 0 when it is not known: behind it the next one begins.
func (t *Turns[N]) Leave(pos Position, now int64, size func(N, uint32) int) (next Aside[N], some bool) {
	i, ok := t.holders[pos]
	if !ok {
		return next, false
	}
	delete(t.holders, pos)
	e := &t.entries[i]
	if e.head == 0 {
		delete(t.keys, e.sum)
		*e = turn{head: t.free.entry}
		t.free.entry = i + 1
		t.shrink()
		return next, false
	}
	next = t.shift(e.head, size)
	e.holder, e.since = next.Pos, now
	t.holders[next.Pos] = i
	return next, true
}

// shift takes the first message out of the run with that number, plus one, which is the first of its key.
func (t *Turns[N]) shift(k int32, size func(N, uint32) int) (m Aside[N]) {
	r := &t.runs[k-1]
	m = Aside[N]{Node: r.node, Pos: r.first, Off: r.off}
	t.n--
	t.entries[r.entry].n--
	if r.n--; r.n > 0 {
		r.first++
		if n := size(r.node, r.off); r.off != NoOffset && n > 0 {
			r.off += uint32(n)
		} else {
			r.off = NoOffset
		}
		return m
	}
	t.dropRun(k)
	return m
}

// dropRun takes a run out, plus one, which is the first of its key.
func (t *Turns[N]) dropRun(k int32) {
	r := &t.runs[k-1]
	e := &t.entries[r.entry]
	if e.head = r.next; e.head == 0 {
		e.tail = 0
	}
	if r.older > 0 {
		t.runs[r.older-1].newer = r.newer
	} else {
		t.oldest = r.newer
	}
	if r.newer > 0 {
		t.runs[r.newer-1].older = r.older
	} else {
		t.newest = r.older
	}
	*r = asideRun[N]{next: t.free.run}
	t.free.run = k
	t.used--
}

// Oldest returns the message that has stood aside for longest; some is false when none does.
func (t *Turns[N]) Oldest() (m Aside[N], some bool) {
	if t.oldest == 0 {
		return m, false
	}
	r := &t.runs[t.oldest-1]
	return Aside[N]{Node: r.node, Pos: r.first, Off: r.off}, true
}

// DropOldest takes out the message that has stood aside for longest; there must be one.
func (t *Turns[N]) DropOldest(size func(N, uint32) int) Aside[N] {
	return t.shift(t.oldest, size) // nothing of its key came before it
}

// Each calls f with every message that stands aside, in the order in which they came but for those that share a place.
func (t *Turns[N]) Each(f func(Position)) {
	for k := t.oldest; k > 0; k = t.runs[k-1].newer {
		r := &t.runs[k-1]
		for i := range r.n {
			f(r.first + Position(i))
		}
	}
}

// Filter takes out messages that stand aside for which gone, which is asked once about each, says so, and returns how many.
func (t *Turns[N]) Filter(gone func(Position) bool) (dropped int) {
	type kept struct {
		sum uint32
		Aside[N]
	}
	out := make([]bool, 0, t.n)
	t.Each(func(pos Position) {
		out = append(out, gone(pos))
		if out[len(out)-1] {
			dropped++
		}
	})
	if dropped == 0 {
		return 0
	}
	list := make([]kept, 0, t.n-dropped)
	for k := t.oldest; k > 0; k = t.runs[k-1].newer {
		r := &t.runs[k-1]
		off := r.off
		for i := range r.n {
			if !out[0] {
				list = append(list, kept{t.entries[r.entry].sum, Aside[N]{r.node, r.first + Position(i), off}})
			}
			out, off = out[1:], NoOffset
		}
	}
	t.clearAside()
	for _, m := range list {
		t.Behind(m.sum, m.Aside)
	}
	return dropped
}

// clearAside takes out all that stand aside.
func (t *Turns[N]) clearAside() {
	t.runs, t.free.run, t.used, t.n, t.oldest, t.newest = nil, 0, 0, 0, 0, 0
	for _, i := range t.keys {
		e := &t.entries[i]
		e.head, e.tail, e.n = 0, 0, 0
	}
}

// TakeAside takes out all that stand aside, in the order in which they came, and leaves the turns.
func (t *Turns[N]) TakeAside() (list []Position) {
	t.Each(func(pos Position) { list = append(list, pos) })
	t.clearAside()
	return list
}

// Clear forgets everything.
func (t *Turns[N]) Clear() { *t = Turns[N]{} }

// fewTurns is of how many keys the memory is kept when none is out.
const fewTurns = 1 << 10

// shrink gives memory back once nothing is out, as a map keeps its own.
func (t *Turns[N]) shrink() {
	if len(t.keys) == 0 && t.most > fewTurns {
		t.Clear()
	}
}

// Standing is a key whose turn one message has had for long while others stand behind it.
type Standing struct {
	Sum    uint32
	Pos    Position // of the message that has the turn
	Since  int64
	Behind int
}

// Standing returns the keys whose turn was taken at or before a time while others stand behind, the longest first, at most limit, and
// how many there are.
func (t *Turns[N]) Standing(before int64, limit int) (list []Standing, n int) {
	for _, i := range t.keys {
		if e := &t.entries[i]; e.n > 0 && e.since <= before {
			list = append(list, Standing{e.sum, e.holder, e.since, int(e.n)})
		}
	}
	slices.SortFunc(list, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Sum, b.Sum)) })
	n = len(list)
	list = list[:min(n, limit)]
	return list, n
}
