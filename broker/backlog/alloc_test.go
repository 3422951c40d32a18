package backlog

import "testing"

// To queue a message that follows the last, and to take the first, costs no allocation, however many channels do.
func TestQueueAllocatesNothing(t *testing.T) {
	var tail Tail
	var queues [4]Queue
	batch := appendMessage(nil, 1, 200)
	fill := func() {
		at, _ := tail.Append(batch)
		for i := range queues {
			queues[i].Add(at, 1)
		}
	}
	fill()
	fill() // one stays, so that the node does
	added, taken := 0.0, 0.0
	if n := testing.AllocsPerRun(500, func() {
		at, _ := tail.Append(batch)
		for i := range queues {
			queues[i].Add(at, 1)
		}
		tail.Last()
	}); n > 0.1 { // nodes grow meanwhile
		added = n
	}
	if n := testing.AllocsPerRun(500, func() {
		for i := range queues {
			queues[i].Next()
		}
	}); n != 0 {
		taken = n
	}
	if added != 0 || taken != 0 {
		t.Errorf("%v allocations to append a message and queue it four times, %v to take it four times", added, taken)
	}
}

// BenchmarkNext takes messages one by one, of a node that holds many.
func BenchmarkNext(b *testing.B) {
	const messages = 1000
	var tail Tail
	var frames []byte
	for range messages {
		frames = appendMessage(frames, 1, 200)
	}
	at, _ := tail.Append(frames)
	var q Queue
	b.ReportAllocs()
	for b.Loop() {
		if q.Len() == 0 {
			q.Add(at, messages)
		}
		q.Next()
	}
}
