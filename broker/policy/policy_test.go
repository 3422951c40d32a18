package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/protocol"
)

func mustSet(t testing.TB, channel bool, text string) *Set {
	t.Helper()
	s, err := (*Set)(nil).With(object(t, text), channel)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func object(t testing.TB, text string) (m map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestValues holds every option to what it takes and refuses; the refusals name the option and say what is allowed.
func TestValues(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"max_attempts", `1`, `1`}, {"max_attempts", `65535`, `65535`},
		{"max_attempts", `0`, `max_attempts: must be a whole number from 1 to 65535, not 0`},
		{"max_attempts", `-1`, `not -1`}, {"max_attempts", `65536`, `not 65536`}, {"max_attempts", `"5"`, `not "5"`}, {"max_attempts", `1.5`, `not 1.5`},
		{"backoff", `""`, `""`}, {"backoff", `"fixed:5s"`, `"fixed:5s"`}, {"backoff", `"list:1s,10s,1m"`, `"list:1s,10s,1m"`},
		{"backoff", `"exponential:1s..15m"`, `"exponential:1s..15m"`}, {"backoff", `"exponential:15m..1s"`, `backoff: must be fixed:5s, list:`},
		{"backoff", `"fixed:0s"`, `must be`}, {"backoff", `"fixed:25h"`, `must be`}, {"backoff", `"linear:5s"`, `must be`}, {"backoff", `5`, `must be`},
		{"backoff", `"list:` + strings.Repeat("1s,", 64) + `1s"`, `must be`},
		{"backoff_requeue", `true`, `true`}, {"backoff_requeue", `"true"`, `must be true or false`},
		{"dead_letter", `"dead"`, `"dead"`}, {"dead_letter", `"discard"`, `"discard"`}, {"dead_letter", `""`, `""`},
		{"dead_letter", `"no good"`, `must be the name of a topic`}, {"dead_letter", `"x#ephemeral"`, `must be the name`},
		{"max_depth", `0`, `0`}, {"max_depth", `9007199254740991`, `9007199254740991`}, {"max_depth", `9007199254740992`, `must be a whole number from 0`},
		{"max_bytes", `1024`, `1024`}, {"max_bytes", `"10GiB"`, `10737418240`}, {"max_bytes", `"1 KiB"`, `1024`}, {"max_bytes", `"8192TiB"`, `must be a number of bytes`},
		{"max_bytes", `"1KB"`, `must be`}, {"max_bytes", `-1`, `must be`},
		{"overflow", `"reject"`, `"reject"`}, {"overflow", `"drop-oldest"`, `"drop-oldest"`}, {"overflow", `"Reject"`, `overflow: must be reject, drop-oldest`},
		{"ttl", `"90s"`, `"1m30s"`}, {"ttl", `"24h"`, `"1d"`}, {"ttl", `"7d"`, `"7d"`}, {"ttl", `"0s"`, `"0s"`}, {"ttl", `"366d"`, `from 1ms to 365d`},
		{"ttl", `"-1s"`, `must be`}, {"ttl", `"1us"`, `must be`}, {"ttl", `30`, `must be`},
		{"idle_delete", `"1h"`, `"1h"`}, {"idle_delete", `"999ms"`, `from 1s to 365d`},
		{"max_in_flight", `100`, `100`}, {"max_in_flight", `2147483648`, `must be`},
		{"msg_timeout", `"30s"`, `"30s"`}, {"msg_timeout", `"25h"`, `from 1ms to 1d`},
		{"dedup_window", `"10m"`, `"10m"`}, {"dedup_window", `"0s"`, `"0s"`}, {"dedup_window", `"500ms"`, `from 1s to 30d`}, {"dedup_window", `"31d"`, `from 1s to 30d`},
		{"dedup_max", `1`, `1`}, {"dedup_max", `0`, `must be a whole number from 1 to 100000000`},
		{"dedup_from", `"word"`, `"word"`}, {"dedup_from", `"bytes:0-16"`, `"bytes:0-16"`}, {"dedup_from", `"until:|"`, `"until:|"`}, {"dedup_from", `"json:id"`, `"json:id"`},
		{"dedup_from", `"body"`, `"body"`}, {"dedup_from", `"bytes:16-16"`, `must be word, bytes:FROM-TO`}, {"dedup_from", `"until:ab"`, `must be`}, {"dedup_from", `"json:"`, `must be`},
		{"acks", `"0"`, `"0"`}, {"acks", `1`, `"1"`}, {"acks", `"all"`, `"all"`}, {"acks", `2`, `must be 0, 1 or all, not 2`}, {"acks", `""`, `must be`},
		{"acks_min", `"1"`, `"1"`}, {"acks_min", `true`, `must be 0, 1 or all`},
		{"durability", `"often"`, `durability: must be memory, disk or fsync, not "often"`},
		{"speed", `1`, `"speed" is no option here; there is acks, acks_min, backoff, backoff_requeue, channel_start, dead_letter, dedup_from, dedup_max, dedup_window, durability`},
	} {
		s, err := (*Set)(nil).With(map[string]json.RawMessage{c.name: json.RawMessage(c.value)}, false)
		switch {
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		case err == nil && string(s.Raw()[c.name]) != c.want:
			t.Errorf("%s=%s: kept as %s, want %s", c.name, c.value, s.Raw()[c.name], c.want)
		}
	}
	for _, name := range []string{"overflow", "durability"} {
		value := map[string]string{"overflow": `"reject"`, "durability": `"disk"`}[name]
		if _, err := (*Set)(nil).With(map[string]json.RawMessage{name: json.RawMessage(value)}, true); err == nil {
			t.Errorf("a channel takes %s %s", name, value)
		}
	}
}

// TestZeroIsOff: a duration of 0 is taken for every option that is one, and is off.
func TestZeroIsOff(t *testing.T) {
	durations := 0
	for i := range Table {
		o := &Table[i]
		if o.Default != "0s" {
			continue
		}
		durations++
		set, err := (*Set)(nil).With(map[string]json.RawMessage{o.Name: json.RawMessage(`"0s"`)}, false)
		if err != nil {
			t.Errorf("%s: %v", o.Name, err)
			continue
		}
		if p := Of(Place{Topic: "t", Logged: true}, Layer{Name: "t", Set: set}); p != nil {
			t.Errorf("%s of 0 is in force: %+v", o.Name, p)
		}
	}
	if durations < 5 {
		t.Errorf("%d options are durations", durations)
	}
}

// TestSetChanges: all or nothing, null puts back, what is not known stays.
func TestSetChanges(t *testing.T) {
	s := Kept(object(t, `{"max_depth":5,"of_later":{"x":1},"ttl":"bad"}`))
	if _, err := s.With(object(t, `{"max_depth":6,"ttl":"nonsense"}`), false); err == nil {
		t.Error("half a change was taken")
	}
	next, err := s.With(object(t, `{"max_depth":null,"backoff":"fixed:1s"}`), false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]json.RawMessage{"backoff": json.RawMessage(`"fixed:1s"`), "of_later": json.RawMessage(`{"x":1}`), "ttl": json.RawMessage(`"bad"`)}
	if !reflect.DeepEqual(next.Raw(), want) || string(s.Raw()["max_depth"]) != "5" {
		t.Errorf("%s, and before %s", next.Raw(), s.Raw())
	}
	if next, err = next.With(object(t, `{"of_later":null,"backoff":null,"ttl":null}`), false); err != nil || next.Raw() != nil {
		t.Errorf("%s: %v", next.Raw(), err)
	}
	if _, err := next.With(object(t, `{"unheard":null}`), false); err == nil {
		t.Error("null of an option that is not known was taken")
	}
}

// TestPrecedence: of a channel what was set for it, its pattern, its topic's, the topic's pattern, the default; the first pattern that
// fits and names an option counts.
func TestPrecedence(t *testing.T) {
	topics, _, err := ParsePatterns([]string{"orders.eu max_depth=1", "orders.* max_depth=2 ttl=1h idle_delete=1h"}, false)
	if err != nil {
		t.Fatal(err)
	}
	channels, _, err := ParsePatterns([]string{"orders.*/bill* msg_timeout=1s backoff=list:1s", "2s", "*/* msg_timeout=2s max_in_flight=7"}, true)
	if err != nil {
		t.Fatal(err)
	}
	topic := func(set *Set) Layer { return Layer{Name: "orders.eu", Set: set, Patterns: topics} }
	channel := func(set *Set) Layer {
		return Layer{Name: "orders.eu/billing", Set: set, Patterns: channels, Channel: true}
	}
	at := Place{Topic: "orders.eu", Channel: "billing", Logged: true}
	for _, c := range []struct {
		name, want string
		layers     []Layer
	}{
		{"max_depth", `1 topic-pattern orders.eu`, []Layer{channel(nil), topic(nil)}},
		{"max_depth", `3 topic `, []Layer{channel(nil), topic(mustSet(t, false, `{"max_depth":3}`))}},
		{"max_depth", `4 channel `, []Layer{channel(mustSet(t, true, `{"max_depth":4}`)), topic(mustSet(t, false, `{"max_depth":3}`))}},
		{"ttl", `1h topic-pattern orders.*`, []Layer{channel(nil), topic(nil)}},
		{"idle_delete", `0s default `, []Layer{channel(nil), topic(nil)}}, // a channel does not take it over
		{"msg_timeout", `1s channel-pattern orders.*/bill*`, []Layer{channel(nil), topic(mustSet(t, false, `{"msg_timeout":"9s"}`))}},
		{"max_in_flight", `7 channel-pattern */*`, []Layer{channel(nil), topic(nil)}},
		{"backoff", `list:1s,2s channel-pattern orders.*/bill*`, []Layer{channel(nil), topic(nil)}},
		{"max_attempts", `0 default `, []Layer{channel(nil), topic(nil)}},
	} {
		v := Effective(at, c.layers...)[c.name]
		if got := strings.Trim(string(encode(v.Value)), `"`) + " " + string(v.Source) + " " + v.Pattern; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if _, ok := Effective(at, channel(nil), topic(nil))["durability"]; ok {
		t.Error("a channel has a durability")
	}
}

// TestPatternsTakenApart: patterns that were taken apart at commas, as in an environment variable, are what they were, whatever stands behind
// a list of times.
func TestPatternsTakenApart(t *testing.T) {
	for _, c := range []struct {
		text    string
		channel bool
		want    []string // pattern: backoff, max_attempts
	}{
		{"a.* backoff=list:1s,10s,1m", false, []string{"a.*: list:1s,10s,1m <nil>"}},
		{"a.* backoff=list:1s,10s,1m max_attempts=5,b max_attempts=6", false, []string{"a.*: list:1s,10s,1m 5", "b: <nil> 6"}},
		{"a/* max_attempts=5 backoff=list:1s,10s, b/* backoff=list:2s,3s max_attempts=6", true, []string{"a/*: list:1s,10s 5", "b/*: list:2s,3s 6"}},
		{"a backoff=fixed:1s,10s max_attempts=6", false, []string{"a: fixed:1s <nil>", "10s: <nil> 6"}},
	} {
		list, bad, err := ParsePatterns(strings.Split(c.text, ","), c.channel)
		if err != nil {
			t.Errorf("%s: %s: %v", c.text, bad, err)
			continue
		}
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprint(p.Match, ": ", p.values["backoff"], " ", p.values["max_attempts"]))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

// TestPolicy: defaults cost nothing, what does not go together is not in force and says why.
func TestPolicy(t *testing.T) {
	logged, memory := Place{Topic: "t", Channel: "c", Logged: true}, Place{Topic: "t", Channel: "c"}
	of := func(at Place, channel, topic string) *Policy {
		return Of(at, Layer{Name: "t/c", Set: mustSet(t, true, channel), Channel: true}, Layer{Name: "t", Set: mustSet(t, false, topic)})
	}
	if p := of(logged, `{}`, `{}`); p != nil {
		t.Errorf("without options: %+v", p)
	}
	if p := of(logged, `{"max_depth":0}`, `{"max_depth":0,"idle_delete":"1h"}`); p != nil {
		t.Errorf("all defaults: %+v", p)
	}
	if p := of(logged, `{"max_attempts":3}`, `{"ttl":"1h"}`); p == nil || *p != (Policy{MaxAttempts: 3, TTL: time.Hour, DeadLetter: "t.c.dlq"}) {
		t.Errorf("%+v", p)
	}
	if p := of(memory, `{"max_attempts":3,"ttl":"1h"}`, `{}`); p == nil || *p != (Policy{TTL: time.Hour}) {
		t.Errorf("a limit without a place for dead letters: %+v", p)
	}
	if p := of(memory, `{"max_attempts":3}`, `{"dead_letter":"discard"}`); p == nil || *p != (Policy{MaxAttempts: 3}) {
		t.Errorf("%+v", p)
	}
	if p := of(logged, `{"max_depth":3,"max_bytes":"1KiB"}`, `{"max_attempts":3}`); p == nil || p.Bounded() {
		t.Errorf("a channel refuses publishes: %+v", p)
	}
	if p := of(logged, `{"max_depth":3,"overflow":"drop-oldest"}`, `{}`); !p.Bounded() || p.Overflow != DropOldest {
		t.Errorf("%+v", p)
	}
	for text, want := range map[string]string{
		`{"max_depth":3}`:            "max_depth: a channel's own bound needs overflow",
		`{"max_attempts":3}`:         "",
		`{"dead_letter":"t"}`:        "dead_letter: must be another topic",
		`{"overflow":"drop-oldest"}`: "",
		`{"dead_letter":"discard"}`:  "",
	} {
		err := Check(logged, Layer{Name: "t/c", Set: mustSet(t, true, text), Channel: true}, Layer{Name: "t"})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{"max_attempts":3}`, `{"overflow":"dead-letter"}`} {
		if err := Check(memory, Layer{Name: "t/c", Set: mustSet(t, true, text), Channel: true}); err == nil || !strings.Contains(err.Error(), "kept in the log") {
			t.Errorf("%s at level memory: %v", text, err)
		}
	}
}

// TestDeadLetterTopic: every name is one that a topic can have, and no two channels share one.
func TestDeadLetterTopic(t *testing.T) {
	if got := DeadLetterTopic("orders", "billing"); got != "orders.billing.dlq" {
		t.Error(got)
	}
	long := strings.Repeat("t", protocol.MaxNameLength)
	a, b := DeadLetterTopic(long, "a"), DeadLetterTopic(long, "b")
	if a == b || !protocol.ValidName(a) || !protocol.ValidName(b) || len(a) != protocol.MaxNameLength {
		t.Errorf("%s, %s", a, b)
	}
}

// TestBackoff: which delay follows which delivery.
func TestBackoff(t *testing.T) {
	for text, want := range map[string][]time.Duration{
		"fixed:5s":       {5 * time.Second, 5 * time.Second, 5 * time.Second},
		"list:1s,10s,1m": {time.Second, 10 * time.Second, time.Minute, time.Minute},
	} {
		b, err := ParseBackoff(text)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range want {
			if got := b.Delay(uint16(i + 1)); got != d {
				t.Errorf("%s, delivery %d: %s", text, i+1, got)
			}
		}
	}
	b, err := ParseBackoff("exponential:1s..15m")
	if err != nil || b.Longest() != 15*time.Minute {
		t.Fatal(b, err)
	}
	for attempts := range uint16(1000) {
		full := min(time.Second<<min(max(attempts, 1)-1, 20), 15*time.Minute)
		if d := b.Delay(attempts); d < full/2 || d > full {
			t.Fatalf("delivery %d: %s of %s", attempts, d, full)
		}
	}
}

// FuzzPattern: a pattern of the configuration is taken or refused, and what is taken is a value that can be set as well.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"orders.* max_depth=5", "a/b backoff=list:1s,2s", "[ x=1", "* ttl=0s overflow=reject", "a ttl", "* max_bytes=1GiB dead_letter=discard"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, channel bool) {
		p, err := ParsePattern(text, channel)
		if err != nil {
			return
		}
		for name, v := range p.values {
			if _, err := (*Set)(nil).With(map[string]json.RawMessage{name: encode(v)}, channel); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
		p.Fits("orders.eu/billing")
	})
}

// FuzzOptions: a body of options is taken or refused, never half; what is taken is kept as it can be read again.
func FuzzOptions(f *testing.F) {
	f.Add([]byte(`{"max_depth":5,"ttl":"1h","backoff":"exponential:1s..1m"}`))
	f.Add([]byte(`{"durability":null,"x":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var m map[string]json.RawMessage
		if json.Unmarshal(body, &m) != nil {
			return
		}
		s, err := (*Set)(nil).With(m, false)
		if err != nil {
			return
		}
		again, err := (*Set)(nil).With(s.Raw(), false)
		if err != nil || !reflect.DeepEqual(again.Raw(), s.Raw()) {
			t.Errorf("%s, then %s: %v", s.Raw(), again.Raw(), err)
		}
	})
}
