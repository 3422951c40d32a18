package tracing

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// collector is a collector in memory.
type collector struct {
	mu     sync.Mutex
	bodies []string
	answer string
	status int   // 0: 200
	fails  error // instead of an answer
	hangs  bool  // no answer comes until the request is given up
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if c.hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails != nil {
		return nil, c.fails
	}
	c.bodies = append(c.bodies, string(body))
	return &http.Response{StatusCode: max(c.status, 200), Status: "as told", Body: io.NopCloser(strings.NewReader(c.answer))}, nil
}

// run runs a tracer in a bubble until test returns.
func run(t *testing.T, c *collector, sample float64, test func(*Tracer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tracer, err := New(Config{Endpoint: "http://user:canary@collector:4318", Sample: sample, Node: "n/1", Version: "1",
			Log: slog.New(slog.NewTextHandler(noSecrets{t}, nil)), Transport: c})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { tracer.Run(ctx); close(done) }()
		test(tracer)
		cancel()
		<-done
	})
}

// noSecrets is a log that must not show the endpoint's password.
type noSecrets struct{ t *testing.T }

func (n noSecrets) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "canary") {
		n.t.Errorf("a secret is in the log: %s", line)
	}
	return len(line), nil
}

// TestPublishAndDeliveriesAreOneTrace, each delivery with a span of its own under the publish.
func TestPublishAndDeliveriesAreOneTrace(t *testing.T) {
	c := &collector{}
	const id protocol.MessageID = 0x0123456789abcdef
	run(t, c, 1, func(tracer *Tracer) {
		tracer.Published("orders", id, 1, time.Now().Add(-time.Millisecond).UnixNano())
		for attempts := range uint16(2) {
			tracer.Delivered("orders", "billing", id, time.Now().UnixNano(), attempts+1)
		}
		tracer.Delivered("orders", "audit", id, time.Now().UnixNano(), 1)
		time.Sleep(2 * sendEvery)
		if sent, dropped := tracer.Counts(); sent != 4 || dropped != 0 {
			t.Errorf("%d sent, %d dropped", sent, dropped)
		}
	})
	var r request
	if len(c.bodies) != 1 || json.Unmarshal([]byte(c.bodies[0]), &r) != nil {
		t.Fatalf("requests %q", c.bodies)
	}
	spans := r.ResourceSpans[0].ScopeSpans[0].Spans
	publish, ids := spans[0], map[string]bool{}
	if publish.Name != "publish orders" || publish.Kind != producer || publish.ParentSpanID != "" || publish.Start >= publish.End {
		t.Errorf("publish: %+v", publish)
	}
	for _, s := range spans {
		ids[s.SpanID] = true
		if s.TraceID != publish.TraceID || len(s.TraceID) != 32 || len(s.SpanID) != 16 || !strings.HasSuffix(s.TraceID, id.String()) {
			t.Errorf("ids of %+v", s)
		}
	}
	for _, s := range spans[1:] {
		if s.ParentSpanID != publish.SpanID || s.Kind != consumer {
			t.Errorf("delivery: %+v", s)
		}
	}
	if len(ids) != 4 {
		t.Errorf("spans share ids: %v", ids)
	}
}

// TestCollectorThatIsSlowOrGoneHoldsUpNothing: reporting never waits, memory is bounded, and all that is given up is counted.
func TestCollectorThatIsSlowOrGoneHoldsUpNothing(t *testing.T) {
	for name, c := range map[string]*collector{
		"gone": {fails: errors.New("connection refused")}, "hangs": {hangs: true}, "refuses": {status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 10 * buffered
			run(t, c, 1, func(tracer *Tracer) {
				before := time.Now()
				tracer.Published("t", 1, n, before.UnixNano())
				if took := time.Since(before); took != 0 { // time is virtual: only waiting takes some
					t.Errorf("reporting waited for %v", took)
				}
				if len(tracer.spans) > buffered {
					t.Errorf("%d spans wait", len(tracer.spans))
				}
				for range n { // as many sends as the scheduler makes of it, each of which takes its time
					if sent, dropped := tracer.Counts(); sent+dropped == n {
						break
					}
					time.Sleep(sendTime)
				}
				if sent, dropped := tracer.Counts(); sent != 0 || dropped != n {
					t.Errorf("%d sent, %d dropped of %d", sent, dropped, n)
				}
			})
		})
	}
}

// TestRejectedSpansAreCounted as dropped.
func TestRejectedSpansAreCounted(t *testing.T) {
	c := &collector{answer: `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}`}
	run(t, c, 1, func(tracer *Tracer) {
		tracer.Published("t", 1, 10, time.Now().UnixNano())
		time.Sleep(2 * sendEvery)
		if sent, dropped := tracer.Counts(); sent != 7 || dropped != 3 {
			t.Errorf("%d sent, %d dropped", sent, dropped)
		}
	})
}

// TestSampleIsTheSameForPublishAndDelivery, and about as large as was asked for.
func TestSampleIsTheSameForPublishAndDelivery(t *testing.T) {
	tracer, err := New(Config{Endpoint: "http://collector", Sample: 0.01}) // it does not run: spans stay where they can be counted
	if err != nil {
		t.Fatal(err)
	}
	for first := protocol.MessageID(12345); first < 12345+100000; first += 7 {
		before, chosen := len(tracer.spans), 0
		tracer.Published("t", first, 7, 0)
		for id := first; id < first+7; id++ {
			if tracer.Traces(id) {
				chosen++
			}
		}
		if told := len(tracer.spans) - before; told != chosen {
			t.Fatalf("from %d: %d publishes told, %d deliveries would be", first, told, chosen)
		}
	}
	if n := len(tracer.spans); n < 990 || n > 1010 {
		t.Errorf("%d of 100000 are traced", n)
	}
}

// TestWhatIsLeftIsSentAtTheEnd.
func TestWhatIsLeftIsSentAtTheEnd(t *testing.T) {
	c := &collector{}
	run(t, c, 1, func(tracer *Tracer) { tracer.Published("t", 1, 3, time.Now().UnixNano()) })
	if len(c.bodies) != 1 || strings.Count(c.bodies[0], `"spanId"`) != 3 {
		t.Errorf("requests %q", c.bodies)
	}
}
