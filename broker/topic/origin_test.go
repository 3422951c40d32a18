package topic

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// send publishes a message as a publish of an origin.
func send(topic *Topic, id, number, low uint64) error {
	var b Batch
	b.Add([]byte("m"))
	b.From = journal.Origin{ID: id, Number: number, Low: low}
	return topic.Publish(&b)
}

// holds returns how many messages a topic has.
func holds(t *Topic) int64 { return t.Stats().Depth }

// TestAPublishIsTakenOnce: one that is sent again is answered as the first one, in this reign and in later ones, also when a checkpoint stands
// between. One that was refused is not taken for one that was, though a later one was taken.
func TestAPublishIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		s := NewStandby()
		l, o := lead(t, r, s)
		topic := createLed(t, l, 1, "orders")
		try := func(number, low uint64, want int64) {
			t.Helper()
			if err := send(topic, 7, number, low); err != nil {
				t.Fatal(err)
			}
			if n := holds(topic); n != want {
				t.Fatalf("number %d: the topic has %d messages, want %d", number, n, want)
			}
		}
		try(1, 1, 1)
		try(1, 1, 1)
		try(3, 1, 2) // 2 was refused before it came here
		try(3, 1, 2)
		if err := send(topic, 8, 3, 1); err != nil || holds(topic) != 3 {
			t.Fatalf("the same number of another node: %v", err)
		}
		for range 2 {
			o.lose(0)
			l.Drop()
			snap, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if s, err = OpenStandby(snap.Append(nil), nil); err != nil {
				t.Fatal(err)
			}
			l, o = lead(t, r, s)
			topic = r.Lookup("orders")
			try(1, 1, 3)
			try(3, 1, 3)
		}
		try(2, 1, 4)
		try(2, 1, 4)
		try(4, 4, 5)
		if err := send(topic, 7, 3, 1); !errors.Is(err, ErrOver) {
			t.Errorf("what nobody waits for: %v", err)
		}
		l.Drop()
	})
}

// TestARepetitionWaitsForTheFirst: it is answered when the first is committed, and not when the lead is lost before; then the next leader takes
// it if the first was not committed.
func TestARepetitionWaitsForTheFirst(t *testing.T) {
	for _, committed := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, durableConfig())
			s := NewStandby()
			l, o := lead(t, r, s)
			topic := createLed(t, l, 1, "orders")
			o.set(func() { o.hold = true })
			results := make(chan error, 2)
			go func() { results <- send(topic, 7, 1, 1) }()
			synctest.Wait()
			go func() { results <- send(topic, 7, 1, 1) }()
			synctest.Wait()
			select {
			case err := <-results:
				t.Fatalf("answered before it is committed: %v", err)
			default:
			}
			o.lose(committed)
			for range 2 {
				if err := <-results; (err == nil) != (committed == 1) || err != nil && !errors.Is(err, ErrNotLeader) {
					t.Fatalf("%d committed: %v", committed, err)
				}
			}
			l.Drop()
			l, _ = lead(t, r, s)
			topic = r.Lookup("orders")
			if n := holds(topic); n != int64(committed) {
				t.Fatalf("%d committed, and the topic has %d", committed, n)
			}
			if err := send(topic, 7, 1, 1); err != nil || holds(topic) != 1 {
				t.Fatalf("%v, and the topic has %d", err, holds(topic))
			}
			l.Drop()
		})
	}
}

// TestWhatTheLeadLossLeavesInABatch: a publish that says whose it is has its messages again when the lead is lost, so that it can be sent to the next
// leader.
func TestWhatTheLeadLossLeavesInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		l, o := lead(t, r, NewStandby())
		topic := createLed(t, l, 1, "orders")
		o.set(func() { o.hold = true })
		var b Batch
		b.Add([]byte("first"))
		b.Add([]byte("second"))
		b.From = journal.Origin{ID: 7, Number: 1, Low: 1}
		result := make(chan error, 1)
		go func() { result <- topic.Publish(&b) }()
		synctest.Wait()
		o.lose(0)
		if err := <-result; !errors.Is(err, ErrNotLeader) {
			t.Fatal(err)
		}
		frames, n := b.Frames()
		again, err := BatchOf(frames, n)
		if err != nil || again.Len() != 2 || again.Bytes() != len("firstsecond") || b.Len() != 0 {
			t.Errorf("%d messages of %d bytes: %v", again.Len(), again.Bytes(), err)
		}
		for _, bad := range []struct {
			frames []byte
			count  int
		}{{frames, 1}, {frames, 3}, {frames[:len(frames)-1], 2}, {nil, 0}, {[]byte("no frames"), 1}} {
			if _, err := BatchOf(bad.frames, bad.count); err == nil {
				t.Errorf("%d frames of %d bytes were taken", bad.count, len(bad.frames))
			}
		}
		l.Drop()
	})
}

// TestOriginsAreForgotten: of a node that was not heard of for long nothing is remembered, here and on the standby; of one that was, all is.
func TestOriginsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		s := NewStandby()
		l, o := lead(t, r, s)
		topic := createLed(t, l, 1, "orders")
		for id := range uint64(3) {
			if err := send(topic, id+1, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if err := send(topic, 2, 2, 2); err != nil {
			t.Fatal(err)
		}
		if n := l.ForgetOrigins(began); n != 2 {
			t.Errorf("%d were forgotten, want 2", n)
		}
		if n := len(s.state.Origins); n != 1 || s.state.Origins[2] == nil {
			t.Errorf("the standby remembers %d", n)
		}
		o.lose(0)
		l.Drop()
		if l, _ = lead(t, r, s); l.ForgetOrigins(time.Now()) != 0 {
			t.Error("the next leader has forgotten a node that it has not had the time to hear of")
		}
		l.Drop()
	})
}
