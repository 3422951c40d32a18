package topic

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestAClockThatIsAheadIsNotBelievedAtOnce: a clock that is ahead of what was known before a start counts for the age of what is kept only when it has stayed so
// for an hour; one that is behind, or only a little ahead, counts at once.
func TestAClockThatIsAheadIsNotBelievedAtOnce(t *testing.T) {
	const day = 24 * time.Hour
	log := slog.New(slog.DiscardHandler)
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for _, c := range []struct {
		what       string
		known      bool // a time from before the start
		set        time.Duration
		after      time.Duration // that this was looked at
		want       time.Duration // behind what would be without that
		passedBack bool          // the clock is set right after half an hour
	}{
		{"nothing is known", false, 400 * day, 0, 400 * day, false},
		{"a little ahead", true, 4 * time.Minute, 0, 4 * time.Minute, false},
		{"far ahead", true, 400 * day, 0, 0, false},
		{"far ahead, half an hour later", true, 400 * day, 30 * time.Minute, 0, false},
		{"far ahead, an hour later", true, 400 * day, time.Hour, 400 * day, false},
		{"far ahead, and set right", true, 400 * day, 2 * time.Hour, 0, true},
		{"far back", true, -400 * day, 0, -400 * day, false},
	} {
		var clock trust
		if c.known {
			clock.expect(began, 0)
		}
		got := int64(0)
		for passed := time.Duration(0); passed <= c.after; passed += time.Minute {
			set := c.set
			if c.passedBack && passed >= 30*time.Minute {
				set = 0
			}
			got = clock.look(began+int64(passed+set), int64(passed), log)
		}
		if by := time.Duration(got-began) - c.after; by != c.want {
			t.Errorf("%s: it is believed to be %v ahead, want %v", c.what, by, c.want)
		}
	}
}

// TestWhatWasStampedInTheFutureIsKept: messages that came while the clock was ahead do not go for their age before their time has come, nor what came
// after them; when it has come they go.
func TestWhatWasStampedInTheFutureIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := logged(t, Disk)
		topic := mustTopic(t, r, "t")
		setTopicOptions(t, topic, `{"retain_time":"1h"}`)
		c := mustChannel(t, topic, "c")
		kept := func() int {
			r.Retain()
			seen, err := topic.Browse(t.Context(), Look{From: 1, Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			return len(seen.Messages)
		}
		r.Retain()
		r.skew = 48 * time.Hour
		publishWith(t, topic, 3, 0)
		r.skew = 0
		publishWith(t, topic, 3, 0)
		if err := c.Empty(); err != nil {
			t.Fatal(err)
		}
		for range 47 {
			time.Sleep(time.Hour)
			if n := kept(); n != 6 {
				t.Fatalf("%d messages are kept", n)
			}
		}
		time.Sleep(3 * time.Hour)
		if n := kept(); n != 0 {
			t.Errorf("%d messages are kept for longer than an hour", n)
		}
	})
}
