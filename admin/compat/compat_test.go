package compat

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"brokerd/protocol/httpapi"
)

func source(node, host string) Source {
	return Source{Node: node, Hostname: host, Zone: "z1", Region: "r1", Now: time.Unix(1700000100, 999)}
}

func stats(depth int64, percentile float64, count int) *httpapi.Topic {
	latency := httpapi.Latency{Count: count, Percentiles: []httpapi.Percentile{{Quantile: 0.5, Value: percentile / 2}, {Quantile: 0.99, Value: percentile}}}
	return &httpapi.Topic{
		TopicName: "t", Depth: depth, BackendDepth: 1, MessageCount: 10, E2EProcessingLatency: latency,
		Channels: []httpapi.Channel{{
			ChannelName: "c", Depth: depth, BackendDepth: 2, InFlightCount: 3, DeferredCount: 4, RequeueCount: 5, TimeoutCount: 6, MessageCount: 10,
			ZoneLocalMsgCount: 1, GlobalMsgCount: 2, ClientCount: 1, E2EProcessingLatency: latency,
			Clients: []httpapi.Client{{ClientID: "id", RemoteAddress: "1.2.3.4:5", ConnectTime: 1700000000, TopologyZone: "z2", TopologyRegion: "r1"}},
		}},
	}
}

// TestSums: a sum is of all nodes, none of which it changes, and names them in order.
func TestSums(t *testing.T) {
	b, a := OnNode(source("b:1", "b"), stats(20, 4000, 3)), OnNode(source("a:1", "a"), stats(10, 1000, 1))
	sum := SumTopics("t", []*Topic{b, a})
	if sum.Node != "*" || sum.Depth != 30 || sum.MemoryDepth != 28 || sum.MessageCount != 20 || sum.DeliveryMsgCount != 6 || sum.GlobalCount != 4 ||
		len(sum.Nodes) != 2 || sum.Nodes[0] != a || len(sum.Channels) != 1 {
		t.Errorf("topic %+v", sum)
	}
	c := sum.Channels[0]
	if c.Node != "*" || c.Depth != 30 || c.InFlightCount != 6 || c.DeferredCount != 8 || c.RequeueCount != 10 || c.TimeoutCount != 12 || c.ClientCount != 2 ||
		len(c.Nodes) != 2 || len(c.Clients) != 2 || c.Clients[0].Node != "a:1" {
		t.Errorf("channel %+v", c)
	}
	if a.Channels[0].Depth != 10 || a.Nodes != nil || a.Channels[0].Nodes != nil {
		t.Errorf("a's own entry became %+v", a.Channels[0])
	}
	// One message took 1000 and three took 4000: the mean is 3250.
	p := c.Latency.Percentiles
	if len(p) != 2 || p[0].Quantile != 0.99 || p[0].Average != 3250 || p[0].Min != 1000 || p[0].Max != 4000 || p[0].Count != 4 || p[0].Value != nil || c.Latency.Count != 4 {
		t.Errorf("latency %+v", c.Latency)
	}
}

// TestLatencyOfIdleNodes: a node that finished nothing reports zeros, which are no latencies.
func TestLatencyOfIdleNodes(t *testing.T) {
	var l Latency
	for _, n := range []*Topic{OnNode(source("a", "a"), stats(0, 0, 0)), OnNode(source("b", "b"), stats(0, 500, 2)), OnNode(source("c", "c"), stats(0, 0, 0))} {
		l.add(n.Latency)
	}
	if p := l.Percentiles[0]; p.Average != 500 || p.Min != 500 || p.Max != 500 {
		t.Errorf("got %+v", p)
	}
}

// TestShape holds the keys and their order, as nsqadmin 1.3.0 has them.
func TestShape(t *testing.T) {
	n := OnNode(source("a:1", "a"), stats(10, 1000, 1))
	text, err := json.Marshal(SumTopics("t", []*Topic{n}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"node":"*","hostname":"","topic_name":"t","depth":10,"memory_depth":9,"backend_depth":1,"message_count":10,"delivery_msg_count":3,` +
			`"zone_local_msg_count":1,"global_msg_count":2,"nodes":[{"node":"a:1","hostname":"a","topic_name":"t","depth":10`,
		`"nodes":null,"channels":[{"node":"a:1","hostname":"a","topic_name":"t","channel_name":"c","depth":10,"memory_depth":8,"backend_depth":2,` +
			`"in_flight_count":3,"deferred_count":4,"requeue_count":5,"timeout_count":6,"message_count":10,"delivery_msg_count":3,` +
			`"zone_local_msg_count":1,"global_msg_count":2,"client_count":1,"nodes":null,"clients":[{"node":"a:1","remote_address":"1.2.3.4:5",` +
			`"version":"","client_id":"id","hostname":"","user_agent":"","connect_ts":1700000000,"connected":100000000000,"in_flight_count":0,` +
			`"ready_count":0,"finish_count":0,"requeue_count":0,"message_count":0,"sample_rate":0,"deflate":false,"snappy":false,"authed":false,` +
			`"auth_identity":"","auth_identity_url":"","node_topology_region":"r1","node_topology_zone":"z1","topology_region":"r1",` +
			`"topology_zone":"z2","tls":false,"tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"",` +
			`"tls_negotiated_protocol_is_mutual":false}],"paused":false,"e2e_processing_latency":{"count":1,"percentiles":[` +
			`{"average":500,"count":1,"max":500,"min":500,"quantile":0.5,"value":500},{"average":1000,"count":1,"max":1000,"min":1000,"quantile":0.99,"value":1000}],` +
			`"topic":"","channel":"","host":""}}]`,
		`{"average":1000,"count":1,"max":1000,"min":1000,"quantile":0.99},{"average":500,"count":1,"max":500,"min":500,"quantile":0.5}],"topic":"t","channel":"","host":"*"}}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got  %s\nwant in it %s", text, want)
		}
	}
}

// TestNearClientsComeFirst: after the node, zone and region decide.
func TestNearClientsComeFirst(t *testing.T) {
	at := func(host, region, zone string) *Client {
		return &Client{Node: "n", NodeTopologyRegion: "r1", NodeTopologyZone: "z1", TopologyRegion: region, TopologyZone: zone, Hostname: host}
	}
	c := SumChannels("t", "c", []*Channel{{Clients: []*Client{at("far", "r2", "z1"), at("region", "r1", "z2"), at("zone", "r1", "z1")}}})
	var got []string
	for _, cl := range c.Clients {
		got = append(got, cl.Hostname)
	}
	if strings.Join(got, " ") != "zone region far" {
		t.Errorf("got %v", got)
	}
}

func TestMessage(t *testing.T) {
	e := func(texts ...string) (errs []error) {
		for _, text := range texts {
			errs = append(errs, &httpapi.Error{Text: text})
		}
		return errs
	}
	for want, stages := range map[string][][]error{"": {nil, nil}, "WARNING: a\nb; c": {e("a", "b"), e("c")}, "WARNING: c": {nil, e("c")}} {
		if got := Message(stages...); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
