package inflight

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// turnsModel drives Turns beside lists of positions by key, of which the first one has the turn.
type turnsModel struct {
	turns Turns[int]
	keys  map[uint32][]Position
	since map[uint32]int64
	order []Position // of all that stand aside
	next  Position
	now   int64
	ended []Position // are gone
}

// modelSize is the size of a message in a node, none of an odd one: that is not in memory.
func modelSize(node int, _ uint32) int {
	if node%2 == 1 {
		return 0
	}
	return 10
}

// place is where a message stands: ten messages in a node.
func (m *turnsModel) place(pos Position) Aside[int] {
	node := int(pos/10) + 1
	if pos%7 == 0 {
		return Aside[int]{Pos: pos, Off: NoOffset} // of an earlier life
	}
	return Aside[int]{Node: node, Pos: pos, Off: uint32(pos%10) * 10}
}

// Come is a message that comes to be delivered.
func (m *turnsModel) Come(t *rapid.T) {
	m.now++
	m.next += Position(rapid.IntRange(1, 2).Draw(t, "gap"))
	sum := rapid.Uint32Range(1, 4).Draw(t, "key")
	list := m.keys[sum]
	if got := m.turns.Take(sum, m.next, m.now); got != (len(list) == 0) {
		t.Fatalf("message %d of key %d has its turn: %v; before it %v", m.next, sum, got, list)
	}
	if len(list) == 0 {
		m.since[sum] = m.now
	} else {
		m.turns.Behind(sum, m.place(m.next))
		m.order = append(m.order, m.next)
	}
	m.keys[sum] = append(list, m.next)
}

// Again is a message that has its turn and comes once more.
func (m *turnsModel) Again(t *rapid.T) {
	for sum, list := range m.keys {
		if !m.turns.Take(sum, list[0], m.now) || !m.turns.Holds(list[0]) {
			t.Fatalf("message %d of key %d has lost its turn", list[0], sum)
		}
	}
}

func (m *turnsModel) pick(t *rapid.T) uint32 {
	if len(m.keys) == 0 {
		t.Skip("nothing is out")
	}
	sums := make([]uint32, 0, len(m.keys))
	for sum := range m.keys {
		sums = append(sums, sum)
	}
	slices.Sort(sums)
	return rapid.SampledFrom(sums).Draw(t, "key")
}

// Leave ends the message that has a key's turn.
func (m *turnsModel) Leave(t *rapid.T) {
	sum := m.pick(t)
	m.now++
	list := m.keys[sum]
	next, some := m.turns.Leave(list[0], m.now, modelSize)
	m.ended = append(m.ended, list[0])
	m.settle(t, sum, list[1:], next, some)
}

// settle proves that the next message of a key has its turn.
func (m *turnsModel) settle(t *rapid.T, sum uint32, list []Position, next Aside[int], some bool) {
	if some != (len(list) > 0) {
		t.Fatalf("key %d: another has the turn: %v, want one of %v", sum, some, list)
	}
	if !some {
		delete(m.keys, sum)
		return
	}
	if next.Pos != list[0] {
		t.Fatalf("key %d: message %d has the turn, want %d", sum, next.Pos, list[0])
	}
	if want := m.place(next.Pos); next.Off != NoOffset && next != want {
		t.Fatalf("message %d is said to be at %+v, want %+v", next.Pos, next, want)
	}
	m.keys[sum], m.since[sum] = list, m.now
	m.order = slices.DeleteFunc(m.order, func(p Position) bool { return p == next.Pos })
}

// Gone ends messages that have no turn.
func (m *turnsModel) Gone(t *rapid.T) {
	for _, pos := range append(m.ended, m.next+1) {
		if _, some := m.turns.Leave(pos, m.now, modelSize); some {
			t.Fatalf("message %d, which has left, gives its turn to another", pos)
		}
	}
}

// Drop takes out the one that stands aside for longest.
func (m *turnsModel) Drop(t *rapid.T) {
	want, some := m.turns.Oldest()
	if some != (len(m.order) > 0) {
		t.Fatalf("one stands aside: %v, want %v", some, m.order)
	}
	if !some {
		return
	}
	got := m.turns.DropOldest(modelSize)
	if got != want || got.Pos != m.order[0] {
		t.Fatalf("dropped %d, said was %d, want %d", got.Pos, want.Pos, m.order[0])
	}
	m.forget(func(p Position) bool { return p == got.Pos })
}

func (m *turnsModel) forget(gone func(Position) bool) {
	for sum, list := range m.keys {
		m.keys[sum] = append([]Position{list[0]}, slices.DeleteFunc(slices.Clone(list[1:]), gone)...)
	}
	m.order = slices.DeleteFunc(m.order, gone)
}

// Filter takes out some of those that stand aside.
func (m *turnsModel) Filter(t *rapid.T) {
	of := Position(rapid.IntRange(2, 9).Draw(t, "one of"))
	gone := func(p Position) bool { return p%of == 0 }
	want := 0
	for _, p := range m.order {
		if gone(p) {
			want++
		}
	}
	if got := m.turns.Filter(gone); got != want {
		t.Fatalf("%d were taken out, want %d", got, want)
	}
	m.forget(gone)
}

func (m *turnsModel) Check(t *rapid.T) {
	var aside []Position
	m.turns.Each(func(p Position) { aside = append(aside, p) })
	slices.Sort(aside)
	want := slices.Sorted(slices.Values(m.order))
	if !slices.Equal(aside, want) || m.turns.Len() != len(want) || m.turns.Held() != len(m.keys) || m.turns.Places() > len(want) {
		t.Fatalf("aside are %v (%d, in %d places, of %d keys), want %v of %d keys", aside, m.turns.Len(), m.turns.Places(), m.turns.Held(), want,
			len(m.keys))
	}
	standing, n := m.turns.Standing(m.now-5, 2)
	var all []Standing
	for sum, list := range m.keys {
		if len(list) > 1 && m.since[sum] <= m.now-5 {
			all = append(all, Standing{Sum: sum, Pos: list[0], Since: m.since[sum], Behind: len(list) - 1})
		}
	}
	slices.SortFunc(all, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Sum, b.Sum)) })
	if n != len(all) || !slices.Equal(standing, all[:min(n, 2)]) {
		t.Fatalf("%d keys stand, for longest %+v, want %+v", n, standing, all)
	}
}

// TestTurnsModel: whatever comes, comes again, leaves or is dropped, one message of a key has its turn, the others get it in their order.
func TestTurnsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &turnsModel{keys: map[uint32][]Position{}, since: map[uint32]int64{}}
		t.Repeat(rapid.StateMachineActions(m))
	})
}

// TestTurnsTakeOnePlaceTogether: a million messages of one key that follow each other take a place for each node.
func TestTurnsTakeOnePlaceTogether(t *testing.T) {
	var turns Turns[int]
	turns.Take(1, 1, 0)
	for pos := Position(2); pos <= 1_000_000; pos++ {
		turns.Behind(1, Aside[int]{Node: int(pos / 5000), Pos: pos, Off: uint32(pos % 5000)})
	}
	if turns.Places() > 201 || turns.Len() != 999_999 {
		t.Errorf("%d messages in %d places", turns.Len(), turns.Places())
	}
}

// TestTurnsGiveMemoryBack: once nothing is out nothing is held.
func TestTurnsGiveMemoryBack(t *testing.T) {
	var turns Turns[int]
	for sum := range uint32(5000) {
		turns.Take(sum+1, Position(sum+1), 0)
	}
	for pos := range Position(5000) {
		turns.Leave(pos+1, 0, modelSize)
	}
	if turns.keys != nil || turns.entries != nil {
		t.Error("memory is held although nothing is out")
	}
}

// BenchmarkTurns is a message that comes, stands aside behind one of its key, gets its turn and leaves.
func BenchmarkTurns(b *testing.B) {
	for _, keys := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			var turns Turns[int]
			for sum := range uint32(keys) {
				turns.Take(sum+1, Position(sum+1), 0)
			}
			held := make([]Position, keys)
			for i := range held {
				held[i] = Position(i + 1)
			}
			pos := Position(keys)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sum := i % keys
				pos++
				if !turns.Take(uint32(sum+1), pos, 0) {
					turns.Behind(uint32(sum+1), Aside[int]{Node: int(pos >> 10), Pos: pos, Off: uint32(pos)})
				}
				next, _ := turns.Leave(held[sum], 0, modelSize)
				held[sum] = next.Pos
			}
		})
	}
}

func TestHoldersInARangeAreInOrder(t *testing.T) {
	var turns Turns[int]
	for _, pos := range []Position{9, 3, 7, 12} {
		turns.Take(uint32(pos), pos, 0)
	}
	if got := turns.HoldersIn(3, 9); !slices.Equal(got, []Position{3, 7, 9}) {
		t.Errorf("from 3 to 9 turns are held by %v", got)
	}
	if got := turns.HoldersIn(10, 11); got != nil {
		t.Errorf("from 10 to 11 turns are held by %v", got)
	}
}
