package channel

import (
	"testing"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// TestManyAsideTakeFewPlaces: messages of one key that follow each other stand aside together, however many they are.
func TestManyAsideTakeFewPlaces(t *testing.T) {
	const count, atOnce = 100_000, 1000
	w := newModel(t, 1)
	w.m.SetPolicy(&policy.Policy{}, &policy.Policy{}, false, false)
	w.m.bound = 2 * count
	var frames []byte
	sums := make([]uint32, atOnce)
	for i := range sums {
		sums[i] = journal.KeySum([]byte("one"))
		frames = protocol.AppendMessageHeader(frames, 1, 1, protocol.MessageID(i+1), 0)
	}
	for range count / atOnce {
		at, _ := w.tail.Append(append([]byte(nil), frames...))
		at = w.tail.Note(at, w.next, atOnce)
		w.tail.NoteSums(at, sums)
		w.m.Accept(at, atOnce)
		w.next += atOnce
	}
	w.m.At.Shown = w.next - 1
	c := &Consumer{Owner: &modelConsumer{}}
	w.m.Join(c, time.Minute, false)
	w.m.SetReady(c, 10)
	var d Delivery
	for w.m.order.len() < count-1 {
		before := w.m.order.len()
		if w.m.Take(c, &d, true, false); w.m.order.len() == before {
			t.Fatalf("%d are aside, and no more come: %d places", before, w.m.order.turns.Places())
		}
	}
	if n := w.m.order.turns.Places(); d.N != 1 || n > 1000 {
		t.Errorf("%d came, and the others stand in %d places", d.N, n)
	}
}
