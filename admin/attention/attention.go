package attention

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"brokerd/admin/cluster"
)

// Item is one cause of trouble, with what follows from it.
type Item struct {
	Kind     string   `json:"kind"`
	Severity string   `json:"severity"` // critical or warning
	Topic    string   `json:"topic"`
	Channel  string   `json:"channel"`
	Node     string   `json:"node"` // a broker's or a lookup's address
	Text     string   `json:"text"`
	Effects  []string `json:"effects"` // what follows from it, the worst first
	Value    float64  `json:"value"`   // what it is sorted by among its kind
	Since    int64    `json:"since"`   // ms
	Path     string   `json:"path"`    // of the page that tells more, below the base path
	Members  []Item   `json:"members,omitempty"`

	growing bool // what waits becomes more
}

// The severities.
const (
	Critical = "critical"
	Warning  = "warning"
)

// Past tells of a channel's series: the mean of one from from to to before now, NaN where nothing is known.
type Past interface {
	Depth(topic, channel string, from, to time.Duration) float64
	InFlight(topic, channel string, from, to time.Duration) float64
	RateOut(topic, channel string, from, to time.Duration) float64
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

// keyOf names the trouble of an item.
func keyOf(it *Item) key {
	k := key{it.Kind, it.Topic, it.Channel, it.Node}
	if it.Channel != "" {
		k.kind = "channel" // it is one trouble, whatever its worst side is now
	}
	return k
}

// Of returns what needs attention in a view of which others know more: what they know holds since they know it.
func Of(v *cluster.View, past Past, known []Item) []Item {
	j := Judge{since: make(map[key]time.Time, len(known))}
	for i := range known {
		j.since[keyOf(&known[i])] = time.UnixMilli(known[i].Since)
	}
	return j.Look(v, past)
}

// Look returns what needs attention now, the worst first: one item for each cause.
func (j *Judge) Look(v *cluster.View, past Past) []Item {
	items := ofLookups(v)
	alone := onlyOn(v)
	for _, n := range v.Nodes {
		items = append(items, ofNode(n, v.At, alone[n])...)
	}
	for _, t := range v.Topics {
		for _, c := range t.Channels {
			items = append(items, ofChannel(t, c, past, v.At)...)
		}
	}
	since := make(map[key]time.Time, len(items))
	for i := range items {
		it := &items[i]
		k := keyOf(it)
		at, ok := j.since[k]
		if !ok {
			at = v.At
		}
		since[k] = at
		it.Since = at.UnixMilli()
		if it.Effects == nil {
			it.Effects = []string{}
		}
	}
	j.since = since
	slices.SortStableFunc(items, worse)
	return items
}

// kinds are the items' kinds, the most urgent first.
var kinds = []string{"unbalanced", "node_unhealthy", "disk_low", "node_stale", "lookup_failing", "stuck", "no_consumers", "key_blocked", "depth_growing",
	"timeouts_rising", "requeues_rising"}

func rank(kind string) int { return slices.Index(kinds, kind) }

// worse orders items: what is critical first, then what grows, by kind and size.
func worse(a, b Item) int {
	growth := func(it Item) int {
		if it.growing {
			return 0
		}
		return 1
	}
	return cmp.Or(strings.Compare(a.Severity, b.Severity), growth(a)-growth(b), rank(a.Kind)-rank(b.Kind), cmp.Compare(b.Value, a.Value))
}

// ofLookups returns one item for all lookups that do not answer when none does, or one for each.
func ofLookups(v *cluster.View) (items []Item) {
	for _, l := range v.Lookups {
		if l.Err != nil {
			items = append(items, Item{Kind: "lookup_failing", Severity: Warning, Node: l.Address, Path: "lookup",
				Text: "lookup " + Name(l.Address) + " does not answer: " + Cause(l.Err)})
		}
	}
	if len(items) == 0 || len(items) < len(v.Lookups) {
		return items
	}
	none := items[0]
	none.Severity, none.Effects = Critical, []string{"consumers that start now find no broker, and neither does admind"}
	if len(items) > 1 {
		none.Text, none.Node = "no lookup answers", ""
		for _, it := range items {
			none.Effects = append(none.Effects, it.Text)
		}
	}
	return []Item{none}
}

// onlyOn returns by broker the topics that are on brokers only that do not answer.
func onlyOn(v *cluster.View) map[*cluster.Node][]string {
	alone := map[*cluster.Node][]string{}
	for _, t := range v.Topics {
		if !t.Down() {
			continue
		}
		for _, on := range t.On {
			alone[on.Node] = append(alone[on.Node], t.Name)
		}
	}
	return alone
}

// ofNode returns what is wrong with a broker, as one item. alone is the topics that no broker has which answers.
func ofNode(n *cluster.Node, now time.Time, alone []string) []Item {
	item := Item{Severity: Critical, Node: n.ID, Path: "nodes/" + url.PathEscape(n.ID)}
	if text := Staleness(n, now); text != "" {
		item.Kind, item.Text, item.Value = "node_stale", text, now.Sub(n.At).Seconds()
		if left := n.Sum.Left(); n.Stale && left > 0 {
			item.Effects = append(item.Effects, Plural(left, "message")+" not finished "+wasOrWere(left)+" on it")
		}
		if len(alone) > 0 {
			item.Effects = append(item.Effects, "no node that answers has "+list(alone, 3, "more topic"))
		}
	}
	if n.Stale {
		if item.Kind == "" {
			return nil
		}
		return []Item{item} // what it said of itself may no longer be so
	}
	disk, low := ofDisk(n)
	if !n.Healthy() {
		sick := "node " + Name(n.ID) + " cannot keep messages: " + Name(strings.TrimPrefix(n.Health, "NOK - "))
		if item.Kind != "" {
			item.Effects = append(item.Effects, item.Text)
		}
		item.Kind, item.Text, item.Value = "node_unhealthy", sick, 0
	}
	switch {
	case low == "":
	case item.Kind != "":
		item.Effects = append(item.Effects, disk)
	default:
		item.Kind, item.Text, item.Severity = "disk_low", disk, low
		item.Value = 1 - float64(n.Storage.FreeBytes)/float64(n.Storage.TotalBytes)
	}
	if item.Kind == "" {
		return nil
	}
	return []Item{item}
}

// ofDisk says how little is left of a broker's disk, and how bad that is; "" when it is enough.
func ofDisk(n *cluster.Node) (text, severity string) {
	s := n.Storage
	if s == nil || s.TotalBytes == 0 {
		return "", ""
	}
	text = fmt.Sprintf("node %s has %s left of its disk of %s", Name(n.ID), Size(s.FreeBytes), Size(s.TotalBytes))
	switch {
	case s.FreeBytes < s.MinFreeBytes:
		return text + ", and refuses messages below " + Size(s.MinFreeBytes), Critical
	case s.FreeBytes < max(2*s.MinFreeBytes, s.TotalBytes/20):
		return text, Warning
	}
	return "", ""
}

// Staleness says that and since when a node does not answer, "" when it does.
func Staleness(n *cluster.Node, now time.Time) string {
	name := "node " + Name(n.ID)
	switch age := now.Sub(n.At).Round(time.Second); {
	case !n.Stale && !n.Gone, n.Stale && n.Err == nil && !n.Known:
		return "" // a node that is asked for the first time may take its time
	case !n.Stale:
		return name + " answers, but no lookup names it: consumers do not find it"
	case n.Known:
		return fmt.Sprintf("%s does not answer: its figures are %s old (%s)", name, Age(age), Cause(n.Err))
	}
	return name + " has never answered: " + Cause(n.Err)
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
	return Name(text)
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

// channel is a channel on the brokers that answer: what was on others is their trouble.
type channel struct {
	topic, name string
	f           cluster.Figures
	paused      bool
	known       bool     // some broker that has it answers
	lost        []string // brokers where its account does not add up
	past        Past
}

// ofChannel returns what is wrong with a channel, as one item: the worst of it first, the rest behind it.
func ofChannel(t *cluster.Topic, c *cluster.Channel, past Past, now time.Time) []Item {
	ch := channel{topic: t.Name, name: c.Name, past: past}
	for _, on := range c.On {
		if !on.Node.Stale {
			ch.f.Add(on.Figures(false))
			ch.known, ch.paused = true, ch.paused || on.Paused
			if on.Accounting != nil && !on.Accounting.Balanced {
				ch.lost = append(ch.lost, on.Node.ID)
			}
		}
	}
	if !ch.known {
		return nil
	}
	w := worry{item: Item{Severity: Warning, Topic: t.Name, Channel: c.Name, Path: TopicPath(t.Name, c.Name)}}
	if len(ch.lost) > 0 {
		w.item.Severity = Critical
		w.add("unbalanced", float64(len(ch.lost)),
			"has lost count on "+list(ch.lost, 3, "more node")+": what became of its messages does not add up")
	}
	then, grows := ch.grew()
	w.ofConsumers(&ch)
	if text, age := keyBlocked(c, now); text != "" {
		w.add("key_blocked", age.Seconds(), text)
	}
	if grows {
		w.item.growing = true
		verb := "grows"
		if ch.paused {
			verb = "is paused and grows"
		}
		w.add("depth_growing", float64(ch.f.Depth)-then, verb)
	}
	w.ofRates(&ch)
	if w.item.Kind == "" {
		return nil
	}
	w.item.Text = "channel " + Name(c.Name) + " of " + Name(t.Name) + " " + strings.Join(w.says, ", ")
	if ch.f.Depth > 0 {
		w.item.Text += ": " + Waiting(ch.f.Depth)
		if grows {
			w.item.Text += ", two minutes ago it was " + Number(int64(then))
		}
	}
	return []Item{w.item}
}

// worry is what is wrong with one channel: an item of the first kind that was found, with the texts of all.
type worry struct {
	item Item
	says []string
}

func (w *worry) add(kind string, value float64, text string) {
	if w.item.Kind == "" {
		w.item.Kind, w.item.Value = kind, value
	}
	if text != "" {
		w.says = append(w.says, text)
	}
}

func (w *worry) ofConsumers(ch *channel) {
	f := ch.f
	switch {
	case ch.paused: // on purpose: only what becomes of it is told
	case f.Clients == 0 && f.Depth > 0:
		w.add("no_consumers", float64(f.Depth), "has no consumer")
	case ch.stuck():
		w.add("stuck", float64(f.Depth+int64(f.InFlight)), fmt.Sprintf("finishes nothing: %s in flight with %s for more than %d minutes",
			Number(int64(f.InFlight)), Plural(int64(f.Clients), "consumer"), growthOver/time.Minute))
	}
}

func (w *worry) ofRates(ch *channel) {
	deliveries := ch.f.RateOut + ch.f.RequeueRate + ch.f.TimeoutRate
	var failing []string
	for _, c := range []struct {
		kind, noun string
		rate       float64
		past       func(topic, channel string, from, to time.Duration) float64
	}{
		{"timeouts_rising", "timeouts", ch.f.TimeoutRate, ch.past.TimeoutRate},
		{"requeues_rising", "requeues", ch.f.RequeueRate, ch.past.RequeueRate},
	} {
		if rate, many := ch.tooMany(c.rate, deliveries, c.past); many {
			failing = append(failing, fmt.Sprintf("%.1f %s", rate, c.noun))
			w.add(c.kind, rate, "")
		}
	}
	if len(failing) > 0 {
		w.says = append(w.says, "has "+strings.Join(failing, " and ")+" a second")
	}
}

// blockedFor is how long a key may stand still.
const blockedFor = time.Minute

// keyBlocked says which key of an ordered channel stands still for longest, "" when none does for long, and for how long.
func keyBlocked(c *cluster.Channel, now time.Time) (text string, longest time.Duration) {
	keys, behind := 0, 0
	name := ""
	for _, on := range c.On {
		if on.Node.Stale {
			continue
		}
		for _, k := range on.BlockedKeys {
			since, err := time.Parse(time.RFC3339, k.Since)
			age := now.Sub(since)
			if err != nil || age < blockedFor {
				continue
			}
			keys++
			behind += k.Behind
			if age > longest {
				longest, name = age, fmt.Sprintf("message %s (position %d) on %s", cmp.Or(k.ID, "?"), k.Position, Name(on.Node.ID))
			}
		}
	}
	switch {
	case keys == 0:
		return "", 0
	case keys == 1:
		return fmt.Sprintf("has a key that stands still for %s at %s, with %s behind it", Age(longest), name, Plural(int64(behind), "message")), longest
	}
	return fmt.Sprintf("has %d keys that stand still, with %s behind them, one for %s at %s", keys, Plural(int64(behind), "message"), Age(longest),
		name), longest
}

// grew reports whether much more waits than growthOver ago, and how much waited then.
func (c *channel) grew() (then float64, grew bool) {
	if c.f.Depth < growthLeast {
		return 0, false
	}
	then = c.past.Depth(c.topic, c.name, growthOver+recent, growthOver)
	now := float64(c.f.Depth)
	return then, now >= then*growth && now-then >= growthLeast // NaN is never
}

// stuck reports whether consumers have messages and nothing was finished for growthOver, while more wait.
func (c *channel) stuck() bool {
	return c.f.Clients > 0 && c.f.InFlight > 0 && c.f.Depth > 0 && c.f.RateOut == 0 &&
		c.past.RateOut(c.topic, c.name, growthOver, 0) == 0 && c.past.InFlight(c.topic, c.name, growthOver, growthOver-recent) > 0
}

// tooMany judges a rate of what goes wrong against what it was and against all deliveries. Nothing known of now is not too many.
func (c *channel) tooMany(rate, deliveries float64, past func(topic, channel string, from, to time.Duration) float64) (now float64, many bool) {
	if rate <= 0 {
		return 0, false
	}
	now = past(c.topic, c.name, recent, 0)
	then := past(c.topic, c.name, before, recent)
	if math.IsNaN(then) {
		then = 0
	}
	return now, now > mostShare*deliveries && now > 0.1 || now > leastRate && now > 2*then
}

// Fold makes one item of those of a kind of which there are more than most, with them inside: a list that fits on a page.
func Fold(items []Item, most int) []Item {
	of := map[string][]Item{}
	for _, it := range items {
		of[it.Kind] = append(of[it.Kind], it)
	}
	var folded []Item
	for _, it := range items {
		all := of[it.Kind]
		switch {
		case len(all) <= most:
			folded = append(folded, it)
		case all[0].Path == it.Path && all[0].Node == it.Node: // the first of them stands for all
			folded = append(folded, group(all))
		}
	}
	return folded
}

// mostMembers is how many items are told inside of one that stands for many.
const mostMembers = 50

func group(all []Item) Item {
	out := all[0]
	out.Topic, out.Channel, out.Node, out.Path, out.Effects = "", "", "", "", []string{}
	out.Text = Number(int64(len(all))) + " " + groups[out.Kind]
	for _, it := range all {
		out.Since = min(out.Since, it.Since)
	}
	out.Members = all
	if more := len(all) - mostMembers; more > 0 {
		out.Members = all[:mostMembers]
		out.Effects = []string{"and " + Number(int64(more)) + " more"}
	}
	return out
}

// groups say what many of a kind are.
var groups = map[string]string{
	"unbalanced": "channels have lost count", "node_unhealthy": "nodes cannot keep messages", "disk_low": "nodes have little left of their disks", "node_stale": "nodes do not answer",
	"lookup_failing": "lookups do not answer", "stuck": "channels finish nothing", "no_consumers": "channels with messages have no consumer",
	"depth_growing": "channels grow", "key_blocked": "channels have keys that stand still", "timeouts_rising": "channels have many timeouts", "requeues_rising": "channels have many requeues",
}
