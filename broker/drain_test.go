package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/lookup"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// putDrain begins a drain, or takes it back, and returns how far it is.
func (n *node) putDrain(query, body string) httpapi.Drain {
	n.t.Helper()
	status, answer := n.ask(http.MethodPut, "/config/drain"+query, body)
	if status != http.StatusOK {
		n.t.Fatalf("PUT /config/drain%s: %d %s", query, status, answer)
	}
	var d httpapi.Drain
	if err := json.Unmarshal([]byte(answer), &d); err != nil {
		n.t.Fatal(err)
	}
	return d
}

// ended reports whether the broker has asked to be stopped.
func (n *node) ended() bool {
	select {
	case err := <-n.Failed():
		if err != nil {
			n.t.Errorf("it failed: %v", err)
		}
		return true
	default:
		return false
	}
}

// TestDrainTakesAnswersAndNothingElse: publishes are refused with a clear error, on connections that go on; nothing more is
// delivered, nobody new may subscribe; FIN, REQ and TOUCH are taken; it ends once nothing is out, and nothing that was finished
// comes again after the next start.
func TestDrainTakesAnswersAndNothingElse(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	c := n.subscribe("t", "c", 2)
	n.publish("t", "1", "2", "3")
	first, second := c.ExpectMessage("1", 1), c.ExpectMessage("2", 1)
	if d := n.putDrain("", "true"); d.State != "draining" || d.InFlight != 2 || d.Left != 3 || d.Deadline-d.Since != 300 {
		t.Errorf("%+v", d)
	}
	p := n.dial()
	for range 2 {
		p.Send(prototest.Pub("t", "x"))
		p.ExpectError("E_PUB_FAILED PUB failed the broker is draining: use another one")
	}
	p.Send("SUB t c\n")
	p.ExpectError("E_SUB_FAILED SUB failed the broker is draining: use another one")
	if status, answer := n.ask(http.MethodPost, "/pub?topic=t", "x"); status != http.StatusServiceUnavailable || !strings.Contains(answer, "DRAINING") {
		t.Errorf("HTTP: %d %s", status, answer)
	}
	for _, path := range []string{"/topic/create?topic=new", "/channel/create?topic=t&channel=new"} {
		if status, answer := n.ask(http.MethodPost, path, ""); status != http.StatusServiceUnavailable || !strings.Contains(answer, "DRAINING") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, answer := n.ask(http.MethodGet, "/ready", ""); status != http.StatusServiceUnavailable || answer != "NOT READY - the broker is draining" {
		t.Errorf("/ready: %d %s", status, answer)
	}
	if got := n.get("/ping"); got != "OK" {
		t.Errorf("/ping: %s", got)
	}
	c.Send("TOUCH " + first.ID + "\nREQ " + second.ID + " 0\n")
	eventually(t, "one is out", func() bool { return n.stats().Drain.InFlight == 1 })
	if n.ended() {
		t.Fatal("it ended while a message was out")
	}
	c.Send("FIN " + first.ID + "\n")
	eventually(t, "it asks to be stopped", n.ended)
	if d := n.stats().Drain; d.State != "drained" || d.Left != 2 || d.Text != "" {
		t.Errorf("%+v", d)
	}
	if status, answer := n.ask(http.MethodPut, "/config/drain", "false"); status != http.StatusConflict {
		t.Errorf("it was taken back too late: %d %s", status, answer)
	}
	n.stop()
	again := startWith(t, o)
	c = again.subscribe("t", "c", 5)
	got := map[string]bool{}
	for range 2 {
		got[string(c.Next().Message().Body)] = true
	}
	if !got["2"] || !got["3"] {
		t.Errorf("after the start came %v", got)
	}
	again.publish("t", "4")
	c.ExpectMessage("4", 1)
}

// TestDrainUntilEmpty delivers on, listed by the lookups till nothing waits, deferred messages included, and leaves them then.
func TestDrainUntilEmpty(t *testing.T) {
	t.Parallel()
	l := startLookup(t)
	n := start(t, func(o *broker.Options) { o.LookupdTCPAddresses = []string{l.TCPAddr().String()} })
	n.publish("t", "1", "2")
	n.post("/channel/create?topic=t&channel=c", "")
	n.post("/pub?topic=t&defer=300", "later")
	eventually(t, "the lookup lists the node", func() bool { return listed(t, l, "t") == 1 })
	n.putDrain("?empty=true&stay=true", "true")
	c := n.subscribe("t", "c", 1) // as consumers that the lookup sends here
	for _, body := range []string{"1", "2", "later"} {
		eventually(t, "the lookup lists the node before "+body, func() bool { return listed(t, l, "t") == 1 })
		m := c.ExpectMessage(body, 1)
		c.Send("FIN " + m.ID + "\n")
	}
	eventually(t, "it has drained", func() bool { return n.stats().Drain.State == "drained" })
	eventually(t, "the lookup does not list it", func() bool { return listed(t, l, "t") == 0 })
	if n.ended() {
		t.Error("it was to stay")
	}
	if got := n.get("/metrics"); !strings.Contains(got, "brokerd_draining 1") || !strings.Contains(got, "brokerd_ready 0") {
		t.Error("metrics do not tell of the drain")
	}
}

// TestDrainThatIsTakenBack leaves the node as it was: listed, delivering, taking publishes.
func TestDrainThatIsTakenBack(t *testing.T) {
	t.Parallel()
	l := startLookup(t)
	n := start(t, func(o *broker.Options) { o.LookupdTCPAddresses = []string{l.TCPAddr().String()} })
	c := n.subscribe("t", "c", 1)
	eventually(t, "the lookup lists the node", func() bool { return listed(t, l, "t") == 1 })
	for range 3 {
		n.putDrain("?stay=true", "true")
		eventually(t, "it has drained", func() bool { return n.stats().Drain.State == "drained" })
		eventually(t, "the lookup does not list it", func() bool { return listed(t, l, "t") == 0 })
		n.putDrain("", "false")
		n.publish("t", "x")
		m := c.Next().Message()
		c.Send("FIN " + m.ID + "\n")
		eventually(t, "the lookup lists the node again", func() bool { return listed(t, l, "t") == 1 })
		if got := n.get("/ready"); got != "OK" || n.stats().Drain != nil {
			t.Errorf("/ready says %s", got)
		}
	}
}

// TestDrainEndsInItsDeadline with a text, and what is left is kept: one node alone whose topic has no channel, and a consumer
// that does not answer.
func TestDrainEndsInItsDeadline(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{"?empty=true": "still wait", "": "have not answered"} {
		t.Run(query, func(t *testing.T) {
			n := start(t, func(o *broker.Options) { o.DrainTimeout = 50 * time.Millisecond })
			c := n.subscribe("t", "c", 1)
			n.publish("t", "x")
			c.ExpectMessage("x", 1)
			n.publish("alone", "y")
			n.putDrain(query, "true")
			eventually(t, "it asks to be stopped", n.ended)
			if d := n.stats().Drain; d.State != "drained" || d.Left != 2 || !strings.Contains(d.Text, want) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestStopEndsADrain that would wait for long.
func TestStopEndsADrain(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.DrainTimeout = 0 })
	c := n.subscribe("t", "c", 1)
	n.publish("t", "x")
	c.ExpectMessage("x", 1)
	n.putDrain("", "true")
	n.stop()
}

// TestReloadDoesNotBringADrainingNodeBack to the lookups.
func TestReloadDoesNotBringADrainingNodeBack(t *testing.T) {
	t.Parallel()
	l := startLookup(t)
	o := options(t)
	o.LookupdTCPAddresses = []string{l.TCPAddr().String()}
	n := startWith(t, o)
	n.subscribe("t", "c", 1)
	eventually(t, "the lookup lists the node", func() bool { return listed(t, l, "t") == 1 })
	n.putDrain("?stay=true", "true")
	eventually(t, "the lookup does not list it", func() bool { return listed(t, l, "t") == 0 })
	if err := n.Reload(o, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if got := n.get("/metrics"); strings.Contains(got, "brokerd_lookup_connected{") {
		t.Error("the node has come back to the lookups")
	}
}

// TestDrainRefusesWhatItDoesNotKnow.
func TestDrainRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	for _, body := range []string{"yes", "1", "{}"} {
		if status, answer := n.ask(http.MethodPut, "/config/drain", body); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", body, status, answer)
		}
	}
	for _, name := range []string{"empty", "stay"} { // else it would begin, and not as was meant
		if status, answer := n.ask(http.MethodPut, "/config/drain?"+name+"=yes", "true"); status != http.StatusBadRequest || !strings.Contains(answer, "must be true or false") {
			t.Errorf("%s=yes: %d %s", name, status, answer)
		}
	}
	if got := n.get("/config/drain"); !strings.Contains(got, `"state":""`) {
		t.Errorf("GET /config/drain: %s", got)
	}
}

// startLookup starts a lookup that ends with the test.
func startLookup(t *testing.T) *lookup.Server {
	t.Helper()
	return startLookupWith(t, func(*lookup.Options) {})
}

// listed returns how many brokers a lookup names for a topic.
func listed(t *testing.T, l *lookup.Server, topic string) int {
	t.Helper()
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{RequestTimeout: 2 * time.Minute})
	defer client.Close()
	var answer httpapi.Lookup
	if err := client.Get(t.Context(), "http://"+l.HTTPAddr().String()+"/lookup?topic="+topic, &answer); err != nil {
		return 0
	}
	return len(answer.Producers)
}

// TestDrainOfManyTopics: thousands on one node alone, which no lookup lists, ten in make crash. It ends by itself, and metrics still answer.
func TestDrainOfManyTopics(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability = 0 })
	topics := 3000
	if long {
		topics = 10000
	}
	for i := range topics {
		n.post(fmt.Sprintf("/topic/create?topic=t%d", i), "")
	}
	n.publish("t7", "x")
	n.post("/channel/create?topic=t7&channel=c", "")
	c := n.subscribe("t7", "c", 1)
	m := c.ExpectMessage("x", 1)
	n.putDrain("?empty=true", "true")
	if got := n.get("/metrics"); !strings.Contains(got, fmt.Sprintf("brokerd_topics %d\n", topics)) || !strings.Contains(got, fmt.Sprintf("brokerd_topics_in_sum %d\n", topics-1000)) {
		t.Error("metrics do not tell of all topics")
	}
	c.Send("FIN " + m.ID + "\n")
	eventually(t, "it asks to be stopped", n.ended)
}
