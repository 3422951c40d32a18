package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestStatsdPrefix(t *testing.T) {
	tests := []struct{ format, want string }{
		{"nsq.%s", "nsq.host_example_com_4151."},
		{"nsq.%s.", "nsq.host_example_com_4151."},
		{"%s.%s", "host_example_com_4151.host_example_com_4151."},
		{"plain", "plain."},
		{"", ""},
	}
	for _, test := range tests {
		if got := StatsdPrefix(test.format, "host.example.com", 4151); got != test.want {
			t.Errorf("%q: got %q, want %q", test.format, got, test.want)
		}
	}
}

// oneOfAll is a topic with a channel, every number different.
func oneOfAll() []httpapi.Topic {
	latency := httpapi.Latency{Count: 1, Percentiles: []httpapi.Percentile{{Quantile: 0.99, Value: 12.9}, {Quantile: 0.5, Value: 7}}}
	return []httpapi.Topic{{
		TopicName: "t", MessageCount: 1, MessageBytes: 2, Depth: 3, BackendDepth: 4, E2EProcessingLatency: latency,
		Channels: []httpapi.Channel{{
			ChannelName: "c#ephemeral", MessageCount: 5, Depth: 6, BackendDepth: 7, InFlightCount: 8, DeferredCount: 9,
			RequeueCount: 10, TimeoutCount: 11, ClientCount: 12, E2EProcessingLatency: latency,
		}},
	}}
}

const linesOfAll = `nsq.h.topic.t.message_count:1|c
nsq.h.topic.t.message_bytes:2|c
nsq.h.topic.t.depth:3|g
nsq.h.topic.t.backend_depth:4|g
nsq.h.topic.t.e2e_processing_latency_99:12|g
nsq.h.topic.t.e2e_processing_latency_50:7|g
nsq.h.topic.t.channel.c#ephemeral.message_count:5|c
nsq.h.topic.t.channel.c#ephemeral.depth:6|g
nsq.h.topic.t.channel.c#ephemeral.backend_depth:7|g
nsq.h.topic.t.channel.c#ephemeral.in_flight_count:8|g
nsq.h.topic.t.channel.c#ephemeral.deferred_count:9|g
nsq.h.topic.t.channel.c#ephemeral.requeue_count:10|c
nsq.h.topic.t.channel.c#ephemeral.timeout_count:11|c
nsq.h.topic.t.channel.c#ephemeral.clients:12|g
nsq.h.topic.t.channel.c#ephemeral.e2e_processing_latency_99:12|g
nsq.h.topic.t.channel.c#ephemeral.e2e_processing_latency_50:7|g
`

// TestRenderAll holds every line of a topic and a channel.
func TestRenderAll(t *testing.T) {
	r := newRound(StatsdConfig{Prefix: "nsq.h."})
	if got := string(r.render(oneOfAll())); got != linesOfAll {
		t.Errorf("got\n%s", got)
	}
	r = newRound(StatsdConfig{Prefix: "nsq.h.", ExcludeEphemeral: true})
	if got := string(r.render(oneOfAll())); strings.Contains(got, "ephemeral") || !strings.Contains(got, "topic.t.depth") {
		t.Errorf("got\n%s", got)
	}
}

// TestRenderCounters: the first round counts from the start, later ones what is new, and a topic made anew has shrunk.
func TestRenderCounters(t *testing.T) {
	r := newRound(StatsdConfig{})
	rounds := []struct {
		count uint64
		want  string
	}{{10, "topic.t.message_count:10|c"}, {15, "topic.t.message_count:5|c"}, {15, "topic.t.message_count:0|c"}, {3, "topic.t.message_count:-12|c"}}
	for _, round := range rounds {
		got := string(r.render([]httpapi.Topic{{TopicName: "t", MessageCount: round.count}}))
		if !strings.HasPrefix(got, round.want+"\n") {
			t.Errorf("got %s, want %s", got, round.want)
		}
	}
}

func TestRenderMemory(t *testing.T) {
	got := string(newRound(StatsdConfig{MemStats: true}).render(nil))
	for _, name := range []string{"heap_objects", "heap_idle_bytes", "heap_in_use_bytes", "heap_released_bytes",
		"gc_pause_usec_100", "gc_pause_usec_99", "gc_pause_usec_95", "next_gc_bytes", "gc_runs"} {
		if !strings.Contains(got, "mem."+name+":") {
			t.Errorf("mem.%s is missing", name)
		}
	}
	if strings.Count(got, "|c\n") != 1 || strings.Count(got, "|g\n") != 8 {
		t.Errorf("got\n%s", got)
	}
}

func TestPackLines(t *testing.T) {
	tests := []struct {
		lines string
		size  int
		want  []string
	}{
		{"", 10, nil},
		{"aaa\nbbb\n", 8, []string{"aaa\nbbb\n"}},
		{"aaa\nbbb\n", 7, []string{"aaa\n", "bbb\n"}},
		{"aaa\nbbbbbbbbb\nc\n", 4, []string{"aaa\n", "bbbbbbbbb\n", "c\n"}},
		{"aaaaaaaaa\nb\nc\n", 4, []string{"aaaaaaaaa\n", "b\nc\n"}},
	}
	for _, test := range tests {
		var got []string
		for _, p := range packLines([]byte(test.lines), test.size) {
			got = append(got, string(p))
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%q in %d: got %q", test.lines, test.size, got)
		}
	}
}

// wire records datagrams and when they came.
type wire struct {
	mu     sync.Mutex
	start  time.Time
	sent   []string
	at     []time.Duration
	broken atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, string(p))
	w.at = append(w.at, time.Since(w.start))
	return len(p), nil
}

func (w *wire) Close() error { return nil }

func (w *wire) dial(context.Context, string) (io.WriteCloser, error) {
	if w.broken.Load() {
		return nil, errors.New("no way")
	}
	return w, nil
}

// startPusher runs a pusher with three datagrams a round and returns its end.
func startPusher(w *wire, log *slog.Logger, interval time.Duration) (stop func()) {
	w.start = time.Now()
	topics := []httpapi.Topic{{TopicName: "t", MessageCount: 1, MessageBytes: 2}}
	p := NewPusher(StatsdConfig{Interval: interval, PacketSize: 52, Dial: w.dial}, func() []httpapi.Topic { return topics }, log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// TestPusherPace: a round's datagrams are spread over the interval but for its last second, and the next round is on time.
func TestPusherPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		stop := startPusher(w, slog.New(slog.DiscardHandler), 7*time.Second)
		defer stop()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		want := []time.Duration{7 * time.Second, 10 * time.Second, 14 * time.Second, 17 * time.Second}
		if len(w.sent) != len(want) {
			t.Fatalf("sent %d datagrams: %q", len(w.sent), w.sent)
		}
		for i := range want {
			if w.at[i] != want[i] {
				t.Errorf("datagram %d at %v, want %v", i, w.at[i], want[i])
			}
		}
		if w.sent[0] != "topic.t.message_count:1|c\ntopic.t.message_bytes:2|c\n" || w.sent[2] != "topic.t.message_count:0|c\ntopic.t.message_bytes:0|c\n" {
			t.Errorf("sent %q", w.sent)
		}
	})
}

// TestPusherExit: what is left of a round goes out when the pusher is stopped.
func TestPusherExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		stop := startPusher(w, slog.New(slog.DiscardHandler), 10*time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(w.sent) != 1 {
			t.Errorf("sent %d datagrams before the stop", len(w.sent))
		}
		stop()
		if len(w.sent) != 2 {
			t.Errorf("sent %d datagrams", len(w.sent))
		}
	})
}

// TestPusherSkips: a daemon that cannot be reached costs a line in the log and loses no count; an interval under a second
// works.
func TestPusherSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := &wire{}
		w.broken.Store(true)
		stop := startPusher(w, slog.New(slog.NewTextHandler(&log, nil)), 500*time.Millisecond)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		w.broken.Store(false)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		stop()
		if !strings.Contains(log.String(), "no way") {
			t.Errorf("log: %s", log.String())
		}
		if len(w.sent) == 0 || !strings.HasPrefix(w.sent[0], "topic.t.message_count:1|c\n") {
			t.Errorf("sent %q", w.sent)
		}
	})
}

// TestPusherUDP sends a round to a real socket.
func TestPusherUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cfg := StatsdConfig{Address: conn.LocalAddr().String(), Prefix: "nsq.h.", Interval: time.Millisecond, PacketSize: 4096}
	p := NewPusher(cfg, oneOfAll, slog.New(slog.DiscardHandler))
	if err := p.push(t.Context()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, _, err := conn.ReadFrom(buf)
	if err != nil || string(buf[:n]) != linesOfAll {
		t.Errorf("got %v\n%s", err, buf[:n])
	}
}
