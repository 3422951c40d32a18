package journal

import (
	"fmt"
	"slices"
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

// TestHistoryOfChannels: that a channel was emptied or deleted is told of a message that was there, is told as what it is when the log does not say
// whether it was, and not of others: of none that came later, had left, or was never to be there.
func TestHistoryOfChannels(t *testing.T) {
	const c, d = 3, 4
	change := func(op Op, channel uint32) func(*History) {
		return func(h *History) {
			h.Apply(Offset{}, KindChange, AppendChange(nil, Change{Op: op, Topic: 1, Channel: channel, Name: "x"}))
		}
	}
	publish := func(only uint32) func(*History) {
		return func(h *History) {
			h.Apply(Offset{}, KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 5, Count: 3, Only: only}), frames(200, 3)...))
		}
	}
	runs := func(kind Kind, begin func(*Runs)) func(*History) {
		return func(h *History) {
			var r Runs
			begin(&r)
			r.Add(6)
			h.Apply(Offset{}, kind, r.Record())
		}
	}
	delivered := runs(KindDelivered, func(r *Runs) { r.BeginDelivered(1, c, 0) })
	finished := runs(KindFinished, func(r *Runs) { r.Begin(1, c) })
	void := runs(KindVoid, func(r *Runs) { r.BeginVoid(1) })
	rewind := func(h *History) {
		h.Apply(Offset{}, KindChange, AppendChange(nil, Change{Op: OpRewind, Topic: 1, Channel: c, Next: 1, Runs: runsOnly(5, 6, 7)}))
	}
	empty, remove, emptyTopic, inherit := change(OpEmpty, c), change(OpDeleteChannel, c), change(OpEmpty, 0), change(OpInherit, 0)
	for name, test := range map[string]struct {
		steps []func(*History)
		want  []EventKind
	}{
		"before it came":              {[]func(*History){empty, remove, change(OpCreateChannel, c), publish(All)}, []EventKind{Published}},
		"it waited":                   {[]func(*History){publish(All), empty, empty, remove}, []EventKind{Published, Left}},
		"it was out":                  {[]func(*History){publish(All), delivered, remove, remove}, []EventKind{Published, Delivered, ChannelGone}},
		"it was finished":             {[]func(*History){publish(All), delivered, finished, empty, remove}, []EventKind{Published, Delivered, Done}},
		"finished, and rewound":       {[]func(*History){publish(All), finished, rewind, empty}, []EventKind{Published, Done, Rewound, Left}},
		"another channel's":           {[]func(*History){publish(d), empty, remove, change(OpEmpty, d)}, []EventKind{Published, Left}},
		"a later channel":             {[]func(*History){publish(All), change(OpCreateChannel, d), change(OpEmpty, d), change(OpDeleteChannel, d)}, []EventKind{Published}},
		"the topic's, of no channel":  {[]func(*History){publish(Own), empty, emptyTopic}, []EventKind{Published, Left}},
		"the topic's, of channels":    {[]func(*History){publish(All), emptyTopic}, []EventKind{Published}},
		"the topic's, inherited":      {[]func(*History){publish(Own), change(OpCreateChannel, c), inherit, emptyTopic, empty}, []EventKind{Published, Left}},
		"the topic's, emptied before": {[]func(*History){publish(Own), emptyTopic, inherit, empty}, []EventKind{Published, Left}},
		"it has failed":               {[]func(*History){publish(All), void, empty, remove}, []EventKind{Published, Failed}},
		"it came before the log":      {[]func(*History){empty, emptyTopic, remove}, []EventKind{ChannelEmptied, ChannelGone}},
		"before the log, and out":     {[]func(*History){delivered, empty}, []EventKind{Delivered, Left}},
		"before the log, finished":    {[]func(*History){finished, empty, remove}, []EventKind{Done}},
	} {
		t.Run(name, func(t *testing.T) {
			h := History{Topic: 1, Pos: 6}
			for _, step := range test.steps {
				step(&h)
			}
			var got []EventKind
			for i := range h.Events {
				got = append(got, h.Events[i].Kind)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("events of the kinds %v, want %v", got, test.want)
			}
		})
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
