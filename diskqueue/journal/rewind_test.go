package journal

import (
	"fmt"
	"testing"
)

// reading is a state with a topic that keeps its messages, 1 to 10, and a channel, 2, in which they wait.
func reading(t *testing.T) (c *Channel, s *State, apply func(Kind, []byte)) {
	s = NewState()
	apply = func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{}, kind, b, nil); err != nil {
			t.Fatalf("kind %d: %v", kind, err)
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"}))
	apply(KindChange, AppendChange(nil, Change{Op: OpFloor, Topic: 1, Next: 1}))
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "billing"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 10}), frames(1, 10)...))
	return s.Topics[1].Channels[1], s, apply
}

func rewindRecord(from Position, list ...Range) []byte {
	var r Runs
	r.Begin(0, 0)
	for _, part := range list {
		r.AddRange(part)
	}
	return AppendChange(nil, Change{Op: OpRewind, Topic: 1, Channel: 2, Next: from, Runs: r.Runs()})
}

func deliveredRecord(after Position, list ...Position) []byte {
	var r Runs
	r.BeginDelivered(1, 2, after)
	for _, pos := range list {
		r.Add(pos)
	}
	return r.Record()
}

func wantWaiting(t *testing.T, c *Channel, want ...Range) {
	t.Helper()
	if fmt.Sprint(c.Waiting) != fmt.Sprint(want) {
		t.Errorf("waiting %v, want %v; %v", c.Waiting, want, c.Counts)
	}
	if c.Counts.Accepted != c.Counts.Gone()+c.holds() {
		t.Errorf("accepted %d, gone %d, and %d are there", c.Counts.Accepted, c.Counts.Gone(), c.holds())
	}
}

// TestARewindBehindLostRecords: a rewind leaves out what is deferred, or on its way to a dead letter topic. When the records by which that
// had left the backlog are lost, as the disk has failed, it waits again, and is not lost with them.
func TestARewindBehindLostRecords(t *testing.T) {
	c, s, apply := reading(t)
	// Lost: 1 to 5 are delivered, 5 is deferred.
	apply(KindChange, rewindRecord(3, Range{3, 4}, Range{6, 10}))
	s.Settle()
	wantWaiting(t, c, Range{1, 2}, Range{3, 4}, Range{5, 5}, Range{6, 10})

	c, s, apply = reading(t)
	apply(KindChange, rewindRecord(3, Range{3, 4}, Range{6, 10}))
	apply(KindDelivered, deliveredRecord(2, 3, 4, 5)) // 5 is due, and delivered once more
	s.Settle()
	wantWaiting(t, c, Range{1, 2}, Range{6, 10})
	if _, is := c.Out.Get(5); !is || c.Out.Len() != 3 {
		t.Errorf("%d are out", c.Out.Len())
	}

	c, s, apply = reading(t)
	apply(KindChange, rewindRecord(3, Range{3, 4}, Range{6, 10}))
	var r Runs
	r.Begin(1, 2)
	r.Add(5)
	apply(KindFinished, r.Record())
	s.Settle()
	wantWaiting(t, c, Range{1, 2}, Range{3, 4}, Range{6, 10})
}

// TestWhatIsPassedOverWaits: a message that comes back before others were ever delivered, as one that could not be moved elsewhere, is delivered
// in front of them. If the records by which it had left are lost, those others still wait. Such that could not be read are gone, and counted.
func TestWhatIsPassedOverWaits(t *testing.T) {
	c, s, apply := reading(t)
	apply(KindDelivered, deliveredRecord(0, 7))
	apply(KindDelivered, deliveredRecord(0, 1, 2))
	s.Settle()
	wantWaiting(t, c, Range{3, 6}, Range{8, 10})

	c, s, apply = reading(t)
	apply(KindDelivered, deliveredRecord(0, 1, 4))
	var r Runs
	r.BeginDiscarded(1, 2, Unreadable)
	r.AddRange(Range{2, 3})
	apply(KindDiscarded, r.Record())
	if n := s.Settle(); n != 0 || c.Counts.Discarded[Unreadable] != 2 {
		t.Errorf("%d are unsure, %v", n, c.Counts)
	}
	wantWaiting(t, c, Range{5, 10})
}

// TestUnsureBehindARewind: what was set aside before a rewind, and what is set aside behind it, are found both, wherever they are.
func TestUnsureBehindARewind(t *testing.T) {
	c, s, apply := reading(t)
	apply(KindDelivered, deliveredRecord(8, 9)) // 1 to 8 were delivered by lost records
	apply(KindChange, rewindRecord(3, Range{3, 4}))
	apply(KindDelivered, deliveredRecord(3, 4)) // and 3 once more
	var r Runs
	r.Begin(1, 2)
	r.AddRange(Range{1, 8})
	apply(KindFinished, r.Record())
	if n := s.Settle(); n != 1 { // 10, which is not in the rewind
		t.Errorf("%d are unsure", n)
	}
	wantWaiting(t, c, Range{10, 10})
}

// TestNothingIsInheritedTwice: a channel that was made at a place has what is kept from there on. When a power cut has taken the record by which
// the topic's own backlog had moved, which still has some of that, the channel has each message once.
func TestNothingIsInheritedTwice(t *testing.T) {
	_, s, apply := reading(t)
	topic := s.Topics[1]
	apply(KindChange, AppendChange(nil, Change{Op: OpDeleteChannel, Topic: 1, Channel: 2}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 11, Count: 3, Only: Own}), frames(11, 3)...))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 14, Count: 3, Only: Own, Due: 7}), frames(14, 3)...))
	// Lost: a channel is made, inherits these, and is deleted.
	var r Runs
	r.Begin(0, 0)
	r.AddRange(Range{9, 15})
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 4, Name: "again", Next: 9, Runs: r.Runs()}))
	s.Settle()
	c := topic.Channels[1]
	wantWaiting(t, c, Range{9, 15})
	if _, is := c.Out.Get(16); !is || c.Out.Len() != 1 {
		t.Errorf("%d are out", c.Out.Len())
	}
}

// TestARewindOfWhatTheTopicHas: a channel that reads again what the topic's own backlog has, by the state, was given it before by a record that
// is lost. It has that once, and when the topic is still paused by the state what comes then moves later.
func TestARewindOfWhatTheTopicHas(t *testing.T) {
	c, s, apply := reading(t)
	topic := s.Topics[1]
	apply(KindChange, AppendChange(nil, Change{Op: OpPause, Topic: 1, Paused: true}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 11, Count: 4, Only: Own}), frames(11, 4)...))
	// Lost: the topic goes on, its backlog moves, and it is paused again.
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 15, Count: 2, Only: Own}), frames(15, 2)...))
	apply(KindChange, rewindRecord(9, Range{9, 14}))
	s.Settle()
	wantWaiting(t, c, Range{1, 8}, Range{9, 14})
	wantWaiting(t, topic.Channels[0], Range{15, 16})
}

// TestAListedChannelThatBeginsAtAPlace: of a channel that only a list of topics names the log's record of its making says what it had.
func TestAListedChannelThatBeginsAtAPlace(t *testing.T) {
	s := NewState()
	s.Stub(1, "orders", &Topic{ID: 1, Name: "orders", Channels: []*Channel{{ID: 2, Name: "billing"}}})
	apply := func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{Offset: 1}, kind, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 5, Only: Own}), frames(1, 5)...))
	var r Runs
	r.Begin(1, Own)
	r.BeginDiscarded(1, 0, Cancelled)
	r.Add(3)
	apply(KindDiscarded, r.Record())
	r.Begin(0, 0)
	r.Add(3)
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "billing", Next: 3, Runs: r.Runs()}))
	s.EndStubs()
	s.Settle()
	wantWaiting(t, s.Topics[1].Channels[1], Range{1, 2}, Range{3, 3}, Range{4, 5})
}

// TestAChannelAtAPlaceBehindALostOne: a channel begins at a place beside another one, of which the log lost the record. It gets all that waited
// in the topic itself, also what was in front of its place.
func TestAChannelAtAPlaceBehindALostOne(t *testing.T) {
	s := NewState()
	apply := func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{Offset: 1}, kind, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 9, Only: Own}), frames(1, 9)...))
	var r Runs
	r.Begin(0, 0)
	r.AddRange(Range{3, 9})
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 3, Name: "billing", Next: 3, Runs: r.Runs()}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 10, Count: 2}), frames(10, 2)...))
	s.Settle()
	c := s.Topics[1].Channels[1]
	wantWaiting(t, c, Range{1, 2}, Range{3, 11})
	wantWaiting(t, s.Topics[1].Channels[0])
	if c.Counts.Accepted != 11 {
		t.Errorf("%d are accepted", c.Counts.Accepted)
	}
}

// TestBackInLine: what was set aside and never delivered waits again where it stood; what was delivered, or is deferred, is out.
func TestBackInLine(t *testing.T) {
	c, s, apply := reading(t)
	var r Runs
	r.Begin(1, 2)
	r.AddRange(Range{2, 3})
	r.Add(5)
	r.Add(8)
	apply(KindAside, r.Record())
	apply(KindDelivered, deliveredRecord(4, 1, 4, 5))
	s.Settle()
	c.BackInLine()
	wantWaiting(t, c, Range{2, 3}, Range{6, 10})
	if c.Out.Len() != 3 || c.After != 1 {
		t.Errorf("%d are out, and the backlog was left up to %d", c.Out.Len(), c.After)
	}
}

// TestCancelledIsKept: what was cancelled on a channel, of what the topic keeps, comes back with a checkpoint; what was cancelled in the topic's own
// backlog, or wherever it was, is for nobody; what is not kept is not remembered.
func TestCancelledIsKept(t *testing.T) {
	s := NewState()
	apply := func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{}, kind, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	cancelled := func(channel uint32, positions ...Position) []byte {
		var r Runs
		r.BeginDiscarded(1, channel, Cancelled)
		for _, pos := range positions {
			r.Add(pos)
		}
		return r.Record()
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "t"}))
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "c"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 5, Due: 9}), frames(1, 5)...))
	apply(KindChange, AppendChange(nil, Change{Op: OpFloor, Topic: 1, Next: 2}))
	apply(KindDiscarded, cancelled(2, 1, 2, 3, 5))
	apply(KindDiscarded, cancelled(0, 3))
	again, err := read(Write(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []*State{s, again} {
		topic := state.Topics[1]
		c := topic.Channels[1]
		if got := fmt.Sprint(c.Cancelled, topic.Unshared, c.Out.Len()); got != fmt.Sprint([]Range{{2, 3}, {5, 5}}, []Range{{3, 3}}, 1) {
			t.Errorf("cancelled, unshared, out: %s", got)
		}
	}
}
