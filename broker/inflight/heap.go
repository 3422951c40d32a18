package inflight

import "iter"

// timed is what a heap orders.
type timed interface {
	due() int64 // nanoseconds
}

// heap orders elements by when they are due; a node has four children, which costs fewer cache misses than two. Its zero value
// and nil are empty.
//
// It is in pieces of one size: a single slice would be copied when it grows, and ten million deferred messages would take
// their memory more than twice.
type heap[T timed] struct {
	pieces [][]T // at most one more than are used
	n      int
}

const (
	heapPiece  = 1 << 12 // elements in a piece
	firstPiece = 8       // in the first one at the beginning; it doubles up to heapPiece, as most channels defer little
)

func (h *heap[T]) at(i int) *T { return &h.pieces[i/heapPiece][i%heapPiece] }

func (h *heap[T]) len() int {
	if h == nil {
		return 0
	}
	return h.n
}

func (h *heap[T]) next() (at int64, ok bool) {
	if h.len() == 0 {
		return 0, false
	}
	return (*h.at(0)).due(), true
}

// all returns the elements in no order. The heap must not be changed meanwhile.
func (h *heap[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range h.len() {
			if !yield(*h.at(i)) {
				return
			}
		}
	}
}

func (h *heap[T]) push(m T) {
	h.grow()
	h.n++
	*h.at(h.rise(h.n-1, m)) = m
}

// grow makes room for one element more.
func (h *heap[T]) grow() {
	switch {
	case len(h.pieces) == 0:
		h.pieces = append(h.pieces, make([]T, firstPiece))
	case h.n == len(h.pieces[0]) && h.n < heapPiece:
		larger := make([]T, 2*h.n)
		copy(larger, h.pieces[0])
		h.pieces[0] = larger
	case h.n == len(h.pieces)*heapPiece:
		h.pieces = append(h.pieces, make([]T, heapPiece))
	}
}

// pop takes out the first element if it is due at or before now.
func (h *heap[T]) pop(now int64) (first T, ok bool) {
	if at, some := h.next(); !some || at > now {
		return first, false
	}
	return h.removeAt(0), true
}

// removeAt takes out the element at i.
func (h *heap[T]) removeAt(i int) T {
	gone := *h.at(i)
	h.n--
	last := *h.at(h.n)
	var none T
	*h.at(h.n) = none
	if h.n == 0 {
		if len(h.pieces[0]) > firstPiece { // a small one is kept: many channels go between none and one
			h.pieces = nil
		}
		return gone
	}
	if i < h.n {
		h.sink(h.rise(i, last), last)
	}
	if keep := h.n/heapPiece + 2; keep < len(h.pieces) {
		h.pieces[keep] = nil
		h.pieces = h.pieces[:keep]
	}
	return gone
}

// rise moves down what is above a hole and due later than m, and returns where the hole is then.
func (h *heap[T]) rise(i int, m T) int {
	for at := m.due(); i > 0; i = (i - 1) / 4 {
		up := h.at((i - 1) / 4)
		if (*up).due() <= at {
			break
		}
		*h.at(i) = *up
	}
	return i
}

// sink puts m where there is a hole, or below.
func (h *heap[T]) sink(i int, m T) {
	at := m.due()
	for {
		child := 4*i + 1
		if child >= h.n {
			break
		}
		least := h.at(child)
		for c := child + 1; c < min(4*i+5, h.n); c++ {
			if e := h.at(c); (*e).due() < (*least).due() {
				least, child = e, c
			}
		}
		if at <= (*least).due() {
			break
		}
		*h.at(i) = *least
		i = child
	}
	*h.at(i) = m
}
