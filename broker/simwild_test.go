package broker

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"brokerd/protocol/prototest"
)

// Wild clients do to channels of their own, over any broker, whatever can be done, and publish deferred messages to a topic of their own. What becomes of
// those channels is not promised; but no broker stops over it, replicas stay the same, and each deferred message that was acknowledged comes, and not early.

var simTame = flag.Bool("broker-tame", false, "without wild clients")

const simLater = "later"

// wild is what they know.
type wild struct {
	s    *sim
	http *http.Client

	mu    sync.Mutex // guards what follows
	acked map[string]bool
	got   map[string]bool
	acts  map[int]int // by status
}

func newWild(s *sim) *wild {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		return s.n.Dial(ctx, simOutside, address)
	}
	return &wild{s: s, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 8 * time.Second},
		acked: map[string]bool{}, got: map[string]bool{}, acts: map[int]int{}}
}

// begin makes their topic.
func (w *wild) begin() {
	w.s.eventually("the wild topic is made", time.Minute, func() bool {
		return w.s.brokers[0].now().member.CreateTopic(w.s.t.Context(), simLater, false) == nil
	})
	w.s.eventually("its channel is made", time.Minute, func() bool { return w.ask(0, "/channel/create?topic=later&channel=c") == http.StatusOK })
}

// ask has a broker do something, and returns what it answers, 0 for nothing.
func (w *wild) ask(at int, act string) (status int) {
	r, err := w.http.Post("http://"+w.s.brokers[at%len(w.s.brokers)].host+":4151"+act, "", nil)
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acts[r.StatusCode]++
	return r.StatusCode
}

// run does one thing after the other.
func (w *wild) run(rng *rand.Rand) {
	for n := 0; w.s.rest(time.Duration(5+rng.IntN(60)) * time.Millisecond); n++ {
		switch at := rng.IntN(len(w.s.brokers)); rng.IntN(3) {
		case 0:
			channel := fmt.Sprint("wild", rng.IntN(2))
			what := []string{"/channel/create?", "/channel/delete?", "/channel/empty?", "/channel/pause?", "/channel/unpause?", "/channel/skip?to=end&", "/channel/skip?all=true&to=end&",
				fmt.Sprintf("/message/finish?pos=%d&", 1+rng.IntN(50+n))}[rng.IntN(8)]
			w.ask(at, what+"topic="+simTopic+"&channel="+channel)
			if rng.IntN(4) == 0 {
				w.ask(at, fmt.Sprintf("/message/%s?topic=%s&pos=%d", []string{"cancel", "release"}[rng.IntN(2)], simTopic, 1+rng.IntN(50+n)))
			}
		case 1:
			w.consume(at, rng)
		case 2:
			w.later(at, rng, n)
		}
	}
}

// consume takes some messages of a wild channel, and answers them in any way.
func (w *wild) consume(at int, rng *rand.Rand) {
	c, err := w.s.dial(at)
	if err != nil {
		return
	}
	defer c.Conn.Close()
	c.Timeout = 500 * time.Millisecond
	identify := fmt.Sprintf(`{"heartbeat_interval":60000,"msg_timeout":%d,"sample_rate":%d}`, 1000+rng.IntN(2000), []int{0, 0, 50}[rng.IntN(3)])
	channel := []string{"wild0", "wild1", "wild2#ephemeral"}[rng.IntN(3)]
	err = c.Write("IDENTIFY\n" + prototest.Body(identify) + "SUB " + simTopic + " " + channel + "\nRDY " + strconv.Itoa(1+rng.IntN(20)) + "\n")
	for left := 1 + rng.IntN(20); err == nil && left > 0; {
		var f prototest.Frame
		f, err = c.Read()
		if err != nil || f.Type == prototest.Error && !strings.Contains(string(f.Payload), "_FAILED") {
			return
		}
		if f.Type != prototest.Message {
			continue
		}
		left--
		id := f.Message().ID
		switch rng.IntN(6) {
		case 0, 1:
			err = c.Write("FIN " + id + "\n")
		case 2:
			err = c.Write("REQ " + id + " 0\n")
		case 3:
			err = c.Write("REQ " + id + " " + strconv.Itoa(rng.IntN(3000)) + "\n")
		case 4:
			err = c.Write("TOUCH " + id + "\n")
		}
	}
	if rng.IntN(3) == 0 {
		_ = c.Write("CLS\n") // it goes either way
	}
}

// later publishes some deferred messages, which say when they are due.
func (w *wild) later(at int, rng *rand.Rand, n int) {
	c, err := w.s.dial(at)
	if err != nil {
		return
	}
	defer c.Conn.Close()
	for range 1 + rng.IntN(3) {
		delay := time.Duration(rng.IntN(8000)) * time.Millisecond
		body := fmt.Sprintf("%d %d.%d", time.Now().Add(delay).UnixMilli(), n, rng.Uint32())
		if c.Write("DPUB "+simLater+" "+strconv.Itoa(int(delay.Milliseconds()))+"\n"+prototest.Body(body)) != nil {
			return
		}
		f, err := c.Read()
		if err != nil || f.Type != prototest.Response {
			return
		}
		w.mu.Lock()
		w.acked[body] = true
		w.mu.Unlock()
	}
}

// take is the client that consumes the wild topic.
func (w *wild) take() {
	w.s.subscribeTo(simLater, "c", 10, 1, w.s.quit, func(m prototest.Delivered) {
		body := string(m.Body)
		due, _, _ := strings.Cut(body, " ")
		if at, err := strconv.ParseInt(due, 10, 64); err != nil || time.Now().UnixMilli() < at {
			w.s.t.Errorf("%q comes %d ms early: %v", body, at-time.Now().UnixMilli(), err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got[body] = true
	})
}

// missing returns how many acknowledged messages have not come.
func (w *wild) missing() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for body := range w.acked {
		if !w.got[body] {
			n++
		}
	}
	return n
}

// end takes what is left, and clears away what the others would find: with their channels go their messages.
func (w *wild) end() {
	w.s.eventually("all deferred messages come", 5*time.Minute, func() bool { return w.missing() == 0 })
	for _, channel := range []string{"wild0", "wild1"} {
		w.s.eventually(channel+" is deleted", time.Minute, func() bool {
			status := w.ask(0, "/channel/delete?topic="+simTopic+"&channel="+channel)
			return status == http.StatusOK || status == http.StatusNotFound
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.t.Logf("wild: %d deferred messages, answers to acts %v", len(w.acked), w.acts)
}
