package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
)

// eventsOf returns what the log has of a message, without times and without who, and of each event who it was.
func eventsOf(m *httpapi.MessageAt) (what, who []string) {
	for _, e := range m.History {
		what = append(what, e.Event)
		who = append(who, e.Client)
	}
	return what, who
}

// TestATracedTopicSaysWhoHadAMessage: with the option trace the history of a message has each delivery and each answer with its client, and
// each way back: requeued, timed out, its connection lost. Without it nobody is named.
func TestATracedTopicSaysWhoHadAMessage(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	n.run([]request{{"POST", "/topic/create?topic=t", "", 200, ""}, {"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/topic/config?topic=t", `{"trace":true,"retain_time":"1h"}`, 200, ""}, {"POST", "/topic/create?topic=t2", "", 200, ""}})
	id := n.published("/pub?topic=t", "one").IDs[0]
	c := n.subscribe("t", "c", 1)
	first := c.Conn.LocalAddr().String()
	again := func() {
		if got := c.Next().Message(); string(got.Body) != "one" {
			t.Fatalf("got %q", got.Body)
		}
	}
	again()
	c.Send("REQ " + id + " 0\n")
	again()
	c.Send("REQ " + id + " 1\n")
	again()
	_ = c.Conn.Close()
	c = n.subscribe("t", "c", 1)
	second := c.Conn.LocalAddr().String()
	again()
	c.Send("FIN " + id + "\nNOP\n")
	eventually(t, "it is finished", func() bool { return n.topic("t").Channels[0].InFlightCount == 0 })
	want := []string{"published", "delivered", "requeued", "delivered", "requeued", "deferred", "delivered", "disconnected", "delivered", "finished"}
	m, what, who := n.historyOf(id, len(want))
	if !slices.Equal(what, want) {
		t.Fatalf("got %q, want %q", what, want)
	}
	for i, name := range who {
		addr := first
		if i >= 8 {
			addr = second
		}
		if i == 0 && name != "" || i > 0 && !strings.HasSuffix(name, " "+addr) {
			t.Errorf("%d, %s: by %q", i, what[i], name)
		}
	}
	last, err := time.Parse(time.RFC3339Nano, m.History[9].Time)
	if d := time.Since(last); err != nil || d < -2*time.Second || d > 10*time.Minute {
		t.Errorf("it was finished at %s, %v", m.History[9].Time, err)
	}
	n.run([]request{{"POST", "/topic/config?topic=t", `{"trace":false}`, 200, ""}})
	id = n.published("/pub?topic=t", "one").IDs[0]
	again()
	c.Send("FIN " + id + "\nNOP\n")
	eventually(t, "it is finished", func() bool { return n.topic("t").Channels[0].InFlightCount == 0 })
	if _, what, who = n.historyOf(id, 3); fmt.Sprint(what) != "[published delivered finished]" || strings.Join(who, "") != "" {
		t.Errorf("without trace it is %q by %q", what, who)
	}
}

// historyOf returns the history of a message once it has so many events: they are written a little later than they happen.
func (n *node) historyOf(id string, count int) (m httpapi.MessageAt, what, who []string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("the history of message %s has %d events", id, count), func() bool {
		m = n.messageAt("history=true&id=" + id)
		what, who = eventsOf(&m)
		return len(what) >= count
	})
	return m, what, who
}
