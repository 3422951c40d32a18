package browser

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/admin/fakes"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// stage is an admind over made-up daemons, which are in any state at once and may be called anything.
type stage struct {
	lookup  *fakes.Lookup
	brokers []*fakes.Broker
	admin   *cmdtest.Process
	base    string // URL of the page, with a slash at its end
}

// newStage starts an admind over the brokers. flags are admind's.
func newStage(t *testing.T, brokers []*fakes.Broker, flags ...string) *stage {
	t.Helper()
	needBrowser(t)
	s := &stage{lookup: fakes.NewLookup(t, brokers...), brokers: brokers}
	s.admin = cmdtest.NewAdmin(t, "admind", append([]string{"--lookupd-http-address=" + s.lookup.Address(), refresh}, flags...)...)
	s.base = "http://" + s.admin.HTTP + s.admin.Base + "/"
	s.admin.Start(t)
	return s
}

// move changes the brokers again and again, as time does in a cluster that works, until the test ends.
func (s *stage) move(t *testing.T, step func(b *fakes.Broker, n int)) {
	stop := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		again := time.NewTicker(200 * time.Millisecond)
		defer again.Stop()
		for n := 0; ; n++ {
			for _, b := range s.brokers {
				b.Change(func(b *fakes.Broker) { step(b, n) })
			}
			select {
			case <-again.C:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		moving.Wait()
	})
}

const gib = 1 << 30

// newBroker is a brokerd without topics.
func newBroker(t *testing.T, hostname string) *fakes.Broker {
	b := fakes.NewBroker(t, hostname)
	b.Storage = &httpapi.Storage{TotalBytes: 931 * gib, FreeBytes: 412 * gib, MinFreeBytes: gib}
	b.Levels = map[string]string{}
	b.Config = &httpapi.Settings{File: "/etc/brokerd.toml", Warnings: []string{}, Settings: []httpapi.Setting{
		{Key: "data_path", Flag: "data-path", Value: "/var/lib/brokerd", Source: "flag"}, {Key: "msg_timeout", Flag: "msg-timeout", Value: int64(90 * time.Second), Source: "file", Reload: true},
		{Key: "max_msg_size", Flag: "max-msg-size", Value: 4 << 20, Source: "environment", Reload: true}, {Key: "mem_queue_size", Flag: "mem-queue-size", Value: 10000, Source: "default", Restart: 20000},
		{Key: "nsqlookupd_tcp_addresses", Flag: "lookupd-tcp-address", Value: []string{"lookup-1:4160", "lookup-2:4160"}, Source: "file", Reload: true}, {Key: "snappy", Flag: "snappy", Value: true, Source: "default"}}}
	b.Stats.StartTime = time.Now().Add(-50 * time.Hour).Unix()
	return b
}

// consumer is a connection that consumes.
func consumer(name string, port int, change func(*httpapi.Client)) httpapi.Client {
	c := httpapi.Client{ClientID: name, Hostname: name + ".shop.example.com", RemoteAddress: fmt.Sprintf("10.20.30.%d:%d", port%200+1, 40000+port),
		State: 3, ReadyCount: 25, InFlightCount: 5, UserAgent: "go-nsq/1.1.0", Version: "V2", Snappy: true, ConnectTime: time.Now().Add(-26 * time.Hour).Unix(), FinishCount: 1000, MessageCount: 1005}
	if change != nil {
		change(&c)
	}
	return c
}

// channel is a channel with its consumers.
func channel(name string, depth int64, clients ...httpapi.Client) httpapi.Channel {
	c := httpapi.Channel{ChannelName: name, Depth: depth, BackendDepth: 0, MessageCount: 100000, ClientCount: len(clients), Clients: clients}
	for _, cl := range clients {
		c.InFlightCount += int(cl.InFlightCount)
	}
	c.DeadLetterTopic, c.WaitingForTarget, c.TargetRefuses = "graves", 3, "max_depth 5 is reached: topic graves holds 5 messages"
	c.Redrive = &httpapi.Redrive{From: "graves", Running: depth%2 == 0, Moved: 7, InFlight: 2}
	c.Accounting = &httpapi.Accounting{Accepted: uint64(depth) + 100, Finished: 60, Discarded: map[string]uint64{"emptied": 40}, Waiting: uint64(depth), Balanced: true}
	return c
}

// topic is a topic with its channels.
func topic(name string, channels ...httpapi.Channel) httpapi.Topic {
	if channels == nil {
		channels = []httpapi.Channel{}
	}
	return httpapi.Topic{TopicName: name, MessageCount: 100000, MessageBytes: 34 << 20, Channels: channels}
}

// long is a name of 64 characters.
func long(prefix string) string { return prefix + strings.Repeat("x", 64-len(prefix)-4) + ".end" }

// healthy is three brokers on which all is well.
func healthy(t *testing.T) *stage {
	var brokers []*fakes.Broker
	for i := range 3 {
		b := newBroker(t, fmt.Sprintf("queue-%d.shop.example.com", i+1))
		port := 10 * i
		b.Stats.Topics = []httpapi.Topic{
			topic("orders", channel("billing", 0, consumer("billing-1", port, nil), consumer("billing-2", port+1, nil)), channel("archive", 2, consumer("archive-1", port+2, nil))),
			topic("mail.outbound", channel("smtp", 0, consumer("smtp-1", port+3, nil))),
			topic("clicks", channel("metrics#ephemeral", 0, consumer("metrics-1", port+4, nil))),
			topic("audit", channel("archive", 0, consumer("archive-1", port+5, nil))),
		}
		b.Stats.Producers = []httpapi.Client{{Hostname: "web-1.shop.example.com", ClientID: "web-1", RemoteAddress: fmt.Sprintf("10.20.31.1:%d", 50000+i), UserAgent: "go-nsq/1.1.0",
			ConnectTime: time.Now().Add(-3 * time.Hour).Unix(), PubCounts: []httpapi.PubCount{{Topic: "orders", Count: 100000}, {Topic: "clicks", Count: 100000}}}}
		for _, topic := range b.Stats.Topics {
			b.Levels[topic.TopicName] = "disk"
		}
		brokers = append(brokers, b)
	}
	s := newStage(t, brokers)
	s.move(t, flow)
	return s
}

// flow lets each topic take in messages at a pace of its own, and consumers finish them.
func flow(b *fakes.Broker, n int) {
	for i := range b.Stats.Topics {
		t := &b.Stats.Topics[i]
		in := uint64(3 + (i*7+n/5)%11)
		t.MessageCount += in
		t.MessageBytes += in * 357
		for j := range t.Channels {
			c := &t.Channels[j]
			c.MessageCount += in
			share(c.Clients, in)
		}
	}
	for i := range b.Stats.Producers {
		for j := range b.Stats.Producers[i].PubCounts {
			b.Stats.Producers[i].PubCounts[j].Count += 4
		}
	}
	b.Stats.Topics = append([]httpapi.Topic{}, b.Stats.Topics...)
}

// share has clients finish so many messages together.
func share(clients []httpapi.Client, n uint64) {
	for k := range clients {
		part := n / uint64(len(clients))
		if k == 0 {
			part += n % uint64(len(clients))
		}
		clients[k].FinishCount += part
		clients[k].MessageCount += part
	}
}

// busy is a cluster in which much is wrong: a dead broker with messages on it, a paused channel, consumers that finish nothing, a backlog that grows,
// messages that time out, a full disk, an old nsqd, and names as long as may be.
func busy(t *testing.T, flags ...string) *stage {
	var brokers []*fakes.Broker
	for i := range 5 {
		b := newBroker(t, fmt.Sprintf("queue-%d.shop.example.com", i+1))
		port := 10 * i
		stuck := func(c *httpapi.Client) { c.ReadyCount, c.InFlightCount, c.FinishCount, c.MessageCount = 20, 20, 0, 20 }
		failing := func(c *httpapi.Client) { c.RequeueCount, c.MessageCount = 300, 5000 }
		paused := channel("reports", 57748)
		paused.Paused = true
		b.Stats.Topics = []httpapi.Topic{
			topic("orders", channel("billing", 1200, consumer("billing-1", port, nil), consumer("billing-2", port+1, nil)), channel("fraud", 57748+int64(i), consumer("fraud-detection-worker-1", port+2, stuck)), channel("archive", 3801220)),
			topic("mail.outbound", channel("smtp", 40, consumer("smtp-1", port+3, failing))),
			topic("clicks", channel("metrics#ephemeral", 0, consumer("metrics-1", port+4, nil))),
			topic("invoices", paused, channel("print", 0, consumer("print-1", port+7, nil))),
			topic(long("warehouse."), channel(long("stock-keeping."), 9_876_543, consumer(long("consumer-"), port+5, nil))),
			topic("audit"),
		}
		for j := range 6 {
			b.Stats.Topics = append(b.Stats.Topics, topic(fmt.Sprintf("sensor-%d", j), channel("store", int64(20+j))))
		}
		b.Stats.Producers = []httpapi.Client{{Hostname: "web-1.shop.example.com", ClientID: "web-1", RemoteAddress: fmt.Sprintf("10.20.31.1:%d", 50000+i), UserAgent: "go-nsq/1.1.0",
			ConnectTime: time.Now().Add(-3 * time.Hour).Unix(), PubCounts: []httpapi.PubCount{{Topic: "orders", Count: 100000}, {Topic: "clicks", Count: 100000}}}}
		for _, topic := range b.Stats.Topics {
			b.Levels[topic.TopicName] = []string{"disk", "memory", "fsync"}[i%3]
		}
		brokers = append(brokers, b)
	}
	brokers[1].Stats.Topics = append(brokers[1].Stats.Topics, topic("only.here", channel("somebody", 4711)))
	brokers[2].Storage, brokers[2].Levels, brokers[2].Stats.Version, brokers[2].Info.Version = nil, nil, "1.2.1", "1.2.1"
	brokers[3].Storage.FreeBytes, brokers[3].Stats.Health = gib/2, "NOK - write data/wal/000012: no space left on device"
	s := newStage(t, brokers, flags...)
	s.move(t, func(b *fakes.Broker, n int) {
		flow(b, n)
		for i := range b.Stats.Topics {
			for j := range b.Stats.Topics[i].Channels {
				c := &b.Stats.Topics[i].Channels[j]
				switch c.ChannelName {
				case "fraud", "archive", "reports":
					c.Depth += int64(3 + (i*7+n/5)%11)
				case "smtp":
					c.TimeoutCount += 2
					c.RequeueCount += 3
					c.Clients[0].RequeueCount += 3
					c.Clients[0].MessageCount += 5
				}
				if c.ChannelName == "fraud" {
					c.Clients[0].FinishCount, c.Clients[0].MessageCount = 0, 20
				}
			}
		}
	})
	return s
}

// crowded is a broker with 5,000 topics.
func crowded(t *testing.T) *stage {
	b := newBroker(t, "queue-1.shop.example.com")
	for i := range 5000 {
		b.Stats.Topics = append(b.Stats.Topics, topic(fmt.Sprintf("team-%02d.service-%04d", i%40, i), channel("worker", int64(i%7)*100, consumer("worker-1", i, nil)), channel("archive", 0)))
	}
	s := newStage(t, []*fakes.Broker{b}, "--refresh-interval=2s") // the usual would have all topics asked for and sent all the time
	s.move(t, flow)
	return s
}

// hostileNames are what nobody should be able to call anything, each a trouble of its own kind.
var hostileNames = []string{
	`<img src=x onerror="window.hacked=1">`, `"><script>window.hacked=1</script>`, `'-window.hacked=1-'`, `javascript:window.hacked=1`, `{{constructor.constructor("window.hacked=1")()}}`,
	"\u202eright to left override", "שלום עולם", "مرحبا", "family 👩‍👩‍👧‍👦 and 🏴‍☠️", "zero\u200bwidth", "line\nbreak\tand tab", "nul\x00byte", `back\slash "and" quotes 'n' all`,
	"../../etc/passwd", "a/b?c=d#e&f", "%2e%2e%2f%00", "__proto__", "constructor", "$&$1${x}", strings.Repeat("w", 300), " spaces ", "z̸̛a̸l̴g̷o̶",
}

// hostile is a cluster in which everything that daemons tell is called so.
func hostile(t *testing.T) *stage {
	b := newBroker(t, hostileNames[0])
	b.Stats.Version, b.Info.Version, b.Stats.Health = hostileNames[1], hostileNames[1], "NOK - "+hostileNames[0]+hostileNames[5]
	b.Config = &httpapi.Settings{File: hostileNames[0]}
	for i, name := range hostileNames {
		b.Config.Warnings = append(b.Config.Warnings, name)
		b.Config.Settings = append(b.Config.Settings, httpapi.Setting{Key: name, Flag: name, Value: name, Source: name, Restart: []string{name}})
		c := consumer("c", i, func(c *httpapi.Client) {
			c.ClientID, c.Hostname, c.UserAgent, c.RemoteAddress = name, hostileNames[(i+1)%len(hostileNames)], name, name
			c.TLS, c.TLSVersion, c.CipherSuite, c.Authed, c.AuthIdentity, c.AuthIdentityURL = true, name, name, true, name, "javascript:window.hacked=1"
			c.TopologyZone, c.TopologyRegion = name, name
		})
		b.Stats.Topics = append(b.Stats.Topics, topic(name, channel(name, 10, c), channel("waits", 500)))
		b.Stats.Topics[i].Channels[0].Accounting.Discarded = map[string]uint64{name: 3, "__proto__": 4}
		b.Stats.Topics[i].Channels[0].Accounting.Balanced = i%2 == 0
		b.Levels[name] = name
		b.Stats.Producers = append(b.Stats.Producers, httpapi.Client{Hostname: name, ClientID: name, RemoteAddress: name, UserAgent: name, PubCounts: []httpapi.PubCount{{Topic: hostileNames[0], Count: 1}}})
	}
	s := newStage(t, []*fakes.Broker{b})
	s.lookup.Change(func(l *fakes.Lookup) {
		for i, name := range hostileNames {
			for _, address := range []string{name, "127.0.0.1"} { // the first are left out, unless they can be addresses
				l.Nodes = append(l.Nodes, httpapi.Node{Producer: httpapi.Producer{RemoteAddress: name, Hostname: name, BroadcastAddress: address, TCPPort: i + 1, HTTPPort: i + 1, Version: name, TopologyZone: name, TopologyRegion: name}})
			}
			l.Channels["idle "+name] = []string{name}
		}
	})
	return s
}
