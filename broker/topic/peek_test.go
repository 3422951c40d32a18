package topic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

// texts returns the bodies of messages.
func texts(list []Message) string {
	var all []string
	for i := range list {
		all = append(all, string(list[i].Body))
	}
	return strings.Join(all, " ")
}

// browsed returns all that a look shows, in pages.
func browsed(t testing.TB, browse func(context.Context, Look) (Looked, error), o Look) (list []Message) {
	t.Helper()
	for o.From = max(o.From, 1); ; {
		l, err := browse(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if list = append(list, l.Messages...); l.End {
			return list
		}
		if l.Next <= o.From && len(l.Messages) == 0 {
			t.Fatalf("no way on from %d", o.From)
		}
		o.From = l.Next
	}
}

// TestBrowse: each state shows what is in it, by position, and nothing of it changes however often it is looked at.
func TestBrowse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := mustTopic(t, durableRegistry(t, &keptLog{}), "t")
		c := mustChannel(t, topic, "c")
		publish(t, topic, 5)
		var b Batch
		b.Add([]byte("later"))
		if err := topic.PublishDeferred(&b, time.Hour); err != nil {
			t.Fatal(err)
		}
		s := mustSubscribe(t, topic, "c", 3, SubscribeOptions{})
		var d Delivery
		s.Take(&d)
		one := first(d.Runs[0].Frames)
		two := first(d.Runs[0].Frames[len(one):])
		s.Apply([]Answer{{ID: one.MustID(), Verb: Finish}, {ID: two.MustID(), Verb: Requeue}}, nil)
		s.SetReady(0)
		before := topic.Stats()
		for range 100 {
			for _, o := range []Look{{Limit: 1, Body: -1}, {Limit: 1000, Body: -1}} {
				if got := texts(browsed(t, topic.Browse, o)); got != "m2 m3 m4 m5 later" {
					t.Fatalf("the topic shows %s", got)
				}
				waiting := browsed(t, c.BrowseWaiting, o)
				if got := texts(waiting); got != "m2 m4 m5" || waiting[0].Attempts != 1 || waiting[1].Attempts != 0 {
					t.Fatalf("what waits is %s: %+v", got, waiting)
				}
				out := browsed(t, c.BrowseInFlight, o)
				if got := texts(out); got != "m3" || out[0].Attempts != 1 || out[0].Deadline.Sub(out[0].Delivered) != time.Minute {
					t.Fatalf("in flight is %s: %+v", got, out)
				}
			}
			later, next, err := c.BrowseDeferred(t.Context(), DueMark{}, Look{Limit: 10, Body: 2})
			if err != nil || next != (DueMark{}) || texts(later) != "la" || later[0].Size != 5 || time.Until(later[0].Due) != time.Hour {
				t.Fatalf("deferred is %+v, %v", later, err)
			}
		}
		if after := topic.Stats(); !reflect.DeepEqual(after, before) {
			t.Errorf("looking has changed\n%+v\nto\n%+v", before, after)
		}
		if got := texts(browsed(t, topic.Browse, Look{From: 4, Limit: 9, Body: -1, Contains: []byte("5")})); got != "m5" {
			t.Errorf("with a 5 there are %s", got)
		}
		time.Sleep(time.Minute)
		since := topic.registry.stamp()
		publish(t, topic, 1)
		if got := texts(browsed(t, topic.Browse, Look{Limit: 9, Body: -1, Since: since})); got != "m1" {
			t.Errorf("since then there are %s", got)
		}
		s.Close()
	})
}

// TestBrowseShowsNothingInDoubt: neither what is not safe yet, nor what the disk has refused.
func TestBrowseShowsNothingInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		look := func() string {
			l, err := g.topic.Browse(t.Context(), Look{From: 1, Limit: 100, Body: -1})
			if err != nil || !l.End {
				t.Fatal(l, err)
			}
			waiting, err := g.topic.Channels()[0].BrowseWaiting(t.Context(), Look{From: 1, Limit: 100, Body: -1})
			if err != nil || texts(waiting.Messages) != texts(l.Messages) {
				t.Errorf("the topic shows %s, the channel %s", texts(l.Messages), texts(waiting.Messages))
			}
			return texts(l.Messages)
		}
		g.publish(0, "a")
		g.publish(0, "b")
		g.publish(0, "c")
		if got := look(); got != "" {
			t.Errorf("what is in doubt is shown: %s", got)
		}
		g.log.finish(t, 1, errDisk)
		g.log.finish(t, 0, nil)
		if got := look(); got != "a" {
			t.Errorf("shown is %s, want a", got)
		}
		g.log.finish(t, 0, nil)
		if got := look(); got != "a c" {
			t.Errorf("shown is %s, want a c", got)
		}
		g.publish(time.Hour, "refused later")
		g.publish(time.Hour, "later")
		g.log.finish(t, 0, errDisk)
		g.log.finish(t, 0, nil)
		if got := texts(browsed(t, g.topic.Browse, Look{Limit: 9, Body: -1})); got != "a c later" {
			t.Errorf("shown is %s, want a c later", got)
		}
		if list, _, err := g.topic.Channels()[0].BrowseDeferred(t.Context(), DueMark{}, Look{Limit: 9, Body: -1}); err != nil || texts(list) != "later" {
			t.Errorf("deferred is %s, %v", texts(list), err)
		}
		g.log.set(true)
	})
}

// TestBrowseBounds: an answer keeps to its bounds, says where it ended, and cursors go through all of it once; also over what is in
// segments, and over what is published and consumed meanwhile.
func TestBrowseBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		cfg.MemQueueSize, cfg.Segments = 10, keptSegments{vfs.NewMem()}
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		const count = 3000
		pad := strings.Repeat("x", 1000)
		var b Batch
		for i := range count {
			b.Add(fmt.Appendf(nil, "%d %s", i, pad))
			if i%100 == 99 {
				if err := topic.Publish(&b); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r.OnDisk() == 0 {
			t.Fatal("nothing is in segments")
		}
		next := Position(1)
		for _, o := range []Look{{Limit: 7, Body: 4}, {Limit: 1000, Body: -1, MaxBytes: 5000}, {Limit: 1000, Body: 4, Scan: 1}} {
			var seen []Position
			for o.From = 1; ; o.From = next {
				l, err := topic.Browse(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				size := 0
				for i := range l.Messages {
					seen = append(seen, l.Messages[i].Pos)
					size += len(l.Messages[i].Body)
				}
				if len(l.Messages) > o.Limit || o.MaxBytes > 0 && size > o.MaxBytes+1100 {
					t.Fatalf("%d messages of %d bytes for %+v", len(l.Messages), size, o)
				}
				if next = l.Next; l.End {
					break
				}
			}
			if len(seen) != count || !slices.IsSorted(seen) {
				t.Errorf("%+v shows %d messages, want %d", o, len(seen), count)
			}
		}
		if got := browsed(t, topic.Browse, Look{Limit: 10, Body: 4, Contains: []byte("2999 ")}); len(got) != 1 || got[0].Pos != count {
			t.Errorf("found %d messages", len(got))
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := topic.Browse(done, Look{From: 1, Limit: 10}); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever asked has left: %v", err)
		}
		if n, bytes := r.Browsed(); n == 0 || bytes < count*1000 {
			t.Errorf("%d requests through %d bytes are counted", n, bytes)
		}
		memory := mustTopic(t, start(t, config()), "m")
		if _, err := memory.Browse(t.Context(), Look{From: 1, Limit: 1}); !errors.Is(err, ErrNoBrowse) {
			t.Errorf("at level memory: %v", err)
		}
	})
}
