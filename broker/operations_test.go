package broker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// TestPausedTopic: what is published stays in the topic, and moves on when the pause ends.
func TestPausedTopic(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.post("/topic/create?topic=t", "")
	n.post("/topic/pause?topic=t", "")
	n.publish("t", "x")
	n.post("/channel/create?topic=t&channel=c", "")
	if topic := n.topic("t"); topic.Depth != 1 || topic.Channels[0].Depth != 0 || !topic.Paused {
		t.Errorf("paused: %+v", topic)
	}
	n.post("/topic/unpause?topic=t", "")
	cmdtest.Eventually(t, "the message has moved", 100*time.Millisecond, func() bool {
		topic := n.topic("t")
		return topic.Depth == 0 && topic.Channels[0].Depth == 1
	})
}

// TestPausedChannel: its consumer gets nothing until the pause ends.
func TestPausedChannel(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	c := n.subscribe("t", "c", 5)
	n.publish("t", "before")
	c.ExpectMessage("before", 1)
	n.post("/channel/pause?topic=t&channel=c", "")
	n.publish("t", "during")
	c.Send(prototest.Pub("other", "probe"))
	c.Expect("OK")
	if s := n.channel("t", "c"); s.Depth != 1 || !s.Paused {
		t.Errorf("paused: %+v", s)
	}
	n.post("/channel/unpause?topic=t&channel=c", "")
	c.ExpectMessage("during", 1)
}

// TestChannelsCopyAndKeep: each channel gets each message; the first one also what came before it; without the last one
// messages gather in the topic again.
func TestChannelsCopyAndKeep(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.publish("t", "1", "2")
	n.post("/channel/create?topic=t&channel=a", "")
	n.publish("t", "3")
	n.post("/channel/create?topic=t&channel=b", "")
	n.publish("t", "4")
	topic := n.topic("t")
	if topic.Depth != 0 || topic.MessageCount != 4 || topic.MessageBytes != 4 || topic.Channels[0].Depth != 4 || topic.Channels[1].Depth != 1 {
		t.Errorf("%+v", topic)
	}
	n.post("/channel/delete?topic=t&channel=a", "")
	n.post("/channel/delete?topic=t&channel=b", "")
	n.publish("t", "5")
	if topic = n.topic("t"); topic.Depth != 1 || len(topic.Channels) != 0 {
		t.Errorf("without channels: %+v", topic)
	}
	n.post("/topic/empty?topic=t", "")
	if topic = n.topic("t"); topic.Depth != 0 {
		t.Errorf("emptied: %+v", topic)
	}
}

// TestEmptyChannel drops what waits, is deferred and in flight, and gives consumers their credit back.
func TestEmptyChannel(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.MemQueueSize = 10 })
	c := n.subscribe("t", "c", 2)
	n.publish("t", strings.Split(strings.TrimSpace(strings.Repeat("x ", 30)), " ")...)
	n.post("/pub?topic=t&defer=60000", "later")
	c.ExpectMessage("x", 1)
	id := c.ExpectMessage("x", 1).ID
	if s := n.channel("t", "c"); s.Depth != 28 || s.InFlightCount != 2 || s.DeferredCount != 1 || s.Clients[0].InFlightCount != 2 {
		t.Errorf("before: %+v", s)
	}
	n.post("/channel/empty?topic=t&channel=c", "")
	if s := n.channel("t", "c"); s.Depth+s.BackendDepth != 0 || s.InFlightCount+s.DeferredCount != 0 || s.Clients[0].InFlightCount != 0 {
		t.Errorf("after: %+v", s)
	}
	c.Send("FIN " + id + "\n")
	c.ExpectError("E_FIN_FAILED FIN " + id + " failed ID not in flight")
	n.publish("t", "new", "new")
	c.ExpectMessage("new", 1)
	c.ExpectMessage("new", 1)
}

// TestDeleteDisconnects: consumers of what is deleted are closed without a word, and the name can be used anew.
func TestDeleteDisconnects(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	ofChannel, ofTopic := n.subscribe("t", "c", 1), n.subscribe("t", "d", 1)
	n.post("/channel/delete?topic=t&channel=c", "")
	ofChannel.ExpectClosed()
	n.post("/topic/delete?topic=t", "")
	ofTopic.ExpectClosed()
	if n.topic("t") != nil {
		t.Error("the topic is still there")
	}
	n.publish("t", "x")
	n.subscribe("t", "c", 1).ExpectMessage("x", 1)
}

// TestMpubMakesItsTopicFirst, before the body turns out to be wrong.
func TestMpubMakesItsTopicFirst(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	c := n.dial()
	c.Send("MPUB t\n" + prototest.I32(-1))
	c.ExpectError("E_BAD_BODY MPUB invalid body size -1")
	c.ExpectClosed()
	if s := n.topic("t"); s == nil || s.MessageCount != 0 {
		t.Errorf("the topic is %+v", s)
	}
	c = n.dial()
	c.Send("PUB u\n" + prototest.I32(-1))
	c.ExpectError("E_BAD_MESSAGE PUB invalid message body size -1")
	c.ExpectClosed()
	if n.topic("u") != nil {
		t.Error("PUB has made its topic")
	}
}

// TestStatsOfConnections: consumers stand in their channel, producers apart, with what they negotiated and did.
func TestStatsOfConnections(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	tr := n.tcp()
	c := prototest.Dial(t, tr.Network, tr.Address)
	tr.Snappy = true
	c.Negotiate(tr, map[string]any{"client_id": "app", "hostname": "app.local", "user_agent": "ua/1"})
	c.Send("SUB t c\n" + prototest.Pub("t", "a") + prototest.Pub("t", "b") + "RDY 2\n")
	c.Expect("OK")
	c.Expect("OK")
	c.Expect("OK")
	id := c.ExpectMessage("a", 1).ID
	c.Send("FIN " + id + "\n")
	c.Send("REQ " + c.ExpectMessage("b", 1).ID + " 0\n")
	c.ExpectMessage("b", 2)
	s := n.stats()
	if len(s.Producers) != 1 || len(s.Producers[0].PubCounts) != 1 || s.Producers[0].PubCounts[0].Count != 2 {
		t.Errorf("producers: %+v", s.Producers)
	}
	channel := s.Topics[0].Channels[0]
	if channel.ClientCount != 1 || channel.RequeueCount != 1 || channel.TimeoutCount != 0 || channel.MessageCount != 2 || channel.InFlightCount != 1 {
		t.Errorf("channel: %+v", channel)
	}
	client := channel.Clients[0]
	client.ConnectTime = 0
	if client.ClientID != "app" || client.Hostname != "app.local" || client.UserAgent != "ua/1" || !client.Snappy || client.Deflate ||
		client.State != 3 || client.ReadyCount != 2 || client.InFlightCount != 1 || client.MessageCount != 3 || client.FinishCount != 1 ||
		client.RequeueCount != 1 || client.RemoteAddress != c.Conn.LocalAddr().String() {
		t.Errorf("client: %+v", client)
	}
}

// TestHTTPOff: a broker without HTTP is one all the same.
func TestHTTPOff(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.HTTPAddress = "" })
	if n.HTTPAddr() != nil {
		t.Error("HTTP has an address")
	}
	c := n.subscribe("t", "c", 1)
	c.Send(prototest.Pub("t", "x"))
	for got := map[int32]bool{}; len(got) < 2; {
		got[c.Next().Type] = true // the OK and the message, in whichever order
	}
}

// TestConfigAtRunTime: what HTTP changes holds, and is what it answers afterwards.
func TestConfigAtRunTime(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	for _, c := range []struct{ body, want string }{{"debug", "1"}, {"FATAL", "5"}} {
		if status, answer := n.ask(http.MethodPut, "/config/log_level", c.body); status != http.StatusOK {
			t.Errorf("%s: %d %s", c.body, status, answer)
		}
		if got := n.get("/config/log_level"); got != c.want {
			t.Errorf("after %s it is %s", c.body, got)
		}
	}
	if status, _ := n.ask(http.MethodPut, "/config/log_level", "loud"); status != http.StatusBadRequest {
		t.Errorf("a wrong level got %d", status)
	}
}
