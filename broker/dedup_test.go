package broker_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/broker/topic"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// repeats publishes by HTTP and returns what the header says of duplicates.
func (n *node) repeats(query, body string) string {
	n.t.Helper()
	resp, err := n.http.Post(n.url(query), "", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != 200 {
		n.t.Fatalf("%s: %s %v", query, resp.Status, err)
	}
	return resp.Header.Get("Brokerd-Duplicate")
}

// TestIdempotentPublish: over HTTP a repeated publish is told by a header, and by answer=id which messages it was; kills and clean stops
// change nothing of what is remembered. The manifest names the feature from its first use on.
func TestIdempotentPublish(t *testing.T) {
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	n.run([]request{
		{"POST", "/channel/create?topic=t&channel=c", "", 404, ""},
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/pub?topic=t&dedup=a", "off", 200, "OK"},
		{"POST", "/pub?topic=t&dedup=a", "off", 200, "OK"},
		{"POST", "/topic/config?topic=t", `{"dedup_window":"1h","dedup_max":5000}`, 200, `"dedup_window"`},
	})
	needs := func() []string {
		m, _, err := manifest.Read(vfs.OS(), o.DataPath)
		if err != nil {
			t.Fatal(err)
		}
		return m.Needs
	}
	if got := fmt.Sprint(needs()); got != "[options]" {
		t.Errorf("before a key is kept the manifest names %s", got)
	}
	if h := n.repeats("/pub?topic=t&dedup=a", "one"); h != "" {
		t.Errorf("a first publish is said to be %q", h)
	}
	if got := fmt.Sprint(needs()); got != "[dedup options]" {
		t.Errorf("once a key is kept the manifest names %s", got)
	}
	if h := n.repeats("/pub?topic=t&dedup=a", "two"); h != "1" {
		t.Errorf("a repeated publish is said to be %q", h)
	}
	got := n.published("/mpub?topic=t&dedup=m", "3\n4\n5")
	if len(got.Duplicates) > 0 || !reflect.DeepEqual(got.Positions, []uint64{4, 5, 6}) {
		t.Fatalf("%+v", got)
	}
	some := n.published("/mpub?topic=t&dedup=m", "3\n4\n5\n6")
	if !reflect.DeepEqual(some.Duplicates, []int{0, 1, 2}) || !reflect.DeepEqual(some.Positions, []uint64{4, 5, 6, 7}) || some.IDs[0] != "" || len(some.IDs[3]) != 16 {
		t.Errorf("%+v", some)
	}
	check := func() {
		t.Helper()
		for query, want := range map[string]string{"/pub?topic=t&dedup=a": "1", "/pub?topic=t&dedup=m/2": "1", "/mpub?topic=t&dedup=m": "3"} {
			if h := n.repeats(query, "x\ny\nz"); h != want {
				t.Errorf("%s: %q messages are said to be repeated, want %s", query, h, want)
			}
		}
	}
	check()
	if s := n.topic("t"); s.Duplicates != 9 || s.DedupKeys != 5 || s.MessageCount != 7 {
		t.Errorf("%+v", s)
	}
	n.run([]request{{"GET", "/metrics", "", 200, `brokerd_topic_duplicate_messages_total{topic="t"} 9`}})
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	check()
	n.stop()
	n = startWith(t, o)
	check()
	if s := n.topic("t"); s.DedupKeys != 5 || s.Channels[0].Depth != 7 {
		t.Errorf("after restarts %+v", s)
	}
	n.run([]request{
		{"POST", "/topic/config?topic=t", `{"durability":"memory"}`, 400, "INVALID_CONFIG: dedup_window"},
		{"POST", "/pub?topic=t&dedup=", "m", 400, "INVALID_ARG_DEDUP: it must have 1 to 256 bytes"},
		{"POST", "/mpub?topic=t&dedup=" + strings.Repeat("x", 257), "m", 400, "INVALID_ARG_DEDUP"},
		{"POST", "/pub?topic=t&key=", "m", 400, "INVALID_ARG_KEY"},
		{"POST", "/pub?topic=t&acks=2", "m", 400, "INVALID_ARG_ACKS: acks must be 0, 1 or all"},
		{"POST", "/pub?topic=t&acks=0&durability=fsync", "m", 400, "INVALID_ARG_ACKS: acks 0 is answered at once"},
		{"POST", "/pub?topic=t&acks=0", "m", 200, "OK"},
		{"POST", "/pub?topic=t&acks=all", "m", 200, "OK"},
		{"POST", "/topic/config?topic=t", `{"acks_min":"1"}`, 200, ""},
		{"POST", "/pub?topic=t&acks=0", "m", 400, "INVALID_ARG_ACKS: acks is less than acks_min"},
		{"POST", "/topic/config?topic=t", `{"acks":"0"}`, 400, "INVALID_CONFIG: acks: must be at least what acks_min is"},
		{"POST", "/topic/config?topic=t", `{"key_from":"tail"}`, 400, "INVALID_CONFIG: key_from"},
		{"POST", "/topic/delete?topic=t", "", 200, ""},
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/topic/config?topic=t", `{"dedup_window":"1h"}`, 200, ""},
	})
	if h := n.repeats("/pub?topic=t&dedup=a", "one"); h != "" {
		t.Error("a topic that was deleted has left keys")
	}
}

// TestManyKeysOverACleanStop: what a start reads of them is all of them.
func TestManyKeysOverACleanStop(t *testing.T) {
	o := options(t)
	o.Durability = levelDisk
	o.TopicOptions = []string{"t* dedup_window=1h"}
	n := startWith(t, o)
	const count = 20_000
	lines := strings.Repeat("x\n", count)
	if h := n.repeats("/mpub?topic=t&dedup=m", lines); h != "" {
		t.Fatalf("%q are duplicates", h)
	}
	n.stop()
	n = startWith(t, o)
	began := time.Now()
	if h := n.repeats("/mpub?topic=t&dedup=m", lines); h != fmt.Sprint(count) {
		t.Errorf("%q are duplicates, want %d", h, count)
	}
	t.Logf("%d duplicates took %v", count, time.Since(began))
	if s := n.topic("t"); s.DedupKeys != count || s.Depth != count {
		t.Errorf("%+v", s)
	}
}

// TestRepeatedPublishes: what has a deduplication key that was accepted is answered OK and not stored, on PUB, MPUB and DPUB, however
// publishes stand together; acks that the topic does not allow are refused.
func TestRepeatedPublishes(t *testing.T) {
	two := func(words, a, b string) string {
		return "MPUB t " + words + "\n" + strings.TrimPrefix(prototest.Mpub("t", a, b), "MPUB t\n")
	}
	pub := func(words, body string) string { return "PUB t " + words + "\n" + prototest.Body(body) }
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	p := n.dial()
	p.Send("PUB t\n" + prototest.Body("first"))
	p.Expect("OK")
	n.run([]request{{"POST", "/topic/config?topic=t", `{"dedup_window":"10m","acks_min":"1"}`, 200, ""}})
	depth := int64(1)
	for _, c := range []struct {
		send        string
		oks, stored int
	}{
		{pub("dedup=a", "1") + pub("dedup=a", "2") + pub("", "3") + pub("dedup=b", "4"), 4, 3},
		{pub("dedup=a acks=1", "5") + pub("acks=all", "6") + pub("dedup=%61 x=y", "7"), 3, 1},
		{two("dedup=m", "8", "9") + two("dedup=m", "8", "9") + pub("dedup=m/1", "10"), 3, 2},
		{"DPUB t dedup=d 0\n" + prototest.Body("11") + "DPUB t dedup=d 0\n" + prototest.Body("12") + pub("dedup=d", "13"), 3, 1},
		{pub("key=k", "14") + pub("key=k", "15"), 2, 2},
		{pub("xdedup=a", "14") + pub("Dedup=a dedup2=a", "15"), 2, 2}, // exact names only
	} {
		p.Send(c.send)
		for range c.oks {
			p.Expect("OK")
		}
		depth += int64(c.stored)
		if got := n.topic("t").Depth; got != depth {
			t.Fatalf("after %q: depth %d, want %d", c.send, got, depth)
		}
	}
	p.Send(pub("dedup=z", "16") + pub("acks=0", "17"))
	p.Expect("OK")
	p.ExpectError("E_BAD_MESSAGE PUB failed " + topic.ErrAcks.Error())
	p.ExpectClosed()
	if got := n.topic("t"); got.Depth != depth+1 || got.Duplicates != 8 {
		t.Errorf("%+v", got)
	}
}
