package load

import (
	"sync"
	"sync/atomic"
)

// seen remembers which numbers came, one bit each. A stretch of numbers that came all is given up, so that memory is
// bounded by how far apart the numbers come, not by how many. It is safe for concurrent use.
type seen struct {
	unique     atomic.Int64 // numbers that came, as far as those who count have told
	duplicated atomic.Int64 // times that a number came again

	pages  atomic.Pointer[[]*slot]
	growth sync.Mutex // held while pages is replaced by a longer copy
}

const (
	pageWords = 512
	pageBits  = pageWords * 64
)

// slot is where a page is, or complete once all its numbers came.
type slot struct{ page atomic.Pointer[page] }

type page struct {
	words [pageWords]atomic.Uint64
	full  atomic.Int32 // words of which every bit is set
}

var complete = new(page)

// maxNumber bounds the numbers of a run: 48 bits have room in a body, and this many have room in the table of pages.
const maxNumber = 1 << 38

// add notes a number of 0 to maxNumber-1 and reports whether it came for the first time. Who calls it counts, and tells
// unique and duplicated from time to time: an addition to them for each message would be what a run spends its time on.
func (s *seen) add(number int64) bool {
	where := s.slot(int(number / pageBits))
	p := where.page.Load()
	if p == nil {
		where.page.CompareAndSwap(nil, new(page))
		p = where.page.Load()
	}
	if p == complete {
		return false
	}
	word, bit := number%pageBits/64, uint64(1)<<(number%64)
	before := p.words[word].Or(bit)
	if before&bit != 0 {
		return false
	}
	if before|bit == ^uint64(0) && p.full.Add(1) == pageWords {
		where.page.Store(complete)
	}
	return true
}

// slot returns the place of a page, making the table longer when it has none.
func (s *seen) slot(i int) *slot {
	if table := s.pages.Load(); table != nil && i < len(*table) {
		return (*table)[i]
	}
	s.growth.Lock()
	defer s.growth.Unlock()
	var old []*slot
	if table := s.pages.Load(); table != nil {
		old = *table
	}
	if i < len(old) {
		return old[i]
	}
	longer := make([]*slot, max(2*len(old), i+1))
	for j := copy(longer, old); j < len(longer); j++ {
		longer[j] = new(slot)
	}
	s.pages.Store(&longer)
	return longer[i]
}
