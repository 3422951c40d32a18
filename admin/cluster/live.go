package cluster

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/protocol/httpapi"
)

// Last returns what the brokers said in the last round, without asking.
func (c *Cluster) Last(ctx context.Context) []Answer {
	v := c.Await(ctx)
	answers := make([]Answer, len(v.Nodes))
	for i, n := range v.Nodes {
		answers[i] = Answer{Node: n, At: n.At, Err: n.Err, Known: n.Known}
	}
	return answers
}

// Answer is what one broker has to say, now or the last time that it could.
type Answer struct {
	Node  *Node
	Stats httpapi.Stats // filtered as asked
	At    time.Time
	Err   error // why Stats is not of now; then it is the last good answer, without clients, if Known
	Known bool
}

// Query says which part of their statistics brokers are asked for.
type Query struct {
	Topic, Channel string // empty for all
	Clients        bool   // and producers
	Memory         bool
}

func (q Query) path() string {
	v := url.Values{"format": {"json"}}
	if q.Topic != "" {
		v.Set("topic", q.Topic)
	}
	if q.Channel != "" {
		v.Set("channel", q.Channel)
	}
	if !q.Clients {
		v.Set("include_clients", "false")
	}
	if !q.Memory {
		v.Set("include_mem", "false")
	}
	return "/stats?" + v.Encode()
}

// Ask asks the nodes at once for their statistics of this moment. One that was not there in the last round is not asked, and
// one that is known is given Patience only: the last good answer stands in. One that has never answered is asked without
// such haste only while it is new. The answers are in the order of the nodes.
func (c *Cluster) Ask(ctx context.Context, nodes []*Node, q Query) []Answer {
	answers := make([]Answer, len(nodes))
	var asks sync.WaitGroup
	for i, n := range nodes {
		answers[i] = Answer{Node: n, Err: n.Err}
		if n.Late || n.Known && n.Err != nil {
			answers[i].recall(q)
			continue
		}
		asks.Go(func() { c.askOne(ctx, &answers[i], q) })
	}
	asks.Wait()
	return answers
}

func (c *Cluster) askOne(ctx context.Context, a *Answer, q Query) {
	if a.Node.Known || a.Node.Err != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Patience)
		defer cancel()
	}
	at := time.Now()
	a.Err = c.cfg.HTTP.Get(ctx, "http://"+a.Node.Address+q.path(), &a.Stats)
	if a.Err != nil {
		a.recall(q)
		return
	}
	a.At, a.Known = at, true
}

// recall fills a with the node's last good answer.
func (a *Answer) recall(q Query) {
	n := a.Node
	a.Known, a.At = n.Known, n.At
	if !n.Known {
		return
	}
	a.Stats = httpapi.Stats{Version: n.Version, Health: n.Health, StartTime: n.Started, Topics: []httpapi.Topic{}}
	for _, t := range n.Topics {
		if q.Topic != "" && t.TopicName != q.Topic {
			continue
		}
		copied := *t.Topic
		if q.Channel != "" {
			copied.Channels = slices.Clone(t.Topic.Channels)
			copied.Channels = slices.DeleteFunc(copied.Channels, func(ch httpapi.Channel) bool { return ch.ChannelName != q.Channel })
		}
		a.Stats.Topics = append(a.Stats.Topics, copied)
	}
}

// errAll is the error of a question that nobody answered.
type errAll struct {
	who    string // "nsqlookupd" or "nsqd"
	causes []error
}

// Error returns NSQ's words: failed to query any nsqlookupd: and the causes, a line each.
func (e *errAll) Error() string {
	texts := make([]string, len(e.causes))
	for i, cause := range e.causes {
		texts[i] = cause.Error()
	}
	return "failed to query any " + e.who + ": " + strings.Join(texts, "\n")
}

func (e *errAll) Unwrap() []error { return e.causes }

// AllFailed returns the error of a question to brokers that none of them answered.
func AllFailed(causes []error) error { return &errAll{"nsqd", causes} }

// fromLookups asks every lookup at once for path and hands what each says to take, one after another and in the lookups' order.
// A lookup that answers 404 knows nothing, which is no error. One that takes longer than Patience is not waited for when it was
// late in the last round, or when last makes the answer of what it said then. Failures that leave others are warnings;
// when all failed the error says so.
func fromLookups[T any](ctx context.Context, c *Cluster, path string, last func(*Lookup) T, take func(address string, answer *T)) (warnings []error, err error) {
	v := c.View()
	addresses := c.Lookups()
	type reply struct {
		answer T
		err    error
	}
	replies := make([]reply, len(addresses))
	var asks sync.WaitGroup
	for i, address := range addresses {
		j := slices.IndexFunc(v.Lookups, func(l Lookup) bool { return l.Address == address })
		if j >= 0 && v.Lookups[j].Err != nil && len(addresses) > 1 {
			replies[i].err = v.Lookups[j].Err // the loop asks it again and again
			continue
		}
		asks.Go(func() {
			if j < 0 {
				replies[i].err = c.cfg.HTTP.Get(ctx, "http://"+address+path, &replies[i].answer)
				return
			}
			replies[i].answer, replies[i].err = askLookup(ctx, c, path, &v.Lookups[j], last)
		})
	}
	asks.Wait()
	for i := range replies {
		r := &replies[i]
		var status *httpapi.StatusError
		switch {
		case r.err == nil:
			take(addresses[i], &r.answer)
		case errors.As(r.err, &status) && status.Code == http.StatusNotFound:
		default:
			warnings = append(warnings, r.err)
		}
	}
	if len(warnings) == len(addresses) {
		return nil, &errAll{"nsqlookupd", warnings}
	}
	return warnings, nil
}

// askLookup is fromLookups for one that was asked in the last round.
func askLookup[T any](ctx context.Context, c *Cluster, path string, l *Lookup, last func(*Lookup) T) (answer T, err error) {
	var late errLate
	standsIn := last != nil && l.Err == nil && !l.At.IsZero()
	hurried := ctx
	if standsIn || errors.As(l.Err, &late) {
		var cancel context.CancelFunc
		hurried, cancel = context.WithTimeout(ctx, c.cfg.Patience)
		defer cancel()
	}
	err = c.cfg.HTTP.Get(hurried, "http://"+l.Address+path, &answer)
	if standsIn && hurried.Err() != nil && ctx.Err() == nil {
		return last(l), nil // of seconds ago; the next round tells whether it still answers
	}
	return answer, err
}

// TopicNames returns the names of all topics, sorted: those that lookups tell, or brokers where there are no lookups.
func (c *Cluster) TopicNames(ctx context.Context) (names []string, warnings []error, err error) {
	if c.ByLookups() {
		warnings, err = fromLookups(ctx, c, "/topics", func(l *Lookup) httpapi.Topics { return httpapi.Topics{Topics: l.Topics} },
			func(_ string, a *httpapi.Topics) { names = append(names, a.Topics...) })
	} else {
		var answers []Answer
		if answers, warnings, err = c.AskAll(ctx, Query{}); err != nil {
			return nil, nil, err
		}
		for _, a := range answers {
			for _, t := range a.Stats.Topics {
				names = append(names, t.TopicName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), warnings, err
}

// ChannelNames returns the names of a topic's channels that lookups tell, sorted.
func (c *Cluster) ChannelNames(ctx context.Context, topic string) (names []string, err error) {
	_, err = fromLookups(ctx, c, "/channels?topic="+url.QueryEscape(topic), nil,
		func(_ string, a *httpapi.Channels) { names = append(names, a.Channels...) })
	slices.Sort(names)
	return slices.Compact(names), err
}

// AskAll asks all brokers of the newest View, as Ask does, and leaves those out of which nothing is known. Failures are
// warnings, or the error when nothing is known of any broker.
func (c *Cluster) AskAll(ctx context.Context, q Query) (answers []Answer, warnings []error, err error) {
	v := c.Await(ctx)
	nodes := slices.DeleteFunc(slices.Clone(v.Nodes), func(n *Node) bool { return n.Gone })
	return Sift(c.Ask(ctx, nodes, q))
}

// Sift splits answers into what is known and what went wrong, which is an error when nothing is known.
func Sift(all []Answer) (known []Answer, warnings []error, err error) {
	for _, a := range all {
		if a.Err != nil {
			warnings = append(warnings, a.warning())
		}
		if a.Known {
			known = append(known, a)
		}
	}
	if len(known) == 0 && len(all) > 0 {
		return nil, nil, AllFailed(warnings)
	}
	return known, warnings, nil
}

// warning says why the answer is not of now.
func (a *Answer) warning() error { return &NodeError{Node: a.Node.ID, Age: a.age(), Err: a.Err} }

func (a *Answer) age() time.Duration {
	if !a.Known {
		return -1
	}
	return time.Since(a.At)
}

// NodeError is what went wrong with one daemon.
type NodeError struct {
	Node string
	Age  time.Duration // of the figures that stand in; below 0 for none
	Err  error
}

func (e *NodeError) Error() string {
	text := e.Node + ": " + e.Err.Error()
	if e.Age >= 0 {
		text += " (its figures are " + e.Age.Round(time.Second).String() + " old)"
	}
	return text
}

func (e *NodeError) Unwrap() error { return e.Err }

// Producers is the brokers to ask about a topic: those that lookups tell, or all where there are no lookups. When no lookup
// answers, those that had it in the last round stand in. Failures are warnings as long as there is somebody to ask.
type Producers struct {
	Nodes    []*Node
	Known    bool // some lookup knows the topic; true without lookups
	Warnings []error
}

// Producers asks the lookups who has a topic.
func (c *Cluster) Producers(ctx context.Context, topic string) (p Producers, err error) {
	v := c.Await(ctx)
	if !c.ByLookups() {
		p.Known = true
		p.Nodes = slices.DeleteFunc(slices.Clone(v.Nodes), func(n *Node) bool { return n.Gone })
		return p, nil
	}
	seen := map[string]bool{}
	p.Warnings, err = fromLookups(ctx, c, "/lookup?topic="+url.QueryEscape(topic), nil, func(_ string, a *httpapi.Lookup) {
		p.Known = true
		for _, producer := range a.Producers {
			if address := producer.HTTPAddress(); !seen[address] {
				seen[address] = true
				p.Nodes = append(p.Nodes, v.orNew(producer))
			}
		}
	})
	if err != nil {
		if nodes := v.having(topic); len(nodes) > 0 {
			return Producers{Nodes: nodes, Known: true, Warnings: []error{err}}, nil
		}
	}
	return p, err
}

// Registered is a broker as the lookups tell it.
type Registered struct {
	httpapi.Producer
	Remotes []string        // lookup address/remote address of the registration
	Topics  map[string]bool // whether every lookup that tells of it hides it there
}

// Registered returns the brokers that lookups tell, each once, sorted by host name and address.
func (c *Cluster) Registered(ctx context.Context) (brokers []*Registered, warnings []error, err error) {
	by := map[string]*Registered{}
	last := func(l *Lookup) httpapi.Nodes { return httpapi.Nodes{Producers: l.Nodes} }
	warnings, err = fromLookups(ctx, c, "/nodes", last, func(lookup string, a *httpapi.Nodes) {
		for _, n := range a.Producers {
			r := by[n.TCPAddress()]
			if r == nil {
				r = &Registered{Producer: n.Producer, Topics: map[string]bool{}}
				by[n.TCPAddress()] = r
			}
			r.Remotes = append(r.Remotes, lookup+"/"+n.RemoteAddress)
			for i, t := range n.Topics {
				hidden, told := r.Topics[t]
				r.Topics[t] = i < len(n.Tombstones) && n.Tombstones[i] && (hidden || !told)
			}
		}
	})
	brokers = slices.SortedFunc(maps.Values(by), func(a, b *Registered) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.TCPAddress(), b.TCPAddress()))
	})
	return brokers, warnings, err
}

// FindNode returns a broker of the cluster by its ID or the address that is asked, nil when there is none. One that registered a
// moment ago is found as well.
func (c *Cluster) FindNode(ctx context.Context, name string) *Node {
	v := c.Await(ctx)
	if n := v.Node(name); n != nil || !c.ByLookups() {
		return n
	}
	brokers, _, err := c.Registered(ctx)
	if err != nil {
		return nil
	}
	for _, b := range brokers {
		if b.HTTPAddress() == name {
			return v.orNew(b.Producer)
		}
	}
	return nil
}

// having returns the nodes that had the topic in the last round, and those of which nothing is known.
func (v *View) having(topic string) (nodes []*Node) {
	for _, n := range v.Nodes {
		if !n.Gone && (!n.Known || n.Topic(topic) != nil) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// orNew returns the node of a producer, which may be too new to be in the View.
func (v *View) orNew(p httpapi.Producer) *Node {
	address := p.HTTPAddress()
	if n := v.nodes[address]; n != nil {
		return n
	}
	return &Node{Producer: p, ID: address, Address: address}
}

// Durability returns a topic's level at each of the nodes, "" where none is told, as of nsqd.
func (c *Cluster) Durability(ctx context.Context, nodes []*Node, topic string) []string {
	levels := make([]string, len(nodes))
	var asks sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Patience)
	defer cancel()
	for i, n := range nodes {
		if !n.IsBroker || n.Late || n.Err != nil {
			continue
		}
		asks.Go(func() {
			var options struct {
				Durability string `json:"durability"`
			}
			if c.cfg.HTTP.Get(ctx, "http://"+n.Address+"/topic/config"+args(topic, ""), &options) == nil {
				levels[i] = options.Durability
			}
		})
	}
	asks.Wait()
	return levels
}

// ChannelsOf returns the channels that lookups tell of each topic, in the topics' order, asked a few at a time. What cannot be
// had is left out.
func (c *Cluster) ChannelsOf(ctx context.Context, topics []string) [][]string {
	const atOnce = 8
	lists := make([][]string, len(topics))
	next := make(chan int)
	var asks sync.WaitGroup
	for range min(atOnce, len(topics)) {
		asks.Go(func() {
			for i := range next {
				lists[i], _ = c.ChannelNames(ctx, topics[i])
			}
		})
	}
	for i := range topics {
		next <- i
	}
	close(next)
	asks.Wait()
	return lists
}
