package topic

// fifo is a queue on a ring that grows. Its zero value is empty.
type fifo[T any] struct {
	ring []T
	head int
	n    int
}

func (q *fifo[T]) len() int { return q.n }

func (q *fifo[T]) push(v T) {
	if q.n == len(q.ring) {
		grown := make([]T, max(8, 2*len(q.ring)))
		k := copy(grown, q.ring[q.head:])
		copy(grown[k:], q.ring[:q.head])
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = v
	q.n++
}

// at returns the i-th.
func (q *fifo[T]) at(i int) *T { return &q.ring[(q.head+i)%len(q.ring)] }

// pop takes out the first; there must be one.
func (q *fifo[T]) pop() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return v
}

// each calls f with every element, in order.
func (q *fifo[T]) each(f func(*T)) {
	for i := range q.n {
		f(&q.ring[(q.head+i)%len(q.ring)])
	}
}
