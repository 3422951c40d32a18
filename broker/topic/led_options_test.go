package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
)

// parsed returns options as a request has them.
func parsed(t testing.TB, text string) (values map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestOptionsOfAReplicatedTopic: those that it has hold for the next leader too, and each replica knows them; each of the others is refused with a reason, and
// changes nothing.
func TestOptionsOfAReplicatedTopic(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	standby := NewStandby()
	l, o := lead(t, r, standby)
	topic := createLed(t, l, 7, "orders")
	c := mustChannel(t, topic, "c")
	has := map[string]string{"acks": `"1"`, "acks_min": `"1"`, "max_depth": "5", "max_bytes": `"1MiB"`, "overflow": `"drop-oldest"`, "ttl": `"1h"`, "max_in_flight": "7",
		"msg_timeout": `"2s"`, "backoff": `"fixed:1s"`, "backoff_requeue": "true", "dead_letter": `"discard"`, "max_attempts": "3", "durability": `"fsync"`}
	for _, name := range []string{"dead_letter", "acks", "acks_min", "max_depth", "max_bytes", "overflow", "ttl", "max_in_flight", "msg_timeout", "backoff", "backoff_requeue", "max_attempts",
		"durability"} {
		if err := topic.SetOptions(parsed(t, fmt.Sprintf("{%q:%s}", name, has[name]))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := topic.Options()
	for i := range policy.Table {
		name := policy.Table[i].Name
		if (has[name] == "") != (policy.Table[i].Unreplicated != "") {
			t.Errorf("%s: the table says that it is not to be had for %q", name, policy.Table[i].Unreplicated)
		}
	}
	for _, text := range []string{`{"durability":"disk"}`, `{"durability":"memory"}`, `{"dead_letter":"other"}`, `{"dead_letter":null}`, `{"overflow":"dead-letter","dead_letter":null}`,
		`{"idle_delete":"1h"}`, `{"dedup_window":"1h"}`, `{"dedup_max":5}`, `{"dedup_from":"bytes:0-4"}`, `{"ordered":true}`, `{"ordered_ahead":5}`, `{"key_from":"bytes:0-4"}`,
		`{"key_required":true}`, `{"retain_time":"1h"}`, `{"retain_bytes":5}`, `{"channel_start":"beginning"}`, `{"trace":true}`, `{"acks":"0"}`} {
		var bad *policy.Error
		if err := topic.SetOptions(parsed(t, text)); !errors.As(err, &bad) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{"idle_delete":"1h"}`, `{"dead_letter":"other"}`} {
		var bad *policy.Error
		if err := c.SetOptions(parsed(t, text)); !errors.As(err, &bad) || !strings.Contains(bad.Text, "replicated") {
			t.Errorf("of a channel, %s: %v", text, err)
		}
	}
	if after := topic.Options(); !reflect.DeepEqual(after, before) {
		t.Errorf("what was refused has changed something: %v", after)
	}
	if err := c.SetOptions(parsed(t, `{"max_depth":3,"max_attempts":2}`)); err != nil {
		t.Error(err)
	}
	ofChannel := c.Options()
	snap, err := standby.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	read, err := OpenStandby(snap.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*Standby{"the standby": standby, "one that was written down": read} {
		if got := s.Policy(7); !reflect.DeepEqual(got, topic.Policy()) {
			t.Errorf("%s has %+v, and the leader %+v", what, got, topic.Policy())
		}
	}
	o.lose(0)
	l.Drop()
	if l, o = lead(t, r, standby); r.Lookup("orders") == nil {
		t.Fatal("the next leader does not have the topic")
	}
	next := r.Lookup("orders")
	if got := next.Options(); !reflect.DeepEqual(got, before) {
		t.Errorf("the next leader has %v", got)
	}
	if got := next.LookupChannel("c").Options(); !reflect.DeepEqual(got, ofChannel) {
		t.Errorf("and of the channel %v", got)
	}
	o.lose(0)
	if err := next.SetOptions(parsed(t, `{"acks":"all"}`)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("the lead is lost: %v", err)
	}
	l.Drop()
	if err := next.SetOptions(parsed(t, `{"acks":"all"}`)); !errors.Is(err, ErrExiting) {
		t.Errorf("the topic is gone: %v", err)
	}
	if s := standby.Policy(8); s != nil {
		t.Errorf("a topic that is not there has %v", s)
	}
}

// TestReplicatedTopicsHeedTheirOptions: a bound refuses, or drops the oldest; what is too old, or was delivered too often, is discarded; and the standby has the same.
func TestReplicatedTopicsHeedTheirOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		standby := NewStandby()
		l, _ := lead(t, r, standby)
		topic := createLed(t, l, 7, "orders")
		c := mustChannel(t, topic, "c")
		set := func(text string) {
			t.Helper()
			if err := topic.SetOptions(parsed(t, text)); err != nil {
				t.Fatal(err)
			}
		}
		same := func(what string, depth int64) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if got := c.Stats().Depth; got != depth {
				t.Errorf("%s: depth %d, want %d", what, got, depth)
			}
			if got, live := standbyHolds(t, standby, 7), liveHolds(t, topic); got != live {
				t.Errorf("%s: the standby has\n%s\nand the leader\n%s", what, got, live)
			}
		}
		set(`{"max_depth":3}`)
		publish(t, topic, 3)
		var b Batch
		b.Add([]byte("one too many"))
		if err := topic.Publish(&b); !errors.As(err, new(*BoundError)) {
			t.Errorf("beyond the bound: %v", err)
		}
		b.Reset()
		same("rejected", 3)
		set(`{"overflow":"drop-oldest"}`)
		publish(t, topic, 2)
		same("dropped", 3)
		set(`{"max_depth":null,"overflow":null,"ttl":"1m"}`)
		time.Sleep(2 * time.Minute)
		same("too old", 0)
		set(`{"ttl":null,"max_attempts":2,"dead_letter":"discard","msg_timeout":"1s","max_in_flight":2}`)
		publish(t, topic, 3)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{Standard: true, MsgTimeout: time.Minute})
		if n := drain(s); n != 2 {
			t.Errorf("%d in flight, 2 are allowed", n)
		}
		for range 3 {
			time.Sleep(2 * time.Second)
			drain(s)
		}
		time.Sleep(2 * time.Second)
		same("delivered too often", 0)
		set(`{"max_attempts":null,"max_in_flight":null,"backoff":"fixed:10s","backoff_requeue":true}`)
		publish(t, topic, 1)
		var d Delivery
		if s.Take(&d) == 0 {
			t.Fatal("nothing to take")
		}
		s.Apply([]Answer{{Verb: Requeue, ID: first(d.Runs[0].Frames).MustID()}}, nil)
		time.Sleep(9 * time.Second)
		if n := drain(s); n != 0 {
			t.Error("it came again too early")
		}
		time.Sleep(2 * time.Second)
		if n := drain(s); n != 1 {
			t.Error("it did not come again")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStandbyOfATopicWithOptions: what options do to messages is the same on each replica, and for the next leader.
func TestStandbyOfATopicWithOptions(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &ledModel{t: t, rand: rand.New(rand.NewPCG(seed, 3)), rough: true}
				m.options = `{"max_depth":30,"overflow":"drop-oldest","ttl":"20s","max_attempts":4,"dead_letter":"discard","backoff":"fixed:1s","backoff_requeue":true,"max_in_flight":15,"msg_timeout":"2s"}`
				m.run()
			})
		})
	}
}

// TestPatternsThatReplicatedTopicsDoNotHeed: the log tells of each once, whatever fits it.
func TestPatternsThatReplicatedTopicsDoNotHeed(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	cfg := durableConfig()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	for text, list := range map[string]*[]policy.Pattern{"or* max_depth=1": &cfg.Patterns.Topics, "other max_depth=2": &cfg.Patterns.Topics, "or*/c max_attempts=3": &cfg.Patterns.Channels} {
		p, err := policy.ParsePattern(text, strings.Contains(text, "/"))
		if err != nil {
			t.Fatal(err)
		}
		*list = append(*list, p)
	}
	r := start(t, cfg)
	l, _ := lead(t, r, NewStandby())
	mustChannel(t, createLed(t, l, 1, "orders"), "c")
	mustChannel(t, createLed(t, l, 2, "orchards"), "c")
	if p := r.Lookup("orders").Policy(); p != nil {
		t.Errorf("a pattern counts: %+v", p)
	}
	for text, want := range map[string]int{"do not count": 2, "pattern=or* ": 1, "pattern=or*/c ": 1, "pattern=other": 0} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is %d times in the log:\n%s", text, n, log.String())
		}
	}
}
