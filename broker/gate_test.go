package broker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestConnectionsAreBounded: one client too many is told so and let go, those that are there go on, and one that leaves makes room; HTTP is
// counted apart, and a reload changes the bound.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxConnections = 2
	n := startWith(t, o)
	dial := func() *prototest.Client {
		c := prototest.Dial(t, "tcp", n.TCPAddr().String())
		c.Send("NOP\n")
		return c
	}
	a, b := dial(), dial()
	a.Send(prototest.Pub("t", "m"))
	a.Expect("OK")
	b.Send(prototest.Pub("t", "m"))
	b.Expect("OK")
	c := dial()
	c.ExpectError("E_INVALID --max-connections 2 is reached")
	c.ExpectClosed()
	a.Send(prototest.Pub("t", "m"))
	a.Expect("OK")

	conns := make([]net.Conn, 3)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", n.HTTPAddr().String()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		if _, err := io.WriteString(conns[i], "GET /ping HTTP/1.1\r\nHost: "+n.HTTPAddr().String()+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		k, err := conns[i].Read(buf)
		if want := map[bool]string{true: "200 OK", false: "429 Too Many Requests"}[i < 2]; err != nil || !strings.Contains(string(buf[:k]), want) {
			t.Errorf("connection %d: %q, %v", i, buf[:k], err)
		}
	}

	more := o
	more.MaxConnections, more.MaxConnectionsPerAddress = 0, 3
	if err := n.Reload(more, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	d := dial()
	d.Send(prototest.Pub("t", "m"))
	d.Expect("OK")
	e := dial()
	e.ExpectError("E_INVALID --max-connections-per-address 3 is reached")
	e.ExpectClosed()
}

// TestNodeLimits: a topic or channel too many is refused over HTTP and TCP with the bound's name; a producer's connection stays; what was
// there before the bound stays, over a restart too.
func TestNodeLimits(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	n.post("/topic/create?topic=a", "")
	n.post("/topic/create?topic=b", "")
	n.post("/channel/create?topic=a&channel=c", "")
	n.post("/channel/create?topic=a&channel=d", "")
	o.MaxTopics, o.MaxChannels = 1, 1
	n = again(t, n, o)
	n.run([]request{
		{"POST", "/topic/create?topic=x", "", http.StatusTooManyRequests, "LIMIT_REACHED: the broker has as many topics as --max-topics allows: 1"},
		{"POST", "/topic/create?topic=b", "", 200, ""},
		{"POST", "/pub?topic=x", "m", http.StatusTooManyRequests, "LIMIT_REACHED"},
		{"POST", "/pub?topic=b", "m", 200, "OK"},
		{"POST", "/channel/create?topic=b&channel=c", "", 200, ""},
		{"POST", "/channel/create?topic=b&channel=d", "", http.StatusTooManyRequests, "LIMIT_REACHED: topic b has as many channels as --max-channels allows: 1"},
		{"POST", "/channel/create?topic=a&channel=d", "", 200, ""},
	})
	c := prototest.Dial(t, "tcp", n.TCPAddr().String())
	c.Send(prototest.Pub("x", "m"))
	c.ExpectError("E_PUB_FAILED PUB failed the broker has as many topics as --max-topics allows: 1")
	c.Send(prototest.Mpub("x", "m"))
	c.ExpectError("E_MPUB_FAILED MPUB failed the broker has as many topics as --max-topics allows: 1")
	c.Send(prototest.Pub("a", "m"))
	c.Expect("OK")
	c.Send("SUB b more\n")
	c.ExpectError("E_SUB_FAILED SUB failed topic b has as many channels as --max-channels allows: 1")
	c.ExpectClosed()
}

// TestBoundsAreTold: a publish beyond a bound is answered 429 and E_PUB_FAILED or its kin, which name the bound; the connection goes on, of
// publishes in one go those that fit are taken, and what was answered OK is what is there.
func TestBoundsAreTold(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"memory", "disk", "fsync"} {
		n := start(t, func(o *broker.Options) { o.TopicDurability = []string{"*=" + level} })
		n.run([]request{
			{"POST", "/topic/create?topic=t", "", 200, ""},
			{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
			{"POST", "/topic/config?topic=t", `{"max_depth":5}`, 200, ""},
			{"POST", "/pub?topic=t", "1", 200, "OK"},
		})
		c := prototest.Dial(t, "tcp", n.TCPAddr().String())
		c.Send(strings.Repeat(prototest.Pub("t", "m"), 6)) // in one go
		for range 4 {
			c.Expect("OK")
		}
		for range 2 {
			f := c.Next()
			if text := f.String(); !strings.Contains(text, "E_PUB_FAILED PUB failed max_depth 5 is reached: channel t/c holds") {
				t.Errorf("%s: %s", level, text)
			}
		}
		for _, publish := range []struct{ send, want string }{
			{prototest.Mpub("t", "a", "b"), "E_MPUB_FAILED MPUB failed max_depth 5 is reached: channel t/c holds 5 messages"},
			{"DPUB t 1000\n" + prototest.Body("m"), "E_DPUB_FAILED DPUB failed max_depth 5 is reached: channel t/c holds 5 messages"},
		} {
			c.Send(publish.send)
			if text := c.Next().String(); !strings.Contains(text, publish.want) {
				t.Errorf("%s: %s", level, text)
			}
		}
		n.run([]request{
			{"POST", "/pub?topic=t", "m", 429, "LIMIT_REACHED: max_depth 5 is reached: channel t/c holds 5 messages"},
			{"POST", "/pub?topic=t&defer=1000", "m", 429, "LIMIT_REACHED"},
			{"POST", "/mpub?topic=t", "a\nb", 429, "LIMIT_REACHED"},
			{"GET", "/stats?format=json&topic=t", "", 200, `"depth":5,`},
			{"POST", "/channel/empty?topic=t&channel=c", "", 200, ""},
		})
		c.Send(prototest.Mpub("t", "a", "b") + prototest.Mpub("t", "a", "b") + prototest.Mpub("t", "a", "b") + prototest.Mpub("t", "a"))
		for i, want := range []string{"OK", "OK", "E_MPUB_FAILED", "OK"} {
			if text := c.Next().String(); !strings.Contains(text, want) {
				t.Errorf("%s, MPUB %d: %s", level, i, text)
			}
		}
		n.run([]request{{"GET", "/stats?format=json&topic=t", "", 200, `"depth":5,`}})
	}
}

// TestAcceptedIsStored: whoever publishes at once and in whatever way to a topic at its bound, each OK is a message that is there, and there
// are never more than the bound.
func TestAcceptedIsStored(t *testing.T) {
	t.Parallel()
	const bound = 150
	for _, level := range []string{"memory", "disk", "fsync"} {
		n := start(t, func(o *broker.Options) { o.TopicDurability = []string{"*=" + level} })
		n.run([]request{
			{"POST", "/topic/create?topic=t", "", 200, ""},
			{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
			{"POST", "/topic/config?topic=t", fmt.Sprintf(`{"max_depth":%d}`, bound), 200, ""},
		})
		var accepted, over atomic.Int64
		var all sync.WaitGroup
		for _, publish := range []struct {
			send  string
			count int64
		}{
			{prototest.Pub("t", "m"), 1}, {prototest.Pub("t", "m"), 1}, {prototest.Mpub("t", "a", "b", "c"), 3}, {"DPUB t 60000\n" + prototest.Body("m"), 1},
			{prototest.Mpub("t", "a", "b"), 2},
		} {
			c := prototest.Dial(t, "tcp", n.TCPAddr().String())
			all.Go(func() {
				for range 20 { // 10 at a time
					c.Send(strings.Repeat(publish.send, 10))
					for range 10 {
						if strings.Contains(c.Next().String(), "OK") {
							accepted.Add(publish.count)
						}
					}
				}
			})
		}
		all.Go(func() {
			for range 60 {
				if status, _ := n.ask("POST", "/pub?topic=t", "m"); status == http.StatusOK {
					accepted.Add(1)
				}
				var stats httpapi.Stats
				if err := json.Unmarshal([]byte(n.get("/stats?format=json&topic=t")), &stats); err != nil {
					t.Error(err)
				}
				if c := stats.Topics[0].Channels[0]; c.Depth+int64(c.DeferredCount) > bound {
					over.Add(1)
				}
			}
		})
		all.Wait()
		var stats httpapi.Stats
		if err := json.Unmarshal([]byte(n.get("/stats?format=json&topic=t")), &stats); err != nil {
			t.Fatal(err)
		}
		c := stats.Topics[0].Channels[0]
		if held := c.Depth + int64(c.DeferredCount); held != accepted.Load() || held > bound || held < bound-2 || over.Load() > 0 {
			t.Errorf("%s: %d are there, %d were accepted, of a bound of %d; over it %d times", level, held, accepted.Load(), bound, over.Load())
		}
	}
}
