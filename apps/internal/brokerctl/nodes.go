package brokerctl

import (
	"cmp"
	"flag"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

var nodeVerbs = []verb{
	{
		name: "list", summary: "print every broker", run: listNodes,
		example: "node list --lookupd-http-address=127.0.0.1:4161",
	},
	{
		name: "stats", summary: "print each broker's health, uptime and sums", run: nodeStats,
		example: "node stats --lookupd-http-address=127.0.0.1:4161",
	},
	{
		name: "ping", summary: "ask whether daemons are healthy, or ready", run: ping,
		help: `Asks the lookups and the brokers that are given, and no others, at /ping, or with --ready at /ready, which only brokers that can take
messages answer well. The exit code is 1 when one of them does not: containers have it for their health.`,
		example: "node ping --nsqd-http-address=127.0.0.1:4151",
		flags: func(c *call, flags *flag.FlagSet) {
			flags.BoolVar(&c.ready, "ready", false, "ask whether they take work, not only whether they are healthy")
		},
	},
	drainVerb,
}

var nodeConfigVerbs = []verb{
	{
		name: "get", summary: "print an option of each broker, by its name in the config file", args: "OPTION", run: getNodeConfig,
		example: "node config get msg_timeout --nsqd-http-address=127.0.0.1:4151",
	},
	{
		name: "set", summary: "set an option of each broker until it is started again", args: "OPTION VALUE", changes: true, run: setNodeConfig,
		help: "Brokers let log_level be set, to a word, and nsqlookupd_tcp_addresses, to a JSON array of addresses.",
		example: `node config set log_level debug --nsqd-http-address=127.0.0.1:4151
node config set nsqlookupd_tcp_addresses '["10.0.0.5:4160"]' --nsqd-http-address=127.0.0.1:4151`,
	},
}

// ping asks the daemons that are given.
func ping(c *call) error {
	path := "/ping"
	if c.ready {
		path = "/ready"
	}
	asked := steps(append(append([]string{}, c.fleet.Lookups()...), c.direct...), path)
	for i := range asked {
		asked[i].method = http.MethodGet
	}
	return c.do(nil, asked)
}

// nodeRow is a broker as node list prints it.
type nodeRow struct {
	HTTP       string `json:"http_address"`
	TCP        string `json:"tcp_address"`
	Hostname   string `json:"hostname"`
	Version    string `json:"version"`
	Zone       string `json:"topology_zone,omitempty"`
	Region     string `json:"topology_region,omitempty"`
	Topics     int    `json:"topics"`
	Tombstones int    `json:"tombstones"` // of its topics
}

// listNodes prints the brokers that lookups know and those that were given.
func listNodes(c *call) error {
	nodes, failures := c.fleet.Nodes(c.ctx)
	rows := []nodeRow{}
	for _, n := range nodes {
		row := nodeRow{HTTP: n.HTTPAddress(), TCP: n.TCPAddress(), Hostname: n.Hostname, Version: n.Version, Zone: n.TopologyZone,
			Region: n.TopologyRegion, Topics: len(n.Topics)}
		for _, hidden := range n.Tombstones {
			if hidden {
				row.Tombstones++
			}
		}
		rows = append(rows, row)
	}
	given := fleet.Each(c.direct, func(address string) (nodeRow, error) { return c.nodeRow(address) })
	for _, a := range given {
		switch {
		case a.Err != nil:
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		case !slices.ContainsFunc(rows, func(r nodeRow) bool { return r.HTTP == a.Value.HTTP }):
			rows = append(rows, a.Value)
		}
	}
	return c.show(rows, failures, func(w io.Writer) {
		t := appkit.Table{Columns: []appkit.Column{{Name: "HTTP", Left: true}, {Name: "TCP", Left: true}, {Name: "HOST", Left: true, Extra: true},
			{Name: "VERSION", Left: true}, {Name: "ZONE", Left: true, Extra: true}, {Name: "REGION", Left: true, Extra: true}, {Name: "TOPICS"},
			{Name: "TOMBSTONES", Extra: true}}}
		for _, r := range rows {
			t.Add(r.HTTP, r.TCP, r.Hostname, r.Version, cmp.Or(r.Zone, "-"), cmp.Or(r.Region, "-"), strconv.Itoa(r.Topics), strconv.Itoa(r.Tombstones))
		}
		t.Write(w, c.env.Width())
	})
}

// nodeRow asks a broker that was given by its address.
func (c *call) nodeRow(address string) (row nodeRow, err error) {
	var info httpapi.Info
	if err := c.fleet.Get(c.ctx, address, "/info", &info); err != nil {
		return row, err
	}
	var s httpapi.Stats
	if err := c.fleet.Get(c.ctx, address, "/stats?format=json&include_clients=false&include_mem=false", &s); err != nil {
		return row, err
	}
	p := httpapi.Producer{BroadcastAddress: info.BroadcastAddress, TCPPort: info.TCPPort, HTTPPort: info.HTTPPort}
	return nodeRow{HTTP: address, TCP: p.TCPAddress(), Hostname: info.Hostname, Version: info.Version, Zone: info.TopologyZone,
		Region: info.TopologyRegion, Topics: len(s.Topics)}, nil
}

// nodeSum is a broker as node stats prints it.
type nodeSum struct {
	HTTP     string `json:"http_address"`
	Health   string `json:"health"`
	Start    int64  `json:"start_time"` // seconds since the Unix epoch
	Topics   int    `json:"topics"`
	Channels int    `json:"channels"`
	Depth    int64  `json:"depth"` // of topics and channels
	InFlight int    `json:"in_flight"`
	Deferred int    `json:"deferred"`
	Clients  int    `json:"connections"`
	Messages uint64 `json:"messages"`
	Heap     uint64 `json:"heap_in_use_bytes"`
}

func nodeStats(c *call) error {
	brokers, failures := c.fleet.Brokers(c.ctx, "")
	sums := []nodeSum{}
	for _, a := range c.fleet.Stats(c.ctx, brokers, fleet.Query{Memory: true}) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			continue
		}
		sums = append(sums, sumOf(a.Address, &a.Value))
	}
	return c.show(sums, failures, func(w io.Writer) {
		t := appkit.Table{Columns: []appkit.Column{{Name: "HTTP", Left: true}, {Name: "HEALTH", Left: true}, {Name: "UPTIME", Left: true, Extra: true},
			{Name: "TOPICS", Extra: true}, {Name: "CHANNELS", Extra: true}, {Name: "DEPTH"}, {Name: "IN FLIGHT"}, {Name: "DEFERRED", Extra: true},
			{Name: "CONNS", Extra: true}, {Name: "MESSAGES", Extra: true}, {Name: "HEAP MiB", Extra: true}},
			Color: func(column, text string) string {
				if column == "HEALTH" && strings.TrimSpace(text) != "OK" {
					return c.env.Bad(text)
				}
				return text
			}}
		for _, s := range sums {
			up := time.Since(time.Unix(s.Start, 0)).Round(time.Second)
			t.Add(s.HTTP, s.Health, up.String(), strconv.Itoa(s.Topics), strconv.Itoa(s.Channels), appkit.Grouped(s.Depth),
				strconv.Itoa(s.InFlight), strconv.Itoa(s.Deferred), strconv.Itoa(s.Clients), appkit.Grouped(int64(s.Messages)),
				strconv.FormatUint(s.Heap>>20, 10))
		}
		t.Write(w, c.env.Width())
	})
}

func sumOf(address string, s *httpapi.Stats) nodeSum {
	sum := nodeSum{HTTP: address, Health: s.Health, Start: s.StartTime, Topics: len(s.Topics)}
	if s.Memory != nil {
		sum.Heap = s.Memory.HeapInUseBytes
	}
	for i := range s.Topics {
		t := &s.Topics[i]
		sum.Depth += t.Depth
		sum.Messages += t.MessageCount
		sum.Channels += len(t.Channels)
		for j := range t.Channels {
			ch := &t.Channels[j]
			sum.Depth += ch.Depth
			sum.InFlight += ch.InFlightCount
			sum.Deferred += ch.DeferredCount
			sum.Clients += ch.ClientCount
		}
	}
	return sum
}

// optionHints say what a running broker's options can be, when a broker has only said that a value is none.
var optionHints = map[string]string{
	"log_level":                "it is one of debug, info, warn, error, fatal",
	"nsqlookupd_tcp_addresses": `it is a JSON array of addresses, as in ["10.0.0.5:4160"]`,
}

func getNodeConfig(c *call) error {
	c.option = true
	brokers, failures := c.fleet.Brokers(c.ctx, "")
	return c.showAnswers(brokers, failures, func(address string) (any, error) {
		answer, err := c.fleet.Do(c.ctx, http.MethodGet, address, "/config/"+url.PathEscape(c.args[0]), nil)
		return string(answer), err
	})
}

func setNodeConfig(c *call) error {
	c.option = true
	brokers, failures := c.fleet.Brokers(c.ctx, "")
	requests := make([]step, len(brokers))
	for i, address := range brokers {
		requests[i] = step{address: address, method: http.MethodPut, path: "/config/" + url.PathEscape(c.args[0]), body: []byte(c.args[1]),
			hint: optionHints[c.args[0]]}
	}
	return c.do(failures, requests)
}
