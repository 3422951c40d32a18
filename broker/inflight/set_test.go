package inflight

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"brokerd/protocol"
)

const (
	minute  = int64(time.Minute)
	atLimit = 15 * minute
)

// A consumer that touches again what it has extended to the limit keeps it until then, and no longer.
func TestTouchAtTheLimit(t *testing.T) {
	var s Set[string]
	lane := s.AcquireLane(minute)
	s.Add(1, 7, nil, 1, "ann", lane, 0)
	for now := int64(0); now < atLimit; now += minute / 2 {
		if err := s.Touch(1, "ann", now, atLimit); err != nil {
			t.Fatalf("touch after %s: %v", time.Duration(now), err)
		}
		want := min(now+minute, atLimit)
		if got, _ := s.Next(); got != want {
			t.Fatalf("touched after %s it is due at %s, want %s", time.Duration(now), time.Duration(got), time.Duration(want))
		}
		if _, ok := s.Expire(now); ok {
			t.Fatalf("expired at %s, as it was touched", time.Duration(now))
		}
	}
	if it, ok := s.Expire(atLimit); !ok || it.Owner != "ann" {
		t.Fatalf("at the limit: %+v %v", it, ok)
	}
}

func TestAnswersOfStrangers(t *testing.T) {
	var s Set[string]
	s.Add(1, 7, nil, 1, "ann", s.AcquireLane(minute), 0)
	if _, err := s.Remove(1, "bob"); !errors.Is(err, ErrNotOwner) {
		t.Errorf("FIN of another's message: %v", err)
	}
	if err := s.Touch(1, "bob", 0, atLimit); !errors.Is(err, ErrNotOwner) {
		t.Errorf("TOUCH of another's message: %v", err)
	}
	if _, err := s.Remove(2, "ann"); !errors.Is(err, ErrNotInFlight) {
		t.Errorf("FIN of what is not in flight: %v", err)
	}
	if err := s.Touch(2, "ann", 0, atLimit); !errors.Is(err, ErrNotInFlight) {
		t.Errorf("TOUCH of what is not in flight: %v", err)
	}
	if s.Len() != 1 {
		t.Errorf("%d in flight, want 1", s.Len())
	}
}

// Consumers that come and go with timeouts of their own do not leave lanes behind.
func TestLanesAreReused(t *testing.T) {
	var s Set[string]
	for i := range int64(1000) {
		lane := s.AcquireLane(1000 + i)
		s.Add(protocol.MessageID(i), 0, nil, 1, "ann", lane, i)
		s.RemoveOwner("ann", func(Item[string]) {})
		s.ReleaseLane(lane)
	}
	if len(s.lanes) > 2 {
		t.Errorf("%d lanes are kept", len(s.lanes))
	}
}

// rounds calls round with ids that follow each other, as those of a busy node do, while depth messages are in flight.
func rounds(depth int) (round func()) {
	var s Set[*int]
	owner := new(int)
	lane := s.AcquireLane(minute)
	next := protocol.MessageID(1 << 40)
	frame := protocol.AppendMessageHeader(nil, 0, 1, 0, 0)
	for range depth {
		s.Add(next, 0, frame, 1, owner, lane, int64(next))
		next++
	}
	return func() {
		s.Add(next, 0, frame, 1, owner, lane, int64(next))
		if _, err := s.Remove(next-protocol.MessageID(depth), owner); err != nil {
			panic(err)
		}
		next++
	}
}

func TestAddRemoveAllocatesNothing(t *testing.T) {
	for _, depth := range []int{0, 1, 2500} {
		round := rounds(depth)
		round()
		if n := testing.AllocsPerRun(5000, round); n != 0 {
			t.Errorf("with %d in flight: %v allocations for an Add and a Remove", depth, n)
		}
	}
}

func TestTouchAllocatesNothing(t *testing.T) {
	var s Set[string]
	s.Add(1, 7, nil, 1, "ann", s.AcquireLane(minute), 0)
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += int64(time.Second)
		if err := s.Touch(1, "ann", now, 2000*int64(time.Second)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a Touch", n)
	}
}

func BenchmarkAddRemove(b *testing.B) {
	for _, c := range []struct {
		name  string
		depth int
	}{{"alone", 0}, {"2500 in flight", 2500}, {"100000 in flight", 100000}} {
		b.Run(c.name, func(b *testing.B) {
			round := rounds(c.depth)
			b.ReportAllocs()
			for b.Loop() {
				round()
			}
		})
	}
}

func BenchmarkDeferredPushPop(b *testing.B) {
	var d DeferredMemory
	for i := range int64(10000) {
		d.Push(Due{At: i * 7919 % 10000})
	}
	b.ReportAllocs()
	for b.Loop() {
		m, _ := d.Pop(1 << 62)
		m.At += 10000
		d.Push(m)
	}
}

// Thousands of messages are in flight, with ids that follow each other, that lie far apart, and that are anything: each is found, none
// twice, in whatever order they are finished, and the next thousands lie where these did.
func TestThousandsInFlight(t *testing.T) {
	const count = 5 * slotPiece / 2
	rng := rand.New(rand.NewPCG(7, 7))
	for name, id := range map[string]func(i int) protocol.MessageID{
		"in a row":   func(i int) protocol.MessageID { return protocol.MessageID(1<<40 + i) },
		"far apart":  func(i int) protocol.MessageID { return protocol.MessageID(i << 12) },
		"by threes":  func(i int) protocol.MessageID { return protocol.MessageID(i/3*640 + i%3) },
		"any at all": func(i int) protocol.MessageID { return protocol.MessageID(uint64(i+1) * 0x9e3779b97f4a7c15) },
	} {
		t.Run(name, func(t *testing.T) {
			var s Set[string]
			lane := s.AcquireLane(1000)
			for round := range 3 {
				for i := range count {
					frame := protocol.AppendMessageHeader(nil, 0, 1, id(i), 0)
					if !s.Add(id(i), Position(i), frame, uint16(round), "ann", lane, int64(i)) || s.Add(id(i), Position(i), frame, 1, "bob", lane, int64(i)) {
						t.Fatalf("round %d: message %d was refused, or taken twice", round, i)
					}
				}
				for _, i := range rng.Perm(count) {
					it, err := s.Remove(id(i), "ann")
					if err != nil || !it.Frame.Has(id(i)) || it.Attempts != uint16(round) {
						t.Fatalf("round %d: message %d: %v, %v", round, i, it, err)
					}
					if _, err := s.Remove(id(i), "ann"); !errors.Is(err, ErrNotInFlight) {
						t.Fatalf("round %d: message %d is there twice: %v", round, i, err)
					}
				}
			}
			if s.made != count || s.index.n != 0 || len(s.index.pages) > count {
				t.Errorf("%d slots, %d pages in use and %d made for %d messages", s.made, s.index.n, len(s.index.pages), count)
			}
		})
	}
}
