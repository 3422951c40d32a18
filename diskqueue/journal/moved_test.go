package journal

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// moving is a state with two topics: of the first, message 2 was delivered twice on channel 3 and message 4 waits there; the second has no
// channels.
func moving(t *testing.T) (s *State, apply func(Kind, []byte)) {
	s = NewState()
	at := Offset{}
	apply = func(kind Kind, b []byte) {
		t.Helper()
		at.Offset++
		if err := s.Apply(at, kind, b, nil); err != nil {
			t.Fatalf("kind %d: %v", kind, err)
		}
	}
	for id, name := range []string{1: "orders", 2: "dead"} {
		if name != "" {
			apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: uint32(id), Name: name}))
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 3, Name: "billing"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 4}), frames(1, 4)...))
	for range 2 {
		var r Runs
		r.BeginDelivered(1, 3, 0)
		r.AddRange(Range{1, 3})
		apply(KindDelivered, r.Record())
	}
	var r Runs
	r.Begin(1, 3)
	r.Add(1)
	r.Add(3)
	apply(KindFinished, r.Record())
	return s, apply
}

// movedRecord moves messages of the first topic to the second, where they have positions from first on.
func movedRecord(channel uint32, first Position, list ...Position) []byte {
	var r Runs
	r.Begin(0, 0)
	for _, pos := range list {
		r.Add(pos)
	}
	b := AppendMoved(nil, Moved{Topic: 1, Channel: channel, Why: DeadLettered, Runs: r.Runs()})
	b = AppendPublish(b, Publish{Topic: 2, Only: Own, First: first, Count: len(list)})
	return append(b, frames(100, len(list))...)
}

func voidRecord(r Range) []byte {
	var runs Runs
	runs.BeginVoid(2)
	runs.AddRange(r)
	return runs.Record()
}

func wantState(t *testing.T, s *State, lines ...string) {
	t.Helper()
	got := dump(s)
	for _, line := range lines {
		if !strings.Contains(got, line) {
			t.Errorf("the state is\n%s\nwithout %q", got, line)
		}
	}
}

// TestMoved: a message is in one topic or in the other, and both know why.
func TestMoved(t *testing.T) {
	s, apply := moving(t)
	apply(KindMoved, movedRecord(3, 1, 2))
	wantState(t, s, "after 3 offered 4 inherited 0 counts {4 2 [0 0 0 0 0 0 0 1", "waiting [4 to 4] out\n", "waiting [1 to 1] out\n")
	apply(KindMoved, movedRecord(Everywhere, 2, 4))
	wantState(t, s, "counts {4 2 [0 0 0 0 0 0 0 2", "waiting [] out\n", "waiting [1 to 2] out\n")
}

// TestMovedToNobody: a power cut has taken the record that made the other topic. What was moved there stays where it was, unless the topic
// was deleted, which a checkpoint says that does not have it any more.
func TestMovedToNobody(t *testing.T) {
	s, apply := moving(t)
	delete(s.Topics, 2)
	apply(KindMoved, movedRecord(3, 1, 2))
	wantState(t, s, "counts {4 2 [0 0 0 0 0 0 0 0", "waiting [4 to 4] out 2:{0 2}\n")
	if s.NextID <= 2 {
		t.Errorf("the number of the topic may be given to another: %d", s.NextID)
	}
	s.listed = 4
	apply(KindMoved, movedRecord(3, 1, 2))
	wantState(t, s, "counts {4 2 [0 0 0 0 0 0 0 1", "waiting [4 to 4] out\n")

	s, apply = moving(t)
	alone := AppendMoved(nil, Moved{Topic: 1, Channel: 3, Why: Redriven, Runs: onePosition(2)})
	alone = append(AppendPublish(alone, Publish{Topic: 2, Only: 7, First: 1, Count: 1}), frames(100, 1)...)
	apply(KindMoved, alone)
	wantState(t, s, "waiting [4 to 4] out 2:{0 2}\n")
	s.listed = 8
	apply(KindMoved, alone)
	wantState(t, s, "waiting [4 to 4] out\n")
}

func onePosition(pos Position) []byte {
	var r Runs
	r.Begin(0, 0)
	r.Add(pos)
	return r.Runs()
}

// TestMovedAndVoid: what did not arrive has not left, once however often that is said, and not any more when its channel was emptied.
func TestMovedAndVoid(t *testing.T) {
	back := []string{"counts {4 2 [0 0 0 0 0 0 0 0", "waiting [4 to 4] out 2:{0 2}\n"}
	t.Run("comes back", func(t *testing.T) {
		s, apply := moving(t)
		apply(KindMoved, movedRecord(3, 1, 2))
		apply(KindVoid, voidRecord(Range{1, 1}))
		wantState(t, s, append(back, "next 2\n")...)
	})
	t.Run("and goes again", func(t *testing.T) {
		s, apply := moving(t)
		apply(KindMoved, movedRecord(3, 1, 2))
		apply(KindVoid, voidRecord(Range{1, 1}))
		apply(KindMoved, movedRecord(3, 2, 2))
		apply(KindVoid, voidRecord(Range{1, 1}))
		wantState(t, s, "counts {4 2 [0 0 0 0 0 0 0 1", "waiting [4 to 4] out\n", "waiting [2 to 2] out\n")
	})
	t.Run("also to a snapshot of the other topic that knows it", func(t *testing.T) {
		s, apply := moving(t)
		s.Topics[2].AsOf, s.Topics[2].Channels[0].AsOf = Offset{Offset: 1000}, Offset{Offset: 1000}
		apply(KindMoved, movedRecord(3, 1, 2))
		apply(KindVoid, voidRecord(Range{1, 1}))
		wantState(t, s, back...)
	})
	t.Run("not to a channel that was emptied", func(t *testing.T) {
		s, apply := moving(t)
		apply(KindMoved, movedRecord(3, 1, 2))
		apply(KindChange, AppendChange(nil, Change{Op: OpEmpty, Topic: 1, Channel: 3}))
		apply(KindVoid, voidRecord(Range{1, 1}))
		if c := s.Topics[1].channel(3); c.holds() != 0 {
			t.Errorf("the channel has %+v", c)
		}
	})
}

// TestMovedSnapshots: each side of a move is passed over by whose snapshot has it.
func TestMovedSnapshots(t *testing.T) {
	s, apply := moving(t)
	s.Topics[1].Channels[1].AsOf = Offset{Offset: 1000}
	apply(KindMoved, movedRecord(3, 1, 2))
	wantState(t, s, "waiting [4 to 4] out 2:{0 2}\n", "waiting [1 to 1] out\n")

	s, apply = moving(t)
	s.Topics[2].AsOf = Offset{Offset: 1000}
	apply(KindMoved, movedRecord(3, 1, 2))
	wantState(t, s, "waiting [4 to 4] out\n", "waiting [] out\n")
}

// TestInvalidMoved: what makes no sense is refused, and nothing moves.
func TestInvalidMoved(t *testing.T) {
	whole := movedRecord(3, 1, 2, 4)
	for cut := range whole {
		if _, _, _, err := ParseMoved(whole[:cut]); !errors.Is(err, ErrRecord) {
			t.Errorf("cut off at %d: %v", cut, err)
		}
	}
	for _, change := range []struct {
		at   int
		to   byte
		what string
	}{{8, 0, "no reason"}, {8, byte(reasons), "a reason of the future"}, {12, 200, "more positions than there are"}, {14, 9, "a run too long"}} {
		bad := append([]byte(nil), whole...)
		bad[change.at] = change.to
		if _, _, _, err := ParseMoved(bad); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", change.what, err)
		}
	}
	s, _ := moving(t)
	if err := s.Apply(Offset{Offset: 500}, KindMoved, whole[:len(whole)-1], nil); !errors.Is(err, ErrRecord) {
		t.Errorf("half a record: %v", err)
	}
	wantState(t, s, "out 2:{0 2}\n")
}

// TestPropertiesComeBack: any properties of any messages come back as they were.
func TestPropertiesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := Position(rapid.Uint64Range(1, 1<<40).Draw(t, "first"))
		count := rapid.IntRange(1, 20).Draw(t, "count")
		var list []Beside
		for i := range count {
			if !rapid.Bool().Draw(t, "has some") {
				continue
			}
			some := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Property {
				return Property{rapid.StringN(0, 10, 20).Draw(t, "name"), rapid.StringN(0, 10, 20).Draw(t, "value")}
			}), 1, 5).Draw(t, "properties")
			list = append(list, Beside{first + Position(i), AppendProperties(nil, some)})
			back, err := ParseProperties(list[len(list)-1].Data)
			if err != nil || len(back) != len(some) || back[0] != some[0] {
				t.Fatalf("%q became %q, %v", some, back, err)
			}
		}
		p := Publish{Topic: 1, First: first, Count: count, Properties: AppendColumn(nil, first, list)}
		got, _, err := ParsePublish(append(AppendPublish(nil, p), frames(1, count)...))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := EachOfColumn(got.Properties, Range{first, p.Last()}, func(b Beside) {
			if b.Pos != list[n].Pos || string(b.Data) != string(list[n].Data) {
				t.Fatalf("message %d has %q, want %+v", b.Pos, b.Data, list[n])
			}
			n++
		}); err != nil || n != len(list) {
			t.Fatalf("%d of %d came back, %v", n, len(list), err)
		}
	})
}

// FuzzProperties: nothing makes the parsers panic, and what they take they give back.
func FuzzProperties(f *testing.F) {
	f.Add(AppendProperties(nil, []Property{{"a", "b"}}), uint64(7))
	f.Add(goldenColumn(), uint64(7))
	f.Fuzz(func(t *testing.T, b []byte, first uint64) {
		if list, err := ParseProperties(b); err == nil {
			if again, err := ParseProperties(AppendProperties(nil, list)); err != nil || len(again) != len(list) {
				t.Fatalf("%q became %q, %v", list, again, err)
			}
		}
		var list []Beside
		within := Range{Position(first), Position(first) + 1000}
		if err := EachOfColumn(b, within, func(m Beside) { list = append(list, m) }); err != nil {
			return
		}
		n := 0
		if err := EachOfColumn(AppendColumn(nil, within.First, list), within, func(m Beside) { n++ }); err != nil || n != len(list) {
			t.Fatalf("%d of %d came back, %v", n, len(list), err)
		}
	})
}
