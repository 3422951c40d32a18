package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/broker/telemetry"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

var rewrite = flag.Bool("rewrite", false, "write what is answered now into testdata")

func (f *fixture) stats(query string) httpapi.Stats {
	f.t.Helper()
	_, body := f.do("GET", "/stats?format=json"+query, "")
	var s httpapi.Stats
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		f.t.Fatalf("%v: %s", err, body)
	}
	return s
}

// TestStatsEmptyBroker holds the start of the answer to the byte: tools compare it so.
func TestStatsEmptyBroker(t *testing.T) {
	f := newFixture(t, nil)
	resp, body := f.do("GET", "/stats?format=json", "")
	const prefix = `{"version":"1.3.0","health":"OK","start_time":1737370000,"topics":[],"memory":{`
	if !strings.HasPrefix(body, prefix) || !strings.HasSuffix(body, `},"producers":null}`) {
		t.Errorf("got %s", body)
	}
	f.broker.aside = 3
	if _, body := f.do("GET", "/stats?format=json", ""); !strings.HasSuffix(body, `},"producers":null,"set_aside":3}`) {
		t.Errorf("with files set aside: %s", body)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", ct)
	}
}

// fill makes two topics, three channels, a consumer and two producers.
func fill(f *fixture) {
	f.channel("b", "y")
	f.channel("b", "x")
	f.topic("a")
	client := httpapi.Client{ClientID: "app", Hostname: "app.local", Version: "V2", RemoteAddress: "127.0.0.1:1", State: 3,
		UserAgent: "go-nsq/1.1.0", ConnectTime: 1737370001}
	f.subscribe("b", "x", client)
	client.PubCounts = []httpapi.PubCount{{Topic: "b", Count: 3}, {Topic: "a", Count: 4}}
	client.Hostname, client.UserAgent = "p", ""
	f.broker.producers = []httpapi.Client{client}
	f.run([]step{{"POST /mpub?topic=b", "1\n2\n3", 200, "OK"}, {"POST /pub?topic=a", "4444", 200, "OK"}})
}

// TestStatsOfWhatATopicDiscardsItself: what leaves a topic that has no channel is counted by why.
func TestStatsOfWhatATopicDiscardsItself(t *testing.T) {
	f := newFixture(t, nil)
	f.run([]step{{"POST /mpub?topic=a", "1\n2\n3", 200, "OK"}, {"POST /topic/empty?topic=a", "", 200, ""}})
	if _, body := f.do("GET", "/stats?format=json", ""); !strings.Contains(body, `"discarded":{"emptied":3}`) {
		t.Errorf("got %s", body)
	}
}

// TestRawAttemptsDoNotWrap: the frames of format=raw have the number of the next delivery, which stops at the highest.
func TestRawAttemptsDoNotWrap(t *testing.T) {
	for had, want := range map[uint16]uint16{0: 1, 5: 6, math.MaxUint16 - 1: math.MaxUint16, math.MaxUint16: math.MaxUint16} {
		l := looking{raw: true}
		out, err := l.answer(httptest.NewRecorder(), httpapi.Messages{}, []topic.Message{{ID: 1, Attempts: had, Body: []byte("m")}}, "", true)
		frames, _ := out.([]byte)
		if err != nil || len(frames) == 0 || protocol.FirstMessage(frames).Attempts() != want {
			t.Errorf("delivered %d times: %q, %v; the next is to be %d", had, frames, err, want)
		}
	}
}

// TestStatsGolden holds a whole answer.
func TestStatsGolden(t *testing.T) {
	f := newFixture(t, nil)
	fill(f)
	for file, query := range map[string]string{
		"stats.json":         "?format=json&include_mem=false",
		"stats-filtered.txt": "?topic=b&channel=x&include_mem=0",
		"stats.txt":          "?include_mem=0&include_clients=0",
	} {
		_, got := f.do("GET", "/stats"+query, "")
		got = regexp.MustCompile(`(uptime|connected:) [0-9hms.]+\n`).ReplaceAllString(got, "$1 AGO\n")
		got = strings.ReplaceAll(got, runtime.Version(), "GO")
		got = strings.ReplaceAll(got, time.Unix(1737370000, 0).Format(time.RFC3339), "START")
		path := filepath.Join("testdata", file)
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if *rewrite {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got = strings.TrimSuffix(got, "\n"); got != strings.TrimSuffix(string(want), "\n") {
			t.Errorf("%s: got\n%s", file, got)
		}
	}
}

// TestStatsFilters covers the arguments and what tells "none" from "not asked".
func TestStatsFilters(t *testing.T) {
	f := newFixture(t, nil)
	fill(f)
	tests := []struct {
		query, topics, channels string // names in order; "null" for null
		clients, producers      int
		memory                  bool
	}{
		{"", "a,b", ",x+y", 1, 1, true},
		{"&topic=&channel=", "a,b", ",x+y", 1, 1, true},
		{"&include_clients=maybe&include_mem=maybe", "a,b", ",x+y", 1, 1, true},
		{"&include_clients=1&include_mem=1", "a,b", ",x+y", 1, 1, true},
		{"&include_clients=false&include_mem=false", "a,b", ",x+y", 0, 0, false},
		{"&include_clients=0&include_mem=0", "a,b", ",x+y", 0, 0, false},
		{"&topic=b", "b", "x+y", 1, 1, true},
		{"&topic=b&channel=x", "b", "x", 1, 1, true},
		{"&channel=y", "b", "y", 0, 1, true},
		{"&channel=unknown", "", "", 0, 1, true},
		{"&topic=a&channel=x", "", "", 0, 1, true},
		{"&topic=unknown", "null", "", 0, 0, true},
	}
	for _, test := range tests {
		s := f.stats(test.query)
		var topics, channels []string
		clients := 0
		for _, tp := range s.Topics {
			topics = append(topics, tp.TopicName)
			var names []string
			for _, c := range tp.Channels {
				names = append(names, c.ChannelName)
				clients += len(c.Clients)
				if c.ChannelName == "x" && c.ClientCount != 1 {
					t.Errorf("%q: client_count %d", test.query, c.ClientCount)
				}
			}
			channels = append(channels, strings.Join(names, "+"))
		}
		got := strings.Join(topics, ",")
		if s.Topics == nil {
			got = "null"
		}
		if got != test.topics || strings.Join(channels, ",") != test.channels {
			t.Errorf("%q: topics %s, channels %q", test.query, got, channels)
		}
		if clients != test.clients || len(s.Producers) != test.producers || (s.Memory != nil) != test.memory {
			t.Errorf("%q: %d clients, %d producers, memory %v", test.query, clients, len(s.Producers), s.Memory)
		}
	}
	if p := f.stats("&topic=a").Producers[0].PubCounts; len(p) != 1 || p[0].Topic != "a" {
		t.Errorf("a filtered producer counts %+v", p)
	}
	if p := f.stats("").Producers[0].PubCounts; len(p) != 1 {
		t.Errorf("a producer counts %+v", p)
	}
	f.run([]step{{"GET /stats?%zz", "", 400, "INVALID_REQUEST"}})
}

// TestStatsLatency: with percentiles configured and nothing finished, each is there and zero.
func TestStatsLatency(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Quantiles = []float64{0.99, 0.5} })
	f.channel("t", "c")
	tp := f.stats("").Topics[0]
	for _, l := range []httpapi.Latency{tp.E2EProcessingLatency, tp.Channels[0].E2EProcessingLatency} {
		if l.Count != 0 || len(l.Percentiles) != 2 || l.Percentiles[0] != (httpapi.Percentile{Quantile: 0.99}) {
			t.Errorf("got %+v", l)
		}
	}
	_, text := f.do("GET", "/stats", "")
	if strings.Count(text, "e2e%: 0.0ns, 0.0ns\n") != 2 {
		t.Errorf("got %s", text)
	}
	f.topic("without")
	if l := f.stats("&topic=without").Topics[0].E2EProcessingLatency; l.Count != 0 || l.Percentiles != nil {
		t.Errorf("a topic without channels has %+v", l)
	}
}

// TestSnapshotMatchesObserver: what a channel's observer was fed comes out of its channel and topic.
func TestSnapshotMatchesObserver(t *testing.T) {
	o := telemetry.NewObserver([]float64{0.5}, time.Hour)
	r := topic.NewRegistry(topic.Config{MemQueueSize: 10, MaxReqTimeout: time.Hour, MaxMsgTimeout: time.Hour,
		Latency: func() topic.LatencyObserver { return o }})
	r.Start()
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	tp, err := r.Topic("t")
	if err != nil {
		t.Fatal(err)
	}
	finishOne(t, tp, "c")
	got := Snapshot(r, []float64{0.5}, Filter{})[0]
	for _, l := range []httpapi.Latency{got.E2EProcessingLatency, got.Channels[0].E2EProcessingLatency} {
		if l.Count != 1 || l.Percentiles[0].Value <= 0 {
			t.Errorf("got %+v", l)
		}
	}
}

// TestStatsWhilePublishing: statistics are safe beside traffic and beside topics that come and go.
func TestStatsWhilePublishing(t *testing.T) {
	f := newFixture(t, nil)
	f.channel("t", "c")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		var b topic.Batch
		for ctx.Err() == nil {
			b.Add([]byte("m"))
			if err := f.topic("t").Publish(&b); err != nil {
				t.Error(err)
			}
			if _, err := f.topic("u").Channel("c"); err != nil {
				t.Error(err)
			}
			if err := f.broker.registry.DeleteTopic("u"); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		f.stats("")
	}
	cancel()
	wg.Wait()
}

// TestTextMemory: the heap has its nine lines.
func TestTextMemory(t *testing.T) {
	var b bytes.Buffer
	textMemory(&b, &httpapi.Memory{HeapObjects: 1, GCTotalRuns: 9})
	if !strings.HasPrefix(b.String(), "\nMemory:\n   heap_objects             \t1\n") || strings.Count(b.String(), "\n") != 11 {
		t.Errorf("got %q", b.String())
	}
}

// TestTextLatency holds nsqd's units.
func TestTextLatency(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0ns", 16621: "16.6us", 27083: "27.1us", 2567577: "2.6ms", 11199596: "11.2ms", 925523310: "925.5ms", 1128691782: "1.1s",
		59858234008: "59.9s", 3598863643374: "3598.9s", 259199766397074: "259199.8s", -5246977549: "-5246977549.0ns",
	} {
		if got := textNanoseconds(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// TestTextClientNames: the host is what the client says, padded with the port and the agent to 21 columns.
func TestTextClientNames(t *testing.T) {
	for want, c := range map[string]httpapi.Client{
		"[V2 127.0.0.1:45312      ] ":                      {Hostname: "127.0.0.1", RemoteAddress: "127.0.0.1:45312"},
		"[V2 host.example:45300 ua/1] ":                    {Hostname: "host.example", RemoteAddress: "127.0.0.1:45300", UserAgent: "ua/1"},
		"[V2 h:33328 u            ] ":                      {Hostname: "h", RemoteAddress: "127.0.0.1:33328", UserAgent: "u"},
		"[V2 :33334               ] ":                      {RemoteAddress: "127.0.0.1:33334"},
		"[V2 a-rather-long-host-name.example.com:33304 ] ": {Hostname: "a-rather-long-host-name.example.com", RemoteAddress: "[::1]:33304"},
		"[V2 :                    ] ":                      {RemoteAddress: "@"},
		"[V2 h\ufffd[V2 x:1 \ufffd[2J\ufffd      ] ":       {Hostname: "h\n[V2 x", RemoteAddress: "[::1]:1", UserAgent: "\x1b[2J\u202e"},
	} {
		var b bytes.Buffer
		c.Version = "V2"
		if textClients(&b, "", []httpapi.Client{c}); !strings.HasPrefix(b.String(), want) {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
}
