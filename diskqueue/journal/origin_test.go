package journal

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"brokerd/protocol"
)

// TestNumbersAreASet: whatever is taken, dropped and raised, in whatever order, is what a set would have.
func TestNumbersAreASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var n Numbers
		has, low := map[uint64]bool{}, uint64(0)
		for range 100 {
			number := low + rng.Uint64N(20) + 1
			switch rng.IntN(6) {
			case 0:
				n.Drop(number)
				delete(has, number)
			case 1:
				low += rng.Uint64N(5)
				n.Raise(low)
				maps.DeleteFunc(has, func(k uint64, _ bool) bool { return k < low })
			default:
				o := Origin{ID: 1, Number: number, Low: max(low, min(number, low+rng.Uint64N(2)))}
				n.Take(o)
				low = max(low, o.Low)
				has[number] = true
				maps.DeleteFunc(has, func(k uint64, _ bool) bool { return k < low })
			}
			for k := low; k < low+30; k++ {
				if n.Has(k) != has[k] || n.Over(k) {
					t.Fatalf("number %d: %v, want %v, low %d: %v", k, n.Has(k), has[k], low, n.taken)
				}
			}
			if low > 0 && (!n.Over(low-1) || n.Has(low-1)) {
				t.Fatalf("number %d is below the lowest that is asked for", low-1)
			}
		}
	}
}

func publishOf(o Origin, first Position) []byte {
	return append(AppendPublish(nil, Publish{Topic: 1, First: first, Count: 1, From: o}), frames(protocol.MessageID(first), 1)...)
}

// TestOriginsAreKept: a state knows which publishes were taken, so does the checkpoint of it, and what is forgotten is.
func TestOriginsAreKept(t *testing.T) {
	s := NewState()
	apply := func(kind Kind, payload []byte) {
		t.Helper()
		if err := s.Apply(Offset{Offset: 1}, kind, payload, func(Publish, []byte) {}); err != nil {
			t.Fatal(err)
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "t"}))
	for i, o := range []Origin{{7, 1, 1}, {7, 3, 2}, {9, 5, 5}, {7, 4, 2}} { // 2 of 7 was refused
		apply(KindPublish, publishOf(o, Position(i+1)))
	}
	check := func(s *State) {
		t.Helper()
		var had []uint64
		for n := range uint64(6) {
			if s.Origins[7].Has(n) {
				had = append(had, n)
			}
		}
		if !slices.Equal(had, []uint64{3, 4}) || !s.Origins[7].Over(1) || s.Origins[7].Over(2) || !s.Origins[9].Has(5) {
			t.Errorf("of 7 there are %v, and of 9 %v", had, s.Origins[9])
		}
	}
	check(s)
	var b bytes.Buffer
	size, err := s.Write(&b, Offset{Offset: 9})
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadCheckpoint(bytes.NewReader(b.Bytes()), size)
	if err != nil {
		t.Fatal(err)
	}
	check(read)
	if !reflect.DeepEqual(read.Origins[7], s.Origins[7]) {
		t.Errorf("%v, want %v", read.Origins[7], s.Origins[7])
	}
	apply(KindForgotten, AppendForgotten(nil, []uint64{7, 8}))
	if s.Origins[7] != nil || s.Origins[9] == nil {
		t.Errorf("%d origins are left", len(s.Origins))
	}
}

// TestInvalidOrigins are refused, in a record as in a checkpoint.
func TestInvalidOrigins(t *testing.T) {
	whole := publishOf(Origin{7, 3, 2}, 1)
	if p, _, err := ParsePublish(whole); err != nil || p.From != (Origin{7, 3, 2}) {
		t.Fatalf("%+v, %v", p.From, err)
	}
	for _, o := range []Origin{{0, 3, 2}, {7, 0, 0}, {7, 3, 4}} {
		if _, _, err := ParsePublish(publishOf(o, 1)); !errors.Is(err, ErrRecord) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, _, err := ParsePublish(whole[:publishSize+originSize-1]); !errors.Is(err, ErrRecord) {
		t.Errorf("cut: %v", err)
	}
	for _, b := range [][]byte{nil, {1}, make([]byte, 9)} {
		if err := NewState().Apply(Offset{}, KindForgotten, b, nil); !errors.Is(err, ErrRecord) {
			t.Errorf("forgotten %v: %v", b, err)
		}
	}
	for _, bad := range []*Numbers{{low: 5, taken: []Range{{4, 6}}}, {taken: []Range{{3, 2}}}, {taken: []Range{{3, 4}, {5, 6}}}, {taken: []Range{{5, 6}, {3, 3}}}} {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.Head(1, Offset{}, 0)
		w.Origins(map[uint64]*Numbers{7: bad})
		size, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCheckpoint(&b, size); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%v: %v", bad.taken, err)
		}
	}
}
