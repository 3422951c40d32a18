package views

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// topic asks for the producers of a topic and its levels at the moment; the figures are the newest state's.
func (m *Maker) topic(ctx context.Context, s *State, name string) (*Topic, error) {
	t := s.Topic(name)
	if t == nil {
		return nil, notFound("TOPIC_NOT_FOUND")
	}
	nodes := make([]*cluster.Node, len(t.On))
	for i, on := range t.On {
		nodes[i] = on.Node
	}
	var answers []cluster.Answer
	var levels []string
	var asks sync.WaitGroup
	asks.Go(func() { answers = m.cluster.Ask(ctx, nodes, cluster.Query{Topic: name, Clients: true}) })
	asks.Go(func() { levels = m.cluster.Durability(ctx, nodes, name) })
	asks.Wait()

	out := &Topic{
		Head: s.head(nodes), Topic: name, Total: s.row(t), OwnDepth: t.Own.Depth, MessageBytes: t.Bytes, Nodes: []TopicOnNode{},
		Channels: []Channel{}, Producers: m.producers(answers, name),
		Attention: s.itemsOf(func(it attention.Item) bool { return it.Topic == name }),
	}
	var latencies []httpapi.Latency
	for i, on := range t.On {
		out.Nodes = append(out.Nodes, s.topicOnNode(on, levels[i]))
		latencies = append(latencies, on.E2EProcessingLatency)
		switch level := levels[i]; {
		case level == "" || out.Durability == level:
		case out.Durability == "":
			out.Durability = level
		default:
			out.Durability = "mixed"
		}
	}
	out.E2E = Merge(latencies)
	for _, c := range t.Channels {
		out.Channels = append(out.Channels, s.channelOf(t.Name, c))
	}
	return out, nil
}

func (s *State) topicOnNode(on cluster.NodeTopicRef, level string) TopicOnNode {
	n := TopicOnNode{
		Node: on.Node.ID, Hostname: on.Node.Hostname, Depth: on.Depth, BackendDepth: on.BackendDepth, MessageCount: on.MessageCount,
		MessageBytes: on.MessageBytes, RateIn: round(on.RateIn), Paused: on.Paused, Channels: len(on.Channels), Durability: level,
		Tombstoned: slices.Contains(on.Node.Tombstoned, on.TopicName), Freshness: freshness(on.Node, s.At),
	}
	if n.Stale {
		n.RateIn = 0
	}
	return n
}

func (s *State) channelOf(topic string, c *cluster.Channel) Channel {
	out := channelFrom(c.Name, c.Sum)
	out.Paused, out.Attention = c.Paused, s.channel[[2]string{topic, c.Name}]
	var latencies []httpapi.Latency
	for _, on := range c.On {
		latencies = append(latencies, on.E2EProcessingLatency)
	}
	out.E2E = Merge(latencies)
	return out
}

func channelFrom(name string, f cluster.Figures) Channel {
	return Channel{
		Channel: name, Depth: f.Depth, BackendDepth: f.BackendDepth, InFlight: f.InFlight, Deferred: f.Deferred,
		RateIn: round(f.RateIn), RateOut: round(f.RateOut), RequeueRate: round(f.RequeueRate), TimeoutRate: round(f.TimeoutRate),
		MessageCount: f.MessageCount, RequeueCount: f.RequeueCount, TimeoutCount: f.TimeoutCount, Clients: f.Clients,
	}
}

func (s *State) channelOnNode(n *cluster.Node, c *cluster.NodeChannel) Channel {
	out := channelFrom(c.ChannelName, c.Figures(n.Stale))
	out.Paused = c.Paused
	out.E2E = Merge([]httpapi.Latency{c.E2EProcessingLatency})
	return out
}

// channel asks for the clients of a channel at the moment; the figures are the newest state's.
func (m *Maker) channel(ctx context.Context, s *State, topic, channel string) (*ChannelPage, error) {
	t := s.Topic(topic)
	if t == nil {
		return nil, notFound("TOPIC_NOT_FOUND")
	}
	c := t.Channel(channel)
	if c == nil {
		return nil, notFound("CHANNEL_NOT_FOUND")
	}
	var nodes []*cluster.Node
	for _, on := range c.On {
		nodes = append(nodes, on.Node)
	}
	answers := m.cluster.Ask(ctx, nodes, cluster.Query{Topic: topic, Channel: channel, Clients: true})
	clients, _ := m.clients(answers, math.MaxInt)
	out := &ChannelPage{
		Head: s.head(nodes), Topic: topic, Channel: channel, Total: s.channelOf(topic, c), Nodes: []ChannelOnNode{},
		Clients: clients,
		Attention: s.itemsOf(func(it attention.Item) bool {
			return it.Topic == topic && it.Channel == channel || it.Node != "" && slices.ContainsFunc(nodes, func(n *cluster.Node) bool { return n.ID == it.Node })
		}),
	}
	for i := range out.Clients {
		out.Clients[i].Topic, out.Clients[i].Channel = "", ""
	}
	for _, on := range c.On {
		out.Nodes = append(out.Nodes, ChannelOnNode{Channel: s.channelOnNode(on.Node, on.NodeChannel), Node: on.Node.ID,
			Hostname: on.Node.Hostname, Freshness: freshness(on.Node, s.At)})
	}
	return out, nil
}

// node asks a node for its heap and producers at the moment; the figures are the newest state's.
func (m *Maker) node(ctx context.Context, s *State, name string) (*NodePage, error) {
	n := s.Node(name)
	if n == nil {
		return nil, notFound("NODE_NOT_FOUND")
	}
	// A filter that no channel fits leaves the producers and the heap: of a broker with thousands of topics the rest is known.
	answer := m.cluster.Ask(ctx, []*cluster.Node{n}, cluster.Query{Channel: "no.channel.is.called.this", Clients: true, Memory: true})[0]
	out := &NodePage{Head: s.head([]*cluster.Node{n}), Node: s.nodeOf(n), Topics: []TopicRow{},
		Attention: s.itemsOf(func(it attention.Item) bool { return it.Node == n.ID })}
	if mem := answer.Stats.Memory; mem != nil {
		out.Node.Memory = &Memory{mem.HeapInUseBytes, mem.HeapObjects, mem.GCPauseUsec99, mem.GCTotalRuns}
	}
	out.Node.Producers = len(answer.Stats.Producers)
	for _, t := range n.Topics {
		row := TopicRow{Tombstoned: slices.Contains(n.Tombstoned, t.TopicName), ChannelRows: []Channel{}}
		f := cluster.Figures{Depth: t.Depth, BackendDepth: t.BackendDepth}
		for i := range t.Channels {
			f.Add(t.Channels[i].Figures(n.Stale))
			row.ChannelRows = append(row.ChannelRows, s.channelOnNode(n, &t.Channels[i]))
		}
		f.MessageCount, f.RateIn = t.MessageCount, t.RateIn
		if n.Stale {
			f.RateIn = 0
		}
		row.Row = rowOf(t.TopicName, f)
		row.Row.Channels, row.Nodes, row.Paused, row.Stale = len(t.Channels), 1, t.Paused, n.Stale
		row.Row.Attention = s.byTopic[t.TopicName]
		out.Topics = append(out.Topics, row)
	}
	return out, nil
}

// producers lists the connections in answers that published to a topic, the busiest first.
func (m *Maker) producers(answers []cluster.Answer, topic string) []Producer {
	list := []Producer{}
	for _, a := range answers {
		for _, c := range a.Stats.Producers {
			for _, count := range c.PubCounts {
				if count.Topic != topic {
					continue
				}
				r := m.rates.of3(strings.Join([]string{a.Node.ID, c.RemoteAddress, topic}, "\x00"), a.At, count.Count, 0, 0)
				list = append(list, Producer{
					Node: a.Node.ID, RemoteAddress: c.RemoteAddress, Hostname: c.Hostname, ClientID: c.ClientID, UserAgent: c.UserAgent,
					ConnectTime: c.ConnectTime, Count: count.Count, Rate: round(r[0]), TLS: c.TLS, Deflate: c.Deflate, Snappy: c.Snappy,
				})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Producer) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.Node, b.Node), strings.Compare(a.RemoteAddress, b.RemoteAddress))
	})
	return list
}

// rates remembers counters of connections, to tell how fast they grow.
type rates struct {
	mu     sync.Mutex
	of     map[string]sample
	pruned time.Time
}

// sample is three counters of one connection and their rates at a moment.
type sample struct {
	at     time.Time
	counts [3]uint64
	rates  [3]float64
}

const (
	sampleLeast = time.Second // between two samples that make a rate
	sampleMost  = time.Minute // after which a sample is forgotten
)

// of3 returns the rates of a connection's counters, 0 until it was seen twice.
func (r *rates) of3(key string, at time.Time, counts ...uint64) [3]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Sub(r.pruned) > sampleMost {
		for k, s := range r.of {
			if at.Sub(s.at) > sampleMost {
				delete(r.of, k)
			}
		}
		r.pruned = at
	}
	s, ok := r.of[key]
	since := at.Sub(s.at)
	if ok && since < sampleLeast {
		return s.rates
	}
	next := sample{at: at, counts: [3]uint64(counts)}
	if ok {
		for i := range next.counts {
			if next.counts[i] > s.counts[i] {
				next.rates[i] = float64(next.counts[i]-s.counts[i]) / since.Seconds()
			}
		}
	}
	r.of[key] = next
	return next.rates
}

// Merge adds latencies of several nodes up; nil when no node reports any. Percentiles cannot be added: what is shown is their
// mean, weighted by how many messages each stands for, and their extremes.
func Merge(latencies []httpapi.Latency) *Latency {
	var out *Latency
	weights := map[float64]float64{}
	for _, l := range latencies {
		for _, p := range l.Percentiles {
			if out == nil {
				out = &Latency{}
			}
			i := slices.IndexFunc(out.Percentiles, func(q Percentile) bool { return q.Quantile == p.Quantile })
			if i < 0 {
				i = len(out.Percentiles)
				out.Percentiles = append(out.Percentiles, Percentile{Quantile: p.Quantile, Min: p.Value, Max: p.Value})
			}
			q := &out.Percentiles[i]
			weight := float64(l.Count)
			if total := weights[p.Quantile] + weight; total > 0 {
				q.Average += (p.Value - q.Average) * weight / total
			}
			switch {
			case weights[p.Quantile] == 0: // what was before stood for nothing
				q.Min, q.Max = p.Value, p.Value
			case weight > 0:
				q.Min, q.Max = min(q.Min, p.Value), max(q.Max, p.Value)
			}
			weights[p.Quantile] += weight
		}
		if out != nil {
			out.Count += l.Count
		}
	}
	if out != nil {
		slices.SortFunc(out.Percentiles, func(a, b Percentile) int { return cmp.Compare(b.Quantile, a.Quantile) })
	}
	return out
}
