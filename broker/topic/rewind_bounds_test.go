package topic

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"brokerd/diskqueue/journal"
)

// TestARewindDropsNothing: with what a channel has from before the place it must keep to its bounds, or what it brings would be dropped.
func TestARewindDropsNothing(t *testing.T) {
	topic := mustTopic(t, durableRegistry(t, &keptLog{}), "t")
	setTopicOptions(t, topic, `{"retain_time":"1h"}`)
	c := mustChannel(t, topic, "c")
	setOptions(t, c, `{"max_depth":10,"overflow":"drop-oldest"}`)
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f := flight{}
	send := func(from, to int) []string {
		var b Batch
		for i := from; i <= to; i++ {
			b.Add(fmt.Appendf(nil, "m%d", i))
		}
		if err := topic.Publish(&b); err != nil {
			t.Fatal(err)
		}
		return f.takeAll(s)
	}
	send(1, 5) // which stay in flight
	for _, from := range []int{6, 11} {
		for _, body := range send(from, from+4) {
			f.answer(t, s, body, Finish, 0)
		}
	}
	s.SetReady(0)
	for pos, want := range map[Position]error{6: ErrTooMany, 11: nil} {
		if _, err := c.Rewind(Place{kind: atPosition, pos: pos}, false); !errors.Is(err, want) {
			t.Errorf("a rewind to %d of a channel that has 5 messages in flight, with max_depth 10: %v, want %v", pos, err, want)
		}
	}
	send(16, 16)
	if st := c.Stats(); st.InFlight != 5 || st.Depth != 5 || st.Counts.Discarded[journal.DroppedOldest] != 1 {
		t.Errorf("after one more message: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWhatTheLogCannotHold: a rewind, a skip and a channel at a place are not answered as if they held while the log cannot say so. When that is known
// before, nothing is done.
func TestWhatTheLogCannotHold(t *testing.T) {
	l := &errLog{gapLog: gapLog{keptLog: &keptLog{}}}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	setTopicOptions(t, topic, `{"retain_time":"1h"}`)
	c := mustChannel(t, topic, "c")
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
	publish(t, topic, 3)
	f := flight{}
	for _, body := range f.takeAll(s) {
		f.answer(t, s, body, Finish, 0)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	beginning := Place{kind: atBeginning}
	broken := errors.New("the disk is broken")
	l.err = broken
	if _, err := c.Rewind(beginning, true); err != nil {
		t.Errorf("to ask what a rewind would do: %v", err)
	}
	if _, err := c.Rewind(beginning, false); !errors.Is(err, broken) || c.Stats().Depth != 0 {
		t.Errorf("a rewind that the log cannot take: %v, %d wait", err, c.Stats().Depth)
	}
	if _, _, _, err := topic.ChannelAt("at", beginning); !errors.Is(err, broken) || topic.LookupChannel("at") != nil {
		t.Errorf("a channel that begins at a place, which the log cannot take: %v", err)
	}
	setTopicOptions(t, topic, `{"channel_start":"beginning"}`)
	if c, err := topic.Channel("consumed"); err != nil || c.Stats().Depth != 3 {
		t.Errorf("a channel that a consumer asks for: %v", err)
	}
	l.err = nil
	for name, fails := range map[string]func(error){"commit": l.fail, "gap": func(err error) { l.gap = err }} {
		fails(broken)
		if _, err := c.Rewind(beginning, false); !errors.Is(err, broken) {
			t.Errorf("a rewind whose %s fails: %v", name, err)
		}
		if _, err := c.Skip(Place{kind: atEnd}, false, false); !errors.Is(err, broken) {
			t.Errorf("a skip whose %s fails: %v", name, err)
		}
		fails(nil)
	}
	if _, err := c.Rewind(beginning, false); err != nil || c.Stats().Depth != 3 {
		t.Errorf("a rewind once the disk is well again: %v, %d wait", err, c.Stats().Depth)
	}
}

// errLog is a log that says that it has failed.
type errLog struct {
	gapLog
	err error
}

func (l *errLog) Err() error { return l.err }
