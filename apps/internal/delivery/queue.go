package delivery

import "sync"

// Queue is messages that wait for workers, in order. It is safe for concurrent use.
type Queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond // items is not empty, or closed
	items  []T
	closed bool
}

// NewQueue returns an empty queue.
func NewQueue[T any]() *Queue[T] {
	q := new(Queue[T])
	q.filled.L = &q.mu
	return q
}

// Put adds an item; false means that the queue is closed and the item is still the caller's.
func (q *Queue[T]) Put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.filled.Signal()
	return true
}

// Take waits for an item and adds it to into, with those behind it for as long as more says so. It returns false when the
// queue is closed.
func (q *Queue[T]) Take(into []T, more func(next T) bool) ([]T, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return into, false
	}
	n := 1
	for n < len(q.items) && more(q.items[n]) {
		n++
	}
	into = append(into, q.items[:n]...)
	left := copy(q.items, q.items[n:])
	clear(q.items[left:])
	q.items = q.items[:left]
	if left > 0 {
		q.filled.Signal()
	}
	return into, true
}

// Close ends every Take and returns what nobody took. Further calls return nothing.
func (q *Queue[T]) Close() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
	left := q.items
	q.items = nil
	return left
}
