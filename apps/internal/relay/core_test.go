package relay

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

	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/keyrule"
)

var errRefused = errors.New("E_BAD_MESSAGE")

// fakeTarget is a publisher that takes everything unless it is told otherwise.
type fakeTarget struct {
	mu    sync.Mutex
	err   error // of every publish
	bad   string
	calls []string // "topic: body body ..."
}

func (f *fakeTarget) PublishAll(_ context.Context, topic string, bodies [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var texts []string
	for _, b := range bodies {
		texts = append(texts, string(b))
	}
	switch {
	case f.err != nil:
		return f.err
	case f.bad != "" && slices.Contains(texts, f.bad):
		return fmt.Errorf("publishing: %w", errRefused)
	}
	f.calls = append(f.calls, topic+": "+strings.Join(texts, " "))
	return nil
}

func (f *fakeTarget) Close() {}

func (f *fakeTarget) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, ", ")
}

// source notes how messages were answered.
type source struct {
	mu       sync.Mutex
	finished []string
	requeued []string
}

func (s *source) OnFinish(m *nsq.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = append(s.finished, string(m.Body))
}

func (s *source) OnRequeue(m *nsq.Message, delay time.Duration, backoff bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requeued = append(s.requeued, fmt.Sprintf("%s %v %v", m.Body, delay, backoff))
}

func (s *source) OnTouch(*nsq.Message) {}

func (s *source) message(body string) *nsq.Message {
	m := nsq.NewMessage(nsq.MessageID{}, []byte(body))
	m.Delegate = s
	return m
}

func (s *source) answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.finished) + len(s.requeued)
}

// relayAll puts messages through a core with the given targets, and returns when all are answered.
func relayAll(t *testing.T, mode targets.Mode, fakes []*fakeTarget, bodies ...string) *source {
	t.Helper()
	c := &core{
		hands: delivery.NewHands(0), batch: 4, timeout: time.Minute, report: func(int) {},
		permanent: func(err error) bool { return errors.Is(err, errRefused) }, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	var addresses []string
	for i, f := range fakes {
		addresses = append(addresses, fmt.Sprint(i))
		c.pubs = append(c.pubs, f)
		c.queues = append(c.queues, delivery.NewQueue[item]())
	}
	c.pool = targets.New(mode, addresses, 10, rand.NewPCG(1, 2))
	src := new(source)
	to := &route{source: "t", destination: "d"}
	for _, body := range bodies { // all wait before a sender begins
		m := src.message(body)
		c.hands.Take(m)
		c.accept(item{m: m, route: to, body: m.Body})
	}
	var senders sync.WaitGroup
	for i := range fakes {
		senders.Go(func() { c.send(i) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for src.answered() < len(bodies) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d messages were answered", src.answered(), len(bodies))
		}
	}
	for _, q := range c.queues {
		q.Close()
	}
	senders.Wait()
	if n := c.hands.Len(); n != 0 {
		t.Errorf("%d messages are still held", n)
	}
	return src
}

func TestWhatWaitsIsPublishedTogether(t *testing.T) {
	f := new(fakeTarget)
	src := relayAll(t, targets.HostPool, []*fakeTarget{f}, "1", "2", "3", "4", "5", "6")
	if f.String() != "d: 1 2 3 4, d: 5 6" || len(src.finished) != 6 {
		t.Errorf("published %s, finished %v", f, src.finished)
	}
}

// TestOneBadMessageDoesNotHoldUpTheOthers: it alone is requeued.
func TestOneBadMessageDoesNotHoldUpTheOthers(t *testing.T) {
	f := &fakeTarget{bad: "2"}
	src := relayAll(t, targets.HostPool, []*fakeTarget{f}, "1", "2", "3")
	if f.String() != "d: 1, d: 3" || !slices.Equal(src.finished, []string{"1", "3"}) || !slices.Equal(src.requeued, []string{"2 -1ns true"}) {
		t.Errorf("published %s, finished %v, requeued %v", f, src.finished, src.requeued)
	}
}

// TestATargetThatIsDownLosesNothing: its messages go to another if the mode allows for it, else back.
func TestATargetThatIsDownLosesNothing(t *testing.T) {
	down, up := &fakeTarget{err: errors.New("connection refused")}, new(fakeTarget)
	src := relayAll(t, targets.HostPool, []*fakeTarget{down, up}, "1", "2", "3", "4")
	slices.Sort(src.finished)
	if !slices.Equal(src.finished, []string{"1", "2", "3", "4"}) || len(src.requeued) > 0 {
		t.Errorf("hostpool: finished %v, requeued %v", src.finished, src.requeued)
	}
	src = relayAll(t, targets.RoundRobin, []*fakeTarget{down, new(fakeTarget)}, "1", "2", "3", "4")
	slices.Sort(src.requeued)
	if !slices.Equal(src.finished, []string{"1", "3"}) || !slices.Equal(src.requeued, []string{"2 -1ns true", "4 -1ns true"}) {
		t.Errorf("round-robin: finished %v, requeued %v", src.finished, src.requeued)
	}
}

func TestTopicsAreBatchedApart(t *testing.T) {
	f := new(fakeTarget)
	c := &core{
		hands: delivery.NewHands(0), batch: 10, timeout: time.Minute, report: func(int) {}, pubs: []publisher{f},
		queues: []*delivery.Queue[item]{delivery.NewQueue[item]()}, pool: targets.New(targets.HostPool, []string{"0"}, 10, rand.NewPCG(1, 2)),
	}
	src := new(source)
	routes := []*route{{destination: "b"}, {destination: "a"}}
	for i := range 6 {
		m := src.message(fmt.Sprint(i))
		c.hands.Take(m)
		c.accept(item{m: m, route: routes[i%2], body: m.Body})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.send(0)
	}()
	for deadline := time.After(2 * time.Minute); src.answered() < 6; {
		select {
		case <-deadline:
			t.Fatal("not all were answered")
		case <-time.After(time.Millisecond): // between two looks
		}
	}
	c.queues[0].Close()
	<-ended
	if f.String() != "a: 1 3 5, b: 0 2 4" || routes[0].finished.Load() != 3 {
		t.Errorf("published %s", f)
	}
}

// TestRouteByKey: all messages of a key go to one target in their order, also when that does not take them: then they wait for it; what has no key
// goes anywhere.
func TestRouteByKey(t *testing.T) {
	rule, err := keyrule.Parse("until:=")
	if err != nil {
		t.Fatal(err)
	}
	fakes := []*fakeTarget{new(fakeTarget), new(fakeTarget), {err: errors.New("connection refused")}}
	addresses := []string{"10.0.0.1:4150", "10.0.0.2:4150", "10.0.0.3:4150"}
	c := &core{
		hands: delivery.NewHands(0), batch: 4, timeout: time.Minute, report: func(int) {}, permanent: func(error) bool { return false },
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), rule: rule, addresses: addresses, pool: targets.New(targets.HostPool, addresses, 10, rand.NewPCG(1, 2)),
	}
	var bodies []string
	want := map[int][]string{}
	for i := range 60 {
		body := fmt.Sprintf("k%d=%d", i%20, i)
		owner := targets.Owner([]byte(fmt.Sprint("k", i%20)), addresses)
		want[owner] = append(want[owner], body)
		bodies = append(bodies, body)
	}
	src, to := new(source), &route{source: "t", destination: "d"}
	for _, f := range fakes {
		c.pubs, c.queues = append(c.pubs, f), append(c.queues, delivery.NewQueue[item]())
	}
	for _, body := range append(bodies, "no key") {
		m := src.message(body)
		c.hands.Take(m)
		c.accept(item{m: m, route: to, body: m.Body})
	}
	var senders sync.WaitGroup
	for i := range fakes {
		senders.Go(func() { c.send(i) })
	}
	for deadline := time.After(2 * time.Minute); src.answered() < 61; {
		select {
		case <-deadline:
			t.Fatal("not all were answered")
		case <-time.After(time.Millisecond):
		}
	}
	for _, q := range c.queues {
		q.Close()
	}
	senders.Wait()
	for i, f := range fakes[:2] {
		var got []string
		for _, call := range f.calls {
			for body := range strings.SplitSeq(strings.TrimPrefix(call, "d: "), " ") {
				if strings.Contains(body, "=") {
					got = append(got, body)
				}
			}
		}
		if !slices.Equal(got, want[i]) || len(got) == 0 {
			t.Errorf("target %d got %v, want %v", i, got, want[i])
		}
	}
	if len(src.requeued) != len(want[2]) || len(want[2]) == 0 {
		t.Errorf("%d were requeued, and the target that is down has %d", len(src.requeued), len(want[2]))
	}
}
