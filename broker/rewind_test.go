package broker_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
)

// moved asks for a rewind, a skip, or a channel at a place.
func (n *node) moved(query string) (m httpapi.Moved) {
	n.t.Helper()
	status, answer := n.ask("POST", query, "")
	if status != 200 || json.Unmarshal([]byte(answer), &m) != nil {
		n.t.Fatalf("%s: %d %s", query, status, answer)
	}
	return m
}

// TestAnsweredSkipOutlivesAKill: what was passed over stays so, also what was out.
func TestAnsweredSkipOutlivesAKill(t *testing.T) {
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=d", "", 200, ""}})
	n.published("/mpub?topic=t", "one\ntwo\nthree\nfour")
	c := n.subscribe("t", "c", 1)
	c.ExpectMessage("one", 1)
	for _, step := range []struct {
		query string
		count int
		left  map[string]string // what waits on each channel
	}{
		{"channel=c&to=pos:4", 2, map[string]string{"c": "one four", "d": "one two three four"}},
		{"channel=d&to=end&all=true", 4, map[string]string{"c": "one four", "d": ""}},
	} {
		if m := n.moved("/channel/skip?topic=t&" + step.query); m.Messages != step.count {
			t.Errorf("%s: %+v", step.query, m)
		}
		o.DataPath = killed(t, n)
		again := startWith(t, o)
		for channel, want := range step.left {
			if left := bodiesOf(again.peeked("/channel/messages?topic=t&channel=" + channel)); left != want {
				t.Errorf("%s: %q wait on %s after a kill, want %q", step.query, left, channel, want)
			}
		}
		again.stop()
	}
}

// TestRewindOverHTTP: what is kept is shown after it was finished; a channel reads again, passes over, or begins at a place; what cannot be is
// refused with what is allowed.
func TestRewindOverHTTP(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability, o.TopicDurability = levelDisk, []string{"m=memory"} })
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""}, {"POST", "/topic/create?topic=m", "", 200, ""},
		{"POST", "/channel/create?topic=m&channel=c", "", 200, ""}})
	n.run([]request{
		{"POST", "/channel/rewind?topic=t&channel=c&to=beginning", "", 400, "NOTHING_KEPT"},
		{"POST", "/channel/create?topic=t&channel=x&start=beginning", "", 400, "NOTHING_KEPT"},
		{"POST", "/channel/rewind?topic=t&channel=c", "", 400, "INVALID_PLACE"},
		{"POST", "/channel/rewind?topic=t&channel=c&to=yesterday", "", 400, "INVALID_PLACE"},
		{"POST", "/channel/skip?topic=t&channel=c&to=pos:0", "", 400, "INVALID_PLACE"},
		{"POST", "/channel/skip?topic=t&channel=c&to=end&all=maybe", "", 400, "INVALID_ARG_ALL"},
		{"POST", "/channel/skip?topic=t&channel=x&to=end", "", 404, "CHANNEL_NOT_FOUND"},
		{"POST", "/channel/rewind?topic=x&channel=c&to=end", "", 404, "TOPIC_NOT_FOUND"},
		{"POST", "/channel/rewind?topic=t&channel=c&to=id:00000000000000ff", "", 404, "MESSAGE_NOT_FOUND"},
		{"POST", "/channel/rewind?topic=m&channel=c&to=end", "", 400, "NEEDS_LOG"},
		{"POST", "/topic/config?topic=m", `{"retain_time":"1h"}`, 400, "INVALID_CONFIG"},
		{"POST", "/topic/config?topic=t", `{"retain_time":"1ms"}`, 400, "INVALID_CONFIG"},
		{"POST", "/topic/config?topic=t", `{"channel_start":"-0h"}`, 400, "INVALID_CONFIG"},
		{"POST", "/topic/config?topic=t", `{"retain_time":"24h","retain_bytes":"1GiB"}`, 200, ""},
	})
	got := n.published("/mpub?topic=t", "one\ntwo\nthree\nfour")
	then := time.Now()
	n.published("/pub?topic=t", "five")
	n.run([]request{{"POST", "/channel/empty?topic=t&channel=c", "", 200, ""}})
	if all := bodiesOf(n.peeked("/topic/messages?topic=t")); all != "one two three four five" {
		t.Errorf("kept is %q", all)
	}
	depth := func() int64 { return n.topic("t").Channels[0].Depth }
	for to, want := range map[string]string{"beginning": "one two three four five", "pos:4": "four five", "id:" + got.IDs[2]: "three four five",
		fmt.Sprint(then.UnixMilli()): "", "-1h": "one two three four five", "end": ""} {
		m := n.moved("/channel/rewind?topic=t&channel=c&dry_run=true&to=" + to)
		if before := depth(); before != 0 {
			t.Errorf("a dry run has %d wait", before)
		}
		done := n.moved("/channel/rewind?topic=t&channel=c&to=" + to)
		if done != m {
			t.Errorf("%s: %+v, and would be %+v", to, done, m)
		}
		if waits := bodiesOf(n.peeked("/channel/messages?topic=t&channel=c")); want != "" && waits != want || len(strings.Fields(waits)) != m.Messages {
			t.Errorf("%s: %q wait, want %q; the answer is %+v", to, waits, want, m)
		}
		n.moved("/channel/skip?topic=t&channel=c&to=end")
		if left := depth(); left != 0 {
			t.Errorf("%s: %d are left by a skip to the end", to, left)
		}
	}
	if m := n.moved("/channel/create?topic=t&channel=d&start=pos:3"); m.Created == nil || !*m.Created || m.Position != 3 || m.Messages != 3 || m.ID != got.IDs[2] {
		t.Errorf("a channel at a place: %+v", m)
	}
	if m := n.moved("/channel/create?topic=t&channel=d&start=beginning"); m.Created == nil || *m.Created {
		t.Errorf("one that is there: %+v", m)
	}
	s := n.topic("t")
	if s.Kept == nil || s.Kept.FromPosition != 1 || s.Channels[1].Replaying != 3 || s.Channels[0].Accounting.Replayed == 0 ||
		s.Channels[0].Accounting.Discarded["skipped"] != s.Channels[0].Accounting.Replayed || !s.Channels[0].Accounting.Balanced {
		t.Errorf("the figures are %+v, %+v, %+v", s.Kept, s.Channels[0].Accounting, s.Channels[1])
	}
}
