package inflight

import (
	"testing"

	"brokerd/protocol"
)

// What runs into its timeout, and what is deferred and comes due, costs no allocation once the structures have their size.
func TestWaitingAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		round func() bool
	}{
		{"add and expire", expireRound(100)},
		{"push and pop", dueRound(1000)},
		{"push and pop the only one", dueRound(1)},
		{"push and pop the only one by its place", onlyPlaceRound()},
	} {
		if !c.round() {
			t.Fatalf("%s: nothing was due", c.name)
		}
		if n := testing.AllocsPerRun(2000, func() { c.round() }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

// expireRound returns a function that puts a message into a set of so many and takes out the one that is due first.
func expireRound(depth int) func() bool {
	var s Set[*int]
	owner, lane := new(int), s.AcquireLane(minute)
	next := protocol.MessageID(1 << 40)
	frame := protocol.AppendMessageHeader(nil, 0, 1, 0, 0)
	add := func() { s.Add(next, 0, frame, 1, owner, lane, int64(next)); next++ }
	for range depth {
		add()
	}
	return func() bool {
		add()
		_, ok := s.Expire(int64(next) + minute)
		return ok
	}
}

// dueRound returns a function that takes out the deferred message that is due first, of so many, and defers it again.
func dueRound(depth int) func() bool {
	var d DeferredMemory
	for i := range int64(depth) {
		d.Push(Due{At: i * 7919 % int64(depth)})
	}
	return func() bool {
		m, ok := d.Pop(1 << 62)
		m.At += int64(depth)
		d.Push(m)
		return ok
	}
}

// onlyPlaceRound returns a function that defers a message and takes it out, where no other is.
func onlyPlaceRound() func() bool {
	var h DeferredIndex
	return func() bool {
		h.Push(Place{At: 1})
		_, ok := h.Pop(1)
		return ok
	}
}

func BenchmarkExpire(b *testing.B) {
	round := expireRound(2500)
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}

// BenchmarkDeferredIndex takes out the message that is due first, of many over an hour, and puts it back an hour later, as a
// channel does that has so many deferred messages.
func BenchmarkDeferredIndex(b *testing.B) {
	for _, c := range []struct {
		name  string
		depth int64
	}{{"1000", 1000}, {"1000000", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			var h DeferredIndex
			const hour = 3600e9
			for i := range c.depth {
				h.Push(Place{At: i * hour / c.depth})
			}
			b.ReportAllocs()
			for b.Loop() {
				m, ok := h.Pop(1 << 62)
				if !ok {
					b.Fatal("it is empty")
				}
				m.At += hour
				h.Push(m)
			}
		})
	}
}
