package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/admin/compat"
	"brokerd/broker"
	"brokerd/lookup"
	"brokerd/protocol/httpapi"
)

// This is what NSQ's own tests of nsqadmin ask for, over a brokerd and a lookupd.

// cluster is a lookup, a broker and an admind over them.
type cluster struct {
	*node
	lookup *lookup.Server
	broker *broker.Server
	asks   *httpapi.HTTPClient
}

func startCluster(t *testing.T, change func(*admin.Options)) *cluster {
	t.Helper()
	c := &cluster{lookup: startLookup(t), asks: client(t)}
	c.broker = startBroker(t, nil, c.lookup)
	eventually(t, "the broker is registered", func() bool {
		var nodes httpapi.Nodes
		return c.asks.Get(t.Context(), "http://"+c.lookup.HTTPAddr().String()+"/nodes", &nodes) == nil && len(nodes.Producers) == 1
	})
	c.node = startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses = []string{c.lookup.HTTPAddr().String()}
		if change != nil {
			change(o)
		}
	})
	return c
}

// tell posts to the broker.
func (c *cluster) tell(path, body string) {
	c.t.Helper()
	if _, err := c.asks.PostBytes(c.t.Context(), "http://"+c.broker.HTTPAddr().String()+path, []byte(body)); err != nil {
		c.t.Fatal(err)
	}
}

// known makes a topic on the broker, with a channel if one is named, and waits until the lookup knows it.
func (c *cluster) known(topic, channel string) {
	c.t.Helper()
	c.tell("/topic/create?topic="+topic, "")
	if channel != "" {
		c.tell("/channel/create?topic="+topic+"&channel="+channel, "")
	}
	eventually(c.t, "the lookup knows "+topic, func() bool {
		var found httpapi.Lookup
		return c.asks.Get(c.t.Context(), "http://"+c.lookup.HTTPAddr().String()+"/lookup?topic="+topic, &found) == nil &&
			len(found.Producers) == 1 && (channel == "" || len(found.Channels) == 1)
	})
}

// figures are the broker's own.
func (c *cluster) figures(topic string) httpapi.Topic {
	c.t.Helper()
	var stats httpapi.Stats
	if err := c.asks.Get(c.t.Context(), "http://"+c.broker.HTTPAddr().String()+"/stats?format=json&topic="+topic, &stats); err != nil {
		c.t.Fatal(err)
	}
	if len(stats.Topics) != 1 {
		return httpapi.Topic{}
	}
	return stats.Topics[0]
}

func TestNeitherBrokersNorLookups(t *testing.T) {
	o := admin.DefaultOptions()
	if _, err := admin.New(o, slog.New(slog.DiscardHandler), nil); err == nil || err.Error() != "--nsqd-http-address or --lookupd-http-address required" {
		t.Error(err)
	}
	o.LookupdHTTPAddresses, o.NSQDHTTPAddresses = []string{"127.0.0.1:4161"}, []string{"127.0.0.1:4151"}
	if _, err := admin.New(o, slog.New(slog.DiscardHandler), nil); err == nil || err.Error() != "use --nsqd-http-address or --lookupd-http-address not both" {
		t.Error(err)
	}
}

func TestPing(t *testing.T) {
	c := startCluster(t, nil)
	if status, body := c.ask("GET", "/ping", ""); status != 200 || body != "OK" {
		t.Errorf("%d %s", status, body)
	}
}

func TestReadingOneTopic(t *testing.T) {
	c := startCluster(t, nil)
	c.known("orders", "billing")
	settles(c.node, "the topic is listed", "/api/topics", func(list struct {
		Topics  []string
		Message string
	}) bool {
		return len(list.Topics) == 1 && list.Topics[0] == "orders" && list.Message == ""
	})
	var topic compat.Topic
	c.get("/api/topics/orders", &topic)
	if topic.TopicName != "orders" || topic.Depth != 0 || topic.MemoryDepth != 0 || topic.BackendDepth != 0 || topic.MessageCount != 0 || topic.Paused {
		t.Errorf("topic %+v", topic)
	}
	var channel compat.Channel
	settles(c.node, "the channel is told", "/api/topics/orders/billing", func(told compat.Channel) bool {
		channel = told
		return told.ChannelName == "billing"
	})
	if channel.TopicName != "orders" || channel.ChannelName != "billing" || channel.Depth != 0 || channel.InFlightCount != 0 || channel.DeferredCount != 0 ||
		channel.RequeueCount != 0 || channel.TimeoutCount != 0 || channel.MessageCount != 0 || channel.Paused || len(channel.Clients) != 0 {
		t.Errorf("channel %+v", channel)
	}
}

func TestReadingNodes(t *testing.T) {
	c := startCluster(t, nil)
	var nodes struct{ Nodes []compat.Node }
	settles(c.node, "the node is told", "/api/nodes", func(told struct{ Nodes []compat.Node }) bool {
		nodes = told
		return len(told.Nodes) == 1
	})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if n := nodes.Nodes[0]; n.Hostname != host || n.BroadcastAddress != "127.0.0.1" || n.Version != broker.Version || len(n.Topics) != 0 ||
		n.TCPPort != c.broker.TCPAddr().(*net.TCPAddr).Port || n.HTTPPort != c.broker.HTTPAddr().(*net.TCPAddr).Port {
		t.Errorf("node %+v", n)
	}
	c.known("orders", "")
	address := c.broker.HTTPAddr().String()
	settles(c.node, "the node has the topic", "/api/nodes/"+address, func(one struct {
		Node   string
		Topics []compat.Topic
	}) bool {
		return one.Node == address && len(one.Topics) == 1 && one.Topics[0].TopicName == "orders" && one.Topics[0].Depth == 0 && one.Topics[0].MessageCount == 0
	})
}

func TestCreating(t *testing.T) {
	c := startCluster(t, nil)
	c.act("POST", "/api/topics", `{"topic":"orders"}`)
	c.act("POST", "/api/topics", `{"topic":"orders","channel":"billing"}`)
	c.tell("/pub?topic=orders", "a message") // the broker asks the lookup for the topic's channels
	eventually(t, "the broker has learnt the channel", func() bool {
		f := c.figures("orders")
		return len(f.Channels) == 1 && f.Channels[0].ChannelName == "billing" && f.Channels[0].Depth == 1
	})
}

func TestTombstoning(t *testing.T) {
	c := startCluster(t, nil)
	c.known("orders", "")
	c.act("DELETE", "/api/nodes/"+c.broker.HTTPAddr().String(), `{"topic":"orders"}`)
	if f := c.figures("orders"); f.TopicName != "" {
		t.Errorf("the broker has it still: %+v", f)
	}
}

func TestDeleting(t *testing.T) {
	c := startCluster(t, nil)
	c.known("orders", "billing")
	c.act("DELETE", "/api/topics/orders/billing", "")
	if f := c.figures("orders"); f.TopicName != "orders" || len(f.Channels) != 0 {
		t.Errorf("after deleting the channel the broker has %+v", f)
	}
	c.act("DELETE", "/api/topics/orders", "")
	if f := c.figures("orders"); f.TopicName != "" {
		t.Errorf("after deleting the topic the broker has %+v", f)
	}
	eventually(t, "the topic is not told any more", func() bool { status, _ := c.ask("GET", "/api/topics/orders", ""); return status == 404 })
}

func TestPausing(t *testing.T) {
	c := startCluster(t, nil)
	c.known("orders", "billing")
	for _, on := range []bool{true, false} {
		action := map[bool]string{true: "pause", false: "unpause"}[on]
		c.act("POST", "/api/topics/orders", `{"action":"`+action+`"}`)
		c.act("POST", "/api/topics/orders/billing", `{"action":"`+action+`"}`)
		if f := c.figures("orders"); f.Paused != on || f.Channels[0].Paused != on {
			t.Errorf("%s: the broker has %+v", action, f)
		}
	}
}

func TestEmptying(t *testing.T) {
	c := startCluster(t, nil)
	c.known("plain", "")
	c.tell("/pub?topic=plain", "1234")
	c.known("orders", "billing")
	c.tell("/pub?topic=orders", "1234")
	eventually(t, "the messages are there", func() bool {
		return c.figures("plain").Depth == 1 && c.figures("orders").Channels[0].Depth == 1
	})
	c.act("POST", "/api/topics/plain", `{"action":"empty"}`)
	c.act("POST", "/api/topics/orders/billing", `{"action":"empty"}`)
	if c.figures("plain").Depth != 0 || c.figures("orders").Channels[0].Depth != 0 {
		t.Error("the messages are there still")
	}
}

func TestConfig(t *testing.T) {
	c := startCluster(t, nil)
	for _, s := range []struct {
		method, opt, body string
		status            int
		want              string
	}{
		{"GET", "nsqlookupd_http_addresses", "", 200, `["` + c.lookup.HTTPAddr().String() + `"]`},
		{"PUT", "log_level", "fatal", 200, "5"},
		{"GET", "log_level", "", 200, "5"},
		{"PUT", "log_level", "bad", 400, `{"message":"INVALID_VALUE"}`},
		{"GET", "statsd_interval", "", 200, "60000000000"},
		{"GET", "admin_users", "", 200, "[]"},
		{"GET", "proxy_graphite", "", 200, "false"},
		{"GET", "acl_http_header", "", 200, "X-Forwarded-User"},
		{"GET", "shutdown_timeout", "", 400, `{"message":"INVALID_OPTION"}`},
		{"PUT", "nsqlookupd_http_addresses", `["127.0.0.1:4160","127.0.0.1:4161"]`, 200, `["127.0.0.1:4160","127.0.0.1:4161"]`},
		{"GET", "nsqlookupd_http_addresses", "", 200, `["127.0.0.1:4160","127.0.0.1:4161"]`},
	} {
		if status, body := c.ask(s.method, "/config/"+s.opt, s.body); status != s.status || body != s.want {
			t.Errorf("%s %s: %d %s, want %d %s", s.method, s.opt, status, body, s.status, s.want)
		}
	}
	if c.level.Level() <= slog.LevelError {
		t.Errorf("the level is %v", c.level.Level())
	}
}

func TestConfigFromElsewhere(t *testing.T) {
	c := startCluster(t, func(o *admin.Options) { o.ConfigCIDR = "10.0.0.0/8" })
	if status, _ := c.ask("GET", "/config/nsqlookupd_http_addresses", ""); status != 403 {
		t.Errorf("status %d", status)
	}
}

// TestTLSToBrokers: a broker that wants TLS and a client's certificate is reached through the flags for that.
func TestTLSToBrokers(t *testing.T) {
	ca, cert, key := certificates(t)
	l := startLookup(t)
	b := startBroker(t, func(o *broker.Options) {
		o.TLSCert, o.TLSKey, o.TLSRootCAFile, o.TLSClientAuthPolicy = cert, key, ca, "require-verify"
	}, l)
	n := startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses = []string{l.HTTPAddr().String()}
		o.TLSRootCAFile, o.ClientTLSCert, o.ClientTLSKey = ca, cert, key
	})
	eventually(t, "the broker is told over TLS", func() bool {
		status, body := n.ask("GET", "/api/nodes/"+b.HTTPAddr().String(), "")
		return status == 200 && strings.Contains(body, `"message":""`)
	})
}

// certificates makes an authority and a certificate for 127.0.0.1 by it, and returns their files.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", raw), write("cert.pem", "CERTIFICATE", raw), write("key.pem", "EC PRIVATE KEY", rawKey)
}

// TestWithoutLookups: the same over a fixed list of brokers, where topics are made on the brokers themselves.
func TestWithoutLookups(t *testing.T) {
	b := startBroker(t, nil)
	n := startAdmin(t, func(o *admin.Options) { o.NSQDHTTPAddresses = []string{b.HTTPAddr().String()} })
	n.act("POST", "/api/topics", `{"topic":"orders","channel":"billing"}`)
	n.act("POST", "/api/publish", `{"topic":"orders","body":"hello"}`)
	settles(n, "the message is counted, and its channel has it", "/api/topics/orders", func(topic compat.Topic) bool {
		return topic.MessageCount == 1 && len(topic.Channels) == 1 && topic.Channels[0].Depth == 1
	})
	n.act("POST", "/api/topics/orders", `{"action":"set_durability","durability":"fsync"}`)
	n.act("DELETE", "/api/topics/orders", "")
	eventually(t, "no topic is left", func() bool {
		status, body := n.ask("GET", "/api/topics", "")
		return status == 200 && body == `{"topics":[],"message":""}`
	})
}

// TestNotifications: each act is told to the endpoint, and one that fails harms nobody.
func TestNotifications(t *testing.T) {
	got := make(chan string, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Error(err)
		}
		got <- b.String()
		panic(http.ErrAbortHandler) // the connection breaks
	}))
	defer endpoint.Close()
	c := startCluster(t, func(o *admin.Options) { o.NotificationEndpoint, o.BasePath = endpoint.URL, "/nsq" })
	c.act("POST", "/api/topics", `{"topic":"orders","channel":"billing"}`)
	for _, want := range []string{`"action":"create_topic","topic":"orders","timestamp":`, `"action":"create_channel","topic":"orders","channel":"billing","timestamp":`} {
		select {
		case text := <-got:
			if !strings.Contains(text, want) || !strings.Contains(text, `/nsq/api/topics","via":"`) || !strings.Contains(text, "Content-Type: application/json") {
				t.Errorf("got %s\nwant in it %s", text, want)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("no notification")
		}
	}
	if status, _ := c.ask("GET", "/ping", ""); status != 200 {
		t.Errorf("afterwards /ping is %d", status)
	}
}
