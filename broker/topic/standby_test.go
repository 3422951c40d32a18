package topic

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"brokerd/diskqueue/journal"
)

// group makes records of a group and applies them to a standby.
type group struct {
	t testing.TB
	s *Standby
	n uint64
}

func (g *group) apply(kind journal.Kind, payload ...[]byte) error {
	g.n++
	return g.s.Apply(journal.AppendRecord(journal.AppendFirst(nil, g.n), kind, payload...))
}

func (g *group) must(kind journal.Kind, payload ...[]byte) {
	g.t.Helper()
	if err := g.apply(kind, payload...); err != nil {
		g.t.Fatal(err)
	}
}

func (g *group) change(c journal.Change) {
	g.t.Helper()
	g.must(journal.KindChange, journal.AppendChange(nil, c))
}

// publishRecord returns the record of some messages.
func publishRecord(topic uint32, first Position, bodies ...string) []byte {
	var b Batch
	for _, body := range bodies {
		b.Add([]byte(body))
	}
	b.stamp(1, 1)
	return append(journal.AppendPublish(nil, journal.Publish{Topic: topic, First: first, Count: b.n}), b.frames...)
}

func newGroup(t testing.TB) *group {
	g := &group{t: t, s: NewStandby()}
	g.change(journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "orders"})
	g.change(journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"})
	return g
}

func runsRecord(head func(*journal.Runs), ranges ...journal.Range) []byte {
	var r journal.Runs
	head(&r)
	for _, part := range ranges {
		r.AddRange(part)
	}
	return bytes.Clone(r.Record())
}

// TestARecordThatDoesNotFollowIsDrift: a number, a message, or a topic that is not the next one is no state that all replicas have.
func TestARecordThatDoesNotFollowIsDrift(t *testing.T) {
	t.Parallel()
	for what, act := range map[string]func(g *group) error{
		"a record that is not the next": func(g *group) error {
			g.n++
			return g.apply(journal.KindPublish, publishRecord(1, 1, "m"))
		},
		"a message that is not the next": func(g *group) error { return g.apply(journal.KindPublish, publishRecord(1, 2, "m")) },
		"a topic that is not there":      func(g *group) error { return g.apply(journal.KindPublish, publishRecord(7, 1, "m")) },
	} {
		if err := act(newGroup(t)); !errors.Is(err, ErrDrift) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := newGroup(t).apply(journal.KindPublish, []byte("no record")); !errors.Is(err, journal.ErrRecord) {
		t.Errorf("what is no record: %v", err)
	}
}

// TestAStandbyKeepsWhatSomebodyNeeds: of a publish only those messages that are not finished, in the middle of it too; nothing of a topic that is
// deleted.
func TestAStandbyKeepsWhatSomebodyNeeds(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	var bodies []string
	for i := range 10 {
		bodies = append(bodies, fmt.Sprint("body", i))
	}
	g.must(journal.KindPublish, publishRecord(1, 1, bodies...))
	all := g.s.Bytes()
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, journal.Range{First: 1, Last: 8}))
	g.must(journal.KindFinished, runsRecord(func(r *journal.Runs) { r.Begin(1, 2) }, journal.Range{First: 1, Last: 3}, journal.Range{First: 5, Last: 7}))
	thin(g.s)
	if got, want := g.s.Bytes(), (all-batchOverhead)*4/10+2*batchOverhead; got != want { // they are in two pieces
		t.Errorf("%d bytes of 10 messages, 4 of which somebody needs, are kept: want %d", got, want)
	}
	snap, err := g.s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	read, err := OpenStandby(snap.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, durableConfig())
	l, _ := lead(t, r, read)
	c := r.Lookup("orders").LookupChannel("c")
	s := mustSubscribe(t, r.Lookup("orders"), "c", 10, SubscribeOptions{})
	var d Delivery
	got := ""
	for s.Take(&d) > 0 {
		for _, m := range messages(&d) {
			got += m.body + " "
		}
	}
	if got != "body3 body7 body8 body9 " {
		t.Errorf("channel %s gave %s", c.Name(), got)
	}
	l.Drop()
	g.change(journal.Change{Op: journal.OpDeleteTopic, Topic: 1})
	if n := g.s.Bytes(); n != 0 {
		t.Errorf("%d bytes of a topic that is deleted", n)
	}
}

// TestWhatALeaderLeftHalfSaid: records of one moment may be in two entries, of which one was never committed. Until the next reign nothing is
// written down; then what is unsure waits again, on all replicas alike.
func TestWhatALeaderLeftHalfSaid(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	g.must(journal.KindPublish, publishRecord(1, 1, "a", "b", "c"))
	// 1 and 3 were delivered, and 2 was discarded with them, which a second record would have said.
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, journal.Range{First: 1, Last: 1}, journal.Range{First: 3, Last: 3}))
	if _, err := g.s.Snapshot(); !errors.Is(err, ErrMidway) {
		t.Errorf("written down in the middle: %v", err)
	}
	thin(g.s)
	g.s.EndReign()
	if _, err := g.s.Snapshot(); err != nil {
		t.Error(err)
	}
	r := start(t, durableConfig())
	l, o := lead(t, r, g.s)
	topic := r.Lookup("orders")
	s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	if n := drain(s); n != 3 {
		t.Errorf("%d messages come, want 3", n)
	}
	if err := topic.syncTo(journal.Offset{Offset: int64(o.next) - 1}); err != nil {
		t.Fatal(err)
	}
	if got, live := standbyHolds(t, g.s, 1), liveHolds(t, topic); got != live {
		t.Errorf("the standby has\n%s\nand the leader\n%s", got, live)
	}
	l.Drop()
}

// FuzzReadStandby: bytes that are no standby are refused; what is read can be written again.
func FuzzReadStandby(f *testing.F) {
	g := newGroup(f)
	g.must(journal.KindPublish, publishRecord(1, 1, "a", "b"))
	snap, err := g.s.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(snap.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := OpenStandby(b, nil)
		if err != nil {
			if !errors.Is(err, ErrStandby) {
				t.Errorf("refused as %v", err)
			}
			return
		}
		snap, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStandby(snap.Append(nil), nil); err != nil {
			t.Error(err)
		}
	})
}
