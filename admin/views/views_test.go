package views

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"brokerd/admin/cluster"
	"brokerd/admin/fakes"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func latency(count int, value float64) httpapi.Latency {
	return httpapi.Latency{Count: count, Percentiles: []httpapi.Percentile{{Quantile: 0.5, Value: value / 2}, {Quantile: 0.99, Value: value}}}
}

// TestMerge: averages are weighted by messages, extremes are of nodes that finished any, and no node with percentiles is nothing.
func TestMerge(t *testing.T) {
	if got := Merge([]httpapi.Latency{{}, {}}); got != nil {
		t.Errorf("of nothing %+v", got)
	}
	got := Merge([]httpapi.Latency{latency(0, 0), latency(1, 1000), {}, latency(3, 5000), latency(0, 0)})
	if got.Count != 4 || len(got.Percentiles) != 2 || got.Percentiles[0] != (Percentile{0.99, 4000, 1000, 5000}) || got.Percentiles[1] != (Percentile{0.5, 2000, 500, 2500}) {
		t.Errorf("got %+v", got)
	}
	if idle := Merge([]httpapi.Latency{latency(0, 0), latency(0, 0)}); idle.Count != 0 || idle.Percentiles[0] != (Percentile{Quantile: 0.99}) {
		t.Errorf("of idle nodes %+v", idle)
	}
}

// TestRatesOfConnections: two looks a second apart make a rate, a look in between repeats it, and a connection that is gone is
// forgotten.
func TestRatesOfConnections(t *testing.T) {
	r := rates{seen: map[string]sample{}}
	at := time.Unix(1700000000, 0)
	for _, look := range []struct {
		after time.Duration
		count int64
		want  float64
	}{{0, 100, 0}, {500 * time.Millisecond, 200, 0}, {2 * time.Second, 300, 100}, {2500 * time.Millisecond, 900, 100}, {4 * time.Second, 400, 50}, {6 * time.Second, 10, 0}} {
		if got := r.of("a", at.Add(look.after), look.count).rates[0]; got != look.want {
			t.Errorf("after %v: %v, want %v", look.after, got, look.want)
		}
	}
	r.of("b", at.Add(5*time.Minute), 1)
	if len(r.seen) != 1 {
		t.Errorf("%d connections are remembered", len(r.seen))
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 0.004: 0, 0.126: 0.13, 9.999: 10, 123.456: 123.5, 1234567.8: 1234568} {
		if got := round(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v is %v, want %v", v, got, want)
		}
	}
}

// TestOneBodyForAll: whoever asks for a page while the state is the same gets the same body, made once, and what a page shows is
// recorded.
func TestOneBodyForAll(t *testing.T) {
	b := fakes.NewBroker(t, "a")
	b.Stats.Topics = []httpapi.Topic{{TopicName: "t", Channels: []httpapi.Channel{{ChannelName: "c", Depth: 7}}}}
	asks := httpapi.NewHTTPClient(httpapi.ClientConfig{RequestTimeout: time.Minute})
	defer asks.Close()
	c := cluster.New(cluster.Config{Brokers: []string{b.Address()}, HTTP: asks, Interval: time.Hour, Patience: time.Minute, Round: time.Minute,
		Log: slog.New(slog.DiscardHandler)})
	m := New(c, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	for _, run := range []func(context.Context){c.Run, m.Run} {
		go func() {
			run(ctx)
			done <- struct{}{}
		}()
	}
	defer func() {
		cancel()
		<-done
		<-done
	}()
	page := Page{View: "channel", Topic: "t", Channel: "c"}
	first, err := m.Get(ctx, page, Sight{})
	if err != nil {
		t.Fatal(err)
	}
	asked := b.Asked()
	second, err := m.Get(ctx, page, Sight{})
	if err != nil || first != second || b.Asked() != asked {
		t.Errorf("the body was made again: %v", err)
	}
	text, err := json.Marshal(first)
	if err != nil || !strings.Contains(string(text), `"topic":"t","channel":"c","total":{"channel":"c","depth":7,`) || strings.Contains(string(text), "null,\"clients\"") {
		t.Errorf("%v: %s", err, text)
	}
	if _, err := m.Get(ctx, Page{View: "channel", Topic: "t", Channel: "none"}, Sight{}); err == nil {
		t.Error("a channel that is none")
	}
	m.mu.Lock()
	kept := len(m.memo)
	m.mu.Unlock()
	if _, err := m.Get(ctx, Page{View: "topic", Topic: strings.Repeat("x", mostKey)}, Sight{}); err == nil || len(m.memo) != kept {
		t.Errorf("a name that nothing has is kept: %v", err)
	}
	key, names, err := Thing("channel", "t", "c", "")
	if err != nil || len(names) != 7 || names[2] != "depth" {
		t.Fatalf("%v %v", names, err)
	}
	m.History().Begin(time.Now().Add(10 * time.Second))
	if _, points := m.History().Series(key, 0, len(names)); points[2][118] != 7 && points[2][117] != 7 {
		t.Errorf("depth was recorded as %v", points[2][110:])
	}
	if _, _, err := Thing("broker", "", "", ""); err == nil {
		t.Error("a thing that is none")
	}
}

// TestAppendChange: what it writes of a row, laid over the JSON of the old one, is the JSON of the row; a row that is new is whole.
func TestAppendChange(t *testing.T) {
	rows := rapid.Custom(func(t *rapid.T) Row {
		few := rapid.IntRange(0, 2)
		rates := rapid.SampledFrom([]float64{0, 0.01, 12.5, 3e6})
		return Row{
			Topic: rapid.SampledFrom([]string{"a", "b#ephemeral"}).Draw(t, "topic"), RateIn: rates.Draw(t, "in"), RateOut: rates.Draw(t, "out"),
			Depth: int64(few.Draw(t, "depth")), BackendDepth: int64(few.Draw(t, "backend")), InFlight: few.Draw(t, "flight"), Deferred: few.Draw(t, "deferred"),
			RequeueRate: rates.Draw(t, "requeue"), TimeoutRate: rates.Draw(t, "timeout"), MessageCount: uint64(few.Draw(t, "messages")),
			Channels: few.Draw(t, "channels"), Clients: few.Draw(t, "clients"), Nodes: few.Draw(t, "nodes"), Paused: rapid.Bool().Draw(t, "paused"),
			Stale: rapid.Bool().Draw(t, "stale"), Attention: few.Draw(t, "attention"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		old, row := rows.Draw(t, "old"), rows.Draw(t, "row")
		text := row.AppendChange(nil, &old)
		got := Row{}
		if old.Topic == row.Topic {
			got = old
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil || got != row {
			t.Fatalf("%v: %s over %+v is %+v, want %+v", err, text, old, got, row)
		}
		if whole, err := json.Marshal(row); err != nil || old.Topic != row.Topic && !sameKeys(text, whole) {
			t.Fatalf("%s has not the keys of %s", text, whole)
		}
	})
}

func sameKeys(a, b []byte) bool {
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return slices.Equal(slices.Sorted(maps.Keys(x)), slices.Sorted(maps.Keys(y)))
}
