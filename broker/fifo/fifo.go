package fifo

// Queue is a queue on a ring that grows. Its zero value is empty, and takes a pointer: most channels never use theirs.
type Queue[T any] struct{ *ring[T] }

type ring[T any] struct {
	list []T
	head int
	n    int
}

// Len returns how many elements there are.
func (q *Queue[T]) Len() int {
	if q.ring == nil {
		return 0
	}
	return q.n
}

// Push puts an element behind the others.
func (q *Queue[T]) Push(v T) {
	if q.ring == nil {
		q.ring = new(ring[T])
	}
	if q.n == len(q.list) {
		grown := make([]T, max(8, 2*len(q.list)))
		k := copy(grown, q.list[q.head:])
		copy(grown[k:], q.list[:q.head])
		q.list, q.head = grown, 0
	}
	q.list[(q.head+q.n)%len(q.list)] = v
	q.n++
}

// At returns the i-th.
func (q *Queue[T]) At(i int) *T { return &q.list[(q.head+i)%len(q.list)] }

// Pop takes out the first; there must be one.
func (q *Queue[T]) Pop() T {
	var zero T
	v := q.list[q.head]
	q.list[q.head] = zero
	q.head = (q.head + 1) % len(q.list)
	q.n--
	return v
}

// Each calls f with every element, in order.
func (q *Queue[T]) Each(f func(*T)) {
	for i := range q.Len() {
		f(&q.list[(q.head+i)%len(q.list)])
	}
}
