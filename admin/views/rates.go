package views

import (
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// rates remembers counters that brokers told when a page was made, to tell how fast they grow. All rates of one page come from the same
// two answers of a broker: what its consumers finish adds up to what the channel finishes there.
type rates struct {
	mu     sync.Mutex
	seen   map[string]sample
	pruned time.Time
}

const counters = 4

// sample is counters of one thing and their rates at a moment.
type sample struct {
	at     time.Time
	counts [counters]int64
	rates  [counters]float64
	rated  bool      // it was seen twice: the rates are known
	moved  time.Time // when the first two counters last changed, as far as was seen
}

const (
	sampleLeast = time.Second // between two samples that make a rate
	sampleMost  = time.Minute // after which a sample is forgotten
)

// keyOf names what has counters, apart for each page that shows it: pages are made at different moments.
func keyOf(page string, names ...string) string { return page + "\x00" + strings.Join(names, "\x00") }

// of returns the newest sample of a thing.
func (r *rates) of(key string, at time.Time, counts ...int64) sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Sub(r.pruned) > sampleMost {
		for k, s := range r.seen {
			if at.Sub(s.at) > sampleMost {
				delete(r.seen, k)
			}
		}
		r.pruned = at
	}
	s, ok := r.seen[key]
	since := at.Sub(s.at)
	if ok && since < sampleLeast {
		return s
	}
	next := sample{at: at, moved: at, rated: ok}
	copy(next.counts[:], counts)
	if ok {
		for i := range next.counts {
			if next.counts[i] > s.counts[i] {
				next.rates[i] = float64(next.counts[i]-s.counts[i]) / since.Seconds()
			}
		}
		if slices.Equal(next.counts[:2], s.counts[:2]) {
			next.moved = s.moved
		}
	}
	r.seen[key] = next
	return next
}

// told returns a topic of an answer of the moment, nil when it has none or is a stand-in.
func told(a *cluster.Answer, topic string) *httpapi.Topic {
	if a.Err != nil {
		return nil
	}
	i := slices.IndexFunc(a.Stats.Topics, func(t httpapi.Topic) bool { return t.TopicName == topic })
	if i < 0 {
		return nil
	}
	return &a.Stats.Topics[i]
}

// topicRate returns how much comes in to a topic on the node that answered; false when that is not known yet.
func (m *Maker) topicRate(a *cluster.Answer, topic string) (float64, bool) {
	t := told(a, topic)
	if t == nil {
		return 0, false
	}
	s := m.rates.of(keyOf("topic", a.Node.ID, topic), a.At, int64(t.MessageCount))
	return round(s.rates[0]), s.rated
}

// channelFigures returns a channel's figures on a node as it answered: of the moment at which it told its consumers. The last round's stand in
// where it did not answer, and for rates that are not known yet.
func (m *Maker) channelFigures(a *cluster.Answer, topic, channel string, on cluster.NodeChannelRef) cluster.Figures {
	t := told(a, topic)
	if t == nil {
		return on.Figures(on.Node.Stale)
	}
	i := slices.IndexFunc(t.Channels, func(c httpapi.Channel) bool { return c.ChannelName == channel })
	if i < 0 {
		return on.Figures(on.Node.Stale)
	}
	now := cluster.NodeChannel{Channel: &t.Channels[i], RateIn: on.RateIn, RateOut: on.RateOut, RequeueRate: on.RequeueRate, TimeoutRate: on.TimeoutRate}
	s := m.rates.of(keyOf("channel", a.Node.ID, topic, channel), a.At, now.Finished(), int64(now.RequeueCount), int64(now.MessageCount), int64(now.TimeoutCount))
	if s.rated {
		now.RateOut, now.RequeueRate, now.RateIn, now.TimeoutRate = s.rates[0], s.rates[1], s.rates[2], s.rates[3]
	}
	return now.Figures(on.Node.Stale)
}

// accounting adds up what became of a channel's messages on the nodes that tell it, nil when none does.
func accounting(answers []cluster.Answer, topic, channel string) *Accounting {
	sum := &Accounting{Discarded: map[string]uint64{}, Unbalanced: []string{}}
	for i := range answers {
		t := told(&answers[i], topic)
		if t == nil {
			continue
		}
		j := slices.IndexFunc(t.Channels, func(c httpapi.Channel) bool { return c.ChannelName == channel })
		if j < 0 || t.Channels[j].Accounting == nil {
			continue
		}
		a := t.Channels[j].Accounting
		sum.Nodes++
		sum.Accepted += a.Accepted
		sum.Replayed += a.Replayed
		sum.Finished += a.Finished
		sum.Waiting += a.Waiting
		sum.InFlight += a.InFlight
		sum.Deferred += a.Deferred
		for reason, n := range a.Discarded {
			sum.Discarded[reason] += n
		}
		if !a.Balanced {
			sum.Unbalanced = append(sum.Unbalanced, answers[i].Node.ID)
		}
	}
	if sum.Nodes == 0 {
		return nil
	}
	return sum
}
