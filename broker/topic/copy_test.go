package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// sameCopy holds what a replica shows of its copy to what who leads shows of the topic: the same messages, page by page, in the same states, but that a copy
// takes for in flight what was given back and waits again.
func (m *ledModel) sameCopy(standbys ...*Standby) {
	m.t.Helper()
	if slices.ContainsFunc(m.topic.Channels(), func(c *Channel) bool { return c.ephemeral }) {
		return // those are at the leader alone, with what only they need
	}
	for _, s := range append(standbys, m.standby) {
		c := m.r.CopyOf(s, 7)
		look := Look{Limit: 1 + m.rand.IntN(5), Body: -1}
		if got, want := told(browsed(m.t, c.Browse, look)), told(browsed(m.t, m.topic.Browse, look)); got != want {
			m.t.Fatalf("the copy shows\n%s\nand the leader\n%s", got, want)
		}
		if m.options != "" {
			continue // what is over is in the channels until the next look
		}
		for _, live := range m.topic.all() {
			m.sameChannel(c, live, look)
		}
	}
}

func (m *ledModel) sameChannel(c *Copy, live *Channel, look Look) {
	m.t.Helper()
	copied := c.Channel(live.name)
	if copied == nil {
		m.t.Fatalf("there is no channel %q", live.name)
	}
	liveOut, copyOut := browsed(m.t, live.BrowseInFlight, look), browsed(m.t, copied.BrowseInFlight, look)
	liveAll := append(browsed(m.t, live.BrowseWaiting, look), liveOut...)
	copyAll := append(browsed(m.t, copied.BrowseWaiting, look), copyOut...)
	if got, want := told(copyAll), told(liveAll); got != want {
		m.t.Fatalf("of channel %q the copy shows\n%s\nand the leader\n%s", live.name, got, want)
	}
	flying := map[Position]bool{}
	for _, one := range copyOut {
		flying[one.Pos] = true
	}
	for _, one := range liveOut {
		if !flying[one.Pos] {
			m.t.Fatalf("message %d is in flight on channel %q, and waits in the copy", one.Pos, live.name)
		}
	}
	due := func(browse func(context.Context, DueMark, Look) ([]Message, DueMark, error)) (list []string) {
		for from := (DueMark{}); ; {
			part, next, err := browse(m.t.Context(), from, look)
			if err != nil {
				m.t.Fatal(err)
			}
			for _, one := range part {
				list = append(list, fmt.Sprint(one.Pos, one.Due.UnixNano(), one.Attempts, string(one.Body)))
			}
			if from = next; from == (DueMark{}) {
				return list
			}
		}
	}
	if got, want := due(copied.BrowseDeferred), due(live.BrowseDeferred); !slices.Equal(got, want) {
		m.t.Fatalf("deferred on channel %q of the copy are\n%v\nand at the leader\n%v", live.name, got, want)
	}
	if n, err := copied.CountDeferred(); err != nil || n != live.Stats().Deferred {
		m.t.Fatalf("%d are deferred on channel %q of the copy, %v, and %d at the leader", n, live.name, err, live.Stats().Deferred)
	}
	m.sameLocated(c, live.name, liveAll)
}

// sameLocated looks for some messages one by one.
func (m *ledModel) sameLocated(c *Copy, channel string, list []Message) {
	m.t.Helper()
	for _, one := range list {
		if m.rand.IntN(4) > 0 {
			continue
		}
		if pos, err := c.FindMessage(one.ID); err != nil || pos != one.Pos {
			m.t.Fatalf("message %v is at %d in the copy, %v, want %d", one.ID, pos, err, one.Pos)
		}
		got, err := c.Locate(m.t.Context(), one.Pos, Look{Body: -1})
		if err != nil || string(got.Body) != string(one.Body) {
			m.t.Fatalf("message %d of the copy: %+v, %v", one.Pos, got, err)
		}
		i := slices.IndexFunc(got.Channels, func(on OnChannel) bool { return on.Channel == channel })
		if i < 0 || got.Channels[i].State != Waiting && got.Channels[i].State != InFlight || got.Channels[i].Attempts != one.Attempts {
			m.t.Fatalf("message %d on channel %q of the copy: %+v, want %d attempts", one.Pos, channel, got.Channels, one.Attempts)
		}
	}
}

// told returns what messages are, in the order of their positions.
func told(list []Message) string {
	var b strings.Builder
	slices.SortFunc(list, func(a, b Message) int { return int(a.Pos) - int(b.Pos) })
	for _, one := range list {
		fmt.Fprintln(&b, one.Pos, one.ID, one.Time, one.Attempts, string(one.Body), one.Properties, one.Key)
	}
	return b.String()
}

// TestACopyIsLookedAtPartByPart: thousands of messages, most on disk, the newest in memory: all come, in order, once, within the bounds of each look, and search,
// places and single messages work as at the leader. Nothing changes by it, and blocks stay only as long as somebody reads them.
func TestACopyIsLookedAtPartByPart(t *testing.T) {
	const onDisk, inMemory = 200, 2 * copyBatches
	synctest.Test(t, func(t *testing.T) {
		g, _ := spilled(t, onDisk)
		g.s.Keep(1<<30, nil, nil)
		for i := range inMemory {
			g.must(journal.KindPublish, publishRecord(1, Position(onDisk+1+3*i), "m", fmt.Sprint("body", onDisk+i), "m"))
		}
		r := start(t, durableConfig())
		c := r.CopyOf(g.s, 1)
		before := standbyHolds(t, g.s, 1)
		const all = onDisk + 3*inMemory
		for _, o := range []Look{{Limit: 7, Body: -1}, {Limit: 1000}, {Limit: all, MaxBytes: 3000, Body: -1}, {Limit: all, Scan: 2000, Body: 4}} {
			list := browsed(t, c.Browse, o)
			if len(list) != all {
				t.Fatalf("%+v: %d messages", o, len(list))
			}
			for i := range list {
				if list[i].Pos != Position(i+1) {
					t.Fatalf("%+v: message %d is the %dth", o, list[i].Pos, i+1)
				}
			}
		}
		seen, err := c.Browse(t.Context(), Look{Limit: 10, Contains: []byte("body7"), Body: 6})
		if err != nil || texts(seen.Messages) != "body7. body70 body71 body72 body73 body74 body75 body76 body77 body78" || seen.End {
			t.Errorf("a search: %+v, %v", seen, err)
		}
		o := Look{Limit: 3}
		if err := c.LookFrom(Place{kind: atEnd}, &o); err != nil || o.From != all+1 {
			t.Errorf("the end is %d, %v", o.From, err)
		}
		if seen, err := c.Browse(t.Context(), o); err != nil || len(seen.Messages) > 0 || !seen.End || seen.Next != all+1 {
			t.Errorf("behind the end: %+v, %v", seen, err)
		}
		if seen, err := c.Browse(t.Context(), Look{From: all + 50, Limit: 3}); err != nil || !seen.End || seen.Next != all+50 { // as a replica has begun that has more
			t.Errorf("far behind the end: %+v, %v", seen, err)
		}
		if ok, err := c.HasAt(t.Context(), 5, 77); ok || err != nil {
			t.Errorf("another id: %v, %v", ok, err)
		}
		if _, err := c.FindMessage(77); !errors.Is(err, ErrNotDeferred) {
			t.Errorf("no such id: %v", err)
		}
		if _, err := c.Locate(t.Context(), all+1, Look{}); !errors.Is(err, ErrNoMessage) {
			t.Errorf("no such position: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Browse(gone, Look{Limit: 3}); !errors.Is(err, context.Canceled) {
			t.Errorf("of who has gone: %v", err)
		}
		if got := standbyHolds(t, g.s, 1); got != before {
			t.Errorf("it has\n%s\nand had\n%s", got, before)
		}
		for _, b := range g.s.bodies[1].blocks {
			if b.pins != 0 {
				t.Errorf("block at %d has %d pins", b.first, b.pins)
			}
		}
	})
}

// TestACopyOfWhatIsDeleted: a topic or channel that goes while it is looked at is told as gone, and is there no more.
func TestACopyOfWhatIsDeleted(t *testing.T) {
	g := newGroup(t)
	g.must(journal.KindPublish, publishRecord(1, 1, "m"))
	r := start(t, durableConfig())
	c := r.CopyOf(g.s, 1)
	if r.CopyOf(g.s, 3) != nil || c.Channel("d") != nil {
		t.Error("what never was is there")
	}
	channel := c.Channel("c")
	g.change(journal.Change{Op: journal.OpDeleteChannel, Topic: 1, Channel: 2})
	if _, err := channel.BrowseWaiting(t.Context(), Look{Limit: 1}); !errors.Is(err, ErrChannelNotFound) {
		t.Errorf("of a channel that was deleted: %v", err)
	}
	if _, _, err := channel.Deferred(t.Context(), DueMark{}, 5); !errors.Is(err, ErrChannelNotFound) {
		t.Errorf("deferred on a channel that was deleted: %v", err)
	}
	g.change(journal.Change{Op: journal.OpDeleteTopic, Topic: 1})
	if _, err := c.Browse(t.Context(), Look{Limit: 1}); !errors.Is(err, ErrCopyGone) {
		t.Errorf("of a topic that was deleted: %v", err)
	}
	if r.CopyOf(g.s, 1) != nil {
		t.Error("what was deleted is there")
	}
}

// TestACopyThatCannotBeRead: it fails, and says so, as a leader's look does; it is never taken for messages that are not there.
func TestACopyThatCannotBeRead(t *testing.T) {
	g, d := spilled(t, 10)
	told := make(chan error, 10)
	g.s.Keep(tightRoom, nil, func(err error) { told <- err })
	c := start(t, durableConfig()).CopyOf(g.s, 1)
	f, err := d.mem.OpenWrite("g/1/1/000001.seg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("harm"), 300); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Browse(t.Context(), Look{Limit: 100}); !errors.Is(err, errBlock) {
		t.Errorf("damaged: %v", err)
	}
	if len(told) == 0 {
		t.Error("nobody was told")
	}
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Browse(t.Context(), Look{Limit: 100}); err == nil {
		t.Error("closed: it can be read")
	}
}

// TestManyThatAreDeferredInACopy: by when they are due, whatever the order of their positions, page by page, and by search.
func TestManyThatAreDeferredInACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 1500
		g := newGroup(t)
		r := start(t, durableConfig())
		now := time.Now()
		want := map[int64]string{}
		for i := range count {
			due := now.Add(time.Hour + time.Duration(i*7919%count)*time.Second).UnixNano()
			var b Batch
			b.Add(fmt.Appendf(nil, "m%d", i))
			b.stamp(now.UnixNano(), 1)
			g.must(journal.KindPublish, append(journal.AppendPublish(nil, journal.Publish{Topic: 1, First: Position(1 + i), Count: 1, Due: due}), b.frames...))
			want[due] = fmt.Sprint("m", i)
		}
		c := r.CopyOf(g.s, 1).Channel("c")
		var got []string
		for from := (DueMark{}); ; {
			list, next, err := c.BrowseDeferred(t.Context(), from, Look{Limit: 400, Body: -1})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				got = append(got, string(m.Body))
			}
			if from = next; from == (DueMark{}) {
				break
			}
		}
		var sorted []string
		for _, due := range slices.Sorted(maps.Keys(want)) {
			sorted = append(sorted, want[due])
		}
		if !slices.Equal(got, sorted) {
			t.Errorf("%d in another order", len(got))
		}
		list, _, err := c.BrowseDeferred(t.Context(), DueMark{}, Look{Limit: 5, Body: -1, Contains: []byte("m1499")})
		if err != nil || texts(list) != "m1499" {
			t.Errorf("a search: %v, %v", list, err)
		}
		some, next, err := c.Deferred(t.Context(), r.MarkAt(now.Add(time.Hour+1400*time.Second)), 1000)
		if err != nil || len(some) != 100 || next != (DueMark{}) || some[0].Due.Sub(now) != time.Hour+1400*time.Second {
			t.Errorf("from a time on: %d, %v, %v", len(some), next, err)
		}
	})
}
