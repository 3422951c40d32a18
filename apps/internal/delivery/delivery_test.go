package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/internal/targets"
	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// broker notes what it is told of messages.
type broker struct {
	mu      sync.Mutex
	touched int
	answers []string
}

func (b *broker) OnFinish(*nsq.Message) { b.add("FIN") }

func (b *broker) OnRequeue(_ *nsq.Message, delay time.Duration, backoff bool) {
	text := "REQ " + delay.String()
	if backoff {
		text += " backoff"
	}
	b.add(text)
}

func (b *broker) OnTouch(*nsq.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touched++
}

func (b *broker) add(answer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, answer)
}

func (b *broker) touches() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.touched
}

func (b *broker) message() *nsq.Message {
	m := nsq.NewMessage(nsq.MessageID{}, []byte("body"))
	m.Delegate = b
	return m
}

// TestWhatIsHeldIsTouched: a message that is worked on for long never reaches its timeout, and once it is answered nothing
// more is said of it.
func TestWhatIsHeldIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 30 * time.Second
		b, h := new(broker), NewHands(timeout)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.KeepAlive(ctx)
		}()
		m := b.message()
		h.Take(m)
		for round := range 20 {
			before := b.touches()
			time.Sleep(timeout * 9 / 10) // of the bubble's clock
			synctest.Wait()
			if b.touches() == before {
				t.Fatalf("not touched in the timeout number %d", round)
			}
		}
		h.Finish(m)
		before := b.touches()
		time.Sleep(10 * timeout)
		synctest.Wait()
		if b.touches() != before || h.Len() != 0 {
			t.Errorf("%d touches after FIN, %d messages held", b.touches()-before, h.Len())
		}
		cancel()
		<-ended
	})
}

func TestHandsAnswerAsTold(t *testing.T) {
	b, h := new(broker), NewHands(0)
	for _, answer := range []func(*nsq.Message){
		h.Finish, h.Return,
		func(m *nsq.Message) { h.Requeue(m, -1) },
		func(m *nsq.Message) { h.Postpone(m, time.Minute) },
	} {
		m := b.message()
		h.Take(m)
		if !m.IsAutoResponseDisabled() || h.Len() != 1 {
			t.Fatal("go-nsq would answer a message that is held")
		}
		answer(m)
	}
	want := []string{"FIN", "REQ 0s", "REQ -1ns backoff", "REQ 1m0s"}
	if !slices.Equal(b.answers, want) || h.Len() != 0 {
		t.Errorf("told %q, want %q; %d held", b.answers, want, h.Len())
	}
}

func TestQueueGivesInOrderAndReturnsTheRest(t *testing.T) {
	q := NewQueue[int]()
	for i := range 6 {
		if !q.Put(i) {
			t.Fatal("a new queue is closed")
		}
	}
	got, ok := q.Take(nil, func(next int) bool { return next < 3 })
	if !ok || !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("took %v, %v", got, ok)
	}
	got, ok = q.Take(got[:0], func(int) bool { return false })
	if !ok || !slices.Equal(got, []int{3}) {
		t.Errorf("took %v, %v", got, ok)
	}
	if left := q.Close(); !slices.Equal(left, []int{4, 5}) {
		t.Errorf("left were %v", left)
	}
	if _, ok := q.Take(nil, nil); ok || q.Put(6) || q.Close() != nil {
		t.Error("a closed queue takes or gives")
	}
}

// TestQueueLosesNothingAmongMany: what several workers take, and what is left at the end, is what was put in.
func TestQueueLosesNothingAmongMany(t *testing.T) {
	const n = 10000
	q := NewQueue[int]()
	var mu sync.Mutex
	seen := make(map[int]int)
	keep := func(items []int) {
		mu.Lock()
		defer mu.Unlock()
		for _, i := range items {
			seen[i]++
		}
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			var batch []int
			for ok := true; ok; {
				batch, ok = q.Take(batch[:0], func(next int) bool { return next%7 != 0 })
				keep(batch)
			}
		})
	}
	refused := 0
	for i := range n {
		if i == n/2 {
			keep(q.Close())
		}
		if !q.Put(i) {
			refused++
		}
	}
	workers.Wait()
	if refused != n/2 || len(seen) != n/2 {
		t.Errorf("%d were refused and %d seen, of %d each", refused, len(seen), n/2)
	}
	for i, times := range seen {
		if times != 1 {
			t.Errorf("%d was given %d times", i, times)
		}
	}
}

func TestReporterLogsEverySoManyMessages(t *testing.T) {
	var log strings.Builder
	pool := targets.New(targets.RoundRobin, []string{"a:1", "b:2"}, 100, rand.NewPCG(1, 2))
	now := time.Unix(1000, 0)
	pool.Done(0, 150, 3*time.Millisecond, now)
	pool.Failed(1, 7, errors.New("down"), now)
	r := NewReporter(pool, 100, slog.New(slog.NewTextHandler(&log, nil)))
	r.Count(60)
	if log.Len() > 0 {
		t.Errorf("logged after 60 of 100: %s", log.String())
	}
	r.Count(140)
	for _, want := range []string{
		`"[a:1]: 150 done" failed=0 p99_ms=3 p95_ms=3 avg_ms=3`, `"[b:2]: 0 done" failed=7`, `"[aggregate]: 150 done" failed=7`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("not logged: %s, but\n%s", want, log.String())
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 3 {
		t.Errorf("%d lines instead of 3", lines)
	}
	log.Reset()
	NewReporter(pool, 0, slog.New(slog.NewTextHandler(&log, nil))).Count(1000)
	if log.Len() > 0 {
		t.Errorf("0 is never, but there is %s", log.String())
	}
}

func TestStateServerTells(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s, err := ServeState("127.0.0.1:0", func() State { return State{Version: "v", InHand: 3} }, logger)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(log.String(), "url=http://")
	address, _, _ = strings.Cut(address, "/")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got State
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Version != "v" || got.InHand != 3 {
		t.Errorf("told %+v, %v", got, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := ServeState(address, func() State { return State{} }, logger); err == nil {
		t.Error("two serve at one address")
	}
	s.Close()
	if _, err := client.Get("http://" + address + "/ping"); err == nil {
		t.Error("serves after Close")
	}
}
