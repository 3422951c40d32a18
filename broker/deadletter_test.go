package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nsqio/go-nsq"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// letters returns the dead letters of a topic.
func (n *node) letters(query string) (m httpapi.Messages) {
	n.t.Helper()
	status, answer := n.ask("GET", "/topic/messages?"+query, "")
	if status != 200 || json.Unmarshal([]byte(answer), &m) != nil {
		n.t.Fatalf("%s: %d %s", query, status, answer)
	}
	return m
}

// TestPoisonOfGoNSQ: a message that go-nsq's handler fails on is a dead letter after the attempts that were set, and the others are handled
// meanwhile. A redrive after the fix empties the dead letter topic.
func TestPoisonOfGoNSQ(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	n.run([]request{
		{"POST", "/topic/create?topic=orders", "", 200, ""},
		{"POST", "/channel/create?topic=orders&channel=billing", "", 200, ""},
		{"POST", "/channel/config?topic=orders&channel=billing", `{"max_attempts":3,"backoff":"fixed:10ms"}`, 200, ""},
	})
	cfg := cmdtest.ClientConfig()
	cfg.MaxAttempts, cfg.MaxInFlight, cfg.DefaultRequeueDelay, cfg.MaxBackoffDuration = 0, 10, 0, 0
	var fixed atomic.Bool
	var mu sync.Mutex
	handled, tries := map[string]int{}, 0
	n.consumer("orders", "billing", cfg, 2, func(m *nsq.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if string(m.Body) == "poison" && !fixed.Load() {
			tries++
			return errors.New("cannot be handled")
		}
		handled[string(m.Body)]++
		return nil
	})
	bodies := []string{"poison"}
	for i := range 50 {
		bodies = append(bodies, fmt.Sprint("order", i))
	}
	n.publish("orders", bodies...)
	eventually(t, "the poison is a dead letter and the others are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		dead := n.topic("orders.billing.dlq")
		return len(handled) == 50 && dead != nil && dead.Depth == 1
	})
	mu.Lock()
	if tries != 3 {
		t.Errorf("it was tried %d times, want 3", tries)
	}
	mu.Unlock()
	m := n.letters("topic=orders.billing.dlq")
	if len(m.Messages) != 1 || *m.Messages[0].Body != "poison" || !m.End {
		t.Fatalf("%+v", m)
	}
	p := m.Messages[0].Properties
	for name, want := range map[string]string{"topic": "orders", "channel": "billing", "reason": "max_attempts", "failure": "requeued", "attempts": "3", "rounds": "1"} {
		if p["dead_letter."+name] != want {
			t.Errorf("%s is %q, want %q", name, p["dead_letter."+name], want)
		}
	}
	if !strings.Contains(p["dead_letter.consumer"], " 127.0.0.1:") || len(p["dead_letter.id"]) != 16 {
		t.Errorf("it was %q that had it, and its id %q", p["dead_letter.consumer"], p["dead_letter.id"])
	}
	fixed.Store(true)
	n.post("/channel/redrive?topic=orders&channel=billing", "")
	eventually(t, "the poison is handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		r := n.channel("orders", "billing").Redrive
		return handled["poison"] == 1 && n.topic("orders.billing.dlq").Depth == 0 && r != nil && !r.Running && r.Moved == 1
	})
	a := n.channel("orders", "billing").Accounting
	if !a.Balanced || a.Accepted != 52 || a.Discarded["dead_lettered"] != 1 {
		t.Errorf("%+v", a)
	}
}

// TestDeadLettersSurvive: dead letters, what is known of them, and the figures of both topics are there after a kill; a channel whose topic is
// at level memory can only discard.
func TestDeadLettersSurvive(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.TopicDurability = levelDisk, []string{"m=memory"}
	n := startWith(t, o)
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/config?topic=t&channel=c", `{"max_attempts":1,"dead_letter":"graves"}`, 200, ""},
		{"POST", "/channel/config?topic=t&channel=c", `{"max_attempts":0}`, 400, "max_attempts"},
		{"POST", "/topic/create?topic=m", "", 200, ""},
		{"POST", "/channel/create?topic=m&channel=c", "", 200, ""},
		{"POST", "/channel/config?topic=m&channel=c", `{"max_attempts":1}`, 400, "level disk or fsync"},
		{"POST", "/channel/config?topic=m&channel=c", `{"max_attempts":1,"dead_letter":"discard"}`, 200, ""},
	})
	n.publish("t", "1", "2", "\xff3")
	n.publish("m", "1")
	for _, name := range []string{"t", "m"} {
		c := n.subscribe(name, "c", 10)
		c.ExpectMessage("1", 1)
		if name == "t" {
			c.ExpectMessage("2", 1)
			c.ExpectMessage("\xff3", 1)
		}
		c.CloseWrite()
	}
	eventually(t, "all are dead letters", func() bool {
		d := n.topic("graves")
		return d != nil && d.Depth == 3 && d.DeadLetters && n.channel("m", "c").Accounting.Discarded["too_many_attempts"] == 1
	})
	before, _ := json.Marshal(n.letters("topic=graves"))
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	if after, _ := json.Marshal(n.letters("topic=graves")); string(after) != string(before) {
		t.Errorf("after a kill\n%s\nbefore\n%s", after, before)
	}
	if first := n.letters("topic=graves&limit=2&body=none"); len(first.Messages) != 2 || first.Next == "" || first.Messages[0].Body != nil ||
		len(n.letters("topic=graves&cursor="+first.Next).Messages) != 1 {
		t.Errorf("%+v", first)
	}
	if third := n.letters("topic=graves").Messages[2]; third.Body != nil || string(third.BodyBase64) != "\xff3" || third.Size != 2 {
		t.Errorf("%+v", third)
	}
	a := n.channel("t", "c").Accounting
	if !a.Balanced || a.Accepted != 3 || a.Discarded["dead_lettered"] != 3 {
		t.Errorf("%+v", a)
	}
	n.run([]request{
		{"GET", "/topic/messages?topic=none", "", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/topic/messages?topic=graves&limit=1001", "", 400, "INVALID_ARG_LIMIT"},
		{"GET", "/topic/messages?topic=graves&from=x", "", 400, "INVALID_PLACE"},
		{"GET", "/topic/messages?topic=graves&body=some", "", 400, "INVALID_ARG_BODY: it must be full, none, or head:"},
		{"POST", "/channel/redrive?topic=t", "", 400, "MISSING_ARG_CHANNEL"},
		{"POST", "/channel/redrive?topic=none&channel=c", "", 404, "TOPIC_NOT_FOUND"},
		{"POST", "/channel/redrive?topic=t&channel=none", "", 404, "CHANNEL_NOT_FOUND"},
		{"POST", "/channel/redrive?topic=t&channel=c&from=t", "", 404, "NO_DEAD_LETTERS"},
		{"POST", "/channel/redrive?topic=t&channel=c&rate=0", "", 400, "INVALID_ARG_RATE"},
		{"POST", "/channel/redrive?topic=t&channel=c&stop=true", "", 409, "NOT_REDRIVING"},
		{"POST", "/channel/redrive?topic=t&channel=c&stop=yes", "", 400, "INVALID_ARG_STOP: it must be true or false"},
		{"POST", "/channel/redrive?topic=t&channel=c&limit=1&limit=2", "", 400, "INVALID_ARG_LIMIT"},
		{"POST", "/channel/redrive?topic=m&channel=c", "", 404, "NO_DEAD_LETTERS"},
		{"POST", "/channel/redrive?topic=t&channel=c&rate=1", "", 200, `"dead_letter_topic":"graves","running":true`},
		{"POST", "/channel/redrive?topic=t&channel=c", "", 409, "REDRIVING"},
		{"POST", "/channel/redrive?topic=t&channel=c&stop=true", "", 200, `"stopped":true`},
		{"POST", "/channel/delete?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/redrive?topic=t&channel=c", "", 404, "CHANNEL_NOT_FOUND"},
	})
	if d := n.topic("graves"); d.Depth < 2 {
		t.Errorf("%d dead letters are left", d.Depth)
	}
}

// TestDeadLetterTopicAtMemory: a dead letter topic at another level never loses a message: it waits, is shown, and says why.
func TestDeadLetterTopicAtMemory(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability, o.TopicDurability = levelDisk, []string{"graves=memory"} })
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/config?topic=t&channel=c", `{"max_attempts":1,"dead_letter":"graves","backoff":"fixed:50ms"}`, 200, ""},
		{"POST", "/topic/create?topic=graves", "", 200, ""},
	})
	n.publish("t", "1")
	c := n.subscribe("t", "c", 1)
	c.ExpectMessage("1", 1)
	c.CloseWrite()
	eventually(t, "it waits", func() bool {
		s := n.channel("t", "c")
		return s.WaitingForTarget == 1 && s.DeferredCount == 1 && strings.Contains(s.TargetRefuses, "level memory") && s.DeadLetterTopic == "graves"
	})
	n.run([]request{{"POST", "/topic/config?topic=graves", `{"durability":"disk"}`, 200, ""}})
	eventually(t, "it has gone by itself", func() bool {
		d := n.topic("graves")
		return n.channel("t", "c").WaitingForTarget == 0 && d != nil && d.Depth == 1
	})
}
