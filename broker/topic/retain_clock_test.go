package topic

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

// seenIn returns how many messages a topic shows.
func seenIn(t *testing.T, topic *Topic) int {
	t.Helper()
	seen, err := topic.Browse(t.Context(), Look{From: 1, Limit: 1000})
	if err != nil || !seen.End {
		t.Fatalf("%+v, %v", seen, err)
	}
	return len(seen.Messages)
}

// TestAClockThatIsSetDropsNoHistory: messages that are kept for a time stay when the clock is set ahead, for a moment or for good, and go when they
// are as old as that; so they do when it is set back. (a41, c1)
func TestAClockThatIsSetDropsNoHistory(t *testing.T) {
	for _, c := range []struct{ by, back time.Duration }{{48 * time.Hour, -48 * time.Hour}, {24 * 365 * time.Hour, 0}, {-30 * time.Minute, 0}, {-30 * time.Minute, 30 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			r := logged(t, Disk)
			topic := mustTopic(t, r, "t")
			mustChannel(t, topic, "c")
			if err := topic.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"24h"`)}); err != nil {
				t.Fatal(err)
			}
			publish(t, topic, 3)
			s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
			finishAll(s)
			_ = s.Close()
			for _, by := range []time.Duration{c.by, c.back} {
				time.Sleep(8 * time.Hour)
				r.skew += by
				r.Retain()
				if n := seenIn(t, topic); n != 3 {
					t.Errorf("of three messages %d are left once the clock was set by %v", n, by)
				}
			}
			time.Sleep(9 * time.Hour)
			r.Retain()
			if n := seenIn(t, topic); n != 0 {
				t.Errorf("%d messages are left that are older than what is kept, with the clock set by %v", n, c.by+c.back)
			}
		})
	}
}

// TestTimesBeginAnewWithHistory: a topic that ends to keep messages and begins again has times of the clock, though it was ahead before.
func TestTimesBeginAnewWithHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := logged(t, Disk)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		keep := func(time string) {
			t.Helper()
			if err := topic.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(time)}); err != nil {
				t.Fatal(err)
			}
		}
		keep(`"24h"`)
		r.skew = 365 * 24 * time.Hour
		publish(t, topic, 1)
		r.skew = 0
		publish(t, topic, 1)
		keep("null")
		keep(`"24h"`)
		publish(t, topic, 1)
		seen, err := topic.Browse(t.Context(), Look{From: 1, Limit: 10})
		if err != nil || len(seen.Messages) != 3 {
			t.Fatalf("%+v, %v", seen, err)
		}
		if ahead := time.Duration(seen.Messages[1].Time - time.Now().UnixNano()); ahead < 360*24*time.Hour {
			t.Errorf("times of a topic that keeps messages have fallen: the second one is ahead by %v", ahead)
		}
		if at := seen.Messages[2].Time; at != time.Now().UnixNano() {
			t.Errorf("after it began anew a message is stamped %v", time.Unix(0, at))
		}
	})
}
