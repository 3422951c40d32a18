package views

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// Page names a body: one of those that GET /api/view/ has, with its arguments.
type Page struct{ View, Topic, Channel, Node string }

// PageOf reads a page's arguments.
func PageOf(view string, args url.Values) Page {
	return Page{View: view, Topic: args.Get("topic"), Channel: args.Get("channel"), Node: args.Get("node")}
}

func (p Page) key() string { return strings.Join([]string{p.View, p.Topic, p.Channel, p.Node}, "\x00") }

func notFound(text string) error { return &httpapi.Error{Code: http.StatusNotFound, Text: text} }

// make makes a page.
func (m *Maker) make(ctx context.Context, s *State, p Page) (any, error) {
	switch p.View {
	case "overview":
		return s.overview(), nil
	case "topics":
		return s.topicRows(), nil
	case "topic":
		return m.topic(ctx, s, p.Topic)
	case "channel":
		return m.channel(ctx, s, p.Topic, p.Channel)
	case "nodes":
		return &Nodes{Head: s.head(s.Nodes), Nodes: s.nodes()}, nil
	case "node":
		return m.node(ctx, s, p.Node)
	case "lookups":
		return m.lookups(ctx, s), nil
	case "consumers":
		return m.consumers(ctx, s), nil
	}
	return nil, notFound("NOT_FOUND")
}

// head begins a body whose figures come from the nodes.
func (s *State) head(nodes []*cluster.Node) Head {
	h := Head{Now: time.Now().UnixMilli()}
	var warnings []string
	var newest time.Time
	for _, n := range nodes {
		if text := attention.Staleness(n, s.At); text != "" {
			warnings = append(warnings, text)
		}
		if n.At.After(newest) {
			newest = n.At
		}
	}
	if len(nodes) == 0 {
		newest = s.At
	}
	for _, l := range s.Lookups {
		if l.Err != nil {
			warnings = append(warnings, "lookup "+l.Address+" does not answer: "+attention.Cause(l.Err))
		}
	}
	if !newest.IsZero() {
		h.At = newest.UnixMilli()
	}
	const most = 5
	if more := len(warnings) - most; more > 0 {
		warnings = append(warnings[:most], "and "+attention.Number(int64(more))+" more")
	}
	h.Warning = strings.Join(warnings, "\n")
	return h
}

const (
	mostItems = 200 // on a page
	mostAlike = 4   // of a kind, until one stands for all
)

func (s *State) overview() *Overview {
	o := &Overview{Head: s.head(s.Nodes), Nodes: s.nodes(), Lookups: s.lookupList(), Attention: attention.Fold(s.Items, mostAlike)}
	if len(o.Attention) > mostItems {
		o.Attention, o.AttentionMore = o.Attention[:mostItems], len(o.Attention)-mostItems
	}
	o.Attention = orEmpty(o.Attention)
	f := s.Sum
	o.Totals = Totals{
		RateIn: round(f.RateIn), RateOut: round(f.RateOut), Depth: f.Depth, BackendDepth: f.BackendDepth, InFlight: f.InFlight,
		Deferred: f.Deferred, RequeueRate: round(f.RequeueRate), TimeoutRate: round(f.TimeoutRate),
		Topics: len(s.Topics), Clients: f.Clients, Nodes: len(s.Nodes), Lookups: len(s.Lookups),
		Failing: round(f.RequeueRate + f.TimeoutRate),
	}
	for _, t := range s.Topics {
		o.Totals.Channels += len(t.Channels)
		if c := t.Slowest(); c != nil && c.Sum.Depth > o.Totals.Deepest.Depth {
			o.Totals.Deepest = Deepest{t.Name, c.Name, c.Sum.Depth}
		}
	}
	for _, n := range s.Nodes {
		if n.Stale {
			o.Totals.StaleNodes++
			o.Totals.OnStale += n.Sum.Depth
		}
	}
	o.Totals.Stale = len(s.Nodes) > 0 && o.Totals.StaleNodes == len(s.Nodes)
	o.Totals.AgeMS = max(0, o.Now-o.At)
	for _, l := range s.Lookups {
		if l.Err != nil {
			o.Totals.FailingLookups++
		}
	}
	return o
}

func (s *State) topicRows() *Topics {
	t := &Topics{Head: s.head(s.Nodes), Rows: make([]Row, len(s.Topics))}
	for i, topic := range s.Topics {
		t.Rows[i] = s.row(topic)
	}
	return t
}

func (s *State) row(t *cluster.Topic) Row {
	r := rowOf(t.Name, t.Sum)
	r.Channels, r.Nodes, r.Paused, r.Stale, r.Down, r.Attention = len(t.Channels), len(t.On), t.Paused, t.Stale, t.Down(), s.byTopic[t.Name]
	if c := t.Slowest(); c != nil {
		r.Slowest, r.SlowestOut, r.SlowestDepth = c.Name, round(c.Sum.RateOut), c.Sum.Depth
	}
	return r
}

func rowOf(name string, f cluster.Figures) Row {
	return Row{
		Topic: name, RateIn: round(f.RateIn), RateOut: round(f.RateOut), Depth: f.Depth, BackendDepth: f.BackendDepth,
		InFlight: f.InFlight, Deferred: f.Deferred, RequeueRate: round(f.RequeueRate), TimeoutRate: round(f.TimeoutRate),
		MessageCount: f.MessageCount, Clients: f.Clients, Failing: round(f.RequeueRate + f.TimeoutRate),
	}
}

func (s *State) nodes() []Node {
	list := make([]Node, len(s.Nodes))
	for i, n := range s.Nodes {
		list[i] = s.nodeOf(n)
	}
	return list
}

func (s *State) nodeOf(n *cluster.Node) Node {
	f := n.Sum
	out := Node{
		Node: n.ID, Hostname: n.Hostname, BroadcastAddress: n.BroadcastAddress, TCPPort: n.TCPPort, HTTPPort: n.HTTPPort,
		Version: n.Version, Healthy: n.Healthy(), Health: n.Health, SetAside: n.SetAside, Freshness: freshness(n, s.At), StartTime: n.Started,
		RateIn: round(f.RateIn), RateOut: round(f.RateOut), Depth: f.Depth, BackendDepth: f.BackendDepth, InFlight: f.InFlight,
		Deferred: f.Deferred, RequeueRate: round(f.RequeueRate), TimeoutRate: round(f.TimeoutRate), Topics: len(n.Topics),
		Channels: n.Channels, Clients: f.Clients, TopologyZone: n.TopologyZone, TopologyRegion: n.TopologyRegion,
		OutOfDate: n.OutOfDate, Lookups: orEmpty(n.Lookups), Tombstoned: orEmpty(n.Tombstoned), Kind: kindOf(n),
		Gone: n.Gone, MayDismiss: s.dismissable && n.MayDismiss(), Failing: round(f.RequeueRate + f.TimeoutRate),
	}
	if n.IsBroker {
		out.Disk = &Disk{n.Storage.FreeBytes, n.Storage.TotalBytes, n.Storage.MinFreeBytes}
	}
	return out
}

// kindOf returns what a node is, "" before it was reached.
func kindOf(n *cluster.Node) string {
	switch {
	case n.IsBroker:
		return "brokerd"
	case n.Known:
		return "nsqd"
	}
	return ""
}

// freshness says of when a node's figures are at now.
func freshness(n *cluster.Node, now time.Time) Freshness {
	f := Freshness{Stale: n.Stale || n.Gone, AgeMS: -1}
	if n.Known {
		f.AgeMS = max(0, now.Sub(n.At).Milliseconds())
	}
	if f.Stale {
		f.Error = attention.Cause(n.Err)
		if n.Gone && n.Err == nil {
			f.Error = "no lookup names it"
		}
	}
	return f
}

func (s *State) lookupList() []Lookup {
	list := make([]Lookup, len(s.Lookups))
	for i, l := range s.Lookups {
		list[i] = Lookup{Address: l.Address, OK: l.Err == nil, AgeMS: -1, Version: l.Version, Nodes: len(l.Nodes), Topics: len(l.Topics)}
		if l.Err != nil {
			list[i].Error = attention.Cause(l.Err)
		}
		if !l.At.IsZero() {
			list[i].AgeMS = max(0, s.At.Sub(l.At).Milliseconds())
		}
	}
	return list
}

// lookups asks the lookups for the channels of topics that no node has.
func (m *Maker) lookups(ctx context.Context, s *State) *Lookups {
	out := &Lookups{Head: s.head(nil), Lookups: s.lookupList(), Inactive: []Inactive{}}
	for _, t := range s.Topics {
		if len(t.On) == 0 {
			out.Inactive = append(out.Inactive, Inactive{Topic: t.Name})
		}
	}
	const most = 1000 // more are listed without their channels
	names := make([]string, min(most, len(out.Inactive)))
	for i := range names {
		names[i] = out.Inactive[i].Topic
	}
	for i, channels := range m.cluster.ChannelsOf(ctx, names) {
		out.Inactive[i].Channels = channels
	}
	for i := range out.Inactive {
		out.Inactive[i].Channels = orEmpty(out.Inactive[i].Channels)
	}
	return out
}

// itemsOf returns the items that belong to a page.
func (s *State) itemsOf(belongs func(attention.Item) bool) []attention.Item {
	items := []attention.Item{}
	for _, it := range s.Items {
		if belongs(it) && len(items) < mostItems {
			items = append(items, it)
		}
	}
	return items
}

// orEmpty keeps a list from becoming null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return slices.Clip(list)
}

// round keeps what is worth showing of a rate.
func round(v float64) float64 {
	switch {
	case v < 10:
		return float64(int64(v*100+0.5)) / 100
	case v < 1e6:
		return float64(int64(v*10+0.5)) / 10
	}
	return float64(int64(v + 0.5))
}
