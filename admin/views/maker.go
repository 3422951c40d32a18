package views

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/admin/history"
)

// Maker makes bodies. New, then Run once; everything else is safe for concurrent use at any time.
type Maker struct {
	cluster *cluster.Cluster
	history *history.History
	judge   attention.Judge // owned by Run
	rates   rates

	state     atomic.Pointer[State]
	connected atomic.Pointer[Consumers] // last list of consumers
	asked     chan struct{}             // for a newer list of consumers; one place

	mu     sync.Mutex
	listed chan struct{}        // guarded by mu; closed when there is a newer list of consumers
	next   chan struct{}        // guarded by mu; closed when a newer State is there
	memo   map[string]*memoized // guarded by mu; of the newest State
	parts  map[string]*State    // guarded by mu; what is seen of the newest State, by Sight.Name
}

// State is the cluster with what is thought of it. Nobody changes it.
type State struct {
	*cluster.View
	Items       []attention.Item
	byTopic     map[string]int       // how many items
	problem     map[[2]string]string // of a topic's channel
	dismissable bool                 // brokers that are gone can be dismissed

	sight Sight
}

// New returns a Maker that keeps up to limit bytes of history.
func New(c *cluster.Cluster, limit int) *Maker {
	return &Maker{cluster: c, history: history.New(limit), next: make(chan struct{}), listed: make(chan struct{}), asked: make(chan struct{}, 1), memo: map[string]*memoized{}, parts: map[string]*State{},
		rates: rates{seen: map[string]sample{}}}
}

// History returns the points that are kept.
func (m *Maker) History() *history.History { return m.history }

// Next returns the newest State and a channel that is closed once there is a newer one.
func (m *Maker) Next() (*State, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state.Load()
	if s == nil {
		s = &State{View: &cluster.View{}}
	}
	return s, m.next
}

// Await returns the newest State, after the first round or when ctx ends.
func (m *Maker) Await(ctx context.Context) *State {
	for {
		s, next := m.Next()
		if s.Seq > 0 {
			return s
		}
		select {
		case <-next:
		case <-ctx.Done():
			return s
		}
	}
}

// Run takes each new state of the cluster in, and lists the consumers when that is asked for, until ctx ends.
func (m *Maker) Run(ctx context.Context) {
	var lists sync.WaitGroup
	lists.Go(func() { m.list(ctx) })
	defer lists.Wait()
	for {
		v, next := m.cluster.Next()
		if v.Seq > 0 {
			m.take(v)
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}

// take records a state, judges it and makes it the newest.
func (m *Maker) take(v *cluster.View) {
	m.record(v)
	s := stateOf(v, m.judge.Look(v, past{m.history}), m.cluster.ByLookups())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Store(s)
	m.memo, m.parts = map[string]*memoized{}, map[string]*State{}
	close(m.next)
	m.next = make(chan struct{})
}

// stateOf returns a view with what is thought of it.
func stateOf(v *cluster.View, items []attention.Item, dismissable bool) *State {
	s := &State{View: v, Items: items, byTopic: map[string]int{}, problem: map[[2]string]string{}, dismissable: dismissable}
	for _, it := range s.Items {
		if it.Topic != "" {
			s.byTopic[it.Topic]++
		}
		if it.Channel != "" {
			s.problem[[2]string{it.Topic, it.Channel}] = it.Text
		}
	}
	return s
}

// The series of things, in the order that they are recorded in.
var (
	seriesOfThing   = []string{"rate_in", "rate_out", "depth", "in_flight", "failing"}
	seriesOfChannel = []string{"rate_in", "rate_out", "depth", "in_flight", "deferred", "requeue_rate", "timeout_rate"}
)

func (m *Maker) record(v *cluster.View) {
	h := m.history
	h.Begin(v.At)
	recordThing(h, history.Key{Of: "total"}, v.Sum, !anyAnswers(v))
	for _, n := range v.Nodes {
		recordThing(h, history.Key{Of: "node", Node: n.ID}, n.Sum, n.Stale)
	}
	for _, t := range v.Topics {
		sum := t.Sum
		sum.RateOut = slowestRate(t)
		recordThing(h, history.Key{Of: "topic", Topic: t.Name}, sum, t.Down())
		for _, c := range t.Channels {
			unknown := true
			for _, on := range c.On {
				unknown = unknown && on.Node.Stale
			}
			f := c.Sum
			h.Record(history.Key{Of: "channel", Topic: t.Name, Channel: c.Name}, unless(unknown, f.RateIn, f.RateOut, float64(f.Depth),
				float64(f.InFlight), float64(f.Deferred), f.RequeueRate, f.TimeoutRate)...)
		}
	}
}

func recordThing(h *history.History, key history.Key, f cluster.Figures, unknown bool) {
	h.Record(key, unless(unknown, f.RateIn, f.RateOut, float64(f.Depth), float64(f.InFlight), f.RequeueRate+f.TimeoutRate)...)
}

// anyAnswers reports whether anything is known of the cluster's state of now.
func anyAnswers(v *cluster.View) bool {
	return slices.ContainsFunc(v.Nodes, func(n *cluster.Node) bool { return !n.Stale })
}

// slowestRate returns how much the channel finishes that is the furthest behind, 0 without a channel: a topic is consumed as well as its
// slowest channel is.
func slowestRate(t *cluster.Topic) float64 {
	if c := t.Slowest(); c != nil {
		return c.Sum.RateOut
	}
	return 0
}

// unless returns the values, or as many NaN when nothing is known.
func unless(unknown bool, values ...float64) []float64 {
	if unknown {
		for i := range values {
			values[i] = math.NaN()
		}
	}
	return values
}

// past reads channels' series for attention.
type past struct{ h *history.History }

func (p past) mean(topic, channel string, series int, from, to time.Duration) float64 {
	window := 0
	return p.h.Mean(history.Key{Of: "channel", Topic: topic, Channel: channel}, window, series, from, to)
}

func (p past) Depth(topic, channel string, from, to time.Duration) float64 {
	return p.mean(topic, channel, 2, from, to)
}

func (p past) RateOut(topic, channel string, from, to time.Duration) float64 {
	return p.mean(topic, channel, 1, from, to)
}

func (p past) InFlight(topic, channel string, from, to time.Duration) float64 {
	return p.mean(topic, channel, 3, from, to)
}

func (p past) RequeueRate(topic, channel string, from, to time.Duration) float64 {
	return p.mean(topic, channel, 5, from, to)
}

func (p past) TimeoutRate(topic, channel string, from, to time.Duration) float64 {
	return p.mean(topic, channel, 6, from, to)
}

// memoized is one body of the newest State, made by the first who asks for it.
type memoized struct {
	done chan struct{}
	body any
	err  error
}

// makeTimeout bounds the making of one body.
const makeTimeout = 10 * time.Second

// mostKey is how long a page's arguments are at most together: no topic, channel and node are called by longer names, and what is asked for is kept until
// the next State.
const mostKey = 512

// Get returns the body of a page, one for all who ask with the same sight while the State is the same. An error is an *httpapi.Error, or
// of the daemons.
func (m *Maker) Get(ctx context.Context, p Page, sight Sight) (any, error) {
	if len(p.key()) > mostKey {
		return nil, notFound("NOT_FOUND")
	}
	s := m.seen(m.Await(ctx), sight)
	m.mu.Lock()
	key := sight.Name + "\x00" + p.key()
	made, ok := m.memo[key]
	if !ok {
		made = &memoized{done: make(chan struct{})}
		m.memo[key] = made
	}
	m.mu.Unlock()
	if ok {
		select {
		case <-made.done:
			return made.body, made.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer close(made.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
	defer cancel()
	made.body, made.err = m.make(ctx, s, p)
	return made.body, made.err
}
