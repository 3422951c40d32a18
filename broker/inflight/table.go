package inflight

import (
	"math/bits"

	"brokerd/protocol"
)

// table is a hash table from id to slot number: open addressing, linear probing, deletion by shifting back. A place holds
// the slot number plus one, 0 is empty; the id itself stands in the slot and is read through idAt.
type table struct {
	places []int32
	n      int
}

// minPlaces is the smallest table; sizes are powers of two.
const minPlaces = 16

// home returns where a search for id starts: Fibonacci hashing spreads ids that follow each other.
func (t *table) home(id protocol.MessageID) int {
	return int(uint64(id) * 0x9e3779b97f4a7c15 >> (64 - uint(bits.TrailingZeros(uint(len(t.places))))))
}

func (t *table) find(id protocol.MessageID, idAt func(int32) protocol.MessageID) int32 {
	if t.n == 0 {
		return none
	}
	mask := len(t.places) - 1
	for p := t.home(id); ; p = (p + 1) & mask {
		i := t.places[p] - 1
		if i == none || idAt(i) == id {
			return i
		}
	}
}

// insert adds an id that is not there.
func (t *table) insert(id protocol.MessageID, i int32, idAt func(int32) protocol.MessageID) {
	if 2*(t.n+1) > len(t.places) {
		t.grow(idAt)
	}
	t.n++
	t.place(id, i)
}

func (t *table) place(id protocol.MessageID, i int32) {
	mask := len(t.places) - 1
	p := t.home(id)
	for t.places[p] != 0 {
		p = (p + 1) & mask
	}
	t.places[p] = i + 1
}

func (t *table) grow(idAt func(int32) protocol.MessageID) {
	old := t.places
	t.places = make([]int32, max(minPlaces, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			t.place(idAt(v-1), v-1)
		}
	}
}

// delete removes the id of slot i, which must be there.
func (t *table) delete(id protocol.MessageID, i int32, idAt func(int32) protocol.MessageID) {
	mask := len(t.places) - 1
	p := t.home(id)
	for t.places[p] != i+1 {
		p = (p + 1) & mask
	}
	t.n--
	// Move back each later entry of the run that would not be found past the hole.
	for q := p; ; {
		q = (q + 1) & mask
		v := t.places[q]
		if v == 0 {
			t.places[p] = 0
			return
		}
		if (q-t.home(idAt(v-1)))&mask >= (q-p)&mask {
			t.places[p] = v
			p = q
		}
	}
}
