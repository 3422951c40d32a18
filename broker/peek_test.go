package broker_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// peeked asks for messages.
func (n *node) peeked(query string) (m httpapi.Messages) {
	n.t.Helper()
	status, answer := n.ask("GET", query, "")
	if status != 200 || json.Unmarshal([]byte(answer), &m) != nil {
		n.t.Fatalf("%s: %d %s", query, status, answer)
	}
	return m
}

// bodiesOf returns the bodies of messages.
func bodiesOf(m httpapi.Messages) string {
	var all []string
	for _, one := range m.Messages {
		if one.Body != nil {
			all = append(all, *one.Body)
		} else {
			all = append(all, string(one.BodyBase64))
		}
	}
	return strings.Join(all, " ")
}

// TestPeekGoesOnInATopicThatWasMadeAnew: who goes on by a cursor sees what is in the topic that has the name now, from its first message on, and
// is told; a restart is no such thing.
func TestPeekGoesOnInATopicThatWasMadeAnew(t *testing.T) {
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	made := []request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""}}
	n.run(made)
	n.published("/mpub?topic=t", "one\ntwo\nthree")
	paths := []string{"/topic/messages?topic=t", "/channel/messages?topic=t&channel=c"}
	next := map[string]string{}
	for _, path := range paths {
		next[path] = n.peeked(path + "&from=-1h").Next
	}
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	n.published("/pub?topic=t", "four")
	for _, path := range paths {
		if m := n.peeked(path + "&cursor=" + next[path]); bodiesOf(m) != "four" || m.Anew {
			t.Errorf("%s after a restart: %+v", path, m)
		}
	}
	n.run([]request{{"POST", "/topic/delete?topic=t", "", 200, ""}})
	n.run(made)
	n.published("/mpub?topic=t", "1\n2\n3\n4\n5")
	for _, path := range paths {
		m := n.peeked(path + "&limit=3&cursor=" + next[path])
		if bodiesOf(m) != "1 2 3" || !m.Anew {
			t.Errorf("%s goes on with %+v", path, m)
		}
		if m = n.peeked(path + "&cursor=" + m.Next); bodiesOf(m) != "4 5" || m.Anew {
			t.Errorf("%s, and then with %+v", path, m)
		}
	}
}

// TestPeek: messages are looked at over HTTP from every place, by pages, by text and as a channel has them, and stay as they were.
func TestPeek(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability, o.TopicDurability = levelDisk, []string{"m=memory"} })
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""}})
	first := n.published("/mpub?topic=t", "one\ntwo\nthree")
	then := time.Now().Truncate(time.Millisecond).Add(time.Millisecond) // times are told apart by the millisecond
	cmdtest.Eventually(t, "the clock has gone on", time.Second, func() bool { return !time.Now().Before(then) })
	n.published("/pub?topic=t", "\xff\x00four")
	n.published("/pub?topic=t&defer=3600000", "five")
	for query, want := range map[string]string{
		"":                                     "one two three \xff\x00four five",
		"&from=beginning&limit=2":              "one two",
		"&from=end":                            "",
		"&from=pos:3":                          "three \xff\x00four five",
		"&from=id:" + first.IDs[1]:             "two three \xff\x00four five",
		fmt.Sprint("&from=", then.UnixMilli()): "\xff\x00four five",
		"&from=" + url.QueryEscape(then.UTC().Format(time.RFC3339Nano)): "\xff\x00four five",
		"&from=-1h":              "one two three \xff\x00four five",
		"&contains=re":           "three",
		"&body=head:2&limit=3":   "on tw th",
		"&body=none&limit=1":     "",
		"&max_bytes=4&body=full": "one two",
	} {
		m := n.peeked("/topic/messages?topic=t" + query)
		if got := bodiesOf(m); got != want && query != "&body=none&limit=1" {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
		if m.Next == "" {
			t.Errorf("%s has no next", query)
		}
	}
	var all []string
	for cursor := ""; ; {
		m := n.peeked("/topic/messages?topic=t&limit=2" + cursor)
		if all = append(all, bodiesOf(m)); m.End {
			break
		}
		cursor = "&cursor=" + m.Next
	}
	if got := strings.Join(all, " "); got != "one two three \xff\x00four five" {
		t.Errorf("by pages: %q", got)
	}
	c := n.subscribe("t", "c", 1)
	c.ExpectMessage("one", 1)
	for range 50 {
		if out := n.peeked("/channel/messages?topic=t&channel=c&state=in_flight"); len(out.Messages) != 1 || out.Messages[0].Attempts != 1 ||
			out.Messages[0].Client == "" || out.Messages[0].Deadline == "" || out.State != "in_flight" {
			t.Fatalf("in flight: %+v", out)
		}
		if got := bodiesOf(n.peeked("/channel/messages?topic=t&channel=c")); got != "two three \xff\x00four" {
			t.Fatalf("waiting: %q", got)
		}
		if d := n.peeked("/channel/messages?topic=t&channel=c&state=deferred"); bodiesOf(d) != "five" || d.Messages[0].Due == "" || !d.End {
			t.Fatalf("deferred: %+v", d)
		}
	}
	if s := n.channel("t", "c"); s.InFlightCount != 1 || s.Depth != 3 || s.DeferredCount != 1 || s.RequeueCount+s.TimeoutCount != 0 {
		t.Errorf("after looking: %+v", s)
	}
	resp, err := n.http.Get(n.url("/topic/messages?topic=t&format=raw&limit=2"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Cache-Control") != "no-store" || !strings.HasSuffix(resp.Header.Get("Brokerd-Next"), "-3") || resp.Header.Get("Brokerd-End") != "false" {
		t.Errorf("headers %v", resp.Header)
	}
	frames := make([]byte, 2*(protocol.MessageOverhead+3)+1)
	if k, _ := resp.Body.Read(frames); k != len(frames)-1 || string(protocol.FirstMessage(frames).Body()) != "one" {
		t.Errorf("%d bytes: %q", k, frames)
	}
	n.run([]request{
		{"GET", "/topic/messages", "", 400, "MISSING_ARG_TOPIC"},
		{"GET", "/topic/messages?topic=none", "", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/channel/messages?topic=t&channel=none", "", 404, "CHANNEL_NOT_FOUND"},
		{"GET", "/channel/messages?topic=t&channel=c&state=lost", "", 400, "INVALID_ARG_STATE"},
		{"GET", "/topic/messages?topic=t&from=tomorrow", "", 400, "INVALID_PLACE"},
		{"GET", "/topic/messages?topic=t&from=pos:0", "", 400, "INVALID_PLACE"},
		{"GET", "/topic/messages?topic=t&from=id:0000000000000001", "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/topic/messages?topic=t&cursor=0", "", 400, "INVALID_ARG_CURSOR"},
		{"GET", "/topic/messages?topic=t&cursor=1-0", "", 400, "INVALID_ARG_CURSOR"},
		{"GET", "/topic/messages?topic=t&cursor=1-1.x", "", 400, "INVALID_ARG_CURSOR"},
		{"GET", "/topic/messages?topic=t&limit=0", "", 400, "INVALID_ARG_LIMIT"},
		{"GET", "/topic/messages?topic=t&max_bytes=4194305", "", 400, "INVALID_ARG_MAX_BYTES"},
		{"GET", "/topic/messages?topic=t&scan=268435457", "", 400, "INVALID_ARG_SCAN"},
		{"GET", "/topic/messages?topic=t&format=xml", "", 400, "INVALID_ARG_FORMAT"},
		{"POST", "/pub?topic=m", "x", 200, "OK"},
		{"GET", "/topic/messages?topic=m", "", 400, "NEEDS_LOG"},
		{"GET", "/metrics", "", 200, "brokerd_browse_requests_total"},
	})
	req, _ := http.NewRequest("GET", n.url("/topic/messages?topic=t"), nil)
	req.Header.Set("Origin", "http://stranger.example")
	if resp, err := n.http.Do(req); err != nil || resp.StatusCode != 403 || resp.Body.Close() != nil {
		t.Errorf("a foreign page gets %v %v", resp, err)
	}
}

// TestPeekCanBeTurnedOff: then nobody sees bodies; what is deferred is still listed.
func TestPeekCanBeTurnedOff(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability, o.HTTPMessages = levelDisk, "off" })
	n.published("/pub?topic=t&defer=3600000", "m")
	n.run([]request{
		{"GET", "/topic/messages?topic=t", "", 403, "MESSAGES_OFF"},
		{"GET", "/channel/messages?topic=t&state=deferred", "", 403, "MESSAGES_OFF"},
		{"GET", "/channel/deferred?topic=t", "", 200, `"position":1`},
	})
	o := options(t)
	o.HTTPMessages = "perhaps"
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--http-messages") {
		t.Errorf("--http-messages=perhaps: %v", err)
	}
}

// TestSlowReadersOfMessages: whoever does not read his answer keeps his place, and the answers that are in memory are no more than places.
func TestSlowReadersOfMessages(t *testing.T) {
	socket := unixPath(t, "http.sock") // which has room for little, so that answers need not be large: making those takes a busy machine long
	n := start(t, func(o *broker.Options) { o.Durability, o.HTTPAddress = levelDisk, socket })
	for range 4 {
		n.published("/pub?topic=t", strings.Repeat("\x01", 1<<16)) // six times as much in JSON: more than a connection has room for
	}
	query := "/topic/messages?topic=t&body=full&max_bytes=4194304"
	refused := func() bool {
		status, answer := n.ask("GET", query, "")
		return status == 429 && strings.Contains(answer, "BUSY")
	}
	var slow []net.Conn
	for len(slow) < 4 || len(slow) < 12 && !refused() { // more than four where a machine is so slow that the first are cut off meanwhile
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", query)
		if _, err := c.Read(make([]byte, 100)); err != nil { // it is being sent
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	if len(slow) == 12 {
		t.Error("eight more answers were begun while four are being sent")
	}
	if status, _ := n.ask("GET", "/stats", ""); status != 200 {
		t.Error("others have to wait as well")
	}
	for _, c := range slow {
		_ = c.Close()
	}
	cmdtest.Eventually(t, "places are free again", time.Minute, func() bool {
		status, _ := n.ask("GET", query, "")
		return status == 200
	})
}
