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

// earlier is a Past that answers with the same each time: recent for windows that end now, earlier for others. idle is for how long a channel
// was seen to finish nothing while messages were in flight.
type earlier struct {
	recent, past float64
	idle         bool
}

func (b earlier) mean(to time.Duration) float64 {
	if to == 0 {
		return b.recent
	}
	return b.past
}

func (b earlier) Depth(_, _ string, _, to time.Duration) float64       { return b.mean(to) }
func (b earlier) RequeueRate(_, _ string, _, to time.Duration) float64 { return b.mean(to) }
func (b earlier) TimeoutRate(_, _ string, _, to time.Duration) float64 { return b.mean(to) }

func (b earlier) InFlight(_, _ string, _, _ time.Duration) float64 {
	return map[bool]float64{true: 5, false: math.NaN()}[b.idle]
}

func (b earlier) RateOut(_, _ string, _, _ time.Duration) float64 {
	return map[bool]float64{true: 0, false: math.NaN()}[b.idle]
}

var unknown = earlier{math.NaN(), math.NaN(), false}

var now = time.Unix(1700000000, 0)

var errRefused = errors.New("dial tcp 127.0.0.1:1: connect: connection refused")

// on is a channel on a node.
func on(n *cluster.Node, name string, f cluster.Figures, paused bool) cluster.NodeChannelRef {
	return cluster.NodeChannelRef{Node: n, NodeChannel: &cluster.NodeChannel{
		Channel: &httpapi.Channel{ChannelName: name, Depth: f.Depth, InFlightCount: f.InFlight, DeferredCount: f.Deferred, ClientCount: f.Clients, Paused: paused},
		RateOut: f.RateOut, RequeueRate: f.RequeueRate, TimeoutRate: f.TimeoutRate}}
}

// channelOf is a channel on nodes that all have the same figures.
func channelOf(name string, f cluster.Figures, paused bool, nodes ...*cluster.Node) *cluster.Channel {
	c := &cluster.Channel{Name: name}
	for _, n := range nodes {
		c.On = append(c.On, on(n, name, f, paused))
	}
	return c
}

func channelView(f cluster.Figures, paused bool) *cluster.View {
	c := channelOf("bill#ephemeral", f, paused, &cluster.Node{ID: "a:4151", Known: true})
	return &cluster.View{At: now, Topics: []*cluster.Topic{{Name: "orders", Channels: []*cluster.Channel{c}}}}
}

// blockedView is a channel with keys that stand still.
func blockedView(keys ...httpapi.BlockedKey) *cluster.View {
	v := channelView(cluster.Figures{Depth: 5, Clients: 1}, false)
	v.Topics[0].Channels[0].On[0].BlockedKeys = keys
	return v
}

func nodeView(change func(*cluster.Node)) *cluster.View {
	n := &cluster.Node{ID: "h:4151", Known: true, At: now.Add(-34 * time.Second), Health: "OK"}
	change(n)
	return &cluster.View{At: now, Nodes: []*cluster.Node{n}}
}

func TestRules(t *testing.T) {
	const gib = 1 << 30
	for name, test := range map[string]struct {
		view *cluster.View
		past Past
		want string // kind severity text; empty for nothing
	}{
		"all is well":             {channelView(cluster.Figures{Depth: 50, Clients: 1}, false), unknown, ""},
		"no consumers":            {channelView(cluster.Figures{Depth: 1234}, false), unknown, "no_consumers warning channel bill#ephemeral of orders has no consumer: 1,234 messages wait"},
		"one message":             {channelView(cluster.Figures{Depth: 1}, false), unknown, "no_consumers warning channel bill#ephemeral of orders has no consumer: 1 message waits"},
		"paused on purpose":       {channelView(cluster.Figures{Depth: 5}, true), unknown, ""},
		"nothing to consume":      {channelView(cluster.Figures{}, false), unknown, ""},
		"grows":                   {channelView(cluster.Figures{Depth: 1300, Clients: 1}, false), earlier{past: 1000}, "depth_growing warning channel bill#ephemeral of orders grows: 1,300 messages wait, two minutes ago it was 1,000"},
		"grows without consumers": {channelView(cluster.Figures{Depth: 1300}, false), earlier{past: 1000}, "no_consumers warning channel bill#ephemeral of orders has no consumer, grows: 1,300 messages wait, two minutes ago it was 1,000"},
		"paused and grows":        {channelView(cluster.Figures{Depth: 1300, Clients: 1}, true), earlier{past: 1000}, "depth_growing warning channel bill#ephemeral of orders is paused and grows: 1,300 messages wait, two minutes ago it was 1,000"},
		"stuck": {channelView(cluster.Figures{Depth: 7, InFlight: 20, Clients: 1}, false), earlier{math.NaN(), math.NaN(), true},
			"stuck warning channel bill#ephemeral of orders finishes nothing: 20 in flight with 1 consumer for more than 2 minutes: 7 messages wait"},
		"busy with the last messages": {channelView(cluster.Figures{InFlight: 20, Clients: 1}, false), earlier{math.NaN(), math.NaN(), true}, ""},
		"new consumers":               {channelView(cluster.Figures{Depth: 7, InFlight: 20, Clients: 1}, false), unknown, ""},
		"fails in two ways": {channelView(cluster.Figures{Depth: 3, Clients: 1, RateOut: 1, TimeoutRate: 1, RequeueRate: 1}, false), earlier{recent: 1, past: 1},
			"timeouts_rising warning channel bill#ephemeral of orders has 1.0 timeouts and 1.0 requeues a second: 3 messages wait"},
		"a key stands still": {blockedView(httpapi.BlockedKey{Key: "0a", Position: 7, ID: "00", Since: now.Add(-2 * time.Minute).Format(time.RFC3339), Behind: 3}), unknown,
			"key_blocked warning channel bill#ephemeral of orders has a key that stands still for 2m 00s at message 00 (position 7) on a:4151, with 3 messages behind it: 5 messages wait"},
		"a key has stood for a moment": {blockedView(httpapi.BlockedKey{Key: "0a", Position: 7, Since: now.Add(-59 * time.Second).Format(time.RFC3339), Behind: 3}), unknown, ""},
		"keys stand still": {blockedView(httpapi.BlockedKey{Position: 7, Since: now.Add(-2 * time.Minute).Format(time.RFC3339), Behind: 1},
			httpapi.BlockedKey{Position: 9, Since: now.Add(-time.Hour).Format(time.RFC3339), Behind: 1}), unknown,
			"key_blocked warning channel bill#ephemeral of orders has 2 keys that stand still, with 2 messages behind them, one for 1h 00m at message ? (position 9) on a:4151: 5 messages wait"},
		"grows slowly":  {channelView(cluster.Figures{Depth: 1100, Clients: 1}, false), earlier{past: 1000}, ""},
		"grows little":  {channelView(cluster.Figures{Depth: 150, Clients: 1}, false), earlier{past: 60}, ""},
		"no past":       {channelView(cluster.Figures{Depth: 1e6, Clients: 1}, false), unknown, ""},
		"many timeouts": {channelView(cluster.Figures{Clients: 1, RateOut: 10, TimeoutRate: 1}, false), earlier{recent: 1, past: 1}, "timeouts_rising warning channel bill#ephemeral of orders has 1.0 timeouts a second"},
		"more timeouts": {channelView(cluster.Figures{Clients: 1, RateOut: 1e5, TimeoutRate: 5}, false), earlier{recent: 5, past: 1}, "timeouts_rising warning channel bill#ephemeral of orders has 5.0 timeouts a second"},
		"few timeouts":  {channelView(cluster.Figures{Clients: 1, RateOut: 1000, TimeoutRate: 1}, false), earlier{recent: 1}, ""},
		"more requeues": {channelView(cluster.Figures{Clients: 1, RateOut: 1e5, RequeueRate: 5}, false), earlier{recent: 5, past: math.NaN()}, "requeues_rising warning channel bill#ephemeral of orders has 5.0 requeues a second"},
		"fine node":     {nodeView(func(*cluster.Node) {}), unknown, ""},
		"stale node": {nodeView(func(n *cluster.Node) { n.Stale, n.Err, n.Health = true, errRefused, "NOK - x" }), unknown,
			"node_stale critical node h:4151 does not answer: its figures are 34s old (connection refused)"},
		"sick, and no disk left": {nodeView(func(n *cluster.Node) {
			n.Health, n.Storage = "NOK - x", &httpapi.Storage{TotalBytes: 100 * gib, FreeBytes: gib / 2, MinFreeBytes: gib}
		}), unknown, "node_unhealthy critical node h:4151 cannot keep messages: x > node h:4151 has 512.0 MiB left of its disk of 100.0 GiB, and refuses messages below 1.0 GiB"},
		"unknown node": {nodeView(func(n *cluster.Node) { n.Stale, n.Known, n.Err = true, false, errRefused }), unknown,
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
		"the only lookup": {&cluster.View{At: now, Lookups: []cluster.Lookup{{Address: "l:4161", Err: errRefused}}}, unknown,
			"lookup_failing critical lookup l:4161 does not answer: connection refused > consumers that start now find no broker, and neither does admind"},
		"no lookup": {&cluster.View{At: now, Lookups: []cluster.Lookup{{Address: "l:4161", Err: errRefused}, {Address: "m:4161", Err: errRefused}}}, unknown,
			"lookup_failing critical no lookup answers > consumers that start now find no broker, and neither does admind > " +
				"lookup l:4161 does not answer: connection refused > lookup m:4161 does not answer: connection refused"},
		"one of the lookups": {&cluster.View{At: now, Lookups: []cluster.Lookup{{Address: "l:4161", Err: errRefused}, {Address: "m:4161"}}}, unknown,
			"lookup_failing warning lookup l:4161 does not answer: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, it := range new(Judge).Look(test.view, test.past) {
				got = append(got, strings.Join(append([]string{it.Kind + " " + it.Severity + " " + it.Text}, it.Effects...), " > "))
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
		v.Topics = append(v.Topics, &cluster.Topic{Name: "a", Channels: []*cluster.Channel{channelOf("b", cluster.Figures{Depth: 9}, false, &cluster.Node{ID: "a:4151"})}})
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

// TestOneEntryForEachCause: a dead broker is one entry, with what was on it and the topics that only it had; its channels are no entries of
// their own, and neither is a channel on it judged by what was.
func TestOneEntryForEachCause(t *testing.T) {
	dead := &cluster.Node{ID: "dead:4151", Known: true, At: now.Add(-time.Hour), Stale: true, Gone: true, Err: errRefused, Sum: cluster.Figures{Depth: 1000, InFlight: 5}}
	alive := &cluster.Node{ID: "alive:4151", Known: true, At: now, Health: "OK"}
	waiting := cluster.Figures{Depth: 500}
	topics := []*cluster.Topic{{Name: "both", Channels: []*cluster.Channel{{Name: "x",
		On: []cluster.NodeChannelRef{on(dead, "x", waiting, false), on(alive, "x", cluster.Figures{Clients: 1}, false)}}}}}
	topics[0].On = []cluster.NodeTopicRef{{Node: dead}, {Node: alive}}
	for _, name := range []string{"c1", "c2", "c3", "c4"} {
		topics = append(topics, &cluster.Topic{Name: name, On: []cluster.NodeTopicRef{{Node: dead}}, Channels: []*cluster.Channel{channelOf("x", waiting, false, dead)}})
	}
	items := new(Judge).Look(&cluster.View{At: now, Nodes: []*cluster.Node{alive, dead}, Topics: topics}, unknown)
	want := []string{"1,005 messages not finished were on it", "no node that answers has c1, c2, c3 and 1 more topic"}
	if len(items) != 1 || items[0].Kind != "node_stale" || !slices.Equal(items[0].Effects, want) ||
		items[0].Text != "node dead:4151 does not answer: its figures are 1h 00m old (connection refused)" {
		t.Errorf("got %+v", items)
	}
}

// TestAChannelThatLostCountIsCritical, with the brokers where that is so.
func TestAChannelThatLostCountIsCritical(t *testing.T) {
	v := channelView(cluster.Figures{Clients: 1}, false)
	v.Topics[0].Channels[0].On[0].Accounting = &httpapi.Accounting{Accepted: 5, Finished: 4}
	items := new(Judge).Look(v, unknown)
	if len(items) != 1 || items[0].Severity != Critical || items[0].Text != "channel bill#ephemeral of orders has lost count on a:4151: what became of its messages does not add up" {
		t.Errorf("got %+v", items)
	}
}

// TestWorstFirst: what is critical, then what grows, then the largest of a kind.
func TestWorstFirst(t *testing.T) {
	items := []Item{{Kind: "no_consumers", Severity: Warning, Value: 1}, {Kind: "no_consumers", Severity: Warning, Value: 9}, {Kind: "requeues_rising", Severity: Warning},
		{Kind: "depth_growing", Severity: Warning, growing: true}, {Kind: "node_stale", Severity: Critical}, {Kind: "stuck", Severity: Warning}}
	slices.SortStableFunc(items, worse)
	var got []string
	for _, it := range items {
		got = append(got, it.Kind)
	}
	if want := []string{"node_stale", "depth_growing", "stuck", "no_consumers", "no_consumers", "requeues_rising"}; !slices.Equal(got, want) || items[3].Value != 9 {
		t.Errorf("got %q", got)
	}
}

// TestManyOfAKindAreOneEntry, where the first of them stood, with all of them inside.
func TestManyOfAKindAreOneEntry(t *testing.T) {
	items := []Item{{Kind: "node_stale", Node: "n", Since: 9}}
	for i := range mostMembers + 1 {
		items = append(items, Item{Kind: "no_consumers", Path: "topics/t/" + string(rune('a'+i)), Since: int64(100 - i%5)})
	}
	items = append(items, Item{Kind: "stuck"})
	folded := Fold(items, 4)
	if len(folded) != 3 || folded[1].Text != "51 channels with messages have no consumer" || len(folded[1].Members) != mostMembers ||
		folded[1].Since != 96 || !slices.Equal(folded[1].Effects, []string{"and 1 more"}) {
		t.Errorf("got %d: %+v", len(folded), folded[1])
	}
	if folded := Fold(items[:5], 4); len(folded) != 5 {
		t.Errorf("few became %d", len(folded))
	}
}

// TestNamesInSentences: what cannot be seen or turns the rest around is written out, and what is written from right to left is set apart.
func TestNamesInSentences(t *testing.T) {
	for name, want := range map[string]string{"orders": "orders", "a\u202eb": `a\u202Eb`, "line\nbreak": `line\u000Abreak`, "zero\u200bwidth": `zero\u200Bwidth`,
		"שלום": "\u2068שלום\u2069", "<b>x</b>": "<b>x</b>", "né e": "né e"} {
		if got := Name(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
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
