package views

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"

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
		Head: s.head(nodes), Topic: name, Total: s.row(t), OwnDepth: t.Own.Depth, OwnDisk: t.Own.BackendDepth, MessageBytes: t.Bytes,
		Nodes: []TopicOnNode{}, Channels: []Channel{}, Producers: m.producers(answers, name),
		Attention: s.itemsOf(func(it attention.Item) bool { return it.Topic == name || it.Node != "" && has(nodes, it.Node) }),
	}
	out.AgeMS = max(0, out.Now-out.At)
	var latencies []httpapi.Latency
	for i, on := range t.On {
		n := s.topicOnNode(on, levels[i])
		if r, ok := m.topicRate(&answers[i], name); ok {
			out.Total.RateIn += r - n.RateIn
			n.RateIn = r
		}
		out.Nodes = append(out.Nodes, n)
		latencies = append(latencies, on.E2EProcessingLatency)
	}
	out.Total.RateIn = round(max(0, out.Total.RateIn))
	out.Durability = common(levels)
	out.E2E = Merge(latencies)
	for _, c := range t.Channels {
		out.Channels = append(out.Channels, s.channelOf(t.Name, c))
	}
	return out, nil
}

func (s *State) topicOnNode(on cluster.NodeTopicRef, level string) TopicOnNode {
	n := TopicOnNode{
		Kind: kindOf(on.Node), Node: on.Node.ID, Hostname: on.Node.Hostname, Depth: on.Depth, BackendDepth: on.BackendDepth, MessageCount: on.MessageCount,
		MessageBytes: on.MessageBytes, RateIn: round(on.RateIn), Paused: on.Paused, Channels: len(on.Channels), Durability: level, Role: on.Role,
		Tombstoned: slices.Contains(on.Node.Tombstoned, on.TopicName), Freshness: freshness(on.Node, s.At),
	}
	if n.Stale {
		n.RateIn = 0
	}
	return n
}

// roleOf returns what a node is to a topic: leader or follower of a replicated one, "" of others.
func roleOf(n *cluster.Node, topic string) string {
	if t := n.Topic(topic); t != nil {
		return t.Role
	}
	return ""
}

// common returns the level that all nodes have which tell one, mixed when they differ, "" when none tells.
func common(levels []string) string {
	all := ""
	for _, level := range levels {
		switch {
		case level == "" || all == level:
		case all == "":
			all = level
		default:
			return "mixed"
		}
	}
	return all
}

// has reports whether one of the nodes has this ID.
func has(nodes []*cluster.Node, id string) bool {
	return slices.ContainsFunc(nodes, func(n *cluster.Node) bool { return n.ID == id })
}

func (s *State) channelOf(topic string, c *cluster.Channel) Channel {
	out := channelFrom(c.Name, c.Sum)
	out.Paused, out.Problem = c.Paused, s.problem[[2]string{topic, c.Name}]
	if out.Problem != "" {
		out.Attention = 1
	}
	var latencies []httpapi.Latency
	out.Down = true
	for _, on := range c.On {
		latencies = append(latencies, on.E2EProcessingLatency)
		out.Down = out.Down && on.Node.Stale
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
	var answers []cluster.Answer
	var levels []string
	var asks sync.WaitGroup
	asks.Go(func() {
		answers = m.cluster.Ask(ctx, nodes, cluster.Query{Topic: topic, Channel: channel, Clients: true})
	})
	asks.Go(func() { levels = m.cluster.Durability(ctx, nodes, topic) })
	asks.Wait()
	clients, _ := m.clients("channel", answers, math.MaxInt)
	out := &ChannelPage{
		Head: s.head(nodes), Topic: topic, Channel: channel, Total: s.channelOf(topic, c), Nodes: []ChannelOnNode{},
		Durability: common(levels), Clients: clients,
		Attention: s.itemsOf(func(it attention.Item) bool {
			return it.Topic == topic && it.Channel == channel || it.Node != "" && has(nodes, it.Node)
		}),
	}
	out.AgeMS = max(0, out.Now-out.At)
	for i := range out.Clients {
		out.Clients[i].Topic, out.Clients[i].Channel = "", ""
	}
	var sum cluster.Figures
	for i, on := range c.On {
		f := m.channelFigures(&answers[i], topic, channel, on)
		sum.Add(f)
		n := ChannelOnNode{Channel: channelFrom(channel, f), Node: on.Node.ID, Hostname: on.Node.Hostname, Kind: kindOf(on.Node),
			Durability: levels[i], Role: roleOf(on.Node, topic), Freshness: freshness(on.Node, s.At)}
		n.Paused, n.Down, n.E2E = on.Paused, on.Node.Stale, Merge([]httpapi.Latency{on.E2EProcessingLatency})
		out.Nodes = append(out.Nodes, n)
	}
	out.Accounting = accounting(answers, topic, channel)
	out.DeadLetters = deadLetters(answers, topic, channel)
	total := channelFrom(channel, sum) // of the same moment as the consumers
	total.Paused, total.Down, total.E2E, total.Attention, total.Problem = out.Total.Paused, out.Total.Down, out.Total.E2E, out.Total.Attention, out.Total.Problem
	out.Total = total
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
		row := TopicRow{Role: t.Role, Tombstoned: slices.Contains(n.Tombstoned, t.TopicName), ChannelRows: []Channel{}}
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
				r := m.rates.of(keyOf("topic", a.Node.ID, topic, c.RemoteAddress), a.At, int64(count.Count))
				list = append(list, Producer{
					Node: a.Node.ID, RemoteAddress: c.RemoteAddress, Hostname: c.Hostname, ClientID: c.ClientID, UserAgent: c.UserAgent,
					ConnectTime: c.ConnectTime, Count: count.Count, Rate: round(r.rates[0]), TLS: c.TLS, Deflate: c.Deflate, Snappy: c.Snappy,
				})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Producer) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.Node, b.Node), strings.Compare(a.RemoteAddress, b.RemoteAddress))
	})
	return list
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
