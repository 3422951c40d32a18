package tohttp_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/apps/internal/apptest"
	"brokerd/apps/internal/delivery"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

var trouble = flag.Duration("trouble", 0, "how long to go on with the target that fails, hangs and dies; 0 is once each")

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl") }

// target is an HTTP server that can be made to fail, to hang and to be gone.
type target struct {
	address string

	mu      sync.Mutex
	bodies  map[string]int
	headers []http.Header
	asked   int
	failing float64 // share of requests that are answered with 500
	hanging chan struct{}
	server  *http.Server
	served  chan struct{}
}

func newTarget(t *testing.T) *target {
	t.Helper()
	target := &target{address: cmdtest.FreeAddress(t), bodies: make(map[string]int)}
	target.start(t)
	t.Cleanup(func() {
		target.hang(false)
		target.die()
	})
	return target
}

func (g *target) url() string { return "http://" + g.address + "/in" }

func (g *target) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	g.server, g.served = &http.Server{Handler: g}, make(chan struct{})
	go func(server *http.Server, served chan struct{}) {
		defer close(served)
		server.Serve(listener) // ends with die
	}(g.server, g.served)
}

// die cuts every connection and refuses new ones.
func (g *target) die() {
	g.server.Close()
	<-g.served
}

func (g *target) hang(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hanging != nil {
		close(g.hanging)
		g.hanging = nil
	}
	if yes {
		g.hanging = make(chan struct{})
	}
}

func (g *target) fail(share float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failing = share
}

func (g *target) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if req.Method == http.MethodGet {
		body = []byte(req.URL.Query().Get("m"))
	}
	g.mu.Lock()
	g.asked++
	hanging, fails := g.hanging, rand.Float64() < g.failing
	g.mu.Unlock()
	if hanging != nil {
		select {
		case <-hanging:
		case <-req.Context().Done():
			return
		}
	}
	if fails {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bodies[string(body)]++
	g.headers = append(g.headers, req.Header)
}

// count returns how many different bodies were taken, how many in all, and how many requests there were.
func (g *target) count() (bodies, all, asked int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.bodies {
		all += n
	}
	return len(g.bodies), all, g.asked
}

// quick makes go-nsq try again soon, where an operator would leave it at minutes.
var quick = []string{
	"--consumer-opt=default_requeue_delay,100ms", "--consumer-opt=max_requeue_delay,300ms",
	"--consumer-opt=max_backoff_duration,300ms", "--consumer-opt=backoff_multiplier,50ms",
}

func tool(t *testing.T, args ...string) *cmdtest.Process {
	t.Helper()
	return cmdtest.Verb(t, "tohttp", slices.Concat(args, quick, cmdtest.ConsumerOpts)...)
}

func numbered(from, n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("message %d", from+i)
	}
	return bodies
}

// TestEveryMessageArrives: a target fails 30 % of the requests, hangs and is gone for a while, and takes every message in the
// end; the channel is empty then.
func TestEveryMessageArrives(t *testing.T) {
	for _, make := range []string{"brokerd", "nsqd"} {
		t.Run(make, func(t *testing.T) {
			t.Parallel()
			const each = 300
			broker := cmdtest.Broker(t, make, nil)
			broker.Create(t, "orders", "nsq_to_http")
			g := newTarget(t)
			p := tool(t, "--topic=orders", "--post="+g.url(), "--nsqd-tcp-address="+broker.TCP, "--http-client-request-timeout=1s")
			published := 0
			publish := func() {
				apptest.Publish(t, broker, "orders", numbered(published, each)...)
				published += each
			}
			arrive := func(within time.Duration) {
				t.Helper()
				defer func() {
					if t.Failed() {
						n, _, _ := g.count()
						t.Logf("%d of %d arrived; the channel: %+v", n, published, broker.Channel(t, "orders", "nsq_to_http"))
					}
				}()
				cmdtest.Eventually(t, "every message arrives", within, func() bool { n, _, _ := g.count(); return n == published })
			}
			requeued := func() uint64 { return broker.Channel(t, "orders", "nsq_to_http").RequeueCount }
			began := time.Now()
			for round := 0; round == 0 || time.Since(began) < *trouble; round++ {
				g.fail(0.3)
				publish()
				arrive(30 * time.Second)
				before := requeued()
				g.hang(true)
				publish()
				cmdtest.Eventually(t, "hanging is noticed", 20*time.Second, func() bool { return requeued() > before })
				g.hang(false)
				arrive(30 * time.Second)
				before = requeued()
				g.die()
				publish()
				cmdtest.Eventually(t, "its end is noticed", 20*time.Second, func() bool { return requeued() > before })
				g.start(t)
				arrive(30 * time.Second)
			}
			cmdtest.Eventually(t, "the channel is empty", 10*time.Second, func() bool {
				c := broker.Channel(t, "orders", "nsq_to_http")
				return c.Depth == 0 && c.InFlightCount == 0 && c.DeferredCount == 0
			})
			bodies, all, asked := g.count()
			t.Logf("%d messages in %v: %d requests, %d requeued, all %d arrived, %d of them twice", published,
				time.Since(began).Round(time.Millisecond), asked, requeued(), bodies, all-bodies)
			p.Stop(t)
		})
	}
}

// TestStopFinishesWhatIsInProgress: after SIGTERM requests in progress end, the rest goes back, and the exit code is 0.
func TestStopFinishesWhatIsInProgress(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	g := newTarget(t)
	g.hang(true)
	apptest.Publish(t, broker, "orders", numbered(0, 50)...)
	p := tool(t, "--topic=orders", "--post="+g.url(), "--nsqd-tcp-address="+broker.TCP, "--n=5", "--channel=c")
	cmdtest.Eventually(t, "five requests are made", 10*time.Second, func() bool { _, _, asked := g.count(); return asked == 5 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.Stop(t)
	}()
	cmdtest.Eventually(t, "45 go back", 10*time.Second, func() bool { return broker.Channel(t, "orders", "c").Depth == 45 })
	g.hang(false)
	<-stopped
	var c httpapi.Channel
	cmdtest.Eventually(t, "the broker has read its last word", 0, func() bool { c = broker.Channel(t, "orders", "c"); return c.InFlightCount == 0 })
	if c.Depth != 45 {
		t.Errorf("%d messages wait", c.Depth)
	}
}

// TestGETHeadersAndState covers a GET with the message in the URL, the headers, and what /stats tells.
func TestGETHeadersAndState(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	g := newTarget(t)
	body := "ä & b=%s?"
	apptest.Publish(t, broker, "pings", body)
	state := cmdtest.FreeAddress(t)
	p := tool(t, "--topic=pings", "--get="+g.url()+"?m=%s", "--lookupd-http-address="+lookup.HTTP, "--http-address="+state,
		"--header=X-Token: a:b", "--header=User-Agent: mine", "--message-headers")
	cmdtest.Eventually(t, "it arrives", 20*time.Second, func() bool { n, _, _ := g.count(); return n == 1 })
	g.mu.Lock()
	h := g.headers[0]
	if g.bodies[body] != 1 || h.Get("X-Token") != "a:b" || h.Get("User-Agent") != "mine" || h.Get("X-Nsq-Topic") != "pings" ||
		h.Get("X-Nsq-Attempts") != "1" || len(h.Get("X-Nsq-Message-Id")) != 16 {
		t.Errorf("got %v with %v", g.bodies, h)
	}
	g.mu.Unlock()
	defer http.DefaultClient.CloseIdleConnections()
	cmdtest.Eventually(t, "the state tells of it", 20*time.Second, func() bool { // the target has it a moment before it is finished
		resp, err := http.Get("http://" + state + "/stats")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var s delivery.State
		return json.NewDecoder(resp.Body).Decode(&s) == nil && len(s.Topics) == 1 && s.Topics[0].Topic == "pings" && s.Topics[0].Finished == 1 && s.Targets[0].Messages == 1
	})
	p.Stop(t)
}

// TestModes: hostpool leaves out a dead target, multicast reaches all.
func TestModes(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "orders", "one", "all")
	a, b, dead := newTarget(t), newTarget(t), cmdtest.FreeAddress(t)
	one := tool(t, "--topic=orders", "--channel=one", "--nsqd-tcp-address="+broker.TCP, "--post="+a.url(), "--post=http://"+dead+"/")
	apptest.Publish(t, broker, "orders", numbered(0, 200)...)
	cmdtest.Eventually(t, "the one that works has all", 20*time.Second, func() bool { n, _, _ := a.count(); return n == 200 })
	one.Stop(t)
	if n := broker.Channel(t, "orders", "one").RequeueCount; n > 0 {
		t.Errorf("%d messages were requeued though there was a target that works", n)
	}
	all := tool(t, "--topic=orders", "--channel=all", "--nsqd-tcp-address="+broker.TCP, "--mode=multicast", "--post="+a.url(), "--post="+b.url())
	cmdtest.Eventually(t, "both have all", 20*time.Second, func() bool {
		_, inA, _ := a.count()
		inB, _, _ := b.count()
		return inA == 400 && inB == 200
	})
	all.Stop(t)
}

// TestRefusedMessages: without --finish-status a message that is refused comes again and again, more often than go-nsq's five
// times; with it, it is finished.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	var mu sync.Mutex
	asked := 0
	server := http.Server{Addr: cmdtest.FreeAddress(t), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		w.WriteHeader(http.StatusUnprocessableEntity)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.ListenAndServe() // ends with Close
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	apptest.Publish(t, broker, "orders", "bad")
	post := "--post=http://" + server.Addr + "/"
	p := tool(t, "--topic=orders", post, "--nsqd-tcp-address="+broker.TCP, "--channel=c")
	cmdtest.Eventually(t, "it is tried eight times", 20*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return asked >= 8 })
	p.Stop(t)
	cmdtest.Eventually(t, "the message is there again", 0, func() bool {
		c := broker.Channel(t, "orders", "c")
		return c.Depth+int64(c.DeferredCount) == 1
	})
	p = tool(t, "--topic=orders", post, "--nsqd-tcp-address="+broker.TCP, "--channel=c", "--finish-status=420-429")
	cmdtest.Eventually(t, "it is finished", 20*time.Second, func() bool {
		c := broker.Channel(t, "orders", "c")
		return c.Depth == 0 && c.DeferredCount == 0 && c.InFlightCount == 0
	})
	p.Stop(t)
	if !strings.Contains(p.LastWords(), "refused and given up") {
		t.Errorf("not logged:\n%s", p.LastWords())
	}
}

// TestSaysWhatIsWrong covers NSQ's texts for flags.
func TestSaysWhatIsWrong(t *testing.T) {
	basic := []string{"--topic=t", "--nsqd-tcp-address=127.0.0.1:1"}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--topic and --channel are required"},
		{basic, "--get or --post required"},
		{append(basic, "--get=http://a/%s", "--post=http://a/"), "use --get or --post not both"},
		{append(basic, "--get=http://a/"), "invalid GET address - must be a printf string"},
		{append(basic, "--get=http://a/%s", "--content-type=text/plain"), "--content-type only used with --post"},
		{append(basic, "--post=http://a/", "--content-type="), "--content-type requires a value when used"},
		{append(basic, "--post=http://a/", "--mode=all"), "--mode must be one of"},
		{append(basic, "--post=http://a/", "--header=x"), "--header must be"},
		{append(basic, "--post=http://a/", "--sample=1.5"), "--sample must be"},
		{append(basic, "--post=nothing"), "no http or https URL"},
		{[]string{"--topic=t", "--post=http://a/"}, "--nsqd-tcp-address or --lookupd-http-address required"},
	} {
		p := cmdtest.Verb(t, "tohttp", test.args...)
		if code := p.Wait(t, 10*time.Second); code != 2 || !strings.Contains(p.LastWords(), test.want) {
			t.Errorf("%q: exit code %d, %s; want %s", test.args, code, p.LastWords(), test.want)
		}
	}
}
