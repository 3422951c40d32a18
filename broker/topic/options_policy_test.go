package topic

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
)

func raw(t testing.TB, text string) (m map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPoliciesFollow: what channels hold to is what the options say, as soon as one of them has changed; without options it is nothing.
func TestPoliciesFollow(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		r := durableRegistry(t, &keptLog{})
		topic := mustTopic(t, r, map[Level]string{Memory: "memory", Disk: "t"}[level])
		c, err := topic.Channel("c")
		if err != nil {
			t.Fatal(err)
		}
		is := func(when string, want policy.Policy) {
			t.Helper()
			got := c.Policy()
			if want == (policy.Policy{}) && got != nil || want != (policy.Policy{}) && (got == nil || *got != want) {
				t.Errorf("%s, %s: %+v, want %+v", level, when, got, want)
			}
		}
		is("at first", policy.Policy{})
		if err := topic.SetOptions(raw(t, `{"max_in_flight":5,"overflow":"drop-oldest","max_depth":9}`)); err != nil {
			t.Fatal(err)
		}
		is("of the topic", policy.Policy{MaxInFlight: 5, Overflow: policy.DropOldest, MaxDepth: 9})
		if err := c.SetOptions(raw(t, `{"max_in_flight":6}`)); err != nil {
			t.Fatal(err)
		}
		is("of the channel", policy.Policy{MaxInFlight: 6, Overflow: policy.DropOldest, MaxDepth: 9})
		if err := topic.SetOptions(raw(t, `{"max_depth":8,"overflow":"reject","ttl":"never"}`)); err == nil {
			t.Error("half a change was taken")
		}
		is("after a refusal", policy.Policy{MaxInFlight: 6, Overflow: policy.DropOldest, MaxDepth: 9})
		late, err := topic.Channel("late")
		if err != nil {
			t.Fatal(err)
		}
		if p := late.Policy(); p == nil || p.MaxInFlight != 5 {
			t.Errorf("a channel that came later: %+v", p)
		}
		patterns, _, err := policy.ParsePatterns([]string{"* msg_timeout=1s"}, false)
		if err != nil {
			t.Fatal(err)
		}
		r.SetPatterns(Patterns{Topics: patterns})
		is("with a pattern", policy.Policy{MaxInFlight: 6, Overflow: policy.DropOldest, MaxDepth: 9, MsgTimeout: time.Second})
		if topic.Policy() == nil || topic.Policy().MsgTimeout != time.Second {
			t.Errorf("of the topic itself: %+v", topic.Policy())
		}
		r.SetPatterns(Patterns{})
		if err := errors.Join(topic.SetOptions(raw(t, `{"max_in_flight":null,"overflow":null,"max_depth":null}`)), c.SetOptions(raw(t, `{"max_in_flight":null}`))); err != nil {
			t.Fatal(err)
		}
		is("at last", policy.Policy{})
	}
}

// TestOptionsOfLaterBuilds: what a newer build has put into the log stays there when an option is set, and when the topic is kept anew.
func TestOptionsOfLaterBuilds(t *testing.T) {
	s := journal.NewState()
	apply := func(c journal.Change) {
		t.Helper()
		if err := s.Apply(journal.Offset{}, journal.KindChange, journal.AppendChange(nil, c), nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "t", Options: json.RawMessage(`{"durability":"fsync","of_later":[1,2],"max_depth":"much"}`)})
	apply(journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"})
	apply(journal.Change{Op: journal.OpOptions, Topic: 1, Channel: 2, Options: json.RawMessage(`{"max_in_flight":3,"also_of_later":{}}`)})
	log := &keptLog{}
	r := durableRegistry(t, log)
	if err := r.Recover(NewRecovery(s)); err != nil {
		t.Fatal(err)
	}
	topic := r.Lookup("t")
	c := topic.LookupChannel("c")
	if topic.Durability() != Fsync || topic.Policy() != nil || c.Policy() == nil || c.Policy().MaxInFlight != 3 {
		t.Errorf("level %s, policies %+v and %+v", topic.Durability(), topic.Policy(), c.Policy())
	}
	if err := errors.Join(topic.SetOptions(raw(t, `{"ttl":"1h"}`)), c.SetOptions(raw(t, `{"max_in_flight":null}`))); err != nil {
		t.Fatal(err)
	}
	kept := string(topic.d.options())
	if kept != `{"durability":"fsync","max_depth":"much","of_later":[1,2],"ttl":"1h"}` {
		t.Error(kept)
	}
	if kept := string(encodeOptions(c.set.Load().Raw())); kept != `{"also_of_later":{}}` {
		t.Error(kept)
	}
}
