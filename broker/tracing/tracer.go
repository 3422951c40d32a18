package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"brokerd/protocol"
)

// Limits that nobody has had reason to change.
const (
	buffered  = 4096 // spans that wait to be sent
	batchSize = 512
	sendEvery = time.Second
	sendTime  = 5 * time.Second // for one batch
	lastTime  = time.Second     // for the last one
	maxAnswer = 64 << 10
)

// Config is what a Tracer is told.
type Config struct {
	Endpoint string  // URL of the collector; without a path, /v1/traces
	Sample   float64 // share of messages that are traced, in (0,1]
	Node     string  // which broker this is
	Version  string
	Log      *slog.Logger

	Transport http.RoundTripper // nil: net/http's own, without a proxy of the environment
}

// Tracer reports messages. Its methods but Run never wait, and are safe for concurrent use.
type Tracer struct {
	cfg      Config
	every    protocol.MessageID // one in so many ids
	resource []attribute
	client   *http.Client
	spans    chan span

	sent, dropped atomic.Uint64
}

// CheckEndpoint returns why Config.Endpoint cannot be a text, nil when it can.
func CheckEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must be an http or https URL")
	}
	return nil
}

// New returns a Tracer that sends nothing until Run.
func New(cfg Config) (*Tracer, error) {
	if err := CheckEndpoint(cfg.Endpoint); err != nil {
		return nil, err
	}
	if u, err := url.Parse(cfg.Endpoint); err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/traces"
		cfg.Endpoint = u.String()
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	}
	return &Tracer{
		cfg: cfg, every: protocol.MessageID(max(1, math.Round(1/cfg.Sample))), spans: make(chan span, buffered),
		resource: []attribute{text("service.name", "brokerd"), text("service.version", cfg.Version), text("service.instance.id", cfg.Node)},
		client:   &http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Counts returns how many spans the collector took, and how many were given up.
func (t *Tracer) Counts() (sent, dropped uint64) { return t.sent.Load(), t.dropped.Load() }

// Traces reports whether a message is one that is traced.
func (t *Tracer) Traces(id protocol.MessageID) bool { return id%t.every == 0 }

// Published reports count messages with ids from first on, which were stamped with at and are accepted now.
func (t *Tracer) Published(topic string, first protocol.MessageID, count int, at int64) {
	id := (first + t.every - 1) / t.every * t.every
	for now := time.Now().UnixNano(); id < first+protocol.MessageID(count); id += t.every {
		t.put(span{name: "publish " + topic, kind: producer, id: id, topic: topic, start: at, end: max(at, now)})
	}
}

// Delivered reports that a message which is traced, was published at that time and goes to a consumer for the attempts-th time.
func (t *Tracer) Delivered(topic, channel string, id protocol.MessageID, at int64, attempts uint16) {
	t.put(span{name: "deliver " + topic + "/" + channel, kind: consumer, id: id, topic: topic, channel: channel, attempts: attempts,
		start: at, end: max(at, time.Now().UnixNano())})
}

func (t *Tracer) put(s span) {
	select {
	case t.spans <- s:
	default:
		t.dropped.Add(1)
	}
}

// Run sends what is reported until ctx ends, and then, for a second at most, what is left.
func (t *Tracer) Run(ctx context.Context) {
	defer t.client.CloseIdleConnections()
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	var batch []span
	failing := false
	for {
		due := false
		select {
		case s := <-t.spans:
			batch = append(batch, s)
		case <-tick.C:
			due = true
		case <-ctx.Done():
			t.rest(batch)
			return
		}
		if len(batch) >= batchSize || due && len(batch) > 0 {
			failing = t.tell(t.send(ctx, batch, sendTime), failing)
			batch = batch[:0]
		}
	}
}

// rest sends what is left, and counts what is not taken.
func (t *Tracer) rest(batch []span) {
	for len(t.spans) > 0 {
		batch = append(batch, <-t.spans)
	}
	if len(batch) > 0 {
		t.tell(t.send(context.Background(), batch, lastTime), false)
	}
}

// tell logs that the collector began, or ceased, to fail. It reports whether it fails.
func (t *Tracer) tell(err error, failing bool) bool {
	switch {
	case err != nil && !failing:
		t.cfg.Log.Warn("traces are dropped, the collector does not take them", "error", err)
	case err == nil && failing:
		t.cfg.Log.Info("the collector takes traces again", "dropped", t.dropped.Load())
	}
	return err != nil
}

// send sends a batch, and counts what became of it. The error has no URL, which may hold a secret.
func (t *Tracer) send(ctx context.Context, batch []span, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	rejected, err := t.post(ctx, t.encode(batch))
	if err != nil {
		t.dropped.Add(uint64(len(batch)))
		return err
	}
	rejected = min(max(rejected, 0), int64(len(batch)))
	t.dropped.Add(uint64(rejected))
	t.sent.Add(uint64(len(batch)) - uint64(rejected))
	return nil
}

// post returns how many spans the collector has rejected.
func (t *Tracer) post(ctx context.Context, body []byte) (rejected int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer resp.Body.Close() // it was read, or is of no use
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the collector answers %s", resp.Status)
	}
	var partial struct {
		PartialSuccess struct {
			RejectedSpans json.Number `json:"rejectedSpans"`
		} `json:"partialSuccess"`
	}
	if len(bytes.TrimSpace(answer)) == 0 || json.Unmarshal(answer, &partial) != nil {
		return 0, nil // it says nothing of spans
	}
	rejected, _ = partial.PartialSuccess.RejectedSpans.Int64() // none when it is no number
	return rejected, nil
}

func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
}
