package inflight

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// indexMachine applies the same operations to a DeferredIndex and to a plain list.
type indexMachine struct {
	index DeferredIndex
	model []Place
	now   int64
	next  Position
	seen  Snapshot // taken at some moment
	was   []Place  // what it held then, by id
	steps int
}

func byPosition(a, b Place) int { return cmp.Compare(a.Pos, b.Pos) }

// Push adds many at once at times.
func (m *indexMachine) Push(t *rapid.T) {
	count := rapid.SampledFrom([]int{1, 3, 60, 700}).Draw(t, "count")
	spread := rapid.SampledFrom([]int64{1, 1 << 20, 1 << 27, 1 << 34, 1 << 42, 1 << 50}).Draw(t, "spread")
	late := rapid.IntRange(0, 3).Draw(t, "before now") == 0
	edge := rapid.IntRange(0, 3).Draw(t, "at the edges of stretches") == 0
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	for range count {
		m.next++
		s := Place{At: m.now + r.Int64N(spread), Pos: m.next ^ 0xff, Off: r.Uint32(), Attempts: uint16(r.Uint32())} // in no order of positions
		if late {
			s.At = max(0, m.now-r.Int64N(spread))
		}
		if edge {
			s.At = s.At>>stretchWidth<<stretchWidth + r.Int64N(3) - 1
		}
		m.index.Push(s)
		m.model = append(m.model, s)
	}
}

func (m *indexMachine) Pop(t *rapid.T) {
	m.now += rapid.SampledFrom([]int64{0, 1, 1 << 20, 1 << 26, 1 << 33, 1 << 41}).Draw(t, "ns")
	slices.SortFunc(m.model, func(a, b Place) int { return cmp.Or(cmp.Compare(a.At, b.At), byPosition(a, b)) })
	if at, ok := m.index.Next(); ok != (len(m.model) > 0) || ok && at > m.model[0].At {
		t.Fatalf("Next is %d, %v with %d messages", at, ok, len(m.model))
	}
	for limit := rapid.IntRange(1, 2000).Draw(t, "limit"); limit > 0; limit-- {
		got, ok := m.index.Pop(m.now)
		if due := len(m.model) > 0 && m.model[0].At <= m.now; ok != due {
			t.Fatalf("Pop at %d returned a message: %v, one was due: %v", m.now, ok, due)
		}
		if !ok {
			return
		}
		i := slices.Index(m.model, got)
		if i < 0 || got.At != m.model[0].At {
			t.Fatalf("Pop returned %+v, which is number %d, before %+v", got, i, m.model[0])
		}
		m.model = slices.Delete(m.model, i, i+1)
	}
}

// Remove takes some out that are there, by what Holding finds, and tries one that is not.
func (m *indexMachine) Remove(t *rapid.T) {
	for range rapid.SampledFrom([]int{1, 5, 200}).Draw(t, "count") {
		if len(m.model) == 0 {
			return
		}
		i := rapid.IntRange(0, len(m.model)-1).Draw(t, "which")
		want := m.model[i]
		got, ok := m.index.Holding(want.Pos).Find(want.Pos)
		if !ok || got != want {
			t.Fatalf("found %+v, %v for %+v", got, ok, want)
		}
		other := got
		other.At++
		if m.index.Remove(other) || !m.index.Remove(got) || m.index.Remove(got) {
			t.Fatalf("%+v is not taken out once, or when it is said to be due later", got)
		}
		m.model = slices.Delete(m.model, i, i+1)
		if _, ok := m.index.Holding(want.Pos).Find(want.Pos); ok {
			t.Fatalf("%+v is still found", want)
		}
	}
}

// List compares what is due next behind some place, and how many are due before some times.
func (m *indexMachine) List(t *rapid.T) {
	limit := rapid.SampledFrom([]int{1, 10, 1000}).Draw(t, "limit")
	from := Place{}
	if len(m.model) > 0 && rapid.Bool().Draw(t, "behind") {
		from = m.model[rapid.IntRange(0, len(m.model)-1).Draw(t, "from")]
	}
	sorted := slices.SortedFunc(slices.Values(m.model), func(a, b Place) int { return byDue(a.At, a.Pos, b) })
	sorted = slices.DeleteFunc(sorted, func(p Place) bool { return byDue(p.At, p.Pos, from) <= 0 })
	if got := m.index.After(from, limit).First(from, limit); !slices.Equal(got, sorted[:min(limit, len(sorted))]) {
		t.Fatalf("behind %+v come %d, want %d, or others", from, len(got), min(limit, len(sorted)))
	}
	times := []int64{m.now, m.now + 1<<30, m.now + 1<<40}
	if from.At > 0 {
		times = []int64{from.At - 1, from.At, from.At + 1}
	}
	var got, want [3]int
	m.index.DueBefore(times, got[:])
	for _, p := range m.model {
		for i, at := range times {
			if p.At < at {
				want[i]++
			}
		}
	}
	if got != want {
		t.Fatalf("due before %v are %v, want %v", times, got, want)
	}
}

func (m *indexMachine) Snapshot(*rapid.T) {
	m.seen, m.was = m.index.Snapshot(), slices.SortedFunc(slices.Values(m.model), byPosition)
}

func (m *indexMachine) Clear(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
		m.index.Clear()
		m.model = nil
	}
}

func (m *indexMachine) Check(t *rapid.T) {
	if m.index.Len() != len(m.model) {
		t.Fatalf("Len is %d, want %d", m.index.Len(), len(m.model))
	}
	if m.steps++; m.steps%8 != 0 {
		return // the rest takes long
	}
	if !slices.Equal(slices.SortedFunc(m.index.All(), byPosition), slices.SortedFunc(slices.Values(m.model), byPosition)) {
		t.Fatal("All returned other messages than are there")
	}
	if m.seen.Len() != len(m.was) || !slices.Equal(slices.SortedFunc(m.seen.All(), byPosition), m.was) {
		t.Fatal("a snapshot has changed after it was taken")
	}
}

// TestDeferredIndexAgainstModel has stretches come into use with few messages in most runs, and has few of them be many.
func TestDeferredIndexAgainstModel(t *testing.T) {
	few, many := fewShelved, manyStretches
	defer func() { fewShelved, manyStretches = few, many }()
	rapid.Check(t, func(t *rapid.T) {
		m := &indexMachine{}
		fewShelved = rapid.SampledFrom([]int{2, 50, few}).Draw(t, "few")
		manyStretches = rapid.SampledFrom([]int{2, 20, many}).Draw(t, "many")
		t.Repeat(map[string]func(*rapid.T){"Push": m.Push, "Pop": m.Pop, "Remove": m.Remove, "List": m.List, "Snapshot": m.Snapshot,
			"Clear": m.Clear, "": m.Check})
	})
}

func TestLineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line PlaceQueue
		var model, was []Place
		var seen Snapshot
		next, steps := Position(0), 0
		t.Repeat(map[string]func(*rapid.T){
			"Push": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 9, 3000}).Draw(t, "count") {
					next++
					line.Push(Place{Pos: next})
					model = append(model, Place{Pos: next})
				}
			},
			"Pop": func(t *rapid.T) {
				for range min(len(model), rapid.SampledFrom([]int{1, 7, 2500}).Draw(t, "count")) {
					if got := line.Pop(); got != model[0] {
						t.Fatalf("Pop returned %v, want %v", got, model[0])
					}
					model = model[1:]
				}
			},
			"PushFront": func(t *rapid.T) {
				some := make([]Place, rapid.SampledFrom([]int{0, 1, 5, 2000}).Draw(t, "count"))
				for i := range some {
					next++
					some[i] = Place{Pos: next}
				}
				line.PushFront(some)
				model = append(slices.Clone(some), model...)
			},
			"Remove": func(t *rapid.T) {
				for range min(len(model), rapid.SampledFrom([]int{1, 9}).Draw(t, "count")) {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
					if !line.remove(model[i]) || line.remove(model[i]) {
						t.Fatalf("%v is not taken out once", model[i])
					}
					model = slices.Delete(slices.Clone(model), i, i+1)
				}
			},
			"Filter": func(t *rapid.T) {
				by := Position(rapid.IntRange(2, 50).Draw(t, "by"))
				drop := func(m Place) bool { return m.Pos%by == 0 }
				before := len(model)
				model = slices.DeleteFunc(slices.Clone(model), drop)
				if got := line.Filter(drop); got != before-len(model) {
					t.Fatalf("Filter dropped %d, want %d", got, before-len(model))
				}
			},
			"First": func(t *rapid.T) {
				if len(model) > 0 && line.First() != model[0] {
					t.Fatalf("First is %v, want %v", line.First(), model[0])
				}
			},
			"Snapshot": func(*rapid.T) { seen, was = line.Snapshot(), slices.Clone(model) },
			"": func(t *rapid.T) {
				if steps++; steps%8 != 0 {
					return
				}
				if line.Len() != len(model) || !slices.Equal(slices.Collect(line.All()), model) {
					t.Fatalf("%d messages are in line, want %d, or others", line.Len(), len(model))
				}
				if !slices.Equal(slices.Collect(seen.All()), was) {
					t.Fatal("a snapshot has changed after it was taken")
				}
			},
		})
	})
}

// Ten million messages that are deferred must not cost more than their entries, however their due times are spread.
func TestDeferredIndexIsDense(t *testing.T) {
	const count = 200_000
	for _, spread := range []int64{1, 1e9, 3600e9, 30 * 24 * 3600e9} {
		var h DeferredIndex
		r := rand.New(rand.NewPCG(1, 2))
		for i := range count {
			h.Push(Place{At: r.Int64N(spread) + 1e9, Pos: Position(i)})
		}
		size := heapPiece * len(h.near.pieces)
		for _, s := range h.far {
			for _, chunk := range s.line.chunks {
				size += cap(chunk) + 1 // and its header
			}
			size += 7 // the stretch, its places in the map and in the order
		}
		if limit := count * 2; size > limit {
			t.Errorf("due within %d s: %d messages take the room of %d entries in %d stretches", spread/1e9, count, size, len(h.far))
		}
	}
}
