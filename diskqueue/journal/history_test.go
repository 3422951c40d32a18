package journal

import (
	"fmt"
	"strings"
	"testing"

	"brokerd/protocol"
)

// TestHistory: every record that is about a message becomes an event of it, and none that is about another; by the id it is the same.
func TestHistory(t *testing.T) {
	type record struct {
		kind Kind
		data []byte
	}
	var list []record
	put := func(kind Kind, data []byte) { list = append(list, record{kind, append([]byte(nil), data...)}) }
	runs := func(begin func(*Runs), positions ...Position) []byte {
		var r Runs
		begin(&r)
		for _, pos := range positions {
			r.Add(pos)
		}
		return r.Record()
	}
	put(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 3, Name: "c"}))
	put(KindPublish, append(AppendPublish(nil, Publish{Topic: 2, First: 5, Count: 3}), frames(100, 3)...)) // another topic's
	put(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 5, Count: 3}), frames(200, 3)...))
	put(KindDelivered, runs(func(r *Runs) { r.BeginDelivered(2, 3, 0) }, 6))
	put(KindAside, runs(func(r *Runs) { r.Begin(1, 3) }, 6))
	put(KindDelivered, runs(func(r *Runs) { r.BeginDelivered(1, 3, 0) }, 5, 7))
	put(KindDelivered, runs(func(r *Runs) { r.BeginDelivered(1, 3, 0) }, 5, 6))
	var d Deferrals
	d.Begin(1, 3)
	d.Add(5, 7000)
	d.Add(6, 8000)
	put(KindDeferred, d.Record())
	put(KindDelivered, runs(func(r *Runs) { r.BeginDelivered(1, 3, 0) }, 6))
	put(KindFinished, runs(func(r *Runs) { r.Begin(1, 4) }, 6))
	put(KindDiscarded, runs(func(r *Runs) { r.BeginDiscarded(1, 3, ByHand) }, 7))
	var left Runs
	left.Begin(0, 0)
	left.Add(5)
	left.Add(6)
	put(KindMoved, append(AppendPublish(AppendMoved(nil, Moved{Topic: 1, Channel: 3, Why: DeadLettered, Runs: append([]byte(nil), left.Runs()...)}),
		Publish{Topic: 9, First: 41, Count: 2}), frames(300, 2)...))
	put(KindChange, AppendChange(nil, Change{Op: OpRewind, Topic: 1, Channel: 3, Next: 1, Runs: runsOnly(6, 7)}))
	put(KindChange, AppendChange(nil, Change{Op: OpEmpty, Topic: 1, Channel: 3}))
	put(KindVoid, runs(func(r *Runs) { r.BeginVoid(1) }, 7))
	put(KindChange, []byte("{"))
	put(99, nil)
	told := func(h History) string {
		for i, r := range list {
			h.Apply(Offset{Offset: int64(i)}, r.kind, r.data)
		}
		var all []string
		for _, e := range h.Events {
			all = append(all, fmt.Sprintf("%d:%d/%d/%d/%d/%v/%d", e.At.Offset, e.Kind, e.Channel, e.Attempt, e.Due, e.Why, e.ToPos))
			if e.Position != 6 || e.ID != 201 {
				t.Errorf("%+v is of another message", e)
			}
		}
		if h.Since == 0 || h.Names[3] != "c" {
			t.Errorf("%+v", h)
		}
		return strings.Join(all, " ")
	}
	want := "2:1/0/0/0//0 4:5/3/0/0//0 6:3/3/1/0//0 7:4/3/0/8000//0 8:3/3/2/0//0 9:6/4/0/0//0 11:8/3/0/0/dead_lettered/42 12:9/3/0/0//0 13:7/3/0/0/emptied/0"
	if got := told(History{Topic: 1, Pos: 6}); got != want {
		t.Errorf("by its position\n%s, want\n%s", got, want)
	}
	if got := told(History{Topic: 1, ID: 201}); got != want {
		t.Errorf("by its id\n%s, want\n%s", got, want)
	}
	letter := History{Topic: 9, Pos: 42}
	for i, r := range list {
		letter.Apply(Offset{Offset: int64(i)}, r.kind, r.data)
	}
	if e := letter.Events; len(e) != 1 || e[0].FromID != 1 || e[0].FromPos != 6 || e[0].ID != protocol.MessageID(301) {
		t.Errorf("the dead letter is told as %+v", e)
	}
}

func runsOnly(positions ...Position) []byte {
	var r Runs
	r.Begin(0, 0)
	for _, pos := range positions {
		r.Add(pos)
	}
	return append([]byte(nil), r.Runs()...)
}

// FuzzHistory: whatever a record has in it, nothing panics.
func FuzzHistory(f *testing.F) {
	for _, g := range golden() {
		f.Add(byte(KindPublish), g.data)
		f.Add(byte(KindMoved), g.data)
		f.Add(byte(KindDelivered), g.data)
		f.Add(byte(KindBack), g.data)
		f.Add(byte(KindConsumer), g.data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		h := History{Topic: 1, Pos: 7}
		h.Apply(Offset{}, Kind(kind), data)
	})
}
