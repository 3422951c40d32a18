package attention

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/admin/cluster"
)

// Item is one thing that needs attention.
type Item struct {
	Kind     string  `json:"kind"`
	Severity string  `json:"severity"` // critical or warning
	Topic    string  `json:"topic"`
	Channel  string  `json:"channel"`
	Node     string  `json:"node"` // a broker's or a lookup's address
	Text     string  `json:"text"`
	Value    float64 `json:"value"` // what it is sorted by among its kind
	Since    int64   `json:"since"` // ms
	Path     string  `json:"path"`  // of the page that tells more, below the base path
}

// The severities.
const (
	Critical = "critical"
	Warning  = "warning"
)

// Past tells of a channel's series: the mean of one from from to to before now, NaN where nothing is known.
type Past interface {
	Depth(topic, channel string, from, to time.Duration) float64
	RequeueRate(topic, channel string, from, to time.Duration) float64
	TimeoutRate(topic, channel string, from, to time.Duration) float64
}

// TopicPath returns the path of a topic's page, below the base path, or of a channel's. Browsers take . and .. in a path for steps,
// though both are names: a ~, which no name has, stands before them.
func TopicPath(names ...string) string {
	path := "topics"
	for _, name := range names {
		if name == "." || name == ".." {
			name = "~" + name
		}
		path += "/" + url.PathEscape(name)
	}
	return path
}

// Judge remembers since when each item holds. The zero value is ready.
type Judge struct {
	since map[key]time.Time
}

type key struct{ kind, topic, channel, node string }

// Look returns what needs attention now, the most urgent first.
func (j *Judge) Look(v *cluster.View, past Past) []Item {
	var items []Item
	for _, l := range v.Lookups {
		items = append(items, ofLookup(l, v)...)
	}
	for _, n := range v.Nodes {
		items = append(items, ofNode(n, v.At)...)
	}
	for _, t := range v.Topics {
		for _, c := range t.Channels {
			items = append(items, ofChannel(t, c, past)...)
		}
	}
	since := make(map[key]time.Time, len(items))
	for i := range items {
		it := &items[i]
		k := key{it.Kind, it.Topic, it.Channel, it.Node}
		at, ok := j.since[k]
		if !ok {
			at = v.At
		}
		since[k] = at
		it.Since = at.UnixMilli()
	}
	j.since = since
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(strings.Compare(a.Severity, b.Severity), rank(a.Kind)-rank(b.Kind), cmp.Compare(b.Value, a.Value))
	})
	return items
}

// kinds are the items' kinds, the most urgent first.
var kinds = []string{"node_unhealthy", "disk_low", "node_stale", "lookup_failing", "depth_growing", "no_consumers",
	"timeouts_rising", "requeues_rising"}

func rank(kind string) int { return slices.Index(kinds, kind) }

func ofLookup(l cluster.Lookup, v *cluster.View) []Item {
	if l.Err == nil {
		return nil
	}
	severity := Critical
	for _, other := range v.Lookups {
		if other.Err == nil {
			severity = Warning
		}
	}
	return []Item{{Kind: "lookup_failing", Severity: severity, Node: l.Address, Path: "lookup",
		Text: "lookup " + l.Address + " does not answer: " + Cause(l.Err)}}
}

func ofNode(n *cluster.Node, now time.Time) (items []Item) {
	item := Item{Severity: Critical, Node: n.ID, Path: "nodes/" + url.PathEscape(n.ID)}
	if text := Staleness(n, now); text != "" {
		item.Kind, item.Text = "node_stale", text
		item.Value = now.Sub(n.At).Seconds()
		items = append(items, item)
	}
	if n.Stale {
		return items // what it said of itself may no longer be so
	}
	if !n.Healthy() {
		item.Kind, item.Text, item.Value = "node_unhealthy", "node "+n.ID+" cannot keep messages: "+strings.TrimPrefix(n.Health, "NOK - "), 0
		items = append(items, item)
	}
	if s := n.Storage; s != nil && s.TotalBytes > 0 {
		item.Kind, item.Value = "disk_low", 1-float64(s.FreeBytes)/float64(s.TotalBytes)
		item.Text = fmt.Sprintf("node %s has %s left of its disk of %s", n.ID, Size(s.FreeBytes), Size(s.TotalBytes))
		switch {
		case s.FreeBytes < s.MinFreeBytes:
			item.Text += ", and refuses messages below " + Size(s.MinFreeBytes)
			items = append(items, item)
		case s.FreeBytes < max(2*s.MinFreeBytes, s.TotalBytes/20):
			item.Severity = Warning
			items = append(items, item)
		}
	}
	return items
}

// Staleness says that and since when a node does not answer, "" when it does.
func Staleness(n *cluster.Node, now time.Time) string {
	switch age := now.Sub(n.At).Round(time.Second); {
	case !n.Stale && !n.Gone, n.Stale && n.Err == nil && !n.Known:
		return "" // a node that is asked for the first time may take its time
	case !n.Stale:
		return "node " + n.ID + " answers, but no lookup names it: consumers do not find it"
	case n.Known:
		return fmt.Sprintf("node %s does not answer: its figures are %v old (%s)", n.ID, age, Cause(n.Err))
	}
	return "node " + n.ID + " has never answered: " + Cause(n.Err)
}

// Cause is an error without the words around it that say nothing to an operator.
func Cause(err error) string {
	if err == nil {
		return "no answer"
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "Client.Timeout exceeded"), strings.Contains(text, "deadline exceeded"):
		return "no answer in time"
	case strings.Contains(text, "connection refused"):
		return "connection refused"
	}
	return text
}

const (
	growth      = 1.2 // of a depth, over growthOver
	growthOver  = 2 * time.Minute
	growthLeast = 100 // messages
	recent      = 30 * time.Second
	before      = 8 * time.Minute
	leastRate   = 2.0  // per second
	mostShare   = 0.05 // of deliveries
)

func ofChannel(t *cluster.Topic, c *cluster.Channel, past Past) (items []Item) {
	add := func(kind string, value float64, format string, args ...any) {
		name := "channel " + c.Name + " of " + t.Name
		items = append(items, Item{Kind: kind, Severity: Warning, Topic: t.Name, Channel: c.Name, Value: value,
			Text: name + " " + fmt.Sprintf(format, args...), Path: TopicPath(t.Name, c.Name)})
	}
	if c.Sum.Clients == 0 && c.Sum.Depth > 0 && !c.Paused {
		add("no_consumers", float64(c.Sum.Depth), "has no consumer, and %s", Waiting(c.Sum.Depth))
	}
	if c.Sum.Depth >= growthLeast {
		then := past.Depth(t.Name, c.Name, growthOver+recent, growthOver)
		if now := float64(c.Sum.Depth); now >= then*growth && now-then >= growthLeast { // NaN is never
			add("depth_growing", now-then, "grows: %s, two minutes ago it was %s", Waiting(c.Sum.Depth), Number(int64(then)))
		}
	}
	deliveries := c.Sum.RateOut + c.Sum.RequeueRate + c.Sum.TimeoutRate
	if c.Sum.TimeoutRate > 0 {
		now, then := past.TimeoutRate(t.Name, c.Name, recent, 0), past.TimeoutRate(t.Name, c.Name, before, recent)
		if tooMany(now, then, deliveries) {
			add("timeouts_rising", now, "has %.1f timeouts a second", now)
		}
	}
	if c.Sum.RequeueRate > 0 {
		now, then := past.RequeueRate(t.Name, c.Name, recent, 0), past.RequeueRate(t.Name, c.Name, before, recent)
		if tooMany(now, then, deliveries) {
			add("requeues_rising", now, "has %.1f requeues a second", now)
		}
	}
	return items
}

// tooMany judges a rate of what goes wrong against what it was and against all deliveries. Nothing known of now is not too many.
func tooMany(now, then, deliveries float64) bool {
	if math.IsNaN(then) {
		then = 0
	}
	return now > mostShare*deliveries && now > 0.1 || now > leastRate && now > 2*then
}

// Waiting says how many messages wait.
func Waiting(n int64) string {
	if n == 1 {
		return "1 message waits"
	}
	return Number(n) + " messages wait"
}

// Number is a number with its thousands apart.
func Number(n int64) string {
	if n < 0 {
		return "-" + Number(-n)
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Size is a number of bytes with a unit.
func Size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}
