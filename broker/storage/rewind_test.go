package storage

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

func (w *keeping) place(text string) topic.Place {
	w.t.Helper()
	p, err := topic.ParsePlace(text, time.Now())
	if err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
	return p
}

func (w *keeping) rewind(to string) topic.Moved {
	w.t.Helper()
	c := w.topic().LookupChannel("c0")
	dry, err := c.Rewind(w.place(to), true)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := c.Rewind(w.place(to), false)
	if err != nil || dry != m {
		w.t.Fatalf("a rewind to %s says %+v, %v, and said before that it would %+v", to, m, err, dry)
	}
	w.checkSums()
	return m
}

// want fails unless exactly these messages come, in order.
func (w *keeping) want(when string, first, last int) {
	w.t.Helper()
	var want []string
	for i := first; i <= last; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if got := w.consume(); !slices.Equal(got, want) {
		w.t.Errorf("%s: got %v, want %d to %d", when, got, first, last)
	}
	w.checkSums()
}

// TestRewind: every message from the place on comes once more, in order, with those that came meanwhile, and none before it; also twice, and
// with a kill in the middle.
func TestRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(60, 300)
		w.want("at first", 1, 60)
		if m := w.rewind("pos:21"); m.Messages != 40 || m.From != 21 || m.Truncated || m.ID == "" || m.Time == 0 {
			t.Errorf("the rewind says %+v", m)
		}
		if s := w.topic().Channels()[0].Stats(); s.Depth != 40 || s.Replaying != 40 || s.Counts.Replayed != 40 || s.MessageCount != 60 {
			t.Errorf("the channel says %+v", s)
		}
		w.publish(5, 300)
		if s := w.topic().Channels()[0].Stats(); s.Depth != 45 || s.Replaying != 40 {
			t.Errorf("the channel says %+v", s)
		}
		w.want("rewound", 21, 65)
		w.rewind("pos:1")
		w.again()
		w.want("rewound, then killed", 1, 65)
		w.rewind("pos:50")
		w.rewind("pos:60")
		w.rewind("pos:40")
		w.want("rewound three times", 40, 65)
		for range 3 {
			w.rewind("beginning")
			time.Sleep(time.Second)
		}
		w.end()
		w.start()
		w.subscribe()
		if s := w.topic().Channels()[0].Stats(); s.Depth != 65 || s.Replaying != 65 {
			t.Errorf("after a clean stop the channel says %+v", s)
		}
		w.want("rewound, then stopped", 1, 65)
		w.end()
	})
}

// TestRewindTakesBackWhatIsInFlight: the answer to a message that is in flight from the place on fails, and the message comes once more; one
// before it is still in flight. What is deferred stays so, and comes once.
func TestRewindTakesBackWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(6, 10)
		var d topic.Delivery
		if n := w.sub.Take(&d); n != 6 {
			t.Fatalf("took %d", n)
		}
		var ids []protocol.MessageID
		each(&d, func(f protocol.MessageFrame) { ids = append(ids, f.MustID()) })
		d.Clear()
		put := []topic.Answer{{ID: ids[4], Verb: topic.Requeue, Delay: time.Minute}, {ID: ids[5], Verb: topic.Finish}}
		w.sub.Apply(put, nil)
		if m := w.rewind("pos:3"); m.Messages != 3 { // 3, 4, 6; 5 is deferred
			t.Errorf("the rewind says %+v", m)
		}
		late := []topic.Answer{{ID: ids[1], Verb: topic.Finish}, {ID: ids[2], Verb: topic.Finish}, {ID: ids[3], Verb: topic.Touch}}
		w.sub.Apply(late, nil)
		if late[0].Err != nil || late[1].Err == nil || late[2].Err == nil {
			t.Errorf("the answers got %v, %v, %v", late[0].Err, late[1].Err, late[2].Err)
		}
		if got := w.consume(); !slices.Equal(got, []string{"3", "4", "6"}) {
			t.Errorf("got %v", got)
		}
		first := []topic.Answer{{ID: ids[0], Verb: topic.Finish}}
		if w.sub.Apply(first, nil); first[0].Err != nil {
			t.Errorf("the message before the place: %v", first[0].Err)
		}
		time.Sleep(2 * time.Minute)
		if got := w.consume(); !slices.Equal(got, []string{"5"}) {
			t.Errorf("of what was deferred got %v", got)
		}
		if s := w.topic().Channels()[0].Stats(); s.Held != 0 || !s.Balanced {
			t.Errorf("the channel says %+v", s)
		}
		w.end()
	})
}

// TestPlaces: a place before what is kept is the first that is kept, and the answer says so and how far it was (c4); a time is the first message
// that came then or later, whichever channel has finished what (c5, c7); one ahead of all, or a position behind the end, is the end, and the
// next publish comes (c11).
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_bytes":12000}`)
		for range 40 {
			w.publish(1, 1000)
			w.consume()
			time.Sleep(10 * time.Second)
		}
		began := time.Now().Add(-400 * time.Second)
		time.Sleep(time.Minute)
		oldest := w.topic().Kept().From
		if oldest < 20 || oldest > 40 {
			t.Fatalf("from %d on is kept", oldest)
		}
		if m := w.rewind("pos:5"); m.From != oldest || !m.Truncated || m.Missing != uint64(oldest-5) {
			t.Errorf("before the first that is kept: %+v", m)
		}
		w.want("from the first that is kept", int(oldest), 40)
		if m := w.rewind("beginning"); m.From != oldest || m.Truncated || m.Missing != 0 {
			t.Errorf("the beginning: %+v", m)
		}
		w.want("from the beginning", int(oldest), 40)
		for _, c := range []struct {
			at   time.Time
			want int
		}{{began.Add(340 * time.Second), 35}, {began.Add(340*time.Second + 1), 36}, {began.Add(345 * time.Second), 36}, {began.Add(390 * time.Second), 40}} {
			for range 2 { // whatever is finished
				if m := w.rewind(c.at.UTC().Format(time.RFC3339Nano)); int(m.From) != c.want || m.Truncated {
					t.Errorf("%v after the beginning: %+v, want %d", c.at.Sub(began), m, c.want)
				}
				w.want("from a time", c.want, 40)
			}
		}
		if m := w.rewind(began.Add(-time.Hour).UTC().Format(time.RFC3339)); m.From != oldest || !m.Truncated {
			t.Errorf("a time before all: %+v", m)
		}
		w.want("from a time before all", int(oldest), 40)
		for _, place := range []string{"end", "pos:1000000", "2100-01-01T00:00:00Z"} {
			if m := w.rewind(place); m.From != 41 || m.Messages != 0 || m.Truncated {
				t.Errorf("%s: %+v", place, m)
			}
		}
		w.again()
		w.publish(1, 10)
		w.want("after a rewind to the end", 41, 41)
		w.end()
	})
}

// TestSkip: what waits before the place is discarded, and counted; other channels have what they had (c8), and so has this one what came since
// the call (c9). What is in flight stays unless it is to go too, and then its consumer gets others (c13).
func TestSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		if _, err := w.topic().Channel("c1"); err != nil {
			t.Fatal(err)
		}
		w.sub.SetReady(2)
		w.publish(10, 100)
		var d topic.Delivery
		w.sub.Take(&d)
		d.Clear()
		c := w.topic().LookupChannel("c0")
		if m, err := c.Skip(w.place("pos:6"), false, false); err != nil || m.Messages != 3 {
			t.Errorf("skip: %+v, %v", m, err)
		}
		if s := c.Stats(); s.InFlight != 2 || s.Depth != 5 || !s.Balanced {
			t.Errorf("the channel says %+v", s)
		}
		if dry, err := c.Skip(w.place("pos:8"), true, true); err != nil || dry.Messages != 4 {
			t.Errorf("a skip would: %+v, %v", dry, err)
		}
		if m, err := c.Skip(w.place("pos:8"), true, false); err != nil || m.Messages != 4 {
			t.Errorf("skip of all: %+v, %v", m, err)
		}
		w.publish(1, 100)
		w.want("after the skip", 8, 11)
		w.again()
		w.want("after a kill", 1, 0)
		other := w.topic().LookupChannel("c1")
		if s := other.Stats(); s.Depth != 11 || !s.Balanced {
			t.Errorf("the other channel says %+v", s)
		}
		w.end()
	})
}

// TestChannelsBeginAtAPlace: a channel gets what is kept from its place on, and all that comes; without a place what the option channel_start
// says; the first one of a topic what waits there, once; all after the answer arrives over a kill (c12).
func TestChannelsBeginAtAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(20, 100)
		w.want("at first", 1, 20)
		read := func(channel, when string, first, last int) {
			t.Helper()
			s, err := w.topic().Subscribe(channel, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			s.SetReady(2500)
			mine := w.sub
			w.sub = s
			w.want(when, first, last)
			w.sub = mine
			_ = s.Close()
		}
		if _, made, m, err := w.topic().ChannelAt("c1", w.place("pos:8")); err != nil || !made || m.From != 8 || m.Messages != 13 {
			t.Errorf("made at a place: %v, %+v, %v", made, m, err)
		}
		if _, made, _, err := w.topic().ChannelAt("c1", w.place("beginning")); err != nil || made {
			t.Errorf("one that is there: %v, %v", made, err)
		}
		if _, _, _, err := w.topic().ChannelAt("c2", w.place("end")); err != nil {
			t.Error(err)
		}
		w.publish(2, 100)
		w.again()
		w.want("the first channel", 21, 22)
		read("c1", "from the place", 8, 22)
		read("c2", "from the end", 21, 22)
		w.set(`{"channel_start":"beginning"}`)
		read("c3", "by the option", 1, 22)
		w.end()
	})
}

// TestTheFirstChannelAtAPlace: a channel that is the first of its topic gets what waits there once, and what was kept before that.
func TestTheFirstChannelAtAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(5, 100)
		w.want("at first", 1, 5)
		if err := w.topic().DeleteChannel("c0"); err != nil {
			t.Fatal(err)
		}
		w.publish(5, 100)
		if _, _, m, err := w.topic().ChannelAt("c0", w.place("pos:3")); err != nil || m.Messages != 3 {
			t.Errorf("%+v, %v", m, err)
		}
		w.again()
		w.want("what was kept and what waited", 3, 10)
		w.topic().SetPaused(true)
		w.publish(2, 100)
		w.rewind("pos:9")
		w.want("of a paused topic", 9, 10)
		w.topic().SetPaused(false)
		w.want("after the pause", 11, 12)
		w.end()
	})
}

// TestFailedPublishesAreNotReplayed: what a disk has refused, and nobody was shown, comes by no rewind, nor on a channel that begins before it.
func TestFailedPublishesAreNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(3, 100)
		w.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpSync, Times: 3, Err: diskErrors[3]})
		var b topic.Batch
		b.Add([]byte("refused-"))
		if err := w.topic().PublishAs(&b, 0, topic.Fsync); err == nil {
			t.Fatal("the disk took it")
		}
		w.disk.SetRules()
		time.Sleep(5 * time.Second)
		w.publish(2, 100)
		w.want("at first", 1, 5)
		w.rewind("beginning")
		w.want("rewound", 1, 5)
		w.again()
		w.rewind("beginning")
		w.want("rewound after a kill", 1, 5)
		if _, _, m, err := w.topic().ChannelAt("c1", w.place("beginning")); err != nil || m.Messages != 5 {
			t.Errorf("a channel from the beginning: %+v, %v", m, err)
		}
		w.end()
	})
}

// TestRewindKeepsToBounds: a rewind after which more would wait than max_depth allows is refused, and changes nothing; so is one of a topic
// that keeps nothing.
func TestRewindKeepsToBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h","max_depth":10}`)
		w.publish(8, 100)
		w.want("at first", 1, 8)
		w.publish(8, 100)
		w.want("at first", 9, 16)
		c := w.topic().LookupChannel("c0")
		if _, err := c.Rewind(w.place("beginning"), false); !errors.Is(err, topic.ErrTooMany) {
			t.Errorf("a rewind of 16 messages: %v", err)
		}
		w.rewind("pos:8")
		w.want("within the bound", 8, 16)
		w.set(`{"retain_time":null}`)
		if _, err := c.Rewind(w.place("beginning"), false); !errors.Is(err, topic.ErrKeepsNothing) {
			t.Errorf("a rewind where nothing is kept: %v", err)
		}
		w.end()
	})
}

// TestRewindOfAnOrderedChannel: what is in flight or aside is taken back, and comes in the order of its key again, one at a time; a kill in
// the middle changes nothing of that.
func TestRewindOfAnOrderedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h","ordered":true}`)
		for i := range 8 {
			var b topic.Batch
			b.Add([]byte(fmt.Sprintf("%d-", i+1)))
			b.Order(topic.Mark{}, "k")
			if err := w.topic().Publish(&b); err != nil {
				t.Fatal(err)
			}
		}
		var d topic.Delivery
		if n := w.sub.Take(&d); n != 1 {
			t.Fatalf("%d of one key are out", n)
		}
		d.Clear()
		if m := w.rewind("pos:1"); m.Messages != 8 {
			t.Errorf("%+v", m)
		}
		for _, kill := range []bool{false, true} {
			if kill {
				w.rewind("pos:3")
				w.sub.Take(&d)
				d.Clear()
				w.again()
			}
			first := map[bool]int{false: 1, true: 3}[kill]
			for want := first; want <= 8; want++ {
				if n := w.sub.Take(&d); n != 1 {
					t.Fatalf("%d of one key are out, want message %d", n, want)
				}
				var answers []topic.Answer
				each(&d, func(f protocol.MessageFrame) {
					if name(f.Body()) != fmt.Sprint(want) {
						t.Errorf("got %s, want %d", name(f.Body()), want)
					}
					answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
				})
				d.Clear()
				w.sub.Apply(answers, nil)
			}
		}
		w.checkSums()
		w.end()
	})
}
