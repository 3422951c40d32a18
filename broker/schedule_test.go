package broker_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// published publishes by HTTP with answer=id.
func (n *node) published(query, body string) (p httpapi.Published) {
	n.t.Helper()
	status, answer := n.ask("POST", query+"&answer=id", body)
	if status != 200 || json.Unmarshal([]byte(answer), &p) != nil {
		n.t.Fatalf("%s: %d %s", query, status, answer)
	}
	return p
}

// listed returns what is deferred, limit at a time.
func (n *node) listed(query string, limit int) (list []httpapi.DeferredMessage) {
	n.t.Helper()
	for from := ""; ; {
		status, answer := n.ask("GET", fmt.Sprintf("/channel/deferred?%s&limit=%d%s", query, limit, from), "")
		var d httpapi.DeferredMessages
		if status != 200 || json.Unmarshal([]byte(answer), &d) != nil {
			n.t.Fatalf("%s: %d %s", query, status, answer)
		}
		if list = append(list, d.Messages...); d.Next == "" {
			return list
		}
		from = "&from=" + d.Next
	}
}

func positions(list []httpapi.DeferredMessage) (p []uint64) {
	for _, m := range list {
		p = append(p, m.Position)
	}
	return p
}

// TestSchedule: what is published for a moment keeps it to the millisecond across kills, is listed in the order in which it is due, and is
// cancelled and released by the ids and positions that its publisher was told, each without touching another.
func TestSchedule(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.MaxDefer = levelDisk, 365*24*time.Hour
	n := startWith(t, o)
	at := time.Now().Add(48 * time.Hour).Truncate(time.Millisecond)
	first := n.published(fmt.Sprintf("/pub?topic=t&at=%d", at.UnixMilli()), "one")
	second := n.published("/pub?topic=t&at="+at.Add(-time.Hour).UTC().Format(time.RFC3339Nano), "two")
	three := n.published("/mpub?topic=t&defer=60000", "3\n4\n5")
	if len(three.IDs) != 3 || len(three.Positions) != 3 || first.Positions[0] != 1 || second.Positions[0] != 2 || three.Positions[2] != 5 {
		t.Fatalf("%v %v %v", first, second, three)
	}
	if got := fmt.Sprint(positions(n.listed("topic=t", 2))); got != "[3 4 5 2 1]" {
		t.Fatalf("in the topic's own backlog are %s", got)
	}
	n.run([]request{
		{"POST", "/message/cancel?topic=t&pos=4", "", 200, `{"position":4,"channels":[],"backlog":true}`},
		{"POST", "/channel/create?topic=t&channel=a", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=b", "", 200, ""},
		{"GET", "/stats?format=json&topic=t&channel=a", "", 200, `"deferred_by_due":{"minute":2,"hour":0,"day":0,"later":2}`},
	})
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	list := n.listed("topic=t&channel=a", 100)
	if got := fmt.Sprint(positions(list)); got != "[3 5 2 1]" {
		t.Fatalf("after a kill channel a has %s", got)
	}
	if list[3].Due != at.UTC().Format("2006-01-02T15:04:05.000Z") || list[3].ID != first.IDs[0] || list[3].Size != 3 || list[3].Age < 0 {
		t.Errorf("%+v, published for %v with id %s", list[3], at, first.IDs[0])
	}
	n.run([]request{
		{"POST", "/message/release?topic=t&id=" + three.IDs[2], "", 200, `{"position":5,"channels":["a"]}`},
		{"POST", "/message/release?topic=t&id=" + three.IDs[2], "", 404, `MESSAGE_NOT_DEFERRED`},
		{"POST", "/message/cancel?topic=t&channel=a&id=" + second.IDs[0], "", 200, `"channels":["a"]`},
		{"POST", "/message/cancel?topic=t&id=" + three.IDs[1], "", 404, `MESSAGE_NOT_DEFERRED`},
		{"GET", "/stats?format=json&topic=t&channel=a", "", 200, `"cancelled":1`},
	})
	c := n.subscribe("t", "a", 10)
	c.ExpectMessage("5", 1)
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	if got := fmt.Sprint(positions(n.listed("topic=t&channel=a", 1))); got != "[3 1]" {
		t.Errorf("after another kill channel a has %s deferred", got)
	}
}

// TestScheduleRefuses: bad arguments are told what is wrong, and what needs the log says so at level memory.
func TestScheduleRefuses(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) {
		o.Durability, o.MaxDefer = levelDisk, 2*time.Hour
		o.TopicDurability = []string{"m=memory"}
	})
	soon, late := time.Now().Add(time.Hour).UnixMilli(), time.Now().Add(3*time.Hour).UnixMilli()
	n.run([]request{
		{"POST", "/pub?topic=t&defer=7200000", "m", 200, "OK"},
		{"POST", "/pub?topic=t&defer=7200001", "m", 400, "INVALID_DEFER"},
		{"POST", fmt.Sprintf("/pub?topic=t&at=%d", late), "m", 400, "INVALID_AT: it is more than --max-defer, 2h0m0s, from now"},
		{"POST", fmt.Sprintf("/pub?topic=t&at=%d&defer=0", soon), "m", 400, "INVALID_AT: a publish has either at or defer"},
		{"POST", "/pub?topic=t&at=tomorrow", "m", 400, "INVALID_AT: it must be milliseconds since 1970 or a time such as"},
		{"POST", "/pub?topic=t&at=", "m", 400, "INVALID_AT"},
		{"POST", "/pub?topic=t&at=9223372036854775807", "m", 400, "INVALID_AT"},
		{"POST", "/pub?topic=t&at=-9223372036854775808", "m", 200, "OK"},
		{"POST", "/pub?topic=t&at=1", "m", 200, "OK"},
		{"POST", "/pub?topic=t&at=0001-01-01T00:00:00Z", "m", 200, "OK"},
		{"POST", "/pub?topic=t&answer=ids", "m", 400, "INVALID_ANSWER"},
		{"POST", "/mpub?topic=t&answer=id", "\n", 200, `{"ids":[],"positions":[]}`},
		{"GET", "/channel/deferred", "", 400, "MISSING_ARG_TOPIC"},
		{"GET", "/channel/deferred?topic=none", "", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/channel/deferred?topic=t&channel=none", "", 404, "CHANNEL_NOT_FOUND"},
		{"GET", "/channel/deferred?topic=t&limit=0", "", 400, "INVALID_ARG_LIMIT: it must be a number from 1 to 1000"},
		{"GET", "/channel/deferred?topic=t&limit=1001", "", 400, "INVALID_ARG_LIMIT"},
		{"GET", "/channel/deferred?topic=t&from=x.1", "", 400, "INVALID_ARG_FROM"},
		{"GET", fmt.Sprintf("/channel/deferred?topic=t&from=%d", late), "", 200, `"deferred":1,"messages":[]`},
		{"POST", "/message/cancel?topic=t", "", 400, "MISSING_ARG_ID"},
		{"POST", "/message/cancel?topic=t&pos=1&id=1", "", 400, "INVALID_ARG_ID: it must be 16 hex digits"},
		{"POST", "/message/cancel?topic=t&pos=1&id=0123456789abcdef", "", 404, "MESSAGE_NOT_FOUND"},
		{"POST", "/message/cancel?topic=t&pos=0", "", 400, "INVALID_ARG_POS"},
		{"POST", "/message/cancel?topic=t&pos=99", "", 404, "MESSAGE_NOT_DEFERRED"},
		{"POST", "/message/cancel?topic=t&pos=18446744073709551615", "", 404, "MESSAGE_NOT_DEFERRED"},
		{"POST", "/message/cancel?topic=t&id=zz", "", 400, "INVALID_ARG_ID"},
		{"POST", "/message/cancel?topic=t&id=0123456789abcdef", "", 404, "MESSAGE_NOT_DEFERRED"},
		{"POST", "/message/cancel?topic=t&channel=none&pos=1", "", 404, "CHANNEL_NOT_FOUND"},
		{"POST", "/message/release?topic=none&pos=1", "", 404, "TOPIC_NOT_FOUND"},
		{"POST", "/pub?topic=m&defer=1000", "m", 200, "OK"},
		{"POST", "/message/cancel?topic=m&pos=1", "", 400, "NEEDS_LOG: the topic is at level memory"},
		{"POST", "/message/cancel?topic=m&id=0123456789abcdef", "", 400, "NEEDS_LOG"},
		{"GET", "/channel/deferred?topic=m", "", 200, `"deferred":1`},
	})
	if p := n.published("/pub?topic=m&defer=1000", "m"); len(p.IDs) != 1 || len(p.Positions) != 0 {
		t.Errorf("at level memory: %v", p)
	}
	c := n.dial()
	c.Send("DPUB t 7200001\n\x00\x00\x00\x01m")
	c.ExpectError("E_INVALID DPUB timeout 7200001 out of range 0-7200000")
}

// TestDueAtOnceAfterALongStop: what has become due while the broker was down comes at the start, and nothing earlier than it is due, whether
// --mem-queue-size is 0 or not.
func TestDueAtOnceAfterALongStop(t *testing.T) {
	t.Parallel()
	const soon, late = 10_000, 100_000
	for _, memory := range []int64{0, 10000} {
		o := options(t)
		o.MaxRdyCount = 2 * soon
		o.Durability, o.MemQueueSize = broker.Durability(topic.Disk), memory
		n := startWith(t, o)
		n.post("/topic/create?topic=t", "")
		n.post("/channel/create?topic=t&channel=a", "")
		due := time.Now().Add(300 * time.Millisecond)
		n.post(fmt.Sprintf("/mpub?topic=t&at=%d", due.UnixMilli()), strings.Repeat("soon\n", soon))
		n.post("/mpub?topic=t&defer=3600000", strings.Repeat("late\n", late))
		o.DataPath = killed(t, n)
		time.Sleep(time.Until(due) + 10*time.Millisecond) // real time: the broker is down meanwhile
		n = startWith(t, o)
		c := n.subscribe("t", "a", 2*soon)
		for range soon {
			c.ExpectMessage("soon", 1)
		}
		if s := n.channel("t", "a"); s.DeferredCount != late || s.RequeueCount != 0 || s.InFlightCount != soon {
			t.Errorf("with --mem-queue-size=%d: %+v", memory, s)
		}
		n.stop()
	}
}

// TestSpaceOfWhatExpiredIsGivenBack: with nobody consuming and nothing published, by a message's own time and by the option.
func TestSpaceOfWhatExpiredIsGivenBack(t *testing.T) {
	t.Parallel()
	if !long {
		t.Skip("NOT RUN: the broker looks for space once a minute: make crash waits for it")
	}
	o := options(t)
	o.Durability, o.MemQueueSize = levelDisk, 100
	n := startWith(t, o)
	for _, name := range []string{"own", "option"} {
		n.post("/topic/create?topic="+name, "")
		n.post("/channel/create?topic="+name+"&channel=a", "")
	}
	n.post("/topic/config?topic=option", `{"ttl":"2s"}`)
	lines := strings.Repeat(strings.Repeat("x", 1000)+"\n", 1000)
	for range 10 {
		n.post("/mpub?topic=own&ttl=2s", lines)
		n.post("/mpub?topic=option", lines)
	}
	segments := func() (bytes int64) {
		_ = filepath.WalkDir(filepath.Join(n.dir, "segments"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if info, err := d.Info(); err == nil {
					bytes += info.Size()
				}
			}
			return nil
		})
		return bytes
	}
	if size := segments(); size < 10<<20 {
		t.Fatalf("%d bytes are in segments", size)
	}
	cmdtest.Eventually(t, "everything has expired and is off the disk", 20*time.Second, func() bool {
		own, option := n.channel("own", "a"), n.channel("option", "a")
		return own.Depth+option.Depth == 0 && own.Accounting.Discarded["expired"] == 10_000 && option.Accounting.Discarded["expired"] == 10_000 &&
			segments() < 1<<20
	})
}
