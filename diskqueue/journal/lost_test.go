package journal

import "testing"

// TestNumbersThatRecordsNameStayUsed: whatever kind of record speaks of a topic, or a channel, that nobody knows: its number is not given to another.
func TestNumbersThatRecordsNameStayUsed(t *testing.T) {
	var r Runs
	r.BeginVoid(7)
	r.Add(1)
	void := r.Record()
	r = Runs{}
	r.Begin(7, 9)
	r.Add(1)
	finished := r.Record()
	for _, tt := range []struct {
		kind Kind
		b    []byte
		next uint32
	}{
		{KindPublish, append(AppendPublish(nil, Publish{Topic: 7, First: 1, Count: 1}), frames(1, 1)...), 8},
		{KindVoid, void, 8},
		{KindFinished, finished, 10},
		{KindChange, AppendChange(nil, Change{Op: OpPause, Topic: 7, Channel: 9}), 10},
	} {
		s := NewState()
		if err := s.Apply(Offset{}, tt.kind, tt.b, nil); err != nil {
			t.Fatal(err)
		}
		if s.NextID != tt.next || s.Stray != 1 {
			t.Errorf("behind a record of kind %d the next number is %d, want %d; %d records are stray", tt.kind, s.NextID, tt.next, s.Stray)
		}
	}
}

// TestAPublishForAllShowsThatTheTopicGoesOn: a topic was paused, and what came meanwhile is in its own backlog. The records are lost by which it went on
// and gave that to its channels; a publish for all of them shows it. Which of them had it then nobody knows: it may come again.
func TestAPublishForAllShowsThatTheTopicGoesOn(t *testing.T) {
	c, s, apply := reading(t)
	apply(KindChange, AppendChange(nil, Change{Op: OpPause, Topic: 1, Paused: true}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, Only: Own, First: 11, Count: 3}), frames(11, 3)...))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 14, Count: 2}), frames(14, 2)...))
	topic := s.Topics[1]
	if topic.Paused || topic.Channels[0].holds() > 0 {
		t.Errorf("the topic is paused: %v, and has %d messages itself", topic.Paused, topic.Channels[0].holds())
	}
	if len(topic.Unshared) > 0 {
		t.Errorf("%v are for one channel only", topic.Unshared)
	}
	apply(KindDelivered, deliveredRecord(0, 14))
	if unsure := s.Settle(); unsure != 13 {
		t.Errorf("%d messages may come again, want the 13 before the one that was delivered", unsure)
	}
	wantWaiting(t, c, Range{1, 13}, Range{15, 15})
}

// TestWhereStampsFall: messages are found by time only from where on stamps do not fall; two of the same time do not end that.
func TestWhereStampsFall(t *testing.T) {
	_, s, apply := reading(t)
	topic := s.Topics[1]
	batch := func(first Position) {
		apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: first, Count: 2}), frames(1, 2)...))
	}
	if topic.Rises != 1 {
		t.Errorf("stamps rise from %d on, want 1", topic.Rises)
	}
	batch(11) // as old as the first two
	if topic.Rises != 11 {
		t.Errorf("stamps rise from %d on, want 11", topic.Rises)
	}
	topic.Last-- // the next one has the stamp of the last
	batch(13)
	if topic.Rises != 11 {
		t.Errorf("behind one of the same time stamps rise from %d on, want 11", topic.Rises)
	}
}

// TestTheNextPositionNeverFalls: a publish that is withdrawn need not be the last one; and one message that was delivered, and whose publish is lost, has had
// the next position.
func TestTheNextPositionNeverFalls(t *testing.T) {
	c, s, apply := reading(t)
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 11, Count: 2}), frames(11, 2)...))
	var r Runs
	r.BeginVoid(1)
	r.AddRange(Range{9, 10})
	apply(KindVoid, r.Record())
	if next := s.Topics[1].Next; next != 13 {
		t.Errorf("behind what is withdrawn the next message gets position %d, want 13", next)
	}
	apply(KindDelivered, deliveredRecord(12, 13))
	s.Settle()
	if next := s.Topics[1].Next; next != 14 {
		t.Errorf("behind a delivery the next message gets position %d, want 14", next)
	}
	wantWaiting(t, c, Range{1, 8}, Range{11, 12})
}
