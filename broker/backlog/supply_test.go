package backlog

import (
	"slices"
	"testing"

	"brokerd/protocol"
)

// framesOf returns the frames of messages whose ids are their positions.
func framesOf(runs ...Range) (frames []byte) {
	for _, r := range runs {
		for pos := r.First; pos <= r.Last; pos++ {
			frames = protocol.AppendMessageHeader(frames, 1, 1, protocol.MessageID(pos), 0)
		}
	}
	return frames
}

// coldQueue returns a queue of ten messages of a node that is not in memory, of which some were taken out.
func coldQueue(first Position) (*Queue, *Node) {
	n := NewCold(nil, 1, 10, len(framesOf(Range{First: 1, Last: 10})))
	q := &Queue{}
	q.Add(Of(n, Range{First: first, Last: 10}), int(11-first))
	return q, n
}

// TestSupplyOfADamagedNode: a queue that begins within the node, within what could be read of it, goes on at its own message.
func TestSupplyOfADamagedNode(t *testing.T) {
	for first := Position(1); first <= 10; first++ {
		for _, runs := range [][]Range{{{First: 2, Last: 8}}, {{First: 1, Last: 3}, {First: 5, Last: 7}, {First: 9, Last: 10}}, {{First: 1, Last: 10}}} {
			for _, drop := range []int{0, 1} {
				q, n := coldQueue(first)
				if q.Cold() != n || !q.Supply(n, Range{First: 1, Last: 10}, framesOf(runs...), runs) {
					t.Fatal("nothing is to be supplied")
				}
				q.Drop(drop, func(Range, int) {})
				var got []Position
				for q.Len() > 0 {
					for cold := q.Cold(); cold != nil; cold = q.Cold() {
						if !q.Supply(cold, Range{First: 1, Last: 10}, framesOf(runs...), runs) {
							t.Fatal("nothing is to be supplied later")
						}
					}
					if q.Len() == 0 {
						break
					}
					f, pos := q.Next()
					if f.MustID() != protocol.MessageID(pos) {
						t.Fatalf("from %d on, %v: message %d comes as %d", first, runs, f.MustID(), pos)
					}
					got = append(got, pos)
				}
				var want []Position
				for _, r := range runs {
					for pos := max(r.First, first+Position(drop)); pos <= r.Last; pos++ {
						want = append(want, pos)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("from %d on, %d dropped, %v: %v came, want %v", first, drop, runs, got, want)
				}
			}
		}
	}
}

// TestSupplyOfWhatComesLater is not taken: the next message is not in it.
func TestSupplyOfWhatComesLater(t *testing.T) {
	q, n := coldQueue(2)
	for _, of := range []Range{{First: 3, Last: 10}, {First: 1, Last: 1}} {
		if q.Supply(n, of, framesOf(of), nil) {
			t.Errorf("%v is taken, where 2 is wanted", of)
		}
	}
	if q.Cold() != n || !q.Supply(n, Range{First: 2, Last: 3}, framesOf(Range{First: 2, Last: 3}), nil) {
		t.Fatal("what is wanted is not taken")
	}
	if f, pos := q.Next(); pos != 2 || f.MustID() != 2 {
		t.Errorf("message %d comes as %d", f.MustID(), pos)
	}
}
