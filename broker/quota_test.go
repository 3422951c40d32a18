package broker_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// TestQuotaOverTCP: a producer over its quota is read later and loses nothing, is kept informed by heartbeats for longer than it may be
// silent, and does not hold up another address's consumer, whose answers are taken.
func TestQuotaOverTCP(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	producer, consumer := f.add("producer", "publish"), f.add("consumer", "consume")
	n := start(t, func(o *broker.Options) {
		f.use(o)
		o.QuotaPublishes, o.QuotaBytes = 20, 1<<20
	})
	c := auth(n.dial(), consumer, 1)
	c.Send("SUB t c\nRDY 10\n")
	c.Expect("OK")
	p := n.dial()
	p.Send("IDENTIFY\n" + prototest.Body(`{"heartbeat_interval":1000}`))
	p.Expect("OK")
	auth(p, producer, 1)
	const messages = 120 // five seconds' worth beyond the first
	p.Send(strings.Repeat(prototest.Pub("t", "x"), messages/2))
	p.Send(strings.Repeat(prototest.Pub("t", "x"), messages/2) + "NOP\n")
	heartbeats, answers := 0, 0
	p.Timeout = 20e9
	for answers < messages {
		frame, err := p.ReadAny()
		if err != nil {
			t.Fatalf("after %d answers: %v", answers, err)
		}
		switch string(frame.Payload) {
		case "OK":
			answers++
		case "_heartbeat_":
			heartbeats++
			p.Send("NOP\n")
		default:
			t.Fatal(frame)
		}
	}
	p.Send(prototest.Pub("t", "last"))
	for {
		frame, err := p.ReadAny()
		if err != nil {
			t.Fatalf("before the last answer: %v", err)
		}
		if string(frame.Payload) == "OK" {
			break
		}
		heartbeats++
		p.Send("NOP\n")
	}
	if heartbeats < 2 {
		t.Errorf("%d heartbeats", heartbeats)
	}
	for i := range messages + 1 {
		m := c.Next()
		if m.Type != prototest.Message || m.Message().Attempts != 1 {
			t.Fatalf("message %d: %v", i, m)
		}
		c.Send("FIN " + m.Message().ID + "\n")
	}
}

// TestQuotaOverHTTP: 429 with Retry-After for the token that is over it, and for no other; /ping always answers.
func TestQuotaOverHTTP(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	one, other := f.add("one", "publish", "read"), f.add("other", "publish")
	for name, change := range map[string]func(*broker.Options){
		"publishes": func(o *broker.Options) { o.QuotaPublishes = 10 },
		"bytes":     func(o *broker.Options) { o.QuotaBytes = 1000 },
		"commands":  func(o *broker.Options) { o.QuotaCommands = 10 },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, func(o *broker.Options) { f.use(o); change(o) })
			send := func(token, path, body string) *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), "POST", n.url(path), strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := n.http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp
			}
			batch := strings.Repeat(strings.Repeat("x", 99)+"\n", 100)
			refused := send(one, "/mpub?topic=t", batch) // ten seconds' worth
			for i := 0; refused.StatusCode == 200 && i < 1000; i++ {
				refused = send(one, "/mpub?topic=t", batch)
			}
			after, err := strconv.Atoi(refused.Header.Get("Retry-After"))
			if refused.StatusCode != 429 || err != nil || after < 1 || after > 31 {
				t.Errorf("%d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
			}
			if got := send(other, "/pub?topic=t", "x").StatusCode; got != 200 {
				t.Errorf("another token: %d", got)
			}
			for range 50 {
				if n.get("/ping") != "OK" {
					t.Fatal("/ping")
				}
			}
		})
	}
}
