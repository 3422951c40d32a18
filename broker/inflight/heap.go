package inflight

// timed is what a heap orders.
type timed interface {
	due() int64 // nanoseconds
}

// heap orders elements by when they are due; a node has four children, which costs fewer cache misses than two. Its zero value
// is empty.
type heap[T timed] struct{ list []T }

// keepRoom is how many elements' room an emptying heap keeps without looking whether it is too much.
const keepRoom = 4096

func (h *heap[T]) next() (at int64, ok bool) {
	if len(h.list) == 0 {
		return 0, false
	}
	return h.list[0].due(), true
}

func (h *heap[T]) push(m T) {
	h.list = append(h.list, m)
	i := len(h.list) - 1
	for i > 0 {
		up := (i - 1) / 4
		if h.list[up].due() <= m.due() {
			break
		}
		h.list[i] = h.list[up]
		i = up
	}
	h.list[i] = m
}

// pop takes out the first element if it is due at or before now.
func (h *heap[T]) pop(now int64) (first T, ok bool) {
	if len(h.list) == 0 || h.list[0].due() > now {
		return first, false
	}
	first = h.list[0]
	n := len(h.list) - 1
	last := h.list[n]
	clear(h.list[n:])
	h.list = h.list[:n]
	if n == 0 {
		h.list = nil
		return first, true
	}
	h.sink(last)
	if cap(h.list) > keepRoom && n < cap(h.list)/4 {
		h.list = append(make([]T, 0, 2*n), h.list...)
	}
	return first, true
}

// sink puts m where the root has left a hole.
func (h *heap[T]) sink(m T) {
	i, n := 0, len(h.list)
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if h.list[c].due() < h.list[least].due() {
				least = c
			}
		}
		if m.due() <= h.list[least].due() {
			break
		}
		h.list[i] = h.list[least]
		i = least
	}
	h.list[i] = m
}
