package httpapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden returns the one line of a file of testdata.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

func fullClient() Client {
	return Client{
		ClientID: "app", Hostname: "app.local", Version: "V2", RemoteAddress: "127.0.0.1:53412", State: 3, ReadyCount: 1,
		InFlightCount: 1, MessageCount: 10, ZoneLocalMsgCount: 1, RegionLocalMsgCount: 2, GlobalMsgCount: 3,
		FinishCount: 9, RequeueCount: 4, ConnectTime: 1737370001, SampleRate: 42, Deflate: true, Snappy: true,
		UserAgent: "go-nsq/1.1.0", Authed: true, AuthIdentity: "x", AuthIdentityURL: "http://x", TopologyZone: "z",
		TopologyRegion: "r", PubCounts: []PubCount{{Topic: "t", Count: 3}}, TLS: true, CipherSuite: "c", TLSVersion: "TLS1.3",
		TLSNegotiatedProtocol: "p", TLSNegotiatedProtocolIsMutual: true,
	}
}

func fullStats() Stats {
	latency := Latency{Count: 9, Percentiles: []Percentile{{Quantile: 0.99, Value: 1234567}}}
	return Stats{
		Version: "1.3.0", Health: "OK", StartTime: 1737370000,
		Topics: []Topic{{
			TopicName: "t", Depth: 5, BackendDepth: 4, MessageCount: 10, MessageBytes: 1234, Paused: true,
			E2EProcessingLatency: latency,
			Channels: []Channel{{
				ChannelName: "c", Depth: 1, BackendDepth: 2, InFlightCount: 3, DeferredCount: 4, MessageCount: 10,
				ZoneLocalMsgCount: 5, RegionLocalMsgCount: 6, GlobalMsgCount: 7, RequeueCount: 8, TimeoutCount: 9, ClientCount: 1,
				Clients: []Client{fullClient()}, Paused: true, E2EProcessingLatency: latency, DisconnectRequeueCount: 11,
			}},
		}},
		Memory:    &Memory{1, 2, 3, 4, 5, 6, 7, 8, 9},
		Producers: []Client{{ClientID: "p", Version: "V2"}},
	}
}

// TestGolden holds key order, and which keys are left out or null, for every shape.
func TestGolden(t *testing.T) {
	p := Producer{RemoteAddress: "1.2.3.4:5", Hostname: "h", BroadcastAddress: "b", TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0"}
	tests := []struct {
		file  string
		value any
	}{
		{"stats-full.json", fullStats()},
		{"stats-empty.json", Stats{Version: "1.3.0", Health: "OK", Topics: []Topic{}, Memory: &Memory{}}},
		{"stats-unknown-topic.json", Stats{Version: "1.3.0", Health: "OK"}},
		{"stats-idle.json", Stats{Topics: []Topic{{TopicName: "t", Channels: []Channel{{ChannelName: "c"}}}}}},
		{"info.json", Info{Version: "1.3.0", BroadcastAddress: "host", Hostname: "host", HTTPPort: 4151, TCPPort: 4150,
			StartTime: 1737370000, MaxHeartbeatInterval: 60e9, MaxOutputBufferSize: 65536, MaxOutputBufferTimeout: 30e9, MaxDeflateLevel: 6}},
		{"lookup.json", Lookup{Channels: []string{"c"}, Producers: []Producer{p}}},
		{"nodes.json", Nodes{Producers: []Node{{Producer: p, Tombstones: []bool{false}, Topics: []string{"t"}}}}},
	}
	for _, test := range tests {
		got, err := json.Marshal(test.value)
		if err != nil {
			t.Fatal(err)
		}
		if want := golden(t, test.file); string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", test.file, got, want)
		}
	}
}

// TestDecodeNsqdNull reads what other brokers of a mixed cluster may send.
func TestDecodeNsqdNull(t *testing.T) {
	var s Stats
	in := `{"topics":[{"topic_name":"t","channels":null,"e2e_processing_latency":null,"new_key":1}],"producers":null}`
	if err := json.Unmarshal([]byte(in), &s); err != nil || len(s.Topics) != 1 || s.Topics[0].TopicName != "t" {
		t.Fatalf("got %+v, %v", s, err)
	}
}
