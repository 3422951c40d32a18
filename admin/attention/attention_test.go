package attention

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// earlier is a Past that answers with the same each time: recent for windows that end now, earlier for others.
type earlier struct{ recent, past float64 }

func (b earlier) mean(to time.Duration) float64 {
	if to == 0 {
		return b.recent
	}
	return b.past
}

func (b earlier) Depth(_, _ string, _, to time.Duration) float64       { return b.mean(to) }
func (b earlier) RequeueRate(_, _ string, _, to time.Duration) float64 { return b.mean(to) }
func (b earlier) TimeoutRate(_, _ string, _, to time.Duration) float64 { return b.mean(to) }

var unknown = earlier{math.NaN(), math.NaN()}

var now = time.Unix(1700000000, 0)

func channelView(f cluster.Figures, paused bool) *cluster.View {
	return &cluster.View{At: now, Topics: []*cluster.Topic{{Name: "orders", Channels: []*cluster.Channel{{Name: "bill#ephemeral", Sum: f, Paused: paused}}}}}
}

func nodeView(change func(*cluster.Node)) *cluster.View {
	n := &cluster.Node{ID: "h:4151", Known: true, At: now.Add(-34 * time.Second), Health: "OK"}
	change(n)
	return &cluster.View{At: now, Nodes: []*cluster.Node{n}}
}

func TestRules(t *testing.T) {
	const gib = 1 << 30
	refused := errors.New("dial tcp 127.0.0.1:1: connect: connection refused")
	for name, test := range map[string]struct {
		view *cluster.View
		past Past
		want string // kind severity text; empty for nothing
	}{
		"all is well":        {channelView(cluster.Figures{Depth: 50, Clients: 1}, false), unknown, ""},
		"no consumers":       {channelView(cluster.Figures{Depth: 1234}, false), unknown, "no_consumers warning channel bill#ephemeral of orders has no consumer, and 1,234 messages wait"},
		"one message":        {channelView(cluster.Figures{Depth: 1}, false), unknown, "no_consumers warning channel bill#ephemeral of orders has no consumer, and 1 message waits"},
		"paused on purpose":  {channelView(cluster.Figures{Depth: 5}, true), unknown, ""},
		"nothing to consume": {channelView(cluster.Figures{}, false), unknown, ""},
		"grows":              {channelView(cluster.Figures{Depth: 1300, Clients: 1}, false), earlier{0, 1000}, "depth_growing warning channel bill#ephemeral of orders grows: 1,300 messages wait, two minutes ago it was 1,000"},
		"grows slowly":       {channelView(cluster.Figures{Depth: 1100, Clients: 1}, false), earlier{0, 1000}, ""},
		"grows little":       {channelView(cluster.Figures{Depth: 150, Clients: 1}, false), earlier{0, 60}, ""},
		"no past":            {channelView(cluster.Figures{Depth: 1e6, Clients: 1}, false), unknown, ""},
		"many timeouts":      {channelView(cluster.Figures{Clients: 1, RateOut: 10, TimeoutRate: 1}, false), earlier{1, 1}, "timeouts_rising warning channel bill#ephemeral of orders has 1.0 timeouts a second"},
		"more timeouts":      {channelView(cluster.Figures{Clients: 1, RateOut: 1e5, TimeoutRate: 5}, false), earlier{5, 1}, "timeouts_rising warning channel bill#ephemeral of orders has 5.0 timeouts a second"},
		"few timeouts":       {channelView(cluster.Figures{Clients: 1, RateOut: 1000, TimeoutRate: 1}, false), earlier{1, 0}, ""},
		"more requeues":      {channelView(cluster.Figures{Clients: 1, RateOut: 1e5, RequeueRate: 5}, false), earlier{5, math.NaN()}, "requeues_rising warning channel bill#ephemeral of orders has 5.0 requeues a second"},
		"fine node":          {nodeView(func(*cluster.Node) {}), unknown, ""},
		"stale node": {nodeView(func(n *cluster.Node) { n.Stale, n.Err, n.Health = true, refused, "NOK - x" }), unknown,
			"node_stale critical node h:4151 does not answer: its figures are 34s old (connection refused)"},
		"unknown node": {nodeView(func(n *cluster.Node) { n.Stale, n.Known, n.Err = true, false, refused }), unknown,
			"node_stale critical node h:4151 has never answered: connection refused"},
		"new node":  {nodeView(func(n *cluster.Node) { n.Stale, n.Known = true, false }), unknown, ""},
		"lost node": {nodeView(func(n *cluster.Node) { n.Gone = true }), unknown, "node_stale critical node h:4151 answers, but no lookup names it: consumers do not find it"},
		"sick node": {nodeView(func(n *cluster.Node) { n.Health = "NOK - disk full" }), unknown, "node_unhealthy critical node h:4151 cannot keep messages: disk full"},
		"low disk": {nodeView(func(n *cluster.Node) {
			n.Storage = &httpapi.Storage{TotalBytes: 100 * gib, FreeBytes: 4 * gib, MinFreeBytes: gib}
		}), unknown, "disk_low warning node h:4151 has 4.0 GiB left of its disk of 100.0 GiB"},
		"full disk": {nodeView(func(n *cluster.Node) {
			n.Storage = &httpapi.Storage{TotalBytes: 100 * gib, FreeBytes: gib / 2, MinFreeBytes: gib}
		}), unknown, "disk_low critical node h:4151 has 512.0 MiB left of its disk of 100.0 GiB, and refuses messages below 1.0 GiB"},
		"enough disk": {nodeView(func(n *cluster.Node) {
			n.Storage = &httpapi.Storage{TotalBytes: 100 * gib, FreeBytes: 50 * gib, MinFreeBytes: gib}
		}), unknown, ""},
		"disk not told": {nodeView(func(n *cluster.Node) { n.Storage = &httpapi.Storage{} }), unknown, ""},
		"the only lookup": {&cluster.View{At: now, Lookups: []cluster.Lookup{{Address: "l:4161", Err: refused}}}, unknown,
			"lookup_failing critical lookup l:4161 does not answer: connection refused"},
		"one of the lookups": {&cluster.View{At: now, Lookups: []cluster.Lookup{{Address: "l:4161", Err: refused}, {Address: "m:4161"}}}, unknown,
			"lookup_failing warning lookup l:4161 does not answer: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, it := range new(Judge).Look(test.view, test.past) {
				got = append(got, it.Kind+" "+it.Severity+" "+it.Text)
			}
			if strings.Join(got, "\n") != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestSinceAndOrder: an item keeps since when it holds, begins anew once it was gone, and the most urgent comes first.
func TestSinceAndOrder(t *testing.T) {
	var j Judge
	look := func(at time.Time, view *cluster.View) []Item {
		view.At = at
		return j.Look(view, unknown)
	}
	waiting := func() *cluster.View {
		v := channelView(cluster.Figures{Depth: 5}, false)
		v.Topics = append(v.Topics, &cluster.Topic{Name: "a", Channels: []*cluster.Channel{{Name: "b", Sum: cluster.Figures{Depth: 9}}}})
		v.Nodes = nodeView(func(n *cluster.Node) { n.Health = "NOK - x" }).Nodes
		return v
	}
	look(now, waiting())
	items := look(now.Add(time.Minute), waiting())
	var got []string
	for _, it := range items {
		got = append(got, it.Kind+" "+it.Path)
		if it.Since != now.UnixMilli() {
			t.Errorf("%s since %d, want %d", it.Kind, it.Since, now.UnixMilli())
		}
	}
	if want := []string{"node_unhealthy nodes/h:4151", "no_consumers topics/a/b", "no_consumers topics/orders/bill%23ephemeral"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	look(now.Add(2*time.Minute), &cluster.View{})
	again := now.Add(3 * time.Minute)
	if items := look(again, waiting()); items[0].Since != again.UnixMilli() {
		t.Errorf("after it was gone: since %d", items[0].Since)
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := Number(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1 << 63: "8.0 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
