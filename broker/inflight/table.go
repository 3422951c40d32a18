package inflight

import (
	"math/bits"

	"brokerd/protocol"
)

// table finds the slot of an id. Ids that are in flight together follow each other mostly: they are in pages of pageIDs, so that
// who goes from one to the next stays on a page, and the pages are in a hash table: open addressing, linear probing, deletion by
// shifting back. There are no pointers in it. Its zero value is empty.
type table struct {
	pages  []page
	free   int32   // the first page that is not used, plus one; the next one stands in its first slot
	last   int32   // the page that was found last
	n      int     // pages in use
	places []int32 // a page's number plus one; 0 is empty
}

// page is the slots of ids that differ in their low bits only.
type page struct {
	key   uint64 // the other bits
	n     int32  // ids that are there
	slots [pageIDs]int32
}

const (
	pageBits = 3
	pageIDs  = 1 << pageBits
)

// minPlaces is the smallest hash table; sizes are powers of two.
const minPlaces = 8

func keyOf(id protocol.MessageID) uint64 { return uint64(id) >> pageBits }

// home returns where a search for a page starts: Fibonacci hashing spreads keys that follow each other.
func (t *table) home(key uint64) int {
	return int(key * 0x9e3779b97f4a7c15 >> (64 - uint(bits.TrailingZeros(uint(len(t.places))))))
}

// find returns the id's slot, none when it is not there.
func (t *table) find(id protocol.MessageID) int32 {
	p := t.page(keyOf(id))
	if p == none {
		return none
	}
	return t.pages[p].slots[id%pageIDs] - 1
}

// page returns the number of the page with that key, none when there is none.
func (t *table) page(key uint64) int32 {
	if t.n == 0 {
		return none
	}
	if l := &t.pages[t.last]; l.key == key && l.n > 0 {
		return t.last
	}
	mask := len(t.places) - 1
	for at := t.home(key); ; at = (at + 1) & mask {
		p := t.places[at] - 1
		if p == none {
			return none
		}
		if t.pages[p].key == key {
			t.last = p
			return p
		}
	}
}

// insert adds an id that is not there.
func (t *table) insert(id protocol.MessageID, slot int32) {
	p := t.page(keyOf(id))
	if p == none {
		p = t.addPage(keyOf(id))
	}
	t.pages[p].slots[id%pageIDs] = slot + 1
	t.pages[p].n++
}

func (t *table) addPage(key uint64) int32 {
	if 2*(t.n+1) > len(t.places) {
		t.grow()
	}
	t.n++
	p := t.free - 1
	if p == none {
		p = int32(len(t.pages))
		t.pages = append(t.pages, page{})
	} else {
		t.free = t.pages[p].slots[0]
	}
	t.pages[p] = page{key: key}
	t.place(p)
	t.last = p
	return p
}

func (t *table) place(p int32) {
	mask := len(t.places) - 1
	at := t.home(t.pages[p].key)
	for t.places[at] != 0 {
		at = (at + 1) & mask
	}
	t.places[at] = p + 1
}

func (t *table) grow() {
	old := t.places
	t.places = make([]int32, max(minPlaces, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			t.place(v - 1)
		}
	}
}

// delete removes an id, which must be there.
func (t *table) delete(id protocol.MessageID) {
	p := t.page(keyOf(id))
	t.pages[p].slots[id%pageIDs] = 0
	t.pages[p].n--
	if t.pages[p].n == 0 {
		t.removePage(p)
	}
}

func (t *table) removePage(p int32) {
	mask := len(t.places) - 1
	hole := t.home(t.pages[p].key)
	for t.places[hole] != p+1 {
		hole = (hole + 1) & mask
	}
	t.pages[p] = page{}
	t.pages[p].slots[0] = t.free
	t.free = p + 1
	t.n--
	// Move back each later page of the run that would not be found past the hole.
	for at := hole; ; {
		at = (at + 1) & mask
		v := t.places[at]
		if v == 0 {
			t.places[hole] = 0
			return
		}
		if (at-t.home(t.pages[v-1].key))&mask >= (at-hole)&mask {
			t.places[hole] = v
			hole = at
		}
	}
}
