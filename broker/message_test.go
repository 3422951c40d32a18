package broker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
)

// messageAt asks for one message.
func (n *node) messageAt(query string) (m httpapi.MessageAt) {
	n.t.Helper()
	status, answer := n.ask("GET", "/message?topic=t&"+query, "")
	if status != 200 || json.Unmarshal([]byte(answer), &m) != nil {
		n.t.Fatalf("%s: %d %s", query, status, answer)
	}
	return m
}

// TestOneMessageOverHTTP: one message is found by its id and by its position, with what each channel has of it; it is finished by hand on one
// channel and stays on the other; what cannot be is refused with the reason.
func TestOneMessageOverHTTP(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability, o.TopicDurability = levelDisk, []string{"m=memory"} })
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=d", "", 200, ""}, {"POST", "/topic/create?topic=m", "", 200, ""}, {"POST", "/channel/create?topic=m&channel=c", "", 200, ""}})
	got := n.published("/mpub?topic=t", "one\ntwo\nthree")
	for _, query := range []string{"pos=2", "id=" + got.IDs[1]} {
		m := n.messageAt(query)
		if m.Position != 2 || m.ID != got.IDs[1] || m.Body == nil || *m.Body != "two" || m.Kept || m.ReadFrom != "memory" || len(m.Channels) != 2 ||
			m.Channels[0].State != "waiting" || *m.Channels[0].Ahead != 1 || m.Backlog != nil {
			t.Errorf("%s: %+v", query, m)
		}
	}
	var f httpapi.FinishedByHand
	status, answer := n.ask("POST", "/message/finish?topic=t&channel=c&id="+got.IDs[1], "")
	if status != 200 || json.Unmarshal([]byte(answer), &f) != nil || f.Position != 2 || f.Was.State != "waiting" {
		t.Errorf("finished by hand: %d %s", status, answer)
	}
	if m := n.messageAt("pos=2"); m.Channels[0].State != "finished" || m.Channels[1].State != "waiting" {
		t.Errorf("after that it is %+v", m.Channels)
	}
	if s := n.topic("t"); s.Channels[0].Depth != 2 || s.Channels[0].Accounting.Discarded["by_hand"] != 1 || !s.Channels[0].Accounting.Balanced || s.Channels[1].Depth != 3 {
		t.Errorf("the figures are %+v", s.Channels)
	}
	n.run([]request{
		{"POST", "/message/finish?topic=t&channel=c&id=" + got.IDs[1], "", 404, "MESSAGE_NOT_FOUND"},
		{"POST", "/message/finish?topic=t&channel=d&pos=2", "", 200, ""},
		{"GET", "/message?topic=t&pos=2", "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&pos=4", "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&id=00000000000000ff", "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t", "", 400, "MISSING_ARG_ID"},
		{"GET", "/message?topic=t&pos=1&id=" + got.IDs[0], "", 200, `"one"`},
		{"GET", "/message?topic=t&pos=1&id=" + got.IDs[2], "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&pos=2&id=" + got.IDs[2], "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&pos=1&id=7", "", 400, "INVALID_ARG_ID"},
		{"POST", "/message/finish?topic=t&channel=c&pos=1&id=" + got.IDs[2], "", 404, "MESSAGE_NOT_FOUND"},
		{"POST", "/message/cancel?topic=t&pos=1&id=" + got.IDs[2], "", 404, "MESSAGE_NOT_FOUND"},
		{"POST", "/message/release?topic=m&channel=c&pos=1&id=" + got.IDs[2], "", 400, "NEEDS_LOG"},
		{"GET", "/message?topic=t&pos=1&pos=2", "", 400, "INVALID_ARG_POS"},
		{"GET", "/message?topic=t&id=zz", "", 400, "INVALID_ARG_ID"},
		{"GET", "/message?topic=t&pos=0", "", 400, "INVALID_ARG_POS"},
		{"GET", "/message?topic=t&pos=1&body=some", "", 400, "INVALID_ARG_BODY"},
		{"GET", "/message?topic=x&pos=1", "", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/message?topic=m&pos=1", "", 400, "NEEDS_LOG"},
		{"POST", "/message/finish?topic=t&channel=x&pos=1", "", 404, "CHANNEL_NOT_FOUND"},
		{"POST", "/message/finish?topic=t&pos=1", "", 400, "MISSING_ARG_CHANNEL"},
		{"POST", "/message/finish?topic=m&channel=c&pos=1", "", 400, "NEEDS_LOG"},
		{"POST", "/pub?topic=t&dedup=a&dedup=b", "twice", 400, "INVALID_ARG_DEDUP"},
		{"POST", "/pub?topic=t&key=a&key=a", "twice", 400, "INVALID_ARG_KEY"},
		{"POST", "/channel/skip?topic=t&channel=c&to=pos:1&to=end", "", 400, "INVALID_ARG_TO"},
	})
	if s := n.topic("t"); s.Channels[0].Depth != 2 {
		t.Errorf("what was refused is there: %+v", s.Channels[0])
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", n.url("/message?topic=t&pos=1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	req.Header.Set("Origin", "http://elsewhere.example")
	resp, err = http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site gets %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	if got := strings.TrimSpace(answer); !strings.Contains(got, `"was"`) {
		t.Errorf("the answer is %s", got)
	}
}

// TestAPositionOfATopicThatWasMadeAnew: whoever names a message by position and id, as a page that is older than the topic, finishes no other one.
func TestAPositionOfATopicThatWasMadeAnew(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	ids := map[string]string{}
	for _, body := range []string{"one", "two"} {
		n.post("/topic/create?topic=t", "")
		n.post("/channel/create?topic=t&channel=c", "")
		ids[body] = n.published("/pub?topic=t", body).IDs[0]
		if body == "one" {
			n.post("/topic/delete?topic=t", "")
		}
	}
	n.run([]request{{"POST", "/message/finish?topic=t&channel=c&pos=1&id=" + ids["one"], "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&pos=1", "", 200, `"two"`}, {"POST", "/message/finish?topic=t&channel=c&pos=1&id=" + ids["two"], "", 200, `"position":1`}})
}

// TestTraceOfAStoppedBroker: what a message was and what became of it is read out of the folder, and nothing is changed there.
func TestTraceOfAStoppedBroker(t *testing.T) {
	o, _ := backlog(t)
	trace := func(topic, message string) (string, error) {
		var out bytes.Buffer
		err := broker.Trace(o.DataPath, topic, message, &out, nil)
		return out.String(), err
	}
	for message, want := range map[string][]string{
		"1":    {"finished on c", "d: waiting", "c: finished"},
		"2":    {"c: deferred, delivered 1 times, due ", "d: waiting", "published\n", "delivered on c, attempt 1", "deferred on c until "},
		"3":    {"c: waiting, delivered 1 times"},
		"4":    {"c: waiting\n", `body "0003xxx`},
		"2001": {`body "deferred"`, "d: deferred, due "},
	} {
		got, err := trace("t", message)
		for _, text := range want {
			if err != nil || !strings.Contains(got, text) {
				t.Errorf("%s: %v, no %q in\n%.2000s", message, err, text, got)
			}
		}
	}
	for _, wrong := range [][2]string{{"t", "9999"}, {"t", "00000000000000ff"}, {"none", "1"}} {
		if got, err := trace(wrong[0], wrong[1]); !errors.Is(err, broker.ErrNotTraced) {
			t.Errorf("%v: %v\n%s", wrong, err, got)
		}
	}
	if _, err := trace("t", "first"); err == nil || errors.Is(err, broker.ErrNotTraced) {
		t.Errorf("a name that is none: %v", err)
	}
	if err := broker.Check(o.DataPath, new(bytes.Buffer), nil); err != nil {
		t.Errorf("afterwards the folder is %v", err)
	}
}

// TestHistoryOverHTTP: what happened to a message is told while the log has it, also once the message is gone, and after a kill.
func TestHistoryOverHTTP(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""}})
	n.published("/mpub?topic=t", "one\ntwo")
	c := n.subscribe("t", "c", 1)
	first := c.Next().Message()
	c.Send("REQ " + first.ID + " 0\n")
	again := c.Next().Message()
	c.Send("FIN " + again.ID + "\n")
	second := c.Next().Message()
	events := func(query string) (m httpapi.MessageAt, text string) {
		m = n.messageAt(query + "&history=true")
		for _, e := range m.History {
			text += fmt.Sprintf("%s %s %d, ", e.Event, e.Channel, e.Attempt)
		}
		return m, text
	}
	other := first.ID
	if again.ID == first.ID {
		other = second.ID
	}
	eventually(t, "the finished one has gone", func() bool { return n.topic("t").Channels[0].Accounting.Finished == 1 })
	eventually(t, "the log is written", func() bool {
		_, text := events("id=" + again.ID)
		return strings.Contains(text, "finished c")
	})
	m, text := events("id=" + again.ID)
	want := "published  0, delivered c 1, delivered c 2, finished c 0, "
	if again.ID != first.ID {
		want = "published  0, delivered c 1, finished c 0, "
	}
	if !m.Gone || text != want || m.Since == "" || m.Size != 3 || m.Position == 0 {
		t.Errorf("the history of what is gone is %q, want %q: %+v", text, want, m)
	}
	if m, text := events("id=" + other); m.Gone || !strings.HasPrefix(text, "published  0, delivered c 1, ") || m.Body == nil {
		t.Errorf("the history of what is there is %q: %+v", text, m)
	}
	n.run([]request{{"GET", "/message?topic=t&id=" + again.ID, "", 404, "MESSAGE_NOT_FOUND"}, {"GET", "/message?topic=t&id=00000000000000ff&history=true", "", 404, "MESSAGE_NOT_FOUND"},
		{"GET", "/message?topic=t&pos=1&history=perhaps", "", 400, "INVALID_ARG_HISTORY"}})
}
