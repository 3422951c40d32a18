package journal

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"brokerd/protocol"

	"pgregory.net/rapid"
)

// dump returns what a state says, as text that can be compared.
func dump(s *State) string {
	var b strings.Builder
	for _, id := range sortedKeys(s.Topics) {
		t := s.Topics[id]
		fmt.Fprintf(&b, "topic %d %s paused %v options %s next %d\n", id, t.Name, t.Paused, t.Options, t.Next)
		fmt.Fprintf(&b, "  expiry %v, nodes %v, files %v, floor %d, stamp %d, last %d, rises %d, unshared %v\n", t.Expiry, t.Nodes, t.Files, t.Floor, t.Stamp, t.Last,
			t.Rises, t.Unshared)
		keys := t.Keys.Snapshot(math.MaxUint64)
		keys.Each(func(k Key, pos Position, at uint32) { fmt.Fprintf(&b, "  key %x %d %d\n", k, pos, at) })
		for _, c := range t.Channels {
			fmt.Fprintf(&b, "  channel %d %q paused %v after %d offered %d inherited %d counts %v cancelled %v waiting %v out", c.ID, c.Name, c.Paused, c.After,
				c.Offered, c.Inherited, c.Counts, c.Cancelled, c.Waiting)
			c.Out.Each(func(id Position, o Out) { fmt.Fprintf(&b, " %d:%v", id, o) })
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// naive is a channel that keeps every message by itself.
type naive struct {
	waiting []Position
	out     map[Position]Out
	after   Position
}

// machine applies records to a state and to naive channels alike; 0 is the topic's own backlog.
type machine struct {
	state    *State
	channels map[uint32]*naive
	at       Offset
	next     Position
	paused   bool
	ids      uint32
	due      int64
}

func (m *machine) apply(t *rapid.T, kind Kind, b []byte) {
	m.at.Offset++
	if err := m.state.Apply(m.at, kind, b, nil); err != nil {
		t.Fatalf("kind %d: %v", kind, err)
	}
}

func (m *machine) change(t *rapid.T, c Change) {
	c.Topic = 1
	m.apply(t, KindChange, AppendChange(nil, c))
}

func (m *machine) blocked() bool { return m.paused || len(m.channels) == 1 }

func (m *machine) inherit(t *rapid.T) {
	own := m.channels[0]
	if m.blocked() || len(own.waiting)+len(own.out) == 0 {
		return
	}
	m.change(t, Change{Op: OpInherit})
	for id, c := range m.channels {
		if id == 0 {
			continue
		}
		c.waiting = append(c.waiting, own.waiting...)
		for k, o := range own.out {
			c.out[k] = o
		}
	}
	m.channels[0] = &naive{out: map[Position]Out{}}
}

func (m *machine) pick(t *rapid.T) (uint32, *naive) {
	id := rapid.SampledFrom(sortedKeys(m.channels)).Draw(t, "channel")
	return id, m.channels[id]
}

func (m *machine) Publish(t *rapid.T) {
	count := rapid.IntRange(1, 5).Draw(t, "count")
	p := Publish{Topic: 1, First: m.next, Count: count}
	if rapid.IntRange(0, 3).Draw(t, "defer") == 0 {
		m.due++
		p.Due = m.due
	}
	if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
		p.Expires = m.due + 7
	}
	targets := map[uint32]*naive{0: m.channels[0]}
	if m.blocked() {
		p.Only = Own
	} else {
		targets = map[uint32]*naive{}
		for id, c := range m.channels {
			if id != 0 {
				targets[id] = c
			}
		}
	}
	m.apply(t, KindPublish, append(AppendPublish(nil, p), frames(protocol.MessageID(p.First), count)...))
	for _, c := range targets {
		for id := p.First; id <= p.Last(); id++ {
			if p.Due != 0 {
				c.out[id] = Out{Due: p.Due}
			} else {
				c.waiting = append(c.waiting, id)
			}
		}
	}
	m.next = p.Last() + 1
}

// Deliver takes what waits, in order, and some of what is out.
func (m *machine) Deliver(t *rapid.T) {
	id, c := m.pick(t)
	if id == 0 {
		t.Skip("the topic itself has no consumers")
	}
	var r, drops Runs
	r.BeginDelivered(1, id, c.after)
	drops.BeginDiscarded(1, id, Sampled)
	for k := range c.out {
		if rapid.Bool().Draw(t, "again") {
			r.Add(k)
			c.out[k] = Out{Attempts: c.out[k].Attempts + 1, Due: -max(c.out[k].Due, -c.out[k].Due)}
		}
	}
	for range min(len(c.waiting), rapid.IntRange(0, 6).Draw(t, "fresh")) {
		first := c.waiting[0]
		c.waiting, c.after = c.waiting[1:], first
		if rapid.IntRange(0, 9).Draw(t, "sampled") == 0 {
			drops.Add(first)
			continue
		}
		r.Add(first)
		c.out[first] = Out{Attempts: 1}
	}
	if b := r.Record(); b != nil {
		m.apply(t, KindDelivered, b)
	} else {
		c.after = m.state.Topics[1].channel(id).After
	}
	if b := drops.Record(); b != nil {
		m.apply(t, KindDiscarded, b)
	}
}

func (m *machine) Finish(t *rapid.T) {
	id, c := m.pick(t)
	var r Runs
	r.Begin(1, id)
	for _, k := range sortedKeys(c.out) {
		if c.out[k].Attempts > 0 && rapid.Bool().Draw(t, "this") {
			r.Add(k)
			delete(c.out, k)
		}
	}
	if b := r.Record(); b != nil {
		m.apply(t, KindFinished, b)
	}
}

// Expire takes out messages wherever they are.
func (m *machine) Expire(t *rapid.T) {
	id, c := m.pick(t)
	var r Runs
	r.BeginDiscarded(1, id, Expired)
	c.waiting = slices.DeleteFunc(slices.Clone(c.waiting), func(pos Position) bool {
		this := rapid.IntRange(0, 3).Draw(t, "this") == 0
		if this {
			r.Add(pos)
		}
		return this
	})
	for _, k := range sortedKeys(c.out) {
		if rapid.IntRange(0, 3).Draw(t, "this") == 0 {
			r.Add(k)
			delete(c.out, k)
		}
	}
	if b := r.Record(); b != nil {
		m.apply(t, KindDiscarded, b)
	}
}

func (m *machine) Defer(t *rapid.T) {
	id, c := m.pick(t)
	var d Deferrals
	d.Begin(1, id)
	for _, k := range sortedKeys(c.out) {
		if rapid.Bool().Draw(t, "this") {
			m.due++
			d.Add(k, m.due)
			c.out[k] = Out{Due: m.due, Attempts: c.out[k].Attempts}
		}
	}
	if b := d.Record(); b != nil {
		m.apply(t, KindDeferred, b)
	}
}

func (m *machine) Empty(t *rapid.T) {
	id, c := m.pick(t)
	m.change(t, Change{Op: OpEmpty, Channel: id})
	c.waiting, c.out = nil, map[Position]Out{}
}

func (m *machine) Pause(t *rapid.T) {
	m.paused = !m.paused
	m.change(t, Change{Op: OpPause, Paused: m.paused})
	m.inherit(t)
}

func (m *machine) AddChannel(t *rapid.T) {
	if len(m.channels) > 3 {
		t.Skip("enough")
	}
	m.ids++
	m.change(t, Change{Op: OpCreateChannel, Channel: m.ids, Name: fmt.Sprint("c", m.ids)})
	m.channels[m.ids] = &naive{out: map[Position]Out{}}
	m.inherit(t)
}

func (m *machine) DeleteChannel(t *rapid.T) {
	id, _ := m.pick(t)
	if id == 0 {
		t.Skip("that one stays")
	}
	m.change(t, Change{Op: OpDeleteChannel, Channel: id})
	delete(m.channels, id)
}

// Checkpoint goes on from what a checkpoint brings back.
func (m *machine) Checkpoint(t *rapid.T) {
	again, err := read(Write(m.state))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := dump(again), dump(m.state); a != b {
		t.Fatalf("the checkpoint holds\n%s\nof\n%s", a, b)
	}
	m.state = again
}

func (m *machine) Check(t *rapid.T) {
	topic := m.state.Topics[1]
	if len(topic.Channels) != len(m.channels) {
		t.Fatalf("%d channels, want %d", len(topic.Channels), len(m.channels))
	}
	for _, c := range topic.Channels {
		want := m.channels[c.ID]
		var waiting []Position
		for _, r := range c.Waiting {
			for id := r.First; id <= r.Last; id++ {
				waiting = append(waiting, id)
			}
		}
		if missing := slices.DeleteFunc(slices.Clone(want.waiting), func(id Position) bool {
			return slices.Contains(waiting, id)
		}); len(missing) > 0 {
			t.Fatalf("channel %d: %v should wait, of %v", c.ID, missing, c.Waiting)
		}
		for id := range c.delivered0(want) {
			t.Fatalf("channel %d: %d waits although it left", c.ID, id)
		}
		if n := c.Counts; c.ID != 0 && n.Accepted != n.Gone()+c.holds() {
			t.Fatalf("channel %d: accepted %d, but gone %d and %d there", c.ID, n.Accepted, n.Gone(), c.holds())
		}
		got := map[Position]Out{}
		c.Out.Each(func(id Position, o Out) { got[id] = o })
		if fmt.Sprint(got) != fmt.Sprint(want.out) {
			t.Fatalf("channel %d: out %v, want %v", c.ID, got, want.out)
		}
	}
	var parts []Range
	for first := Position(1); first < topic.Next; first += 3 {
		parts = append(parts, topic.NeededIn(Range{first, first + 2})...)
	}
	if got, want := joined(parts), topic.Needed(); !slices.Equal(got, want) {
		t.Fatalf("needed part by part %v, want %v", got, want)
	}
}

// delivered0 returns the messages that wait although they are out.
func (c *Channel) delivered0(want *naive) map[Position]bool {
	wrong := map[Position]bool{}
	for _, r := range c.Waiting {
		for id := range want.out {
			if want.out[id].Attempts > 0 && r.First <= id && id <= r.Last {
				wrong[id] = true
			}
		}
	}
	return wrong
}

// Records add up to what channels that keep each message by itself have, also from a checkpoint on.
func TestStateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{state: NewState(), channels: map[uint32]*naive{0: {out: map[Position]Out{}}}, next: 1, ids: 1}
		m.change(t, Change{Op: OpCreateTopic, Name: "orders"})
		t.Repeat(rapid.StateMachineActions(m))
	})
}

// Outs keeps what a map would.
func TestOutsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Outs
		want := map[Position]Out{}
		id := rapid.Map(rapid.IntRange(1, 60), func(n int) Position { return Position(n) })
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, o := id.Draw(t, "id"), Out{Due: int64(rapid.IntRange(0, 9).Draw(t, "due")), Attempts: 1}
				s.Set(k, o)
				want[k] = o
			},
			"delete": func(t *rapid.T) {
				k := id.Draw(t, "id")
				_, ok := want[k]
				if s.Delete(k) != ok {
					t.Fatalf("deleting %d: want %v", k, ok)
				}
				delete(want, k)
			},
			"each": func(t *rapid.T) {
				var keys []Position
				s.Each(func(k Position, o Out) {
					keys = append(keys, k)
					if want[k] != o {
						t.Fatalf("%d is %v, want %v", k, o, want[k])
					}
				})
				if !slices.Equal(keys, sortedKeys(want)) {
					t.Fatalf("got %v, want %v", keys, sortedKeys(want))
				}
			},
			"each of a range": func(t *rapid.T) {
				in := Range{id.Draw(t, "first"), id.Draw(t, "last")}
				var keys []Position
				s.EachIn(in, func(k Position, o Out) {
					keys = append(keys, k)
					if want[k] != o {
						t.Fatalf("%d is %v, want %v", k, o, want[k])
					}
				})
				if some := slices.DeleteFunc(sortedKeys(want), func(k Position) bool { return k < in.First || k > in.Last }); !slices.Equal(keys, some) {
					t.Fatalf("in %v: got %v, want %v", in, keys, some)
				}
			},
			"": func(t *rapid.T) {
				if s.Len() != len(want) {
					t.Fatalf("Len is %d, want %d", s.Len(), len(want))
				}
				k := id.Draw(t, "look")
				o, ok := s.Get(k)
				if w, there := want[k]; ok != there || ok && o != w {
					t.Fatalf("%d is %v, %v, want %v, %v", k, o, ok, w, there)
				}
			},
		})
	})
}

// Outs of several pieces, filled in any order, in order, or in order but for some, keep what a map would.
func TestManyOuts(t *testing.T) {
	const count = 3*outPieceLen + 77
	r := rand.New(rand.NewPCG(7, 7))
	for _, c := range []struct{ step, astray uint64 }{{1, 100}, {1 << 40, 100}, {1, 0}, {1, 1}, {1 << 40, 5}, {1, 40}} {
		step := c.step
		var s Outs
		want := map[Position]Out{}
		for i := range uint64(count) {
			id, o := Position(1+2*i*step), Out{Due: r.Int64(), Attempts: uint16(r.Uint32())}
			if r.Uint64N(100) < c.astray {
				id = Position(1 + r.Uint64N(2*count)*step)
			}
			if _, there := want[id]; !there {
				s.list.push(id, o)
				want[id] = o
			}
		}
		s.order()
		for range count {
			id, o := Position(1+r.Uint64N(2*count)*step), Out{Due: r.Int64()}
			if _, there := want[id]; r.IntN(2) == 0 {
				s.Set(id, o)
				want[id] = o
			} else if delete(want, id); s.Delete(id) != there {
				t.Fatalf("%d was there: %v", id, there)
			}
		}
		for id, o := range want {
			if got, ok := s.Get(id); !ok || got != o {
				t.Fatalf("%d is %v, %v, want %v", id, got, ok, o)
			}
		}
		var some []Position
		for next, parts := Position(1), 0; next > 0; parts++ {
			next = s.EachSome(next, 1000, func(id Position, o Out) {
				if some = append(some, id); want[id] != o {
					t.Fatalf("%d is %v, want %v", id, o, want[id])
				}
			})
			if parts > count/1000+1 {
				t.Fatalf("%d parts", parts)
			}
		}
		if !slices.Equal(some, sortedKeys(want)) {
			t.Fatalf("%d part by part, want %d", len(some), len(want))
		}
		last := Position(0)
		s.Take(func(id Position, o Out) {
			if id <= last || want[id] != o {
				t.Fatalf("%d after %d is %v, want %v", id, last, o, want[id])
			}
			last = id
			delete(want, id)
		})
		if len(want) > 0 || s.Len() != 0 {
			t.Fatalf("%d were not there, %d are left", len(want), s.Len())
		}
	}
}

// A record Delivered that shows that those before it are missing keeps what they were about: it may be in flight.
func TestLostDeliveriesWaitAgain(t *testing.T) {
	s := NewState()
	apply := func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{}, kind, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"}))
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "billing"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 11, Count: 10}), frames(11, 10)...))
	var r Runs
	r.BeginDelivered(1, 2, 14) // 11 to 14 were delivered by records that are lost
	r.Add(15)
	r.Add(16)
	apply(KindDelivered, r.Record())
	r.Begin(1, 2)
	r.Add(12) // and this one finished since
	r.Add(18) // and this one, of which the delivery was lost too, with that of 17 in front of it
	apply(KindFinished, r.Record())
	if unsure := s.Settle(); unsure != 4 {
		t.Errorf("%d messages are unsure, want 4", unsure)
	}
	c := s.Topics[1].Channels[1]
	if got := fmt.Sprint(c.Waiting); got != fmt.Sprint([]Range{{11, 11}, {13, 14}, {17, 17}, {19, 20}}) || c.Out.Len() != 2 {
		t.Errorf("waiting %v, %d out", got, c.Out.Len())
	}
}

// A power cut may take a publish and leave the record of its delivery behind it: its position is not given to another message, which
// the channel would pass over.
func TestPositionsOfLostPublishesStayUsed(t *testing.T) {
	for _, kind := range []Kind{KindDelivered, KindFinished, KindDiscarded} {
		s := NewState()
		apply := func(kind Kind, b []byte) {
			t.Helper()
			if err := s.Apply(Offset{}, kind, b, nil); err != nil {
				t.Fatal(err)
			}
		}
		apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"}))
		apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "billing"}))
		apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 1, Count: 2}), frames(1, 2)...))
		var r Runs
		switch kind {
		case KindDelivered:
			r.BeginDelivered(1, 2, 0)
		case KindFinished:
			r.Begin(1, 2)
		default:
			r.BeginDiscarded(1, 2, Sampled)
		}
		r.AddRange(Range{1, 4}) // 3 and 4 were published by a record that is lost
		apply(kind, r.Record())
		s.Settle()
		topic := s.Topics[1]
		if topic.Next != 5 || len(topic.Missing) != 1 || topic.Missing[0] != (Range{3, 4}) {
			t.Errorf("kind %d: the next message gets position %d, missing are %v", kind, topic.Next, topic.Missing)
		}
	}
}

// The number of a topic is not given to another, so that records of the old one never speak of the new one.
func TestNumbersOfDeletedTopicsStayUsed(t *testing.T) {
	s := NewState()
	for _, c := range []Change{{Op: OpCreateTopic, Topic: 7, Name: "orders"}, {Op: OpDeleteTopic, Topic: 7}} {
		if err := s.Apply(Offset{}, KindChange, AppendChange(nil, c), nil); err != nil {
			t.Fatal(err)
		}
	}
	again, err := read(Write(s))
	if err != nil || again.NextID != 8 {
		t.Errorf("next is %d, %v, want 8", again.NextID, err)
	}
}

// Whatever a record holds, it is applied or ErrRecord, and the state can be written.
func FuzzApply(f *testing.F) {
	for _, g := range golden() {
		for _, kind := range [...]Kind{KindPublish, KindDelivered, KindFinished, KindDeferred, KindChange, KindVoid, KindDiscarded, KindMoved, KindAside, KindTime, KindBy, KindBack, KindConsumer} {
			f.Add(byte(kind), g.data)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		s := goldenState()
		if err := s.Apply(Offset{File: 9}, Kind(kind), b, func(Publish, []byte) {}); err != nil && !errors.Is(err, ErrRecord) {
			t.Fatal(err)
		}
		s.Settle()
		if _, err := read(Write(s)); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever a checkpoint holds, it is read or ErrCheckpoint, and what was read comes back the same.
func FuzzReadCheckpoint(f *testing.F) {
	f.Add(Write(goldenState()))
	f.Add(Write(NewState()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := read(b)
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Fatal(err)
			}
			return
		}
		again, err := read(Write(s))
		if err != nil || dump(again) != dump(s) {
			t.Fatalf("%v\n%s\n%s", err, dump(again), dump(s))
		}
	})
}

// A power cut may take the records by which the first channel was made and was given what the topic had, and leave those of a second
// channel, which never had that: what that one passes over is not taken for lost, and waits in it.
func TestWhatAForgottenChannelHadIsNotPassedOver(t *testing.T) {
	s := NewState()
	apply := func(kind Kind, b []byte) {
		t.Helper()
		if err := s.Apply(Offset{}, kind, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, Only: Own, First: 1, Count: 3}), frames(1, 3)...))
	// Lost: channel 2 is made, and inherits the three.
	apply(KindChange, AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 3, Name: "second"}))
	apply(KindPublish, append(AppendPublish(nil, Publish{Topic: 1, First: 4, Count: 2}), frames(4, 2)...))
	var r Runs
	r.BeginDelivered(1, 3, 0)
	r.Add(4)
	apply(KindDelivered, r.Record())
	s.Settle()
	c := s.Topics[1].Channels[1]
	if got, want := fmt.Sprint(c.Waiting), fmt.Sprint([]Range{{1, 3}, {5, 5}}); got != want || c.Out.Len() != 1 {
		t.Errorf("waiting %v, want %v; %d out; %d unreadable", got, want, c.Out.Len(), c.Counts.Discarded[Unreadable])
	}
}

func TestWhatNeverWasDeferredIsNotUnderAnyClock(t *testing.T) {
	for _, tt := range []struct {
		due, now int64
		want     bool
	}{
		{0, -1, false}, // before 1970
		{0, math.MinInt64, false},
		{5, -1, true},
		{5, 4, true},
		{5, 5, false},
		{-5, -9, false}, // delivered since it was due
		{math.MaxInt64, math.MaxInt64 - 1, true},
	} {
		if got := (Out{Due: tt.due, Attempts: 1}).DeferredAt(tt.now); got != tt.want {
			t.Errorf("due at %d is deferred at %d: %v, want %v", tt.due, tt.now, got, tt.want)
		}
	}
}
