package tohttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/targets"
	"brokerd/cmd/cmdtest"
)

func newHTTPFlags(request time.Duration) *appkit.HTTPFlags {
	return &appkit.HTTPFlags{ConnectTimeout: cmdtest.Patience, RequestTimeout: request}
}

var errStatus = &statusError{code: 500}

// world is targets whose answers a test sets, and the broker that hears what becomes of messages.
type world struct {
	mu      sync.Mutex
	answers []outcome // by target
	sent    []string  // "target body"
	told    []string
}

func (w *world) send(_ context.Context, target int, m *nsq.Message) (outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, fmt.Sprint(target, " ", string(m.Body)))
	if what := w.answers[target]; what != taken {
		return what, errStatus
	}
	return taken, nil
}

func (w *world) OnFinish(*nsq.Message) { w.tell("FIN") }

func (w *world) OnRequeue(_ *nsq.Message, delay time.Duration, backoff bool) {
	w.tell(fmt.Sprint("REQ ", delay, " ", backoff))
}

func (w *world) OnTouch(*nsq.Message) {}

func (w *world) tell(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, what)
}

// take returns what was sent, sorted, and what was told, and forgets it.
func (w *world) take() (sent, told string) {
	slices.Sort(w.sent)
	sent, told = strings.Join(w.sent, ", "), strings.Join(w.told, ", ")
	w.sent, w.told = nil, nil
	return sent, told
}

func (w *world) core(mode targets.Mode) *core {
	var addresses []string
	for i := range w.answers {
		addresses = append(addresses, fmt.Sprint(i))
	}
	return &core{
		pool: targets.New(mode, addresses, 10, rand.NewPCG(1, 2)), hands: delivery.NewHands(0), send: w.send,
		queue: delivery.NewQueue[*nsq.Message](), report: func(int) {}, sample: 1, multicast: mode == targets.Multicast,
		log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func (w *world) message(body string) *nsq.Message {
	m := nsq.NewMessage(nsq.MessageID{body[0]}, []byte(body))
	m.Delegate = w
	return m
}

func (w *world) deliver(c *core, body string) {
	m := w.message(body)
	c.hands.Take(m)
	if c.multicast {
		c.toAll(m)
	} else {
		c.toOne(m)
	}
}

// TestOutcomes covers what the broker is told for each outcome of the only target.
func TestOutcomes(t *testing.T) {
	for what, want := range map[outcome]string{
		taken: "FIN", waived: "FIN", failed: "REQ -1ns true", refused: "REQ -1ns false",
	} {
		w := &world{answers: []outcome{what}}
		w.deliver(w.core(targets.HostPool), "x")
		if sent, told := w.take(); sent != "0 x" || told != want {
			t.Errorf("outcome %v: sent %s, told %s, want %s", what, sent, told, want)
		}
	}
}

// TestFailedMessageGoesToAnotherTarget: and back only when no target works.
func TestFailedMessageGoesToAnotherTarget(t *testing.T) {
	w := &world{answers: []outcome{taken, failed, failed}}
	c := w.core(targets.HostPool)
	w.deliver(c, "x")
	if sent, told := w.take(); sent != "0 x, 1 x, 2 x" || told != "FIN" {
		t.Errorf("sent %s, told %s", sent, told)
	}
	w.deliver(c, "y")
	if sent, told := w.take(); sent != "0 y" || told != "FIN" {
		t.Errorf("those that failed are asked again at once: sent %s, told %s", sent, told)
	}
	w.answers[0] = failed
	w.deliver(c, "z")
	if sent, told := w.take(); sent != "0 z" || told != "REQ -1ns true" {
		t.Errorf("sent %s, told %s", sent, told)
	}
	w = &world{answers: []outcome{taken, failed}}
	w.deliver(w.core(targets.RoundRobin), "x")
	if sent, told := w.take(); sent != "1 x" || told != "REQ -1ns true" {
		t.Errorf("strict rotation: sent %s, told %s", sent, told)
	}
}

// TestRefusedMessagesSlowNobodyUnlessAllAre: a target that refuses everything is as bad as one that is down.
func TestRefusedMessagesSlowNobodyUnlessAllAre(t *testing.T) {
	w := &world{answers: []outcome{refused}}
	c := w.core(targets.HostPool)
	for range patience {
		w.deliver(c, "x")
	}
	if _, told := w.take(); strings.Contains(told, "true") {
		t.Errorf("told %s", told)
	}
	w.deliver(c, "x")
	if _, told := w.take(); told != "REQ -1ns true" {
		t.Errorf("told %s after %d refusals in a row", told, patience+1)
	}
	w.answers[0] = taken
	w.deliver(c, "y")
	w.answers[0] = refused
	w.deliver(c, "x")
	if _, told := w.take(); told != "FIN, REQ -1ns false" {
		t.Errorf("told %s after one was taken", told)
	}
}

// TestMulticastSendsToEachOnce: a message that comes again goes to those only that have not taken it.
func TestMulticastSendsToEachOnce(t *testing.T) {
	w := &world{answers: []outcome{taken, failed, taken}}
	c := w.core(targets.Multicast)
	w.deliver(c, "x")
	if sent, told := w.take(); sent != "0 x, 1 x, 2 x" || told != "REQ -1ns true" {
		t.Errorf("sent %s, told %s", sent, told)
	}
	w.answers[1] = taken
	w.deliver(c, "y")
	w.deliver(c, "x")
	w.deliver(c, "x") // anew, for all that is known
	if sent, told := w.take(); sent != "0 x, 0 y, 1 x, 1 x, 1 y, 2 x, 2 y" || told != "FIN, FIN, FIN" {
		t.Errorf("sent %s, told %s", sent, told)
	}
}

func TestPartlyIsBounded(t *testing.T) {
	var p partly
	for i := range maxPartly + 100 {
		m := nsq.NewMessage(nsq.MessageID{byte(i), byte(i >> 8), byte(i >> 16)}, nil)
		p.keep(m, []bool{true, false})
	}
	if len(p.by) != maxPartly {
		t.Errorf("%d messages are remembered", len(p.by))
	}
}

// TestRetryAfterIsHeeded: the target's wish is the message's delay.
func TestRetryAfterIsHeeded(t *testing.T) {
	w := &world{answers: []outcome{failed}}
	c := w.core(targets.HostPool)
	c.send = func(context.Context, int, *nsq.Message) (outcome, error) {
		return failed, fmt.Errorf("posting: %w", &statusError{code: 429, after: 7 * time.Second})
	}
	w.deliver(c, "x")
	if _, told := w.take(); told != "REQ 7s true" {
		t.Errorf("told %s", told)
	}
}

func TestSampleFinishesTheRest(t *testing.T) {
	w := &world{answers: []outcome{taken}}
	c := w.core(targets.HostPool)
	c.sample = 0.25
	const n = 4000
	for range n {
		if err := c.HandleMessage(w.message("x")); err != nil {
			t.Fatal(err)
		}
	}
	if left := len(c.queue.Close()); left < n/5 || left > n*3/10 || left+len(w.told) != n {
		t.Errorf("%d of %d messages are to be sent, %d were finished", left, n, len(w.told))
	}
	if err := c.HandleMessage(w.message("y")); err != nil || errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
