package views

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"brokerd/admin/attention"
	"brokerd/admin/history"
	"brokerd/protocol/httpapi"
)

// Thing returns the key of what has a history, and the names of its series in their order. The error is 400.
func Thing(of, topic, channel, node string) (history.Key, []string, error) {
	switch of {
	case "total":
		return history.Key{Of: of}, seriesOfThing, nil
	case "topic":
		return history.Key{Of: of, Topic: topic}, seriesOfThing, nil
	case "channel":
		return history.Key{Of: of, Topic: topic, Channel: channel}, seriesOfChannel, nil
	case "node":
		return history.Key{Of: of, Node: node}, seriesOfThing, nil
	}
	return history.Key{}, nil, &httpapi.Error{Code: http.StatusBadRequest, Text: "INVALID_ARG_OF"}
}

// Hit is one thing that a search found.
type Hit struct {
	Kind   string `json:"kind"` // topic, channel, node, lookup or consumer
	Label  string `json:"label"`
	Detail string `json:"detail"`
	Path   string `json:"path"` // of its page, below the base path
	weight float64
	names  []string // that it is called by
}

var hitOrder = []string{"topic", "channel", "node", "lookup", "consumer"}

// Search returns at most limit things whose names have all words of q in them, in any case and order. What is called q comes
// first, then what begins with it, and of those topics, channels, nodes, lookups and consumers, the busiest first.
func (m *Maker) Search(ctx context.Context, q string, limit int, sight Sight) []Hit {
	s := m.seen(m.Await(ctx), sight)
	q = strings.ToLower(strings.TrimSpace(q))
	words := strings.Fields(q)
	hits := []Hit{}
	add := func(h Hit, names ...string) {
		if matches(strings.ToLower(h.Label), words) {
			h.names = append(names, h.Label)
			hits = append(hits, h)
		}
	}
	for _, t := range s.Topics {
		add(Hit{Kind: "topic", Label: t.Name, Detail: plural(len(t.On), "node") + ", depth " + attention.Number(t.Sum.Depth),
			Path: attention.TopicPath(t.Name), weight: t.Sum.RateIn})
		for _, c := range t.Channels {
			add(Hit{Kind: "channel", Label: t.Name + "/" + c.Name, Detail: plural(c.Sum.Clients, "consumer") + ", depth " + attention.Number(c.Sum.Depth),
				Path: attention.TopicPath(t.Name, c.Name), weight: c.Sum.RateOut}, c.Name)
		}
	}
	for _, n := range s.Nodes {
		label := n.ID
		if n.Hostname != "" && n.Hostname != n.BroadcastAddress {
			label += " " + n.Hostname
		}
		add(Hit{Kind: "node", Label: label, Detail: n.Version, Path: "nodes/" + url.PathEscape(n.ID), weight: n.Sum.RateIn}, n.ID, n.Hostname)
	}
	for _, l := range s.Lookups {
		add(Hit{Kind: "lookup", Label: l.Address, Detail: l.Version, Path: "lookup"})
	}
	if len(words) > 0 {
		m.searchConsumers(ctx, s, add)
	}
	slices.SortStableFunc(hits, func(a, b Hit) int {
		if len(words) == 0 {
			return cmp.Compare(b.weight, a.weight)
		}
		return cmp.Or(a.rank(q)-b.rank(q), slices.Index(hitOrder, a.Kind)-slices.Index(hitOrder, b.Kind), cmp.Compare(b.weight, a.weight))
	})
	return hits[:min(limit, len(hits))]
}

// rank is 0 for what is called q, 1 for what begins with it, 2 for the rest.
func (h *Hit) rank(q string) int {
	best := 2
	for _, name := range h.names {
		switch name = strings.ToLower(name); {
		case name == q:
			return 0
		case strings.HasPrefix(name, q):
			best = 1
		}
	}
	return best
}

// consumersLast is how old the list of consumers may be that is searched: asking all brokers for it takes long.
const consumersLast = 30 * time.Second

// searchConsumers adds the consumers' hosts, with the channel of one of their connections.
func (m *Maker) searchConsumers(ctx context.Context, s *State, add func(Hit, ...string)) {
	known := s.sight.consumers(m.connected.Load())
	if known == nil || time.Since(time.UnixMilli(known.Now)) > consumersLast {
		known = m.consumers(ctx, s) // a list that is not there yet will be at the next key
	}
	seen := map[string]bool{}
	for _, c := range known.Clients {
		key := c.Hostname + "\x00" + c.ClientID + "\x00" + c.Topic + "\x00" + c.Channel
		if seen[key] {
			continue
		}
		seen[key] = true
		label := c.Hostname
		if c.ClientID != "" && !strings.HasPrefix(c.Hostname, c.ClientID) {
			label += " " + c.ClientID
		}
		add(Hit{Kind: "consumer", Label: label, Detail: c.Topic + "/" + c.Channel, Path: attention.TopicPath(c.Topic, c.Channel), weight: c.FinishRate},
			c.Hostname, c.ClientID)
	}
}

func plural(n int, what string) string { return attention.Plural(int64(n), what) }

func matches(label string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(label, w) {
			return false
		}
	}
	return true
}
