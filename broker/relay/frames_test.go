package relay

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"brokerd/broker/inflight"
	"brokerd/broker/topic"
	"brokerd/protocol"
)

// Answers and failures come out as they went in.
func TestFramesOfAnswers(t *testing.T) {
	in := []topic.Answer{{ID: 1}, {ID: 1 << 60, Verb: topic.Requeue, Delay: time.Hour}, {ID: 7, Verb: topic.Touch}}
	var frame, failed []byte
	for i := range in {
		frame = appendAnswer(frame, &in[i])
		in[i].Err = inflight.ErrNotInFlight
		failed = appendFailure(failed, &in[i])
	}
	out, err := parseAnswers(nil, frame)
	for i := range in {
		in[i].Err = nil
	}
	if err != nil || !slices.Equal(out, in) {
		t.Errorf("answers %+v, %v", out, err)
	}
	list, err := parseFailures(failed)
	if err != nil || len(list) != 3 || list[1].ID != 1<<60 || list[1].Verb != topic.Requeue || list[2].Err.Error() != inflight.ErrNotInFlight.Error() {
		t.Errorf("failures %+v, %v", list, err)
	}
}

// Frames that cannot be are refused, whatever stands in them, and never taken in part.
func FuzzFrames(f *testing.F) {
	message := protocol.AppendMessageHeader(nil, 1, 2, 3, 1)
	f.Add(append(message, 'x'))
	f.Add(appendAnswer(nil, &topic.Answer{ID: 5, Verb: topic.Touch}))
	f.Add(appendFailure(nil, &topic.Answer{ID: 5, Err: inflight.ErrNotOwner}))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := countMessages(b); err == nil {
			rest := b
			for range n {
				f := protocol.FirstMessage(rest)
				f.MustID()
				rest = rest[len(f):]
			}
			if len(rest) > 0 {
				t.Errorf("%d bytes are left behind %d messages", len(rest), n)
			}
		} else if !errors.Is(err, errFrame) {
			t.Errorf("messages: %v", err)
		}
		if list, err := parseAnswers(nil, b); err == nil {
			var again []byte
			for i := range list {
				again = appendAnswer(again, &list[i])
			}
			if !bytes.Equal(again, b) {
				t.Errorf("answers %x are %x again", b, again)
			}
		}
		if list, err := parseFailures(b); err == nil {
			var again []byte
			for i := range list {
				again = appendFailure(again, &list[i])
			}
			if !bytes.Equal(again, b) {
				t.Errorf("failures %x are %x again", b, again)
			}
		}
		_, _ = number(b)
	})
}
