package topic

// fifo is a queue on a ring that grows. Its zero value is empty, and takes a pointer: most channels never use theirs.
type fifo[T any] struct{ *ring[T] }

type ring[T any] struct {
	list []T
	head int
	n    int
}

func (q *fifo[T]) len() int {
	if q.ring == nil {
		return 0
	}
	return q.n
}

func (q *fifo[T]) push(v T) {
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

// at returns the i-th.
func (q *fifo[T]) at(i int) *T { return &q.list[(q.head+i)%len(q.list)] }

// pop takes out the first; there must be one.
func (q *fifo[T]) pop() T {
	var zero T
	v := q.list[q.head]
	q.list[q.head] = zero
	q.head = (q.head + 1) % len(q.list)
	q.n--
	return v
}

// each calls f with every element, in order.
func (q *fifo[T]) each(f func(*T)) {
	for i := range q.len() {
		f(&q.list[(q.head+i)%len(q.list)])
	}
}
