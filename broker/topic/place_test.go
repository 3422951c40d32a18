package topic

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// FuzzParsePlace: whatever the text, a place is one that can be, and the same text means the same place.
func FuzzParsePlace(f *testing.F) {
	for _, text := range []string{"beginning", "end", "pos:1", "pos:18446744073709551615", "id:0123456789abcdef", "-2h", "-7d", "0", "1769853600000", "2026-01-31T10:00:00Z",
		"2026-01-31T10:00:00.5 02:00", "pos:0", "pos:-1", "id:", "--2h", "-", "1e9", "9223372036855", "9999-12-31T00:00:00Z", "1969-12-31T23:59:59Z", "BEGINNING", " end"} {
		f.Add(text)
	}
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePlace(text, now)
		again, err2 := ParsePlace(text, now)
		if p != again || (err == nil) != (err2 == nil) {
			t.Fatalf("%q is %v, %v, and then %v, %v", text, p, err, again, err2)
		}
		switch {
		case err != nil && p != Place{}:
			t.Errorf("%q is refused, and is %v", text, p)
		case err == nil && p.kind == atPosition && p.pos == 0:
			t.Errorf("%q is position 0", text)
		case err == nil && p.kind == atTime && p.at > now.UnixNano() && text[0] == '-':
			t.Errorf("%q is in the future", text)
		}
	})
}

// TestParsePlace: what is a place, and what is none.
func TestParsePlace(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]Place{
		"beginning": {kind: atBeginning}, "end": {kind: atEnd}, "pos:7": {kind: atPosition, pos: 7}, "id:00000000000000ff": {kind: atMessage, id: 255},
		"-2h": {kind: atTime, at: now.Add(-2 * time.Hour).UnixNano()}, "-1d": {kind: atTime, at: now.Add(-24 * time.Hour).UnixNano()},
		"1769860800000": {kind: atTime, at: now.UnixNano()}, "2026-01-31T12:00:00Z": {kind: atTime, at: now.UnixNano()},
		"2026-01-31T14:00:00 02:00": {kind: atTime, at: now.UnixNano()},
	} {
		if p, err := ParsePlace(text, now); err != nil || p != want {
			t.Errorf("%q is %+v, %v, want %+v", text, p, err, want)
		}
	}
	for _, text := range []string{"", "pos:", "pos:0", "id:ff", "2h", "-", "-2", "yesterday", "2026-01-31", "-9223372036854775808h", "9223372036854775807"} {
		if p, err := ParsePlace(text, now); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

// TestTimesDoNotFall: when the clock is set back, messages of a topic that keeps them carry times that do not fall, so that a place by time is
// found; they are due when they are. (c6)
func TestTimesDoNotFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := logged(t, Disk)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		if err := topic.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"24h"`)}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, by := range []time.Duration{0, -time.Hour, time.Hour, -3 * time.Hour, 0} {
			r.skew = by
			publishWith(t, topic, 2, 0)
			time.Sleep(time.Minute)
		}
		for after, want := range map[time.Duration]Position{0: 1, 1: 5, time.Hour: 5, time.Hour + 2*time.Minute + 1: 11} {
			pos, _, err := topic.findPlace(Place{kind: atTime, at: began.Add(after).UnixNano()}, 1)
			if err != nil || pos != want {
				t.Errorf("%v after the beginning is position %d, %v, want %d", after, pos, err, want)
			}
		}
		if m, err := c.Rewind(Place{kind: atBeginning}, false); err != nil || m.Messages != 10 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// TestPlacesWhereTheClockWasSetBack: a topic that keeps nothing has the times of a clock that was ahead for a while. What is passed over came before a time
// by what it carries, whichever of the pieces of the topic it is in. (c6)
func TestPlacesWhereTheClockWasSetBack(t *testing.T) {
	for ahead := range 4 {
		synctest.Test(t, func(t *testing.T) {
			r := logged(t, Disk)
			topic := mustTopic(t, r, "t")
			c := mustChannel(t, topic, "c")
			for i := range 4 {
				if r.skew = 0; i == ahead {
					r.skew = time.Hour
				}
				publishWith(t, topic, 5, 0)
				time.Sleep(time.Minute)
				topic.pub.Lock()
				topic.closedNodesLocked(1)
				topic.pub.Unlock()
			}
			m, err := c.Skip(Place{kind: atTime, at: time.Now().Add(30 * time.Minute).UnixNano()}, false, false)
			if want := Position(5*ahead + 1); err != nil || m.From != want || m.Messages != 5*ahead {
				t.Errorf("with the %d. piece of four ahead: %+v, %v, want %d", ahead+1, m, err, want)
			}
		})
	}
}

// TestASkipByTimeDropsNothingThatCameLater: however the clock was set, and whatever is known of that after a restart, a skip to a time
// discards no message that came then or later.
func TestASkipByTimeDropsNothingThatCameLater(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { skipByTime(t, seed) })
	}
}

func skipByTime(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	r := logged(t, Disk)
	topic := mustTopic(t, r, "t")
	c := mustChannel(t, topic, "c")
	at := time.Duration(rng.IntN(200)-100) * time.Minute
	place := time.Now().Add(at).UnixNano()
	retained := seed%2 == 0
	if retained {
		setTopicOptions(t, topic, `{"retain_time":"24h"}`)
	}
	for range 1 + rng.IntN(12) {
		r.skew = time.Duration(rng.IntN(180)-90) * time.Minute
		publishWith(t, topic, 2, 0)
		time.Sleep(time.Minute)
	}
	seen, err := topic.Browse(t.Context(), Look{From: 1, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if seed%3 == 0 { // an earlier build has written it
		topic.pub.Lock()
		topic.d.rises, topic.d.stamp = 0, 0
		topic.pub.Unlock()
	}
	m, err := c.Skip(Place{kind: atTime, at: place}, false, false)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for i := range seen.Messages {
		has := journal.Holds(c.having(), seen.Messages[i].Pos)
		if has {
			left++
		}
		if by := time.Duration(seen.Messages[i].Time - place); by >= 0 && !has {
			t.Fatalf("seed %d: message %d was discarded, which came %v after the place", seed, seen.Messages[i].Pos, by)
		}
	}
	if left+m.Messages != len(seen.Messages) {
		t.Errorf("seed %d: %d messages, %d were discarded and %d are left", seed, len(seen.Messages), m.Messages, left)
	}
	if newest := seen.Messages[len(seen.Messages)-1]; retained && newest.Time < place && left > 0 {
		t.Errorf("seed %d: %d messages are left, and all came before the place", seed, left)
	}
}
