package httpd

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/telemetry"
	"brokerd/broker/topic"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// Filter says which part of the statistics is wanted. Its zero value means all topics and channels without their clients.
type Filter struct {
	Topic   string // only this one; "" for all
	Channel string // only topics that have it, and of these only this channel; "" for all
	Clients bool   // with the clients of each channel
}

// Snapshot returns the state of the registry's topics, sorted by name, with end-to-end latency at the given quantiles. It is
// nil when Filter.Topic names no topic, and empty when no topic is left otherwise.
func Snapshot(r *topic.Registry, quantiles []float64, f Filter) []httpapi.Topic {
	topics := r.Topics()
	if f.Topic != "" {
		t := r.Lookup(f.Topic)
		if t == nil {
			return nil
		}
		topics = []*topic.Topic{t}
	}
	list := make([]httpapi.Topic, 0, len(topics))
	for _, t := range topics {
		if f.Channel == "" || t.LookupChannel(f.Channel) != nil {
			list = append(list, topicStats(t, quantiles, f))
		}
	}
	return list
}

// withFollowed adds the replicated topics of which this broker has a replica and which it does not serve, without figures: sums over brokers
// are right. The list is sorted, and so is the result.
func (a *api) withFollowed(list []httpapi.Topic, f Filter) []httpapi.Topic {
	if a.cfg.Cluster == nil {
		return list
	}
	added := false
	for _, t := range a.cfg.Cluster.Followed() {
		if f.Topic != "" && f.Topic != t.TopicName || a.cfg.Broker.Registry().Lookup(t.TopicName) != nil {
			continue
		}
		if f.Channel != "" {
			t.Channels = slices.DeleteFunc(t.Channels, func(c httpapi.Channel) bool { return c.ChannelName != f.Channel })
			if len(t.Channels) == 0 {
				continue
			}
		}
		for i := range t.Channels {
			t.Channels[i].E2EProcessingLatency = telemetry.Summarize(a.cfg.Quantiles)
			if f.Clients {
				t.Channels[i].Clients = []httpapi.Client{}
			}
		}
		t.Role = roleFollower
		list = append(list, t)
		added = true
	}
	if added {
		slices.SortFunc(list, func(a, b httpapi.Topic) int { return strings.Compare(a.TopicName, b.TopicName) })
	}
	return list
}

// keptOf returns what a topic keeps, nil when it keeps nothing.
func keptOf(k *topic.Kept) *httpapi.Kept {
	if k.From == 0 {
		return nil
	}
	return &httpapi.Kept{FromPosition: uint64(k.From), Bytes: k.Bytes, OldestTime: moment(momentOf(k.Since)), DroppedEarly: k.Early}
}

// momentOf returns a time in nanoseconds since the Unix epoch, the zero time for 0.
func momentOf(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

func topicStats(t *topic.Topic, quantiles []float64, f Filter) httpapi.Topic {
	s := t.Stats()
	out := httpapi.Topic{
		TopicName: s.Name, Channels: make([]httpapi.Channel, 0, len(s.Channels)), Depth: s.Depth, BackendDepth: s.BackendDepth,
		MessageCount: s.MessageCount, MessageBytes: s.MessageBytes, Paused: s.Paused, RefusedCount: s.Refused,
		DeferredByDue: byDue(s.Ahead), Durability: t.Durability().String(), DeadLetters: t.IsDeadLetterTopic(),
		Duplicates: s.Duplicates, DedupKeys: s.DedupKeys, DedupForgotten: s.DedupForgotten, AcksLost: s.AcksLost, Kept: keptOf(&s.Kept),
		Discarded: byReason(&s.Counts),
	}
	if t.Replicated() {
		out.Role = roleLeader
	}
	var observers []*telemetry.Observer
	for i := range s.Channels {
		c := t.LookupChannel(s.Channels[i].Name) // nil when it went in between
		observer := observerOf(c)
		observers = append(observers, observer)
		if f.Channel != "" && f.Channel != s.Channels[i].Name {
			continue
		}
		stats := channelStats(&s.Channels[i])
		stats.E2EProcessingLatency = telemetry.Summarize(quantiles, observer)
		if f.Clients {
			stats.Clients = clientsOf(c, f.Topic)
		}
		out.Channels = append(out.Channels, stats)
	}
	if len(observers) > 0 { // else there are no percentiles, as in nsqd
		out.E2EProcessingLatency = telemetry.Summarize(quantiles, observers...)
	}
	return out
}

func channelStats(s *topic.ChannelStats) httpapi.Channel {
	return httpapi.Channel{
		ChannelName: s.Name, Depth: s.Depth, BackendDepth: s.BackendDepth, InFlightCount: s.InFlight, DeferredCount: s.Deferred,
		MessageCount: s.MessageCount, ZoneLocalMsgCount: s.ZoneLocal, RegionLocalMsgCount: s.RegionLocal, GlobalMsgCount: s.Global,
		RequeueCount: s.RequeueCount, TimeoutCount: s.TimeoutCount, ClientCount: s.Consumers, Paused: s.Paused,
		DisconnectRequeueCount: s.DisconnectRequeueCount, Accounting: accounting(s),
		DeferredByDue: byDue(s.Ahead), WaitingForTarget: s.Buried, Replaying: s.Replaying, TargetRefuses: s.Refusal, DeadLetterTopic: s.DeadLetter,
		Redrive: redriveOf(s.Redrive),
		Aside:   s.Aside, Blocked: s.Blocked, BlockedKeys: blockedKeys(s.BlockedKeys),
	}
}

func blockedKeys(list []topic.BlockedKey) (out []httpapi.BlockedKey) {
	for _, k := range list {
		b := httpapi.BlockedKey{Key: keyText(k.Sum), Position: uint64(k.Pos), Since: k.Since.UTC().Format(time.RFC3339), Behind: k.Behind}
		if k.ID != 0 {
			b.ID = k.ID.String()
		}
		out = append(out, b)
	}
	return out
}

// keyText is the sum of a key as it is shown.
func keyText(sum uint32) string { return fmt.Sprintf("%08x", sum) }

// byDue returns how many messages are deferred by when they are due, nil for none.
func byDue(a topic.Ahead) *httpapi.Ahead {
	if a == (topic.Ahead{}) {
		return nil
	}
	return &httpapi.Ahead{Minute: a.Minute, Hour: a.Hour, Day: a.Day, Later: a.Later}
}

// accounting returns what became of a channel's messages.
func accounting(s *topic.ChannelStats) *httpapi.Accounting {
	a := &httpapi.Accounting{Accepted: s.Counts.Accepted - s.Counts.Replayed, Replayed: s.Counts.Replayed, Finished: s.Counts.Finished, InFlight: uint64(s.InFlight),
		Deferred: uint64(s.Deferred), Waiting: uint64(s.Held - s.InFlight - s.Deferred), Balanced: s.Balanced}
	a.Discarded = byReason(&s.Counts)
	return a
}

// byReason returns how many messages were discarded by why, nil for none.
func byReason(counts interface {
	Named() iter.Seq2[string, uint64]
}) (out map[string]uint64) {
	for reason, n := range counts.Named() {
		if out == nil {
			out = map[string]uint64{}
		}
		out[reason] = n
	}
	return out
}

// observerOf returns the channel's latencies, nil when there are none.
func observerOf(c *topic.Channel) *telemetry.Observer {
	if c == nil {
		return nil
	}
	o, _ := c.Latency().(*telemetry.Observer)
	return o
}

// clientsOf returns what the channel's consumers say of themselves; it is never nil.
func clientsOf(c *topic.Channel, wanted string) []httpapi.Client {
	list := []httpapi.Client{}
	if c == nil {
		return list
	}
	for _, s := range c.Subscriptions() {
		if o, ok := s.Owner().(interface{ Stats() httpapi.Client }); ok {
			list = append(list, withOnePubCount(o.Stats(), wanted))
		}
	}
	return list
}

// withOnePubCount cuts a client's counts to the one for the wanted topic, or to any when none is wanted, as nsqd does: a
// connection may have published to thousands of topics.
func withOnePubCount(c httpapi.Client, wanted string) httpapi.Client {
	counts := c.PubCounts
	c.PubCounts = nil
	for i := range counts {
		if wanted == "" || counts[i].Topic == wanted {
			c.PubCounts = counts[i : i+1 : i+1]
			break
		}
	}
	return c
}

// topicsFor leaves out the topics that the request's caller may not see.
func topicsFor(req *http.Request, topics []httpapi.Topic) []httpapi.Topic {
	if httpapi.CallerOf(req) == nil {
		return topics
	}
	return slices.DeleteFunc(topics, func(t httpapi.Topic) bool { return !httpapi.MaySee(req, grant.Read, t.TopicName) })
}

// producersFor returns the producers with one count each, of the wanted topic or of any; of topics that the request's caller may see.
func producersFor(req *http.Request, all []httpapi.Client, wanted string) (list []httpapi.Client) {
	restricted := httpapi.CallerOf(req) != nil
	for _, c := range all {
		if restricted {
			c.PubCounts = slices.DeleteFunc(c.PubCounts, func(p httpapi.PubCount) bool { return !httpapi.MaySee(req, grant.Read, p.Topic) })
			if len(c.PubCounts) == 0 {
				continue
			}
		}
		list = append(list, withOnePubCount(c, wanted))
	}
	return list
}

// stats answers /stats, as JSON or as a page for people.
func (a *api) stats(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	filter := Filter{Topic: q.Get("topic"), Channel: q.Get("channel"), Clients: q.Bool("include_clients", true)}
	b := a.cfg.Broker
	info := b.Info()
	stats := httpapi.Stats{
		Version: info.Version, Health: healthText(b.Health()), StartTime: info.StartTime,
		Topics: a.withFollowed(Snapshot(b.Registry(), a.cfg.Quantiles, filter), filter),
	}
	if q.Bool("include_mem", true) {
		m := telemetry.ReadMemory()
		stats.Memory = &m
	}
	if filter.Clients && stats.Topics != nil {
		stats.Producers = producersFor(req, b.Producers(), filter.Topic)
	}
	stats.Topics = topicsFor(req, stats.Topics)
	if drain, ok := b.Drain(); ok {
		stats.Drain = &drain
	}
	stats.SetAside = b.SetAside()
	if q.Get("format") == "json" {
		return stats, nil
	}
	return textStats(&stats, b.Began()), nil
}
