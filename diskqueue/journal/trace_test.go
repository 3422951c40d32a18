package journal

import (
	"fmt"
	"strings"
	"testing"
)

// TestHistorySaysWhoseAndWhen: of a topic that is traced the log says whose doing something was, only of the next record of that channel, and how a
// message came back; what has happened since the log last said what time it was is dated by the next time that it says so.
func TestHistorySaysWhoseAndWhen(t *testing.T) {
	const second = int64(1_000_000_000)
	start := int64(1700000000) * second
	h := History{Topic: 1, Pos: 6}
	put := func(kind Kind, data []byte) { h.Apply(Offset{}, kind, append([]byte(nil), data...)) }
	runs := func(begin func(*Runs), positions ...Position) []byte {
		var r Runs
		begin(&r)
		for _, pos := range positions {
			r.Add(pos)
		}
		return r.Record()
	}
	delivered := runs(func(r *Runs) { r.BeginDelivered(1, 3, 0) }, 6)
	put(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 5, Count: 3}), frames(200, 3)...)) // at the start
	put(KindConsumer, AppendConsumer(nil, 1, 3, 11, "one 10.0.0.1:7"))
	put(KindConsumer, AppendConsumer(nil, 1, 3, 12, "two 10.0.0.2:7"))
	put(KindBy, AppendBy(nil, 1, 3, 11))
	put(KindBy, AppendBy(nil, 1, 4, 12)) // another channel's
	put(KindDelivered, delivered)
	put(KindTime, AppendTime(nil, start+3600*second))
	put(KindBack, runs(func(r *Runs) { r.BeginBack(1, 3, 11, TimedOut) }, 5, 6))
	put(KindBack, runs(func(r *Runs) { r.BeginBack(1, 3, 11, TimedOut) }, 7)) // another message
	put(KindBy, AppendBy(nil, 1, 3, 12))
	put(KindDelivered, runs(func(r *Runs) { r.BeginDelivered(1, 3, 0) }, 7)) // takes that one with it
	put(KindDelivered, delivered)
	put(KindTime, AppendTime(nil, start+3600*second+second/2))
	put(KindBy, AppendBy(nil, 1, 3, 99))
	put(KindBack, runs(func(r *Runs) { r.BeginBack(1, 3, 99, Requeued) }, 6))
	put(KindFinished, runs(func(r *Runs) { r.Begin(1, 3) }, 6))
	put(KindTime, nil)
	put(KindBack, []byte{1})
	put(KindBy, AppendBy(nil, 1, 3, 7)[:9])
	var got []string
	for _, e := range h.Events {
		got = append(got, fmt.Sprintf("%d/%d/%q/%d", e.Kind, e.Return, e.Consumer, (e.Time-start)/second))
	}
	want := []string{`1/0/""/0`, `3/0/"one 10.0.0.1:7"/3600`, `11/2/"one 10.0.0.1:7"/3600`, `3/0/""/3600`, `11/1/"connection 99"/3600`, `6/0/"connection 99"/3600`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestTimeIsKept: the newest time that the log says is the state's, and comes back with a checkpoint.
func TestTimeIsKept(t *testing.T) {
	s := NewState()
	for _, at := range []int64{5, 9, 7} {
		if err := s.Apply(Offset{}, KindTime, AppendTime(nil, at), nil); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := read(Write(s)); err != nil || s.Time != 9 || again.Time != 9 {
		t.Errorf("%d, %+v, %v", s.Time, again, err)
	}
	if err := s.Apply(Offset{}, KindTime, []byte{1}, nil); err == nil {
		t.Error("a time of one byte is taken")
	}
}
